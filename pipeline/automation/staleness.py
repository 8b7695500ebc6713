"""Tells from records and from names, sizes and times of files whether results are up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import ManifestFacts
from resources.intake.arrivals import find_arrivals
from resources.store.dataset_store import DatasetStore


def chain_of(assets: list[dg.AssetsDefinition]) -> dict[str, str]:
    """Return the code version of every partitioned asset, by name."""
    return {
        asset.key.path[-1]: asset.code_versions_by_key[asset.key] or "1"
        for asset in assets
        if asset.partitions_def is not None
    }


def stale_reason(store: DatasetStore, dataset: str, code_versions: Mapping[str, str]) -> str | None:
    """Return why a run is due, or None where the results are up to date.

    Reads the names, sizes and times of the dataset's files, and opens none.

    Args:
        store: store of the home.
        dataset: name of a registered dataset.
        code_versions: present code version of every asset of the job, by name.

    Raises:
        InputError: the dataset's folder or drops cannot be read, or a record is damaged.
    """
    records = {name: store.record(dataset, name) for name in code_versions}
    manifest = records[names.IMAGE_MANIFEST]
    if manifest is None:
        return "never run"
    if not isinstance(manifest.facts, ManifestFacts):
        return "the manifest was stored by an earlier version"
    if manifest.facts.arrival != find_arrivals(store, store.spec(dataset)).signature:
        return "files have arrived, changed or gone"
    for name, record in records.items():
        if record is None:
            return f"{name} is missing: the last run did not end well"
        if record.code_version != code_versions[name]:
            return f"{name} was made by another version of its code"
        for source, version in record.inputs.items():
            made_from = records.get(source)
            if made_from is not None and made_from.data_version != version:
                return f"{name} is older than {source}: the last run did not end well"
    return None


def has_drops(store: DatasetStore, dataset: str) -> bool:
    """Tell whether a dataset has an accepted drop."""
    return bool(find_arrivals(store, store.spec(dataset)).intake.drops)


def last_settings(
    store: DatasetStore, dataset: str, code_versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return the settings of a dataset's current outputs, so that a scheduled run repeats them.

    Returns:
        value of each setting, by ``asset.key``.
    """
    settings: dict[str, Any] = {}
    for name in code_versions:
        try:
            record = store.record(dataset, name)
        except InputError:
            record = None
        if record is not None:
            settings.update({f"{name}.{key}": value for key, value in record.settings.items()})
    return settings

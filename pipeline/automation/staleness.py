"""Whether a dataset's results still stand for what has arrived, told from its records and a look at
its files.
"""

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
    """The code version of every asset of a dataset that a job makes, by name."""
    return {
        asset.key.path[-1]: asset.code_versions_by_key[asset.key] or "1"
        for asset in assets
        if asset.partitions_def is not None
    }


def stale_reason(store: DatasetStore, dataset: str, code_versions: Mapping[str, str]) -> str | None:
    """Why a run is due, or None where the last results stand for all that has arrived.

    Looks at the names, sizes and times of the dataset's files; opens none.

    Args:
        store: of the home.
        dataset: a registered one.
        code_versions: of every asset of the job, by name.

    Raises:
        InputError: the dataset's folder or drops cannot be looked at, or a record is damaged.
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
    """Whether any drop of a dataset counts."""
    return bool(find_arrivals(store, store.spec(dataset)).intake.drops)


def last_settings(
    store: DatasetStore, dataset: str, code_versions: Mapping[str, str]
) -> dict[str, Any]:
    """The settings of a dataset's current outputs as ``asset.key`` -> value, so that a scheduled
    run does as the last one did.
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

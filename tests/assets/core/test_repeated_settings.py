"""A run that the UI starts repeats the promoted settings; one of a command has its own config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.images import image_manifest
from data_contracts import asset_names as names
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.ahn2019 import AHN2019
from resources.run_owner import STARTED_HERE
from resources.store.dataset_store import DatasetStore
from tests.conftest import MakeImages


def record(asset: str, settings: dict[str, Any], inputs: dict[str, str]) -> OutputRecord:
    """An output of an earlier run."""
    return OutputRecord(
        asset=asset,
        dataset="tiny",
        fingerprint=f"first-{asset}",
        data_version=f"v-{asset}",
        code_version="1",
        settings=settings,
        inputs=inputs,
        run_id="1f65aaaa",
        created="2026-01-01T00:00:00+00:00",
        seconds=0.1,
        peak_memory_bytes=1,
    )


@pytest.fixture
def store(home: Path, make_images: MakeImages) -> DatasetStore:
    """A dataset whose promoted run allowed images of one grey level."""
    store = DatasetStore()
    store.save_spec(DatasetSpec(name="tiny", root=make_images(classes=2, each=2)))
    manifest = record(names.IMAGE_MANIFEST, {"allow_constant": True, "of_yore": 1}, {})
    store.save_record(manifest)
    report = names.report(AHN2019.name)
    store.save_record(record(report, {}, {names.IMAGE_MANIFEST: manifest.data_version}))
    return store


def allowed(store: DatasetStore, tags: dict[str, str], config: dict[str, Any] | None) -> bool:
    """The setting of the image manifest after a run."""
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("dataset", ["tiny"])
        made = dg.materialize(
            [image_manifest],
            partition_key="tiny",
            instance=instance,
            resources={"store": store},
            tags=tags,
            run_config={"ops": {names.IMAGE_MANIFEST: {"config": config}}} if config else None,
        )
    assert made.success
    return bool(store.need_record("tiny", names.IMAGE_MANIFEST).settings["allow_constant"])


def test_what_the_ui_leaves_open_is_as_in_the_promoted_run(store: DatasetStore) -> None:
    assert allowed(store, {}, None)


def test_what_is_set_is_set(store: DatasetStore) -> None:
    assert not allowed(store, {}, {"allow_constant": False})


def test_a_command_has_written_all_settings_itself(store: DatasetStore) -> None:
    assert not allowed(store, {STARTED_HERE: str(os.getpid())}, None)

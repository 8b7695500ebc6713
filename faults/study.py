"""The smallest Ahn study, in a home of its own, and the digest of its results."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from assets.core.shards import open_features
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.hashing import content_hash
from data_contracts.studies.ahn2019 import AHN2019
from pipeline.automation.requests import code_versions, still_valid_settings
from pipeline.automation.staleness import stale_reason
from pipeline.launch import DONE, run_job
from resources.intake.drops import MARKER
from resources.store.dataset_store import DatasetStore
from resources.store.home import prepare_home
from tests.conftest import TINY_STUDY, draw, go_offline, use_home

STUDY = AHN2019.name
DATASET = "tiny"
SHARD_ROWS = 7
"""Rows of a shard; so few that a handful of images lies in several shards."""


@contextmanager
def home_in(folder: Path) -> Iterator[DatasetStore]:
    """Make an empty home below a folder; nothing is downloaded."""
    with pytest.MonkeyPatch.context() as patch:
        use_home(patch, folder)
        go_offline(patch, folder)
        prepare_home()
        yield DatasetStore()


def put_images(root: Path, each: int = 10, classes: int = 2) -> Path:
    """Write class folders of grey pictures."""
    for kind in range(classes):
        for number in range(each):
            path = root / f"class{kind}" / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(kind, number)).save(path)
    return root


def register(store: DatasetStore, root: Path) -> None:
    """Register the dataset."""
    store.save_spec(DatasetSpec(name=DATASET, root=root, show_names=True))


def run_study() -> None:
    """Run the study in this process."""
    outcome = run_job(STUDY, DATASET, TINY_STUDY, "cpu")
    assert outcome.exit_code == DONE, outcome.message


def digest(store: DatasetStore) -> str:
    """Return the digest of every stored number: data versions, models, rows of features."""
    found: dict[str, object] = {}
    for asset in store.assets_of(DATASET):
        record = store.need_record(DATASET, asset)
        found[asset] = record.data_version
        found |= {
            f"{asset} model": file.sha256
            for file in record.files
            if file.name.endswith(".safetensors")
        }
        if record.feature_set is not None:
            reader = open_features(store, DATASET, asset)
            found[f"{asset} rows"] = hashlib.sha256(
                reader.rows(0, len(reader)).tobytes()
            ).hexdigest()
            reader.close()
    return content_hash(found)


def stored_files(store: DatasetStore) -> list[Path]:
    """Return every committed file of the home, sorted, without Dagster's own."""
    roots = [store.root / name for name in ("store", "datasets", "reports")]
    return sorted(
        path
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith(".lock") and "runs" not in path.parts
    )


def backfill() -> None:
    """Do what the nightly schedule does.

    It runs a dataset with its last settings where the results do not stand for all that has
    arrived.
    """
    store = DatasetStore()
    if stale_reason(store, DATASET, code_versions(STUDY)) is not None:
        outcome = run_job(STUDY, DATASET, still_valid_settings(store, DATASET, STUDY), "cpu")
        assert outcome.exit_code == DONE, outcome.message


def put_drop(store: DatasetStore, first: int = 50, number: int = 3) -> None:
    """Write a drop of unlabelled images with its marker."""
    folder = store.root / "drops" / DATASET / "arrived"
    folder.mkdir(parents=True)
    for i in range(first, first + number):
        Image.fromarray(draw(i % 2, i)).save(folder / f"{i:03}.png")
    (folder / MARKER).touch()

"""The smallest Ahn study there is, in a home of its own, and the digest of all that it made."""

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
"""So that a handful of images lies in several shards."""


@contextmanager
def home_in(folder: Path) -> Iterator[DatasetStore]:
    """An empty home below a folder; nothing is downloaded."""
    with pytest.MonkeyPatch.context() as patch:
        use_home(patch, folder)
        go_offline(patch, folder)
        prepare_home()
        yield DatasetStore()


def put_images(root: Path, each: int = 10, classes: int = 2) -> Path:
    """Class folders of grey pictures."""
    for kind in range(classes):
        for number in range(each):
            path = root / f"class{kind}" / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(kind, number)).save(path)
    return root


def register(store: DatasetStore, root: Path) -> None:
    """The dataset."""
    store.save_spec(DatasetSpec(name=DATASET, root=root, show_names=True))


def run_study() -> None:
    """Run it in this process."""
    outcome = run_job(STUDY, DATASET, TINY_STUDY, "cpu")
    assert outcome.exit_code == DONE, outcome.message


def digest(store: DatasetStore) -> str:
    """Of every number that the study stored: data versions, models, rows of features."""
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
    """Every committed file of the home, sorted; Dagster's own are not ours."""
    roots = [store.root / name for name in ("store", "datasets", "reports")]
    return sorted(
        path
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and path.name != ".lock"
    )


def backfill() -> None:
    """What the nightly schedule does: a run with the last settings, where the results do not stand
    for all that has arrived."""
    store = DatasetStore()
    if stale_reason(store, DATASET, code_versions(STUDY)) is not None:
        outcome = run_job(STUDY, DATASET, still_valid_settings(store, DATASET, STUDY), "cpu")
        assert outcome.exit_code == DONE, outcome.message


def put_drop(store: DatasetStore, first: int = 50, number: int = 3) -> None:
    """A drop of unlabelled images that says it is ready."""
    folder = store.root / "drops" / DATASET / "arrived"
    folder.mkdir(parents=True)
    for i in range(first, first + number):
        Image.fromarray(draw(i % 2, i)).save(folder / f"{i:03}.png")
    (folder / MARKER).touch()

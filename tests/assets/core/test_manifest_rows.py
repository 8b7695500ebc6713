"""The manifest is read once in a process, and again when its file is another."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.core.labelled_rows import labelled_rows
from assets.core.manifest_rows import manifest_of, scored_ids, usable_ids
from data_contracts import asset_names as names
from data_contracts.errors import ContractError
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.manifest import MANIFEST
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import DATASET, image_id, manifest_row, new_store, store_manifest

ROWS = [
    manifest_row(2, "test", "a"),
    manifest_row(1, "train", "b"),
    manifest_row(0, "unlabelled", None),
    manifest_row(3, "train", "a") | {"status": "duplicate", "reason": "copy", "split": None},
]


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    store_manifest(store, ROWS)
    return store


def test_ids_are_those_of_usable_images_in_order(store: DatasetStore) -> None:
    assert usable_ids(store, DATASET) == [image_id(i) for i in range(3)]
    assert scored_ids(store, DATASET) == [image_id(i) for i in (1, 2)]


def test_it_is_read_once(store: DatasetStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = manifest_of(store, DATASET)
    rows = labelled_rows(store, DATASET, AHN2019)
    monkeypatch.setattr(DatasetStore, "read_table", None)
    assert manifest_of(store, DATASET) is first
    assert labelled_rows(store, DATASET, AHN2019) is rows


def test_another_one_is_read_in_its_place(store: DatasetStore) -> None:
    assert labelled_rows(store, DATASET, AHN2019).test.tolist() == [1]
    store_manifest(store, [*ROWS[:2], manifest_row(0, "test", "b")])
    assert scored_ids(store, DATASET) == [image_id(i) for i in range(3)]
    assert labelled_rows(store, DATASET, AHN2019).test.tolist() == [0, 2]


def test_a_change_of_the_specification_counts_at_once(store: DatasetStore) -> None:
    leaking = [row | {"group_id": "p"} for row in ROWS[:2]]
    store_manifest(store, leaking)
    kept = store.spec(DATASET).model_copy(update={"keep_given_split": True})
    with pytest.raises(Exception, match="are of one group"):
        labelled_rows(store, DATASET, AHN2019)
    store.save_spec(kept)
    assert len(labelled_rows(store, DATASET, AHN2019).ids) == 2


def test_damage_after_the_first_look_is_seen(store: DatasetStore) -> None:
    manifest_of(store, DATASET)
    record = store.need_record(DATASET, names.IMAGE_MANIFEST)
    path = store.folder(DATASET, names.IMAGE_MANIFEST) / store.need_file(record, MANIFEST).name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ContractError, match="is damaged"):
        manifest_of(store, DATASET)
    path.unlink()
    with pytest.raises(ContractError, match="cannot be read"):
        manifest_of(store, DATASET)

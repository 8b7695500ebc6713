"""Receipts and their merging: a killed run loses nothing, and the index is written seldom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_contracts.errors import ContractError
from resources.store import feature_store, shard_index
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.shard_index import ShardList
from tests.resources.store.test_feature_store import SET, ids_of, produce

IDS = sorted(ids_of(range(20)))


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    monkeypatch.setattr(feature_store, "SHARD_ROWS", 2)
    return FeatureStore(DatasetStore(home=str(tmp_path)), "set-a", SET)


def receipts(shards: FeatureStore) -> list[Path]:
    return sorted(shards.folder.glob("*.receipt"))


def fill_until(shards: FeatureStore, number: int, sign: int = 1, force: bool = False) -> None:
    """Fill and be killed when the shard after ``number`` others begins."""
    begun: list[list[str]] = []

    def killed(ids: list[str]) -> np.ndarray:
        if len(begun) == number:
            raise KilledError
        begun.append(ids)
        return sign * produce(ids)

    with pytest.raises(KilledError):
        shards.fill(IDS, killed, {}, force=force)


def counted(shards: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of shards in each index that is written from now on."""
    written: list[int] = []
    replace = ShardList.replace

    def spy(self: ShardList, entries: object) -> None:
        listed = list(entries)  # type: ignore[call-overload]
        written.append(len(listed))
        replace(self, listed)

    monkeypatch.setattr(shard_index.ShardList, "replace", spy)
    return written


def test_the_index_is_written_once_a_stage_and_each_time_many_shards_are_new(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "MERGE_SHARDS", 4)
    written = counted(shards, monkeypatch)
    shards.fill(IDS, produce, {})
    assert written == [4, 8, 10]
    assert receipts(shards) == []
    assert shards.fill(IDS, produce, {}) == 0
    assert written == [4, 8, 10]


def test_a_killed_run_loses_no_shard_that_it_stored(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_until(shards, 3)
    assert len(receipts(shards)) == 3
    assert not shards.index_path.exists()
    assert shards.missing(IDS) == IDS[6:]
    reader = shards.reader(IDS[:6])
    np.testing.assert_array_equal(reader.rows(0, 6), produce(IDS[:6]))
    reader.close()
    assert shards.damaged() == []
    written = counted(shards, monkeypatch)
    assert shards.fill(IDS, produce, {}) == 14
    assert written == [3, 10]
    assert receipts(shards) == []
    assert len(shards.index()) == 10


def test_a_run_that_is_killed_while_receipts_are_removed_loses_nothing(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is complete then, and what is left of the receipts repeats it."""
    fill_until(shards, 3)
    kept = {path: path.read_bytes() for path in receipts(shards)}
    shards.save_index(shards.index())
    for path, data in list(kept.items())[1:]:
        path.write_bytes(data)
    assert len(shards.index()) == 3
    assert shards.fill(IDS, produce, {}) == 14
    assert receipts(shards) == []
    assert len(shards.index()) == 10


def test_the_receipt_of_a_shard_that_was_computed_again_is_the_one_that_counts(
    shards: FeatureStore,
) -> None:
    shards.fill(IDS, produce, {})
    fill_until(shards, 2, sign=-1, force=True)
    assert len(receipts(shards)) == 2
    assert shards.damaged() == []
    replaced = {f"{path.name.split('.')[1]}.h5" for path in receipts(shards)}
    again = [i for entry in shards.index() if entry.shard in replaced for i in entry.image_ids]
    signs = np.where(np.isin(IDS, again), -1, 1)[:, None, None]
    reader = shards.reader(IDS)
    np.testing.assert_array_equal(reader.rows(0, 20), signs * produce(IDS))
    reader.close()
    assert shards.fill(IDS, produce, {}) == 0
    assert shards.missing(IDS) == []


def test_what_was_left_by_a_killed_run_does_not_come_back_after_a_forced_one(
    shards: FeatureStore,
) -> None:
    """A shard that is replaced by others goes, and its receipt with it."""
    fill_until(shards, 3)
    assert shards.fill(IDS[:1], lambda ids: -produce(ids), {}, force=True) == 1
    assert receipts(shards) == []
    listed = sorted(i for entry in shards.index() for i in entry.image_ids)
    assert listed == IDS[:6]
    assert {entry.shard for entry in shards.index()} == {
        path.name for path in shards.folder.glob("*.h5")
    }


@pytest.mark.parametrize("how", ["flip", "cut", "empty"])
def test_a_damaged_receipt_is_named_and_its_shard_alone_computed_again(
    shards: FeatureStore, how: str
) -> None:
    fill_until(shards, 3)
    path = receipts(shards)[1]
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        {
            "flip": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "cut": data[:-7],
            "empty": b"",
        }[how]
    )
    with pytest.raises(ContractError, match=r"receipt is damaged.*medfeat doctor --fix"):
        shards.reader(IDS[:6])
    assert shards.damaged() == [path]
    assert len(shards.missing(IDS[:6])) == 2
    assert shards.fill(IDS, produce, {}) == 16
    assert shards.damaged() == []
    assert len(shards.index()) == 10


def test_receipts_of_another_set_in_the_folder_are_left_alone(
    shards: FeatureStore,
) -> None:
    fill_until(shards, 3)
    other = FeatureStore(shards.store, "set-a", SET.model_copy(update={"code_version": "2"}))
    other.fill(IDS, produce, {})
    assert len(receipts(shards)) == 3
    assert len(other.index()) == 10

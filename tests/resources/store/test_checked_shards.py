"""What a contract check reads: what is new, what was changed, and everything on request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from data_contracts.errors import ContractError
from data_contracts.records import feature_shard
from resources.store import checked_shards, feature_store
from resources.store.atomic_file import write_atomically
from resources.store.checked_shards import forget_checks
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.shard_file import shard_bytes
from tests.resources.store.test_feature_store import SET, ids_of, produce

IDS = sorted(ids_of(range(8)))


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    monkeypatch.setattr(feature_store, "SHARD_ROWS", 4)
    shards = FeatureStore(DatasetStore(home=str(tmp_path)), "set-a", SET)
    shards.fill(IDS, produce, {})
    age(shards)
    return shards


def age(shards: FeatureStore) -> None:
    """Let an hour pass for the clock that tells whether a file's times can be trusted."""
    for path in shards.folder.glob("*.h5"):
        os.utime(path, ns=(1, 1))


@contextmanager
def hashed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the files whose bytes are compared with their digest."""
    names: list[str] = []
    with monkeypatch.context() as patch:
        intact = feature_store.is_intact
        patch.setattr(
            feature_store,
            "is_intact",
            lambda path, file: (names.append(path.name), intact(path, file))[1],
        )
        yield names


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust the times of every file, as those of a file that is older than a tick of the clock."""
    monkeypatch.setattr(checked_shards, "is_settled", lambda status: True)


def test_only_new_rows_are_read_again(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shards.check(IDS) == 8
    with hashed(monkeypatch) as names:
        assert shards.check(IDS) == 0
        assert shards.missing(IDS) == []
        assert names == [], "a shard whose file did not change is not hashed either"
    more = ids_of(range(11))
    with hashed(monkeypatch) as names:
        assert shards.fill(more, produce, {}) == 3
        assert names == []
        assert shards.check(more) == 3
        assert len(names) == 1


def test_a_reader_compares_every_byte_that_it_reads(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards.check(IDS)
    with hashed(monkeypatch) as names:
        shards.reader(IDS).close()
    assert len(names) == 2
    with hashed(monkeypatch) as names:
        assert shards.damaged() == []
    assert len(names) == 2


def test_a_shard_that_was_touched_is_hashed_and_not_unpacked(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards.check(IDS)
    touched = shards.folder / shards.index()[0].shard
    os.utime(touched, ns=(2, 2))
    with hashed(monkeypatch) as names:
        assert shards.check(IDS) == 0
        assert names == [touched.name]
        assert shards.check(IDS) == 0
        assert names == [touched.name], "its new times are known now"


@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_a_shard_that_was_changed_after_its_check_is_found(
    shards: FeatureStore, damage: str
) -> None:
    shards.check(IDS)
    path = shards.folder / shards.index()[0].shard
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-5])
    with pytest.raises(ContractError, match="missing or its bytes are not those"):
        shards.check(IDS)
    assert len(shards.missing(IDS)) == 4
    assert shards.fill(IDS, produce, {}) == 4
    assert shards.check(IDS) == 0, "its bytes are those that were read before the damage"


def test_an_index_that_gives_a_checked_shard_other_images_is_found(shards: FeatureStore) -> None:
    shards.check(IDS)
    first, second = shards.index()
    swapped = first.model_copy(update={"image_ids": first.image_ids[::-1]})
    shards.save_index([swapped, second])
    assert shards.missing(IDS) == sorted(first.image_ids)
    with pytest.raises(ContractError, match="missing or its bytes are not those"):
        shards.check(IDS)


def test_a_shard_whose_times_are_too_young_is_hashed_again(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_shards, "is_settled", lambda status: False)
    assert shards.check(IDS) == 8
    with hashed(monkeypatch) as names:
        assert shards.check(IDS) == 0
    assert len(names) == 2


def test_rows_that_break_a_rule_are_refused_each_time(shards: FeatureStore) -> None:
    shards.check(IDS)
    first, *others = shards.index()
    rows = produce(first.image_ids)
    rows[1, 0, 0] = np.nan
    written = write_atomically(
        shards.folder / first.shard,
        shard_bytes(rows, first.image_ids, SET.model_dump(mode="json")),
    )
    changed = {"sha256": written.sha256, "bytes": written.bytes}
    shards.save_index([first.model_copy(update=changed), *others])
    for _ in range(2):
        with pytest.raises(ContractError, match=r"things of set-a breaks a rule.*finite"):
            shards.check(IDS)


def test_other_rules_have_every_row_read_again(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards.check(IDS)
    other = f"{feature_shard.RULES_VERSION}a"
    monkeypatch.setattr(checked_shards, "RULES_VERSION", other)
    assert shards.check(IDS) == 8
    assert shards.check(IDS) == 0


def test_what_was_checked_can_be_forgotten_or_damaged_and_is_checked_again(
    shards: FeatureStore,
) -> None:
    shards.check(IDS)
    forget_checks(shards.store, "set-b")
    assert shards.check(IDS) == 0
    forget_checks(shards.store, "set-a")
    assert shards.check(IDS) == 8
    (path,) = shards.folder.glob("*.checked")
    data = path.read_bytes()
    for broken in (data[:-9], data.replace(b'"rules": "1"', b'"rules": "2"'), b""):
        path.write_bytes(broken)
        assert shards.damaged() == [path]
        assert shards.check(IDS) == 8
        assert shards.damaged() == []

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.errors import ContractError
from data_contracts.records.feature_shard import CHUNK_NUMBERS, SHARD_ROWS, FeatureSet
from data_contracts.records.sealed import sealed_json
from resources.store import feature_store
from resources.store.atomic_file import write_atomically
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.shard_file import ShardFile, guarded, shard_bytes

SET = FeatureSet(
    kind="things", dtype="float32", row_shape=(2, 3), preprocessing={}, code_version="1"
)


def ids_of(numbers: range) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest() for n in numbers]


def row_of(image_id: str) -> np.ndarray:
    return np.random.default_rng(int(image_id[:8], 16)).random((2, 3), np.float32)


def produce(ids: list[str]) -> np.ndarray:
    return np.stack([row_of(i) for i in ids])


@pytest.fixture
def shards(tmp_path: Path) -> FeatureStore:
    return FeatureStore(DatasetStore(home=str(tmp_path)), "set-a", SET)


def files(shards: FeatureStore) -> dict[str, tuple[bytes, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in shards.folder.glob("*.h5")}


def test_rows_come_back_in_the_order_of_their_ids(shards: FeatureStore) -> None:
    ids = ids_of(range(50))
    assert shards.fill(ids, produce, {}) == 50
    reader = shards.reader(ids)
    assert reader.image_ids == sorted(ids)
    np.testing.assert_array_equal(reader.rows(0, 50), produce(sorted(ids)))
    np.testing.assert_array_equal(
        reader.take([7, 3, 41]), produce([sorted(ids)[i] for i in (7, 3, 41)])
    )


def test_new_images_make_a_new_shard_and_leave_the_old_ones_alone(shards: FeatureStore) -> None:
    shards.fill(ids_of(range(20)), produce, {})
    before = files(shards)
    asked: list[list[str]] = []

    def spy(ids: list[str]) -> np.ndarray:
        asked.append(ids)
        return produce(ids)

    everything = ids_of(range(25))
    assert shards.fill(everything, spy, {}) == 5
    assert asked == [sorted(ids_of(range(20, 25)))]
    after = files(shards)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1
    np.testing.assert_array_equal(
        shards.reader(everything).rows(0, 25), produce(sorted(everything))
    )


def test_nothing_is_computed_twice_and_the_version_does_not_depend_on_history(
    shards: FeatureStore, tmp_path: Path
) -> None:
    ids = ids_of(range(9))
    shards.fill(ids[:4], produce, {})
    shards.fill(ids, produce, {})
    assert shards.fill(ids, produce, {}) == 0
    other = FeatureStore(DatasetStore(home=str(tmp_path / "other")), "set-a", SET)
    other.fill(ids, produce, {})
    assert other.data_version(ids) == shards.data_version(list(reversed(ids)))
    assert shards.data_version(ids[:8]) != shards.data_version(ids)


def test_more_rows_than_a_shard_holds(shards: FeatureStore) -> None:
    ids = ids_of(range(SHARD_ROWS + 3))
    shards.fill(ids, produce, {})
    assert len(files(shards)) == 2
    np.testing.assert_array_equal(
        shards.reader(ids).take([SHARD_ROWS + 2, 0]), produce([sorted(ids)[-1], sorted(ids)[0]])
    )


def test_a_shard_of_long_rows_holds_fewer(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(ids: list[str]) -> np.ndarray:
        asked.append(len(ids))
        return produce(ids)

    ids = ids_of(range(7))
    # a row is 2 x 3 numbers of 4 bytes
    monkeypatch.setattr(feature_store, "SHARD_BYTES", 3 * 24 + 5)
    shards.fill(ids, counted, {})
    assert asked == [3, 3, 1]
    monkeypatch.setattr(feature_store, "SHARD_BYTES", 1)
    others = ids_of(range(7, 14))
    shards.fill(others, counted, {})
    assert asked[3:] == [1] * 7
    np.testing.assert_array_equal(shards.reader(others).rows(0, 7), produce(sorted(others)))


def test_columns_of_long_rows_are_read_without_the_rest(tmp_path: Path) -> None:
    width = 2 * CHUNK_NUMBERS + 5
    wide = FeatureSet(
        kind="wide", dtype="float16", row_shape=(width,), preprocessing={}, code_version="1"
    )
    store = FeatureStore(DatasetStore(home=str(tmp_path)), "set-a", wide)
    ids = ids_of(range(3))
    rows = np.random.default_rng(0).random((3, width)).astype(np.float16)
    store.fill(ids, lambda wanted: rows[: len(wanted)], {})
    reader = store.reader(ids)
    for start, stop in ((0, width), (CHUNK_NUMBERS - 2, CHUNK_NUMBERS + 3), (width - 1, width)):
        np.testing.assert_array_equal(reader.columns(start, stop), rows[:, start:stop])
    reader.close()
    with h5py.File(next(store.folder.glob("*.h5"))) as file:
        assert file["features"].chunks == (1, CHUNK_NUMBERS)
        np.testing.assert_array_equal(file["features"][:], rows)


def test_a_failure_in_the_second_shard_keeps_the_first(shards: FeatureStore) -> None:
    calls = []

    def fails_later(ids: list[str]) -> np.ndarray:
        calls.append(len(ids))
        if len(calls) == 2:
            raise RuntimeError("killed")
        return produce(ids)

    ids = ids_of(range(SHARD_ROWS + 3))
    with pytest.raises(RuntimeError, match="killed"):
        shards.fill(ids, fails_later, {})
    assert shards.fill(ids, produce, {}) == 3
    assert not list(shards.folder.glob(".*.tmp"))


def test_images_of_one_file_are_computed_together(shards: FeatureStore) -> None:
    ids = ids_of(range(2 * SHARD_ROWS))
    file_of = {image_id: f"volume {n % 4}" for n, image_id in enumerate(ids)}
    opened: list[set[str]] = []

    def counted(wanted: list[str]) -> np.ndarray:
        opened.append({file_of[i] for i in wanted})
        return produce(wanted)

    shards.fill(ids, counted, {}, file_of=file_of)
    assert opened == [{"volume 0", "volume 1"}, {"volume 2", "volume 3"}]
    reader = shards.reader(ids)
    np.testing.assert_array_equal(reader.rows(0, len(ids)), produce(sorted(ids)))


def test_force_that_is_killed_leaves_every_row_readable(shards: FeatureStore) -> None:
    ids = sorted(ids_of(range(SHARD_ROWS + 3)))
    shards.fill(ids, produce, {})
    old, replaced = produce(ids), []

    def killed(wanted: list[str]) -> np.ndarray:
        if replaced:
            raise RuntimeError("killed")
        replaced.extend(wanted)
        return -produce(wanted)

    with pytest.raises(RuntimeError, match="killed"):
        shards.fill(ids, killed, {}, force=True)
    is_new = np.isin(ids, replaced)[:, None, None]
    np.testing.assert_array_equal(shards.reader(ids).rows(0, len(ids)), np.where(is_new, -old, old))
    assert shards.fill(ids, lambda wanted: -produce(wanted), {}, force=True) == len(ids)
    np.testing.assert_array_equal(shards.reader(ids).rows(0, len(ids)), -old)
    assert len(files(shards)) == 2


def test_force_leaves_the_rows_of_other_images(shards: FeatureStore) -> None:
    ids, alone = ids_of(range(10)), ids_of(range(10, 13))
    shards.fill(ids, produce, {})
    shards.fill([*ids, *alone], produce, {})
    again, new = ids[:6], ids_of(range(13, 15))
    assert shards.fill([*again, *new], lambda wanted: -produce(wanted), {}, force=True) == 8
    for wanted, sign in ((again, -1), (new, -1), (ids[6:], 1), (alone, 1)):
        np.testing.assert_array_equal(
            shards.reader(wanted).rows(0, len(wanted)), sign * produce(sorted(wanted))
        )
    index = shards.index()
    listed = [image_id for entry in index for image_id in entry.image_ids]
    assert sorted(listed) == sorted([*ids, *alone, *new]), "each is in one shard"
    assert sorted(files(shards)) == [entry.shard for entry in index], "no shard is left over"


@pytest.mark.parametrize("damage", ["flip", "cut", "delete"])
def test_damage_is_refused_on_read_and_mended_by_fill(shards: FeatureStore, damage: str) -> None:
    ids = ids_of(range(10))
    shards.fill(ids, produce, {})
    path = next(shards.folder.glob("*.h5"))
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-5])
    else:
        path.unlink()
    with pytest.raises(
        ContractError, match=f"{path.name}.*missing or its bytes.*medfeat doctor --fix"
    ):
        shards.reader(ids)
    assert shards.fill(ids, produce, {}) == 10
    np.testing.assert_array_equal(shards.reader(ids).rows(0, 10), produce(sorted(ids)))


def test_an_image_without_a_row_is_named_in_number(shards: FeatureStore) -> None:
    shards.fill(ids_of(range(3)), produce, {})
    with pytest.raises(ContractError, match="1 of 4 images have no row in things of set-a"):
        shards.reader(ids_of(range(4)))


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (np.zeros((2, 2, 4), np.float32), "a row has shape"),
        (np.zeros((2, 2, 3), np.float64), "dtype is float32"),
        (np.full((2, 2, 3), np.nan, np.float32), "every number is finite, row 0"),
        (np.zeros((1, 2, 3), np.float32), "one image_id a row"),
    ],
)
def test_rows_that_break_the_contract_are_not_written(
    shards: FeatureStore, rows: np.ndarray, rule: str
) -> None:
    with pytest.raises(ContractError, match=rule):
        shards.fill(ids_of(range(2)), lambda _: rows, {})
    assert not list(shards.folder.glob("*"))


def test_plain_h5py_reads_a_shard(shards: FeatureStore) -> None:
    ids = ids_of(range(5))
    shards.fill(ids, produce, {"device": "cpu"})
    with h5py.File(next(shards.folder.glob("*.h5"))) as file:
        assert file["features"].compression == "gzip"
        assert not file["features"].shuffle
        assert [i.decode() for i in file["image_id"][:]] == sorted(ids)
        assert file.attrs["kind"] == "things"
        np.testing.assert_array_equal(file["features"][:], produce(sorted(ids)))


def test_two_fills_give_equal_files_whenever_and_wherever_they_run(
    shards: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_store, "SHARD_ROWS", 3)
    other = FeatureStore(DatasetStore(home=str(tmp_path / "other")), "set-b", SET)
    for store, day, device in ((shards, 1, "cpu"), (other, 2, "cuda")):
        now = datetime(2026, 1, day, tzinfo=UTC)
        monkeypatch.setattr(feature_store, "datetime", Mock(now=lambda _, now=now: now))
        store.fill(ids_of(range(8)), produce, {"device": device})

    def digests(store: FeatureStore) -> dict[str, str]:
        return {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in store.folder.glob("*.h5")
        }

    assert digests(shards) == digests(other)
    assert len(digests(shards)) == 3
    assert [entry.origin for entry in other.index()] == [
        {"created": "2026-01-02T00:00:00+00:00", "device": "cuda"}
    ] * 3


def test_shards_and_index_of_an_earlier_version_are_read_and_not_computed_again(
    shards: FeatureStore,
) -> None:
    """Their entries have no origin: it stands in the file itself."""
    ids = sorted(ids_of(range(4)))
    shards.fill(ids, produce, {})
    (entry,) = shards.index()
    attributes = {**SET.model_dump(mode="json"), "created": "2025", "device": "cpu"}
    earlier = write_atomically(
        shards.folder / entry.shard, shard_bytes(produce(ids), ids, attributes)
    )
    assert earlier.sha256 != entry.sha256
    line = entry.model_dump(exclude={"origin"}) | {"sha256": earlier.sha256, "bytes": earlier.bytes}
    shards.index_path.write_bytes(sealed_json({"shards": [line]}))
    assert shards.missing(ids) == []
    assert shards.fill(ids, produce, {}) == 0
    assert shards.check(ids) == 4
    np.testing.assert_array_equal(shards.reader(ids).rows(0, 4), produce(ids))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((5, 7), "float32"),
        ((3, 40, 6, 6), "float16"),
        ((9, 16, 16, 3), "uint8"),
        ((2, 3 * CHUNK_NUMBERS + 1), "uint8"),
    ],
)
def test_rows_are_what_hdf5_itself_reads(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    rows = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    path = tmp_path / "shard.h5"
    path.write_bytes(shard_bytes(rows, ids_of(range(shape[0])), {}))
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["features"][:], rows)
    shard = ShardFile(path)
    for wanted in (np.arange(shape[0]), np.array([0, shape[0] - 1]), np.array([0, 1, 1])):
        taken = np.empty((len(wanted), *shape[1:]), dtype)
        shard.read(wanted, taken, np.arange(len(wanted))[::-1])
        np.testing.assert_array_equal(taken[::-1], rows[wanted])
    shard.close()


def packed_otherwise(path: Path, how: str) -> None:
    with h5py.File(path, "w") as file:
        options: dict[str, Any] = {"shuffle": True} if how == "shuffled" else {}
        data = file.create_dataset(
            "features", (4, 6), "f4", chunks=(1, 6), compression="gzip", **options
        )
        data[:] = np.arange(24).reshape(4, 6)
        chunk = zlib.compress(np.zeros(6 if how != "short chunk" else 5, np.float32).tobytes())
        if how == "bomb in a chunk":
            chunk = zlib.compress(bytes(10**6))
        if how == "damaged chunk":
            chunk = chunk[:-1] + bytes([chunk[-1] ^ 1])
        if how == "cut chunk":
            chunk = chunk[:-2]
        data.id.write_direct_chunk((2, 0), chunk, filter_mask=int(how == "unfiltered"))


@pytest.mark.parametrize(
    "how",
    ["shuffled", "short chunk", "bomb in a chunk", "damaged chunk", "cut chunk", "unfiltered"],
)
def test_a_chunk_that_is_not_as_it_should_be_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "shard.h5"
    packed_otherwise(path, how)
    with pytest.raises(ContractError, match=r"shard\.h5"):
        ShardFile(path).read(np.arange(4), np.empty((4, 6), np.float32), np.arange(4))


def test_rows_without_chunks_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "shard.h5", "w") as file:
        file["features"] = np.zeros((2, 3), np.float32)
    with pytest.raises(ContractError, match="packed"):
        ShardFile(tmp_path / "shard.h5")


@pytest.mark.parametrize(
    ("shape", "chunks", "written"),
    [((6,), (2,), 3), ((4, 6), (1, 6), 3), ((4, 6, 6, 2), (1, 6, 3, 2), 8), ((4, 6), (1, 6), 0)],
)
def test_chunks_of_another_form_and_missing_ones_are_refused(
    tmp_path: Path, shape: tuple[int, ...], chunks: tuple[int, ...], written: int
) -> None:
    with h5py.File(tmp_path / "shard.h5", "w") as file:
        data = file.create_dataset("features", shape, "f4", chunks=chunks, compression="gzip")
        for place in list(
            itertools.product(*(range(0, n, side) for n, side in zip(shape, chunks, strict=True)))
        )[:written]:
            data.id.write_direct_chunk(place, zlib.compress(np.ones(chunks, np.float32).tobytes()))
    with pytest.raises(ContractError, match=r"packed|stores"):
        ShardFile(tmp_path / "shard.h5").read(
            np.arange(4), np.empty((4, 6), np.float32), np.arange(4)
        )


def test_no_more_files_stay_open_than_allowed(
    shards: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sorted(ids_of(range(12)))
    monkeypatch.setattr(feature_store, "SHARD_ROWS", 2)
    monkeypatch.setattr(feature_store, "MAX_OPEN_SHARDS", 3)
    shards.fill(ids, produce, {})
    reader = shards.reader(ids)
    for positions in ([0, 11, 3], [7, 5, 1, 9, 3, 0, 11], list(range(12))):
        np.testing.assert_array_equal(
            reader.take(positions), produce([ids[position] for position in positions])
        )
        assert len(h5py.h5f.get_obj_ids(types=h5py.h5f.OBJ_FILE)) == 3
    reader.close()
    assert h5py.h5f.get_obj_ids(types=h5py.h5f.OBJ_FILE) == []


FEW_DESCRIPTORS = """
import hashlib, os, resource, sys
import numpy as np
from data_contracts.records.feature_shard import FeatureSet
from resources.store import feature_store
from resources.store.dataset_store import DatasetStore

feature_store.SHARD_ROWS, os.fsync = 1, lambda descriptor: None
made = FeatureSet(
    kind="things", dtype="float32", row_shape=(6,), preprocessing={}, code_version="1"
)
shards = feature_store.FeatureStore(DatasetStore(home=sys.argv[1]), "set-a", made)
ids = sorted(hashlib.sha256(str(n).encode()).hexdigest() for n in range(150))
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
shards.fill(ids, lambda wanted: np.full((1, 6), ids.index(wanted[0]), np.float32), {})
readers = [shards.reader(ids) for _ in range(2)]
for order in (range(150), range(149, -1, -1)):
    for reader in readers:
        assert reader.take(order)[:, 0].tolist() == list(order)
assert shards.check(ids) == 150
print("read")
"""


def test_more_shards_are_read_than_a_process_may_open_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FEW_DESCRIPTORS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "read\n"), done.stderr


def test_a_changed_bit_in_any_byte_of_the_index_is_seen(shards: FeatureStore) -> None:
    shards.fill(ids_of(range(2)), produce, {})
    path = shards.index_path
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ContractError, match=r"\.index is damaged.*medfeat doctor --fix"):
            shards.index()
        assert shards.damaged() == [path]
    assert shards.fill(ids_of(range(2)), produce, {}) == 2


def test_the_index_of_an_earlier_version_is_read_until_a_shard_is_added(
    shards: FeatureStore,
) -> None:
    shards.fill(ids_of(range(4)), produce, {})
    table = pa.Table.from_pylist([entry.model_dump() for entry in shards.index()])
    path = shards.index_path
    path.unlink()
    earlier = path.with_suffix(".parquet")
    pq.write_table(table.replace_schema_metadata({"medfeat.sha256": "0" * 64}), earlier)
    assert shards.index_path == earlier
    assert shards.damaged() == []
    assert shards.fill(ids_of(range(4)), produce, {}) == 0
    reader = shards.reader(ids_of(range(4)))
    np.testing.assert_array_equal(reader.rows(0, 4), produce(sorted(ids_of(range(4)))))
    reader.close()
    assert shards.fill(ids_of(range(5)), produce, {}) == 1
    assert shards.index_path == path
    assert not earlier.exists()
    assert len(shards.index()) == 2


def test_a_damaged_index_of_an_earlier_version_is_computed_again(shards: FeatureStore) -> None:
    shards.fill(ids_of(range(4)), produce, {})
    path = shards.index_path
    path.rename(path.with_suffix(".parquet"))
    assert shards.damaged() == [path.with_suffix(".parquet")]
    assert shards.fill(ids_of(range(4)), produce, {}) == 4
    assert not path.with_suffix(".parquet").exists()


def crafted(path: Path, how: str, secret: Path) -> None:
    with h5py.File(path, "w") as file:
        if how == "external link":
            file["features"] = h5py.ExternalLink(str(secret), "/x")
        elif how == "soft link":
            file["real"] = np.zeros((2, 2, 3), np.float32)
            file["features"] = h5py.SoftLink("/real")
        elif how == "external storage":
            file.create_dataset("features", (8,), "u1", external=[(str(secret), 0, 8)])
        elif how == "virtual":
            layout = h5py.VirtualLayout((4,), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
            file.create_virtual_dataset("features", layout)
        elif how == "bomb":
            file.create_dataset("features", (10**6, 10**6), "f4", chunks=(1000, 1000))
        else:
            file.create_dataset("features", (2,), h5py.string_dtype())


@pytest.mark.parametrize(
    "how", ["external link", "soft link", "external storage", "virtual", "bomb", "text"]
)
def test_a_crafted_file_gives_out_nothing(tmp_path: Path, how: str) -> None:
    secret = tmp_path / "secret"
    if how in ("external link", "virtual"):
        with h5py.File(secret, "w") as file:
            file["x"] = np.ones(4, np.float32)
    else:
        secret.write_bytes(b"password")
    path = tmp_path / "shard.h5"
    crafted(path, how, secret)
    with h5py.File(path) as file, pytest.raises(ContractError):
        guarded(file, "features", "shard.h5")


def test_settings_make_another_set() -> None:
    def key(**changes: Any) -> str:
        return SET.model_copy(update=changes).key

    keys = {
        SET.key,
        key(dtype="float16"),
        key(weights_sha256="a"),
        key(preprocessing={"resize": "pad"}),
        key(code_version="2"),
        key(layer="x"),
    }
    assert len(keys) == 6
    assert SET.shard_key(["a", "b"]) != SET.shard_key(["b", "a"])

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.errors import ContractError, InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.output_record import OutputRecord
from data_contracts.records.sealed import sealed_json, unsealed_json
from data_contracts.tables.manifest import MANIFEST
from data_contracts.tables.report import REJECTED
from resources.store.atomic_file import temporary_name
from resources.store.dataset_store import DatasetStore

ROW = {"path": "x", "status": "rejected", "reason": "r"}


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(home=str(tmp_path))


def record(**changes: object) -> OutputRecord:
    base = {
        "asset": "a",
        "dataset": "d",
        "fingerprint": "f1",
        "data_version": "v1",
        "code_version": "1",
        "settings": {},
        "inputs": {},
        "run_id": "r",
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": 0.1,
        "peak_memory_bytes": 1,
    }
    return OutputRecord.model_validate({**base, **changes})


def test_a_specification_comes_back_and_names_are_sorted(store: DatasetStore) -> None:
    for name in ("b", "a"):
        store.save_spec(DatasetSpec(name=name, root=Path("/images")))
    assert store.spec("a").root == Path("/images")
    assert store.datasets() == ["a", "b"]


def test_an_unknown_dataset_names_the_known_ones_and_the_command(store: DatasetStore) -> None:
    store.save_spec(DatasetSpec(name="known", root=Path("/images")))
    with pytest.raises(
        InputError, match=r"no dataset called other \(registered: known\).*medfeat add other FOLDER"
    ):
        store.spec("other")


def test_a_damaged_specification_names_file_and_field(store: DatasetStore) -> None:
    store.save_spec(DatasetSpec(name="a", root=Path("/images")))
    path = store.root / "datasets" / "a.json"
    fields = unsealed_json(path.read_bytes())
    path.write_text(path.read_text().replace("/images", "/image5"))
    with pytest.raises(ContractError, match=r"a\.json is damaged .*Register the dataset again"):
        store.spec("a")
    path.write_bytes(sealed_json({**fields, "root": "images"}))  # stored by another version
    with pytest.raises(
        ContractError, match=r"a\.json breaks a rule .*root.*Register the dataset again"
    ):
        store.spec("a")


def test_a_name_cannot_leave_the_store(store: DatasetStore) -> None:
    with pytest.raises(InputError, match="is not allowed"):
        store.folder("../x", "a")


def test_a_table_is_checked_on_write_and_on_read(store: DatasetStore) -> None:
    good = pa.Table.from_pylist([ROW], schema=REJECTED.schema)
    bad = pa.Table.from_pylist([{**ROW, "status": "ok"}], schema=REJECTED.schema)
    with pytest.raises(ContractError, match=r"t\.parquet breaks a rule of the rejected file table"):
        store.write_table("d", "a", "t.parquet", bad, REJECTED)
    assert not store.folder("d", "a").exists()
    stored = store.write_table("d", "a", "t.parquet", good, REJECTED)
    assert store.read_table("d", "a", stored, REJECTED).equals(good)
    with pytest.raises(ContractError, match=r"t\.parquet is damaged"):
        store.read_table("d", "a", stored, MANIFEST)
    path = store.folder("d", "a") / "t.parquet"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ContractError, match=r"t\.parquet is damaged.*medfeat doctor --fix"):
        store.read_table("d", "a", stored, REJECTED)


def test_a_changed_bit_in_any_byte_of_a_table_is_seen(store: DatasetStore) -> None:
    table = pa.Table.from_pylist([ROW], schema=REJECTED.schema)
    stored = store.write_table("d", "a", "t.parquet", table, REJECTED)
    path = store.folder("d", "a") / "t.parquet"
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ContractError, match="not those that were stored"):
            store.read_table("d", "a", stored, REJECTED)


def test_a_stored_table_is_ordinary_parquet_of_the_same_bytes_each_time(
    store: DatasetStore,
) -> None:
    table = pa.Table.from_pylist([ROW], schema=REJECTED.schema)
    stored = store.write_table("d", "a", "t.parquet", table, REJECTED)
    assert pq.read_table(store.folder("d", "a") / "t.parquet").equals(table)
    assert list(pd.read_parquet(store.folder("d", "a") / "t.parquet")["path"]) == ["x"]
    assert store.write_table("d", "a", "t.parquet", table, REJECTED) == stored


READS = """
import psutil, pyarrow as pa, pyarrow.parquet as pq
from resources.store.dataset_store import table_of
sink = pa.BufferOutputStream()
pq.write_table(pa.table({"a": range(100_000), "b": [str(i) for i in range(100_000)]}), sink)
data = sink.getvalue().to_pybytes()
before = psutil.Process().num_threads()
assert table_of(data).num_rows == 100_000
print(psutil.Process().num_threads() - before)
"""


def test_no_thread_of_arrow_holds_the_bytes_when_python_ends() -> None:
    done = subprocess.run([sys.executable, "-c", READS], check=True, capture_output=True, text=True)
    assert done.stdout == "0\n"


def test_a_record_counts_only_while_its_files_are_whole(store: DatasetStore) -> None:
    stored = store.write_bytes("d", "a", "x.bin", b"content")
    store.save_record(record(files=[stored]))
    assert store.recorded("d", "a", "f1") == store.record("d", "a")
    assert store.recorded("d", "a", "f2") is None
    assert store.read_bytes("d", "a", stored) == b"content"
    (store.folder("d", "a") / "x.bin").write_bytes(b"CONTENT")
    assert store.recorded("d", "a", "f1") is None
    with pytest.raises(ContractError, match=r"x\.bin is damaged.*medfeat doctor --fix"):
        store.read_bytes("d", "a", stored)


def test_a_record_counts_only_while_what_it_published_is_whole(store: DatasetStore) -> None:
    page = store.reports / "d" / "page.html"
    store.save_record(record(published=[store.publish(page, b"<p>")]))
    assert store.recorded("d", "a", "f1") is not None
    page.write_bytes(b"<q>")
    assert list(store.damaged_files(store.need_record("d", "a"))) == [page]
    assert store.recorded("d", "a", "f1") is None


def test_a_record_with_a_changed_bit_is_none(store: DatasetStore) -> None:
    store.save_record(record())
    for name in ("f1.json", "current.json"):
        path = store.folder("d", "a") / name
        path.write_text(path.read_text().replace('"v1"', '"v3"'))
    assert store.recorded("d", "a", "f1") is None
    with pytest.raises(ContractError, match=r"current\.json is damaged.*medfeat doctor --fix"):
        store.record("d", "a")


def test_what_a_killed_run_left_half_written_goes_with_the_next_writer(store: DatasetStore) -> None:
    folder = store.folder("d", "a")
    folder.mkdir(parents=True)
    mine, another = temporary_name(folder / "x.bin"), folder / ".not-ours.tmp"
    left = mine.with_name(mine.name.replace(f".{os.getpid()}.", f".{2**30}."))
    earlier = mine.with_name(mine.name.replace(f".{os.getpid()}.", f".{os.getppid()}."))
    for path in (mine, another, left, earlier):
        path.write_bytes(b"con")
    os.utime(earlier, (0, 0))  # before the process that has its number now began
    with store.lock("d", "a"):
        assert sorted(folder.glob(".*.tmp")) == sorted([mine, another])


def test_an_asset_that_was_never_made_says_how_to_make_it(store: DatasetStore) -> None:
    with pytest.raises(
        InputError, match=r"cae_model of d has not been materialised.*medfeat run d"
    ):
        store.need_record("d", "cae_model")


def test_the_latest_record_is_the_current_one_and_the_earlier_stays(store: DatasetStore) -> None:
    store.save_record(record())
    store.save_record(record(fingerprint="f2", data_version="v2"))
    assert store.need_record("d", "a").data_version == "v2"
    earlier = store.recorded("d", "a", "f1")
    assert earlier is not None
    assert earlier.data_version == "v1"
    assert store.assets_of("d") == ["a"]

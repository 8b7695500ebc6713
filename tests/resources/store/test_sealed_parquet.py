"""A table comes back as it was, a changed bit anywhere in the file is seen, and other tools read
it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.store.sealed_parquet import KEY, parquet_of, table_of

TABLE = pa.table({"name": ["a", None], "numbers": [[1.5, 2.5], []], KEY: ["0" * 64, KEY]})


def test_a_table_comes_back_and_is_ordinary_parquet(tmp_path: Path) -> None:
    data = parquet_of(TABLE)
    assert table_of(data).equals(TABLE)
    assert parquet_of(TABLE) == data
    (tmp_path / "t.parquet").write_bytes(data)
    assert pq.read_table(tmp_path / "t.parquet").equals(TABLE)
    assert list(pd.read_parquet(tmp_path / "t.parquet")["name"].notna()) == [True, False]


def test_a_changed_bit_in_any_byte_is_seen() -> None:
    data = parquet_of(TABLE)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"not those that were stored|carries no digest"):
            table_of(bytes(changed))


def test_what_carries_no_digest_is_refused() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(TABLE.drop_columns([KEY]), sink)
    for data in (b"", b"PAR1", sink.getvalue().to_pybytes()):
        with pytest.raises(ValueError, match=r"carries no digest"):
            table_of(data)


READS = """
import psutil, pyarrow as pa
from resources.store.sealed_parquet import parquet_of, table_of
data = parquet_of(pa.table({"a": range(100_000), "b": [str(i) for i in range(100_000)]}))
before = psutil.Process().num_threads()
assert table_of(data).num_rows == 100_000
print(psutil.Process().num_threads() - before)
"""


def test_no_thread_of_arrow_holds_the_bytes_when_python_ends() -> None:
    done = subprocess.run([sys.executable, "-c", READS], check=True, capture_output=True, text=True)
    assert done.stdout == "0\n"

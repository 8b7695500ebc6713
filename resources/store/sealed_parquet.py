"""Parquet that carries its own SHA-256: nothing else lists the index of the shards, and Parquet's
checksums leave its footer out.

The digest stands in the footer's key-value metadata, in the place of as many zeros over which it
was taken.
"""

import hashlib

import pyarrow as pa
import pyarrow.parquet as pq

KEY = "medfeat.sha256"
ZEROS = b"0" * 64
VALUE_HEADER = b"\x18\x40"
"""Of Thrift's compact protocol, between key and value: a string field of 64 bytes."""


def parquet_of(table: pa.Table) -> bytes:
    """A table as Parquet with its digest."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({KEY: ZEROS.decode()})
    data: bytes = sink.getvalue().to_pybytes()
    before, _, after = _around_digest(data)
    return before + hashlib.sha256(data).hexdigest().encode() + after


def table_of(data: bytes) -> pa.Table:
    """The table of :func:`parquet_of`.

    Raises:
        ValueError: its bytes are not those that were written.
    """
    before, digest, after = _around_digest(data)
    if hashlib.sha256(before + ZEROS + after).hexdigest().encode() != digest:
        raise ValueError("its bytes are not those that were stored")
    # By this thread alone: one of Arrow's own may let go of `data` only when Python is ending,
    # which aborts the process.
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)


def _around_digest(data: bytes) -> tuple[bytes, bytes, bytes]:
    head, found, tail = data.rpartition(KEY.encode() + VALUE_HEADER)
    if not found:
        raise ValueError("it carries no digest")
    return head + found, tail[: len(ZEROS)], tail[len(ZEROS) :]

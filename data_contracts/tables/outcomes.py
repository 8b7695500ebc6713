"""What decoding found of files, by their bytes: a cache, from which every scan takes what it knows.

It names no file and no person.
"""

from __future__ import annotations

import re

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import rows_where

_DIGEST = re.compile(r"[0-9a-f]{64}")

OUTCOMES = TableContract(
    name="decoding outcome",
    suffix=".outcomes",
    schema=pa.schema(
        [
            pa.field("file_sha256", pa.string(), nullable=False),  # of the bytes, hex
            # from 0; empty where the whole file is refused
            pa.field("frame", pa.int32(), nullable=True),
            pa.field("fault", pa.string(), nullable=True),  # why it cannot be used
            pa.field("notice", pa.string(), nullable=True),  # as in the manifest
            pa.field("slice_axis", pa.string(), nullable=True),  # as in the manifest
            pa.field("width", pa.int32(), nullable=True),  # upright pixels
            pa.field("height", pa.int32(), nullable=True),  # upright pixels
            pa.field("mode", pa.string(), nullable=True),  # as in the manifest
            pa.field("format", pa.string(), nullable=True),  # as in the manifest
            pa.field("pixel_mm", pa.float64(), nullable=True),  # as in the manifest
            pa.field("orientation", pa.int32(), nullable=True),  # EXIF orientation, 1..8
            pa.field("pixel_sha256", pa.string(), nullable=True),  # as in the manifest
            pa.field("perceptual_hash", pa.uint64(), nullable=True),  # as in the manifest
            # whether all decoded pixels are of one colour
            pa.field("constant", pa.bool_(), nullable=False),
        ]
    ),
    key=("file_sha256", "frame"),
    rules={
        "file_sha256 is 64 lower-case hexadecimal digits": rows_where(
            "file_sha256", lambda digest: not _DIGEST.fullmatch(digest)
        ),
        "a file without a frame has a fault": rows_where(
            ("frame", "fault"), lambda frame, fault: frame is None and fault is None
        ),
        "a frame has a size, a mode and a format": rows_where(
            ("frame", "width", "height", "mode", "format", "orientation"),
            lambda frame, *values: frame is not None and None in values,
        ),
        "a frame has a fault or the hash of its pixels": rows_where(
            ("fault", "pixel_sha256"), lambda fault, pixels: (fault is None) == (pixels is None)
        ),
    },
)
"""One row for each frame that was decoded, or for a file that is refused whole."""

"""Pairs of a training and a test image that show nearly the same picture."""

from __future__ import annotations

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import rows_where, within

NEAR_DUPLICATES = TableContract(
    name="near-duplicate",
    suffix=".near_duplicates.parquet",
    schema=pa.schema(
        [
            pa.field("train_id", pa.string(), nullable=False),  # image_id of the training image
            pa.field("test_id", pa.string(), nullable=False),  # image_id of the test image
            pa.field("train_path", pa.string(), nullable=False),  # as in the manifest
            pa.field("test_path", pa.string(), nullable=False),
            # number of differing bits of the perceptual hashes
            pa.field("distance", pa.int32(), nullable=False),
            pa.field("similarity", pa.float64(), nullable=False),  # cosine of the conv5 features
            # whether one is the mirror image of the other: left to right, upside down, or both
            pa.field("mirrored", pa.bool_(), nullable=False),
        ]
    ),
    key=("train_id", "test_id"),
    rules={
        "distance lies in 0..64": rows_where("distance", lambda bits: not within(bits, 0, 64)),
        "similarity lies in -1..1": rows_where(
            "similarity", lambda cosine: not within(cosine, -1.001, 1.001)
        ),
    },
)
"""One row for each pair of a training and a test image that are nearly the same picture."""

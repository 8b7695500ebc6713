"""Pairs of images that show nearly the same picture, where one may train and the other test."""

from __future__ import annotations

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import rows_where, within

NEAR_DUPLICATES = TableContract(
    name="near-duplicate",
    suffix=".near_duplicates.parquet",
    schema=pa.schema(
        [
            # image_id of the training image, or of an image of one fold
            pa.field("first_id", pa.string(), nullable=False),
            # image_id of the test image, or of an image of another fold
            pa.field("second_id", pa.string(), nullable=False),
            pa.field("first_path", pa.string(), nullable=False),  # as in the manifest
            pa.field("second_path", pa.string(), nullable=False),
            # correlation that three quarters of the details have at least
            pa.field("likeness", pa.float64(), nullable=False),
            # how the first becomes the second: mirrored left to right, then turned by so many
            # quarters against the clock, then black made white
            pa.field("mirrored", pa.bool_(), nullable=False),
            pa.field("quarter_turns", pa.int32(), nullable=False),
            pa.field("inverted", pa.bool_(), nullable=False),
        ]
    ),
    key=("first_id", "second_id"),
    rules={
        "likeness lies in 0..1": rows_where("likeness", lambda value: not within(value, 0, 1)),
        "quarter_turns lies in 0..3": rows_where(
            "quarter_turns", lambda turns: not within(turns, 0, 3)
        ),
    },
)
"""One row for each pair of a training and a test image, or of images of two folds."""

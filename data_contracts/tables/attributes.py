"""What users state of images in columns that they name: sex, site, scanner, age."""

from __future__ import annotations

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import rows_where

NOT_GIVEN = "not given"
"""Value of an image for which a column is not filled, in tables of subgroups."""

ATTRIBUTES = TableContract(
    name="attribute",
    suffix=".attributes.parquet",
    schema=pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),  # as in the manifest
            pa.field("name", pa.string(), nullable=False),  # name of the column, in lower case
            pa.field("value", pa.string(), nullable=False),  # the cell, or the bin that it lies in
        ]
    ),
    key=("image_id", "name"),
    rules={
        "name and value are not blank": rows_where(
            ("name", "value"), lambda name, value: not (name.strip() and value.strip())
        )
    },
)
"""One row for each image and named column that is filled."""

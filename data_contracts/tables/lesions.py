"""The result of the segmentation of each lesion."""

from __future__ import annotations

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import rows_where

LESIONS = TableContract(
    name="lesion",
    suffix=".lesions.parquet",
    schema=pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),  # as in the manifest
            # position of the centre in the region of interest, in pixels
            pa.field("center_row", pa.float64(), nullable=False),
            pa.field("center_column", pa.float64(), nullable=False),
            pa.field("marked", pa.bool_(), nullable=False),  # whether the manifest gave the centre
            pa.field("area_pixels", pa.int64(), nullable=False),  # 0 where there is no contour
            # reason why there is no contour; empty where there is one
            pa.field("fault", pa.string(), nullable=False),
        ]
    ),
    key=("image_id",),
    rules={
        "a lesion has a contour or a fault": rows_where(
            ("fault", "area_pixels"), lambda fault, area: (fault == "") != (area > 0)
        ),
        "the centre is not negative": rows_where("center_row", lambda row: not row >= 0),
    },
)
"""One row for each image: the contour that was found, or why there is none."""

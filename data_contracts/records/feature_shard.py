"""Layout of the HDF5 shards and of the Parquet index that lists them.

A shard is one HDF5 file, written once: ``/features`` (N, ...) with gzip, chunked by image (short
rows some to a chunk, long vectors by columns as well), and ``/image_id`` (N,) S64. Prepared images
and features share the layout and differ in dtype and shape. Attributes say how the numbers were
made. A shard that no index lists with its sha256 is never opened.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from data_contracts.errors import ContractError
from data_contracts.tables.contract import TableContract, rows_where

SHARD_ROWS = 1024
SHARD_BYTES = 2**29
"""A shard is made in memory: one of long rows holds fewer."""
CHUNK_BYTES = 2**15
"""Before packing, about: rows are read at random, and a chunk has a price of its own."""
CHUNK_NUMBERS = 2**16
"""Of a long row: a part of its columns is read without the rest."""
DATASET, IDS = "features", "image_id"
LAYOUT_VERSION = "2"

INDEX = TableContract(
    name="shard index",
    schema=pa.schema(
        [
            pa.field("shard", pa.string(), nullable=False),  # file name beside the index
            pa.field("rows", pa.int64(), nullable=False),
            pa.field("sha256", pa.string(), nullable=False),
            pa.field("bytes", pa.int64(), nullable=False),
            pa.field("image_ids", pa.list_(pa.string()), nullable=False),  # in row order
        ]
    ),
    key=("shard",),
    rules={
        "shard is a plain file name ending in .h5": rows_where(
            "shard", lambda v: "/" in str(v) or not str(v).endswith(".h5")
        ),
        "rows is between 1 and 1024": rows_where(
            "rows", lambda v: not 1 <= int(str(v)) <= SHARD_ROWS
        ),
        "image_ids has one entry a row": lambda t: [
            i
            for i, (n, ids) in enumerate(
                zip(t["rows"].to_pylist(), t["image_ids"].to_pylist(), strict=True)
            )
            if n != len(ids)
        ],
    },
)


class FeatureSet(BaseModel):
    """What decides the numbers in a shard, beside the images.

    Attributes:
        kind: asset that writes it.
        dtype: uint8 (prepared images), float16 or float32.
        row_shape: shape of one row, e.g. (256, 6, 6).
        preprocessing: settings of the image preparation.
        backbone: network name, or None for prepared images.
        weights_sha256: of the weights, or None.
        layer: tap of the network, or None.
        method: further settings (an encoder's, with the data version of what it was fitted on).
        code_version: of the method.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    dtype: Literal["uint8", "float16", "float32"]
    row_shape: tuple[int, ...]
    preprocessing: dict[str, Any]
    backbone: str | None = None
    weights_sha256: str | None = None
    layer: str | None = None
    method: dict[str, Any] = {}
    code_version: str

    @property
    def key(self) -> str:
        """16 hexadecimal digits: names the index file."""
        return _digest({"layout": LAYOUT_VERSION, **self.model_dump(mode="json")})

    def shard_key(self, image_ids: list[str]) -> str:
        """16 hexadecimal digits of the set and of the images in order: names the shard file."""
        return _digest({"set": self.key, "image_ids": image_ids})


def _digest(value: object) -> str:
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()[:16]


def check_rows(
    features: NDArray[Any], image_ids: list[str], feature_set: FeatureSet, where: str
) -> None:
    """Row rules of a shard.

    Raises:
        ContractError: rows and ids differ in number, an id is malformed or doubled, the shape or
            dtype is not the set's, or a number is not finite.
    """
    problems = []
    if len(features) != len(image_ids) or not len(image_ids):
        problems.append(
            f"one image_id a row and at least one row, found {len(features)} rows and {len(image_ids)} ids"
        )
    if features.shape[1:] != feature_set.row_shape:
        problems.append(f"a row has shape {feature_set.row_shape}, found {features.shape[1:]}")
    if features.dtype != np.dtype(feature_set.dtype):
        problems.append(f"dtype is {feature_set.dtype}, found {features.dtype}")
    if any(len(i) != 64 for i in image_ids) or len(set(image_ids)) != len(image_ids):
        problems.append("image ids are unique SHA-256 digests")
    if not problems and features.dtype.kind == "f" and not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features.reshape(len(features), -1)).all(axis=1))[0])
        problems.append(
            f"every number is finite, row {row} (image {image_ids[row][:12]}) has NaN or infinity"
        )
    if problems:
        raise ContractError(
            f"{where} breaks a rule of a {feature_set.kind} shard: {problems[0]}",
            "Materialise it again with force",
        )

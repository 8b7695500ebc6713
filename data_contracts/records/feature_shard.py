"""Layout of the HDF5 shards, and of the receipts and the index that list them.

A shard is one HDF5 file, written once: ``/features`` (N, ...) with gzip, chunked by image (several
short rows to a chunk, long vectors by columns as well), and ``/image_id`` (N,) S64. Prepared images
and features share the layout and differ in dtype and shape. Attributes are those of the feature
set, so equal rows of equal images are equal files; when and by what they were computed is in the
shard's entry. An entry is a file of its own, the receipt, until it is merged into the index; both
are JSON with its own digest. A shard that neither lists with its sha256 is never opened.
"""

from __future__ import annotations

from typing import Any, Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from data_contracts.errors import ContractError
from data_contracts.records.hashing import content_hash

SHARD_ROWS = 1024
"""Maximum rows in a shard."""
SHARD_BYTES = 2**29
"""Maximum unpacked bytes of a shard of several rows; it is built in memory."""
CHUNK_BYTES = 2**15
"""Target size in bytes of an unpacked chunk of short rows, which are read at random."""
CHUNK_NUMBERS = 2**16
"""Maximum numbers of a vector in a chunk: some columns are read without the rest."""
FeatureDtype: TypeAlias = Literal["float16", "float32"]
"""Number formats that features are stored in; a setting ``dtype`` offers them."""
StoredDtype: TypeAlias = Literal["uint8"] | FeatureDtype
"""Number formats of a shard: those of features, and bytes of prepared images."""
DATASET, IDS = "features", "image_id"
"""Names of the two HDF5 datasets of a shard: its numbers, and the image of each row."""
LAYOUT_VERSION = "2"
"""Version of the layout of shards; a change makes new keys, so old shards are computed again."""
RULES_VERSION = "1"
"""Version of the rules of :func:`check_rows`; a change has the rows of every shard read again."""


class ShardEntry(BaseModel):
    """Receipt of one shard, and its entry of the index.

    Attributes:
        shard: file name beside the index.
        rows: number of rows.
        sha256: of the file, hex.
        bytes: size of the file.
        image_ids: in row order.
        origin: when the rows were computed, and where it is known by which version of torch on
            which device; empty for shards of earlier versions, which hold that themselves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard: str = Field(pattern=r"^[^/]+\.h5$")
    rows: int = Field(ge=1, le=SHARD_ROWS)
    sha256: str
    bytes: int
    image_ids: list[str]
    origin: dict[str, Any] = {}

    @model_validator(mode="after")
    def _one_id_a_row(self) -> Self:
        if len(self.image_ids) != self.rows:
            raise ValueError(f"image_ids has one entry a row, found {len(self.image_ids)}")
        return self


class ShardIndex(BaseModel):
    """All shards of one feature set, sorted by file name.

    Attributes:
        shards: an entry each; no file name stands twice.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shards: list[ShardEntry]

    @field_validator("shards")
    @classmethod
    def _unique(cls, shards: list[ShardEntry]) -> list[ShardEntry]:
        if len({entry.shard for entry in shards}) != len(shards):
            raise ValueError("a shard is listed twice")
        return shards


class CheckedShard(BaseModel):
    """One shard whose rows obeyed the contract when they were last read back.

    Attributes:
        sha256: of the bytes that were read, hex.
        stamp: device, inode, size in bytes, and times of modification and of change in nanoseconds
            of the file when its bytes were last compared with that digest. None where the times
            were too young to tell a later change by.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    stamp: tuple[int, int, int, int, int] | None


class CheckedShards(BaseModel):
    """What the contract check of a feature set has read back, by name of the shard.

    Attributes:
        rules: version of the rules that the rows obeyed.
        shards: the last check of each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: str
    shards: dict[str, CheckedShard]


class FeatureSet(BaseModel):
    """Everything that determines the numbers in a shard, besides the images.

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
    dtype: StoredDtype
    row_shape: tuple[int, ...]
    preprocessing: dict[str, Any]
    backbone: str | None = None
    weights_sha256: str | None = None
    layer: str | None = None
    method: dict[str, Any] = {}
    code_version: str

    @property
    def key(self) -> str:
        """Name of the index file: 16 hexadecimal digits."""
        return content_hash({"layout": LAYOUT_VERSION, **self.model_dump(mode="json")})

    @property
    def preparation(self) -> dict[str, Any]:
        """Preprocessing of features computed from these prepared images: theirs, with their key."""
        return {**self.preprocessing, "prepared_by": self.key}

    def derived(
        self,
        kind: str,
        dtype: StoredDtype,
        row_shape: tuple[int, ...],
        method: dict[str, Any],
        code_version: str,
    ) -> FeatureSet:
        """Return the set of rows that are computed from the rows of this one.

        Its images, network, weights and layer are those of this set; ``method`` should name this
        set by its key.
        """
        return FeatureSet(
            kind=kind,
            dtype=dtype,
            row_shape=row_shape,
            preprocessing=self.preprocessing,
            backbone=self.backbone,
            weights_sha256=self.weights_sha256,
            layer=self.layer,
            method=method,
            code_version=code_version,
        )

    def shard_key(self, image_ids: list[str]) -> str:
        """Return the name of a shard file: 16 hexadecimal digits of the set and its images."""
        return content_hash({"set": self.key, "image_ids": image_ids})


def check_rows(
    features: NDArray[Any], image_ids: list[str], feature_set: FeatureSet, where: str
) -> None:
    """Check the rows of a shard before they are stored.

    Raises:
        ContractError: rows and ids differ in number, an id is malformed or doubled, the shape or
            dtype is not the set's, or a number is not finite.
    """
    problems = []
    if len(features) != len(image_ids) or not len(image_ids):
        problems.append(
            f"one image_id a row and at least one row, found {len(features)} rows and "
            f"{len(image_ids)} ids"
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

"""HDF5 shards of one (dataset, feature set): written once and whole, listed in an index, read by
image.

The rules and the measurements behind them are in docs/adr/0003.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.errors import ContractError
from data_contracts.records.feature_shard import (
    INDEX,
    SHARD_BYTES,
    SHARD_ROWS,
    FeatureSet,
    check_rows,
)
from data_contracts.records.output_record import StoredFile, content_hash
from resources.store.atomic_file import is_whole, write_atomically
from resources.store.dataset_store import MEND, DatasetStore
from resources.store.shard_file import ShardFile, shard_bytes

log = logging.getLogger("medfeat.features")

Produce = Callable[[list[str]], NDArray[Any]]


@dataclass(frozen=True)
class FeatureReader:
    """Rows of a feature set in canonical order (sorted image ids), whatever shards they lie in.

    Attributes:
        folder: of the shards.
        feature_set: what the rows are.
        image_ids: in row order.
    """

    folder: Path
    feature_set: FeatureSet
    image_ids: list[str]
    _place: dict[str, tuple[str, int]]
    _open: dict[str, ShardFile] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.image_ids)

    def take(self, positions: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Rows by position, in the order asked for, (m, ...)."""
        return self._take(positions, None, self.feature_set.row_shape)

    def columns(self, start: int, stop: int) -> NDArray[Any]:
        """Columns start .. stop - 1 of all rows of a set of vectors, (n, stop - start)."""
        return self._take(range(len(self)), slice(start, stop), (stop - start,))

    def _take(
        self,
        positions: Sequence[int] | NDArray[np.int64],
        columns: slice | None,
        shape: tuple[int, ...],
    ) -> NDArray[Any]:
        """Rows by position, or a part of each."""
        rows = np.empty((len(positions), *shape), self.feature_set.dtype)
        wanted: dict[str, list[tuple[int, int]]] = {}
        for target, position in enumerate(positions):
            shard, row = self._place[self.image_ids[int(position)]]
            wanted.setdefault(shard, []).append((row, target))
        for shard, pairs in wanted.items():
            source, targets = np.array(sorted(pairs)).T
            self._file(shard).read(source, rows, targets, columns)
        return rows

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Rows start .. stop - 1."""
        return self.take(range(start, min(stop, len(self))))

    def _file(self, shard: str) -> ShardFile:
        if shard not in self._open:
            self._open[shard] = ShardFile(self.folder / shard)
        return self._open[shard]

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()


@dataclass(frozen=True)
class FeatureStore:
    """Shards of one asset for one dataset."""

    store: DatasetStore
    dataset: str
    feature_set: FeatureSet

    @property
    def folder(self) -> Path:
        """Where index and shards lie."""
        return self.store.folder(self.dataset, self.feature_set.kind)

    @property
    def index_name(self) -> str:
        """File name of the index."""
        return f"{self.feature_set.key}.parquet"

    def data_version(self, image_ids: list[str]) -> str:
        """Version of the rows of ``image_ids``: what they were computed from, not how they lie in
        shards.
        """
        return content_hash({"set": self.feature_set.key, "image_ids": sorted(image_ids)})

    def _index(self) -> list[dict[str, Any]]:
        if not (self.folder / self.index_name).exists():
            return []
        rows: list[dict[str, Any]] = self.store.read_table(
            self.dataset, self.feature_set.kind, self.index_name, INDEX
        ).to_pylist()
        return rows

    def _save_index(self, rows: list[dict[str, Any]]) -> None:
        ordered = sorted(rows, key=lambda row: str(row["shard"]))
        table = pa.Table.from_pylist(ordered, schema=INDEX.schema)
        self.store.write_table(self.dataset, self.feature_set.kind, self.index_name, table, INDEX)

    def _is_whole(self, row: dict[str, Any]) -> bool:
        # A shard is called after its images: a row that was changed in the index is not that of any
        # shard.
        named = row["shard"] == f"{self.feature_set.shard_key(row['image_ids'])}.h5"
        file = StoredFile(name=row["shard"], sha256=row["sha256"], bytes=row["bytes"])
        return named and is_whole(self.folder / file.name, file)

    def _whole_rows(self) -> list[dict[str, Any]]:
        """Rows of the shards that are there and verified; what is damaged is named in the log."""
        try:
            index = self._index()
        except ContractError as error:
            log.warning("%s; its shards are computed again", error.what)
            return []
        whole = []
        for row in index:
            if self._is_whole(row):
                whole.append(row)
            else:
                log.warning("%s is missing or damaged and is computed again", row["shard"])
        return whole

    def missing(self, image_ids: list[str]) -> list[str]:
        """The images without a verified row, sorted."""
        return sorted(
            set(image_ids)
            - {image_id for row in self._whole_rows() for image_id in row["image_ids"]}
        )

    def fill(
        self,
        image_ids: list[str],
        produce: Produce,
        attributes: dict[str, Any],
        force: bool = False,
        progress: Callable[[list[list[str]]], Iterable[list[str]]] = iter,
    ) -> int:
        """Compute the rows that are not there, shard by shard; call it under the asset's lock.

        A shard's index row is written after the shard itself, so a kill loses at most the shard in
        work. Existing shards are not touched, unless by force: then one after another is replaced,
        each with the images that it holds.

        Args:
            image_ids: wanted images.
            produce: rows of some images in order, of the feature set's shape and dtype.
            attributes: stored with every shard, beside those of the feature set.
            force: compute all of ``image_ids`` again.
            progress: wraps the list of shards to compute.

        Returns:
            the number of rows computed.
        """
        index = {str(row["shard"]): row for row in self._whole_rows()}
        wanted = set(image_ids)
        new = sorted(
            wanted.difference(image_id for row in index.values() for image_id in row["image_ids"])
        )
        row_bytes = np.dtype(self.feature_set.dtype).itemsize * math.prod(
            self.feature_set.row_shape
        )
        step = min(SHARD_ROWS, max(SHARD_BYTES // row_bytes, 1))
        again = (
            {shard: [i for i in row["image_ids"] if i in wanted] for shard, row in index.items()}
            if force
            else {}
        )
        replaces = {ids[0]: shard for shard, ids in again.items() if ids}
        shards = [
            *filter(None, again.values()),
            *(new[i : i + step] for i in range(0, len(new), step)),
        ]
        for ids in progress(shards):
            entries = [self._write_shard(ids, produce(ids), attributes)]
            old = index.pop(replaces.get(ids[0], ""), None)
            left = sorted(set(old["image_ids"]).difference(ids)) if old else []
            # not wanted, and stored with those that are: they move to a shard of their own
            if left:
                entries.append(self._write_shard(left, self._stored_rows(left), {}))
            index |= {entry["shard"]: entry for entry in entries}
            self._save_index(list(index.values()))
            if old and old["shard"] not in index:
                # no index lists it any more, so nothing else would ever remove it
                (self.folder / old["shard"]).unlink()
        return sum(map(len, shards))

    def _write_shard(
        self, ids: list[str], rows: NDArray[Any], attributes: dict[str, Any]
    ) -> dict[str, Any]:
        """Write a shard; its row of the index is returned."""
        name = f"{self.feature_set.shard_key(ids)}.h5"
        check_rows(rows, ids, self.feature_set, name)
        everything = {
            **self.feature_set.model_dump(mode="json"),
            **attributes,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        written = write_atomically(self.folder / name, shard_bytes(rows, ids, everything))
        return {
            "shard": name,
            "rows": len(ids),
            "sha256": written.sha256,
            "bytes": written.bytes,
            "image_ids": ids,
        }

    def _stored_rows(self, image_ids: list[str]) -> NDArray[Any]:
        reader = self.reader(image_ids)
        try:
            return reader.rows(0, len(reader))
        finally:
            reader.close()

    def reader(self, image_ids: list[str]) -> FeatureReader:
        """A reader over ``image_ids``; every shard it needs is verified against the index first.

        Raises:
            ContractError: an image has no row, or a shard is missing or its bytes differ from the
                index.
        """
        place: dict[str, tuple[str, int]] = {}
        wanted = set(image_ids)
        for row in self._index():
            if wanted.isdisjoint(row["image_ids"]):
                continue
            if not self._is_whole(row):
                raise ContractError(
                    f"{self.folder / str(row['shard'])} is missing or its bytes are not those of the index",
                    MEND,
                )
            place.update(
                {image_id: (str(row["shard"]), i) for i, image_id in enumerate(row["image_ids"])}
            )
        absent = sorted(wanted - place.keys())
        if absent:
            raise ContractError(
                f"{len(absent)} of {len(wanted)} images have no row in {self.feature_set.kind} of {self.dataset}",
                f"Materialise {self.feature_set.kind} again",
            )
        return FeatureReader(self.folder, self.feature_set, sorted(wanted), place)

    def damaged(self) -> list[Path]:
        """What is missing or not as it was stored: the index, or shards that it lists."""
        try:
            index = self._index()
        except ContractError:
            return [self.folder / self.index_name]
        return [self.folder / str(row["shard"]) for row in index if not self._is_whole(row)]

    def stored_ids(self) -> list[list[str]]:
        """Images of each shard that the index lists."""
        return [list(row["image_ids"]) for row in self._index()]

    def stored_bytes(self) -> int:
        """Bytes of all listed shards."""
        return sum(int(row["bytes"]) for row in self._index())

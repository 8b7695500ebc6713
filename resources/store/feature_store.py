"""HDF5 shards of a dataset's feature set: written once, listed in an index, read by image.

The rules and the measurements behind them are in docs/adr/0003.
"""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_contracts.errors import ContractError
from data_contracts.records.feature_shard import (
    SHARD_BYTES,
    SHARD_ROWS,
    FeatureSet,
    ShardEntry,
    ShardIndex,
    check_rows,
)
from data_contracts.records.hashing import content_hash
from data_contracts.records.output_record import StoredFile
from data_contracts.records.sealed import sealed_json, unsealed_json
from resources.progress import in_shards
from resources.store.atomic_file import is_intact, write_atomically
from resources.store.dataset_store import MEND, DatasetStore, table_of
from resources.store.shard_file import ShardFile, shard_bytes

log = logging.getLogger("medfeat.features")

EARLIER_INDEX = ".parquet"
"""Suffix of the indexes of earlier versions; their shards' names and digests verify them."""
MAX_OPEN_SHARDS = 32
"""Maximum HDF5 files that a reader keeps open (about 1 MB of memory each)."""

Produce = Callable[[list[str]], NDArray[Any]]


@dataclass(frozen=True)
class FeatureReader:
    """Rows of a feature set in canonical order (sorted image ids), whichever shards hold them.

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
        """Return rows by position, in the order asked for, (m, ...)."""
        return self._take(positions, None, self.feature_set.row_shape)

    def columns(self, start: int, stop: int) -> NDArray[Any]:
        """Return columns start to stop - 1 of all rows of vectors, (n, stop - start)."""
        return self._take(range(len(self)), slice(start, stop), (stop - start,))

    def _take(
        self,
        positions: Sequence[int] | NDArray[np.int64],
        columns: slice | None,
        shape: tuple[int, ...],
    ) -> NDArray[Any]:
        """Return rows by position, or a part of each."""
        rows = np.empty((len(positions), *shape), self.feature_set.dtype)
        by_shard: dict[str, list[tuple[int, int]]] = {}
        for target, position in enumerate(positions):
            shard, row = self._place[self.image_ids[int(position)]]
            by_shard.setdefault(shard, []).append((row, target))
        for shard, pairs in by_shard.items():
            source, targets = np.array(sorted(pairs)).T
            self._file(shard).read(source, rows, targets, columns)
        return rows

    def rows(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows start to stop - 1."""
        return self.take(range(start, min(stop, len(self))))

    def _file(self, shard: str) -> ShardFile:
        """Return the shard, open; the ones used longest ago are closed."""
        file = self._open.pop(shard, None) or ShardFile(self.folder / shard)
        self._open[shard] = file  # the last used stands last
        if len(self._open) > MAX_OPEN_SHARDS:
            self._open.pop(next(iter(self._open))).close()
        return file

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
        """The folder of index and shards."""
        return self.store.folder(self.dataset, self.feature_set.kind)

    def data_version(self, image_ids: list[str]) -> str:
        """Return the version of the rows of ``image_ids``.

        It says what they were computed from, not how they lie in shards.
        """
        return content_hash({"set": self.feature_set.key, "image_ids": sorted(image_ids)})

    @property
    def index_path(self) -> Path:
        """The index; the Parquet file that earlier versions wrote, where there is no newer one."""
        path = self.folder / f"{self.feature_set.key}.index"
        earlier = path.with_suffix(EARLIER_INDEX)
        return earlier if earlier.exists() and not path.exists() else path

    def index(self) -> list[ShardEntry]:
        """Return what the index says of each shard; nothing where there is no index.

        Raises:
            ContractError: it cannot be read, or its bytes are not those that were stored.
        """
        path = self.index_path
        try:
            data = path.read_bytes()
            content = (
                {"shards": table_of(data).to_pylist()}
                if path.suffix == EARLIER_INDEX
                else unsealed_json(data)
            )
            return ShardIndex.model_validate(content).shards
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ContractError(f"{path} cannot be read ({error})", MEND) from error
        except (ValueError, pa.ArrowException) as error:
            raise ContractError(
                f"{path} is damaged: it is not the index that was stored", MEND
            ) from error

    def save_index(self, entries: Iterable[ShardEntry]) -> None:
        """Store the index that lists these shards."""
        index = ShardIndex(shards=sorted(entries, key=lambda entry: entry.shard))
        path = self.folder / f"{self.feature_set.key}.index"
        write_atomically(path, sealed_json(index.model_dump()))
        path.with_suffix(EARLIER_INDEX).unlink(missing_ok=True)

    def _is_intact(self, entry: ShardEntry) -> bool:
        # A shard is called after its images: an entry whose images were changed names no shard.
        named = entry.shard == f"{self.feature_set.shard_key(entry.image_ids)}.h5"
        file = StoredFile(name=entry.shard, sha256=entry.sha256, bytes=entry.bytes)
        return named and is_intact(self.folder / file.name, file)

    def _intact_entries(self) -> list[ShardEntry]:
        """Return the entries whose shards are verified; what is damaged is named in the log."""
        try:
            index = self.index()
        except ContractError as error:
            log.warning("%s; its shards are computed again", error.what)
            return []
        intact = []
        for entry in index:
            if self._is_intact(entry):
                intact.append(entry)
            else:
                log.warning("%s is missing or damaged and is computed again", entry.shard)
        return intact

    def missing(self, image_ids: list[str]) -> list[str]:
        """Return the images without a verified row, sorted."""
        stored = (i for entry in self._intact_entries() for i in entry.image_ids)
        return sorted(set(image_ids).difference(stored))

    def fill(
        self,
        image_ids: list[str],
        produce: Produce,
        attributes: dict[str, Any],
        force: bool = False,
        file_of: Mapping[str, str] | None = None,
    ) -> int:
        """Compute the missing rows, shard by shard; call it under the asset's lock.

        A shard's entry in the index is written after the shard itself, so a kill loses at most the
        shard being computed. Existing shards are not touched, unless by force: then one after
        another is replaced, each with the images that it holds.

        Args:
            image_ids: the images that must have a row afterwards.
            produce: rows of some images in order, of the feature set's shape and dtype.
            attributes: stored with every shard, besides those of the feature set.
            force: compute all of ``image_ids`` again.
            file_of: a name of the file that each image lies in, so that images of one file share
                shards and the file is opened for few of them. None where each is its own file.

        Returns:
            the number of rows computed.
        """
        index = {entry.shard: entry for entry in self._intact_entries()}
        asked = set(image_ids)
        new = sorted(
            asked.difference(i for entry in index.values() for i in entry.image_ids),
            key=lambda i: (i if file_of is None else file_of[i], i),
        )
        row_bytes = np.dtype(self.feature_set.dtype).itemsize * math.prod(
            self.feature_set.row_shape
        )
        step = min(SHARD_ROWS, max(SHARD_BYTES // row_bytes, 1))
        again = (
            {shard: [i for i in entry.image_ids if i in asked] for shard, entry in index.items()}
            if force
            else {}
        )
        replaces = {ids[0]: shard for shard, ids in again.items() if ids}
        shards = [
            *filter(None, again.values()),
            *(new[i : i + step] for i in range(0, len(new), step)),
        ]
        with in_shards(sum(map(len, shards))) as stored:
            for ids in shards:
                entries = [self._write_shard(ids, produce(ids), attributes)]
                old = index.pop(replaces.get(ids[0], ""), None)
                left = sorted(set(old.image_ids).difference(ids)) if old else []
                # not asked for, and stored with those that are: they move to a shard of their own
                if left:
                    entries.append(self._write_shard(left, self._stored_rows(left), {}))
                index |= {entry.shard: entry for entry in entries}
                self.save_index(index.values())
                if old and old.shard not in index:
                    # no index lists it any more, so nothing else would ever remove it
                    (self.folder / old.shard).unlink()
                stored(len(ids))
        return sum(map(len, shards))

    def _write_shard(
        self, ids: list[str], rows: NDArray[Any], attributes: dict[str, Any]
    ) -> ShardEntry:
        """Write a shard and return its entry in the index."""
        name = f"{self.feature_set.shard_key(ids)}.h5"
        check_rows(rows, ids, self.feature_set, name)
        everything = {
            **self.feature_set.model_dump(mode="json"),
            **attributes,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        written = write_atomically(self.folder / name, shard_bytes(rows, ids, everything))
        return ShardEntry(
            shard=name,
            rows=len(ids),
            sha256=written.sha256,
            bytes=written.bytes,
            image_ids=ids,
        )

    def _stored_rows(self, image_ids: list[str]) -> NDArray[Any]:
        reader = self.reader(image_ids)
        try:
            return reader.rows(0, len(reader))
        finally:
            reader.close()

    def reader(self, image_ids: list[str]) -> FeatureReader:
        """Return a reader of ``image_ids``, its shards verified against the index.

        Raises:
            ContractError: an image has no row, or a shard is missing or its bytes differ from the
                index.
        """
        place: dict[str, tuple[str, int]] = {}
        asked = set(image_ids)
        for entry in self.index():
            if asked.isdisjoint(entry.image_ids):
                continue
            if not self._is_intact(entry):
                raise ContractError(
                    f"{self.folder / entry.shard} is missing or its bytes are not those of the "
                    "index",
                    MEND,
                )
            place.update({image_id: (entry.shard, i) for i, image_id in enumerate(entry.image_ids)})
        absent = sorted(asked - place.keys())
        if absent:
            raise ContractError(
                f"{len(absent)} of {len(asked)} images have no row in {self.feature_set.kind} of "
                f"{self.dataset}",
                f"Materialise {self.feature_set.kind} again",
            )
        return FeatureReader(self.folder, self.feature_set, sorted(asked), place)

    def damaged(self) -> list[Path]:
        """Return what is missing or not as it was stored: the index, or shards that it lists."""
        try:
            index = self.index()
        except ContractError:
            return [self.index_path]
        return [self.folder / entry.shard for entry in index if not self._is_intact(entry)]

    def stored_bytes(self) -> int:
        """Return the size of all listed shards in bytes."""
        return sum(entry.bytes for entry in self.index())

    def stored_megabytes(self) -> float:
        """Return the size of all listed shards in megabytes, to a tenth."""
        return round(self.stored_bytes() / 1e6, 1)

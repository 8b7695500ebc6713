"""HDF5 shards of a dataset's feature set: written once, listed, checked, read by image.

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
from numpy.typing import NDArray

from data_contracts.errors import ContractError
from data_contracts.records.feature_shard import (
    SHARD_BYTES,
    SHARD_ROWS,
    FeatureSet,
    ShardEntry,
    check_rows,
)
from data_contracts.records.hashing import content_hash
from data_contracts.records.output_record import StoredFile
from resources.progress import in_shards
from resources.store.atomic_file import is_intact, write_atomically
from resources.store.checked_shards import CheckedList
from resources.store.dataset_store import MEND, DatasetStore
from resources.store.shard_file import ShardFile, shard_bytes
from resources.store.shard_index import ShardList

log = logging.getLogger("medfeat.features")

MERGE_SHARDS = 256
"""Maximum number of receipts before they are merged into the index."""
MAX_OPEN_SHARDS = 32
"""Maximum HDF5 files that a reader keeps open (about 1 MB of memory each)."""

CHECKED_ROWS = 256
"""Number of rows that a check holds in memory at once."""

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
    def _list(self) -> ShardList:
        return ShardList(self.folder, self.feature_set.key)

    @property
    def index_path(self) -> Path:
        """The index; the Parquet file that earlier versions wrote, where there is no newer one."""
        return self._list.index_path

    def index(self) -> list[ShardEntry]:
        """Return what the index and the receipts say of each shard; nothing where there are none.

        Raises:
            ContractError: one cannot be read, or its bytes are not those that were stored.
        """
        listed = self._list.read()
        for error in listed.damaged.values():
            raise error
        return listed.entries

    def save_index(self, entries: Iterable[ShardEntry]) -> None:
        """Store the index that lists these shards, and remove the receipts."""
        self._list.replace(entries)

    def _is_named(self, entry: ShardEntry) -> bool:
        """Tell whether a shard is called after its images; one whose entry was changed is not."""
        return entry.shard == f"{self.feature_set.shard_key(entry.image_ids)}.h5"

    def _is_intact(self, entry: ShardEntry) -> bool:
        file = StoredFile(name=entry.shard, sha256=entry.sha256, bytes=entry.bytes)
        return self._is_named(entry) and is_intact(self.folder / file.name, file)

    def _is_kept(self, entry: ShardEntry, checked: CheckedList) -> bool:
        """Tell whether a shard is intact; one whose file did not change is not hashed again."""
        return self._is_known(entry, checked) or self._is_intact(entry)

    def _is_known(self, entry: ShardEntry, checked: CheckedList) -> bool:
        """Tell whether a shard is the one that was read back and obeyed the contract."""
        return self._is_named(entry) and checked.is_unchanged(entry)

    def _intact_entries(self) -> list[ShardEntry]:
        """Return the entries whose shards are verified; what is damaged is named in the log."""
        listed, checked = self._list.read(), CheckedList(self.folder, self.feature_set.key)
        for error in listed.damaged.values():
            log.warning("%s; its shards are computed again", error.what)
        intact = []
        for entry in listed.entries:
            if self._is_kept(entry, checked):
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
        origin: dict[str, Any],
        force: bool = False,
        file_of: Mapping[str, str] | None = None,
        rows_a_shard: int | None = None,
    ) -> int:
        """Compute the missing rows, shard by shard; call it under the asset's lock.

        A shard's receipt is written after the shard itself, so a kill loses at most the shard being
        computed; receipts are merged into the index every MERGE_SHARDS shards and at the end.
        Existing shards are not touched, unless by force: then one after another is replaced, each
        with the images that it holds.

        Args:
            image_ids: the images that must have a row afterwards.
            produce: rows of some images in order, of the feature set's shape and dtype.
            origin: what computes the rows (version of torch, device), for the shards' entries.
            force: compute all of ``image_ids`` again.
            file_of: a name of the file that each image lies in, so that images of one file share
                shards and the file is opened for few of them. None where each is its own file.
            rows_a_shard: maximum rows of a new shard; None for what its bytes allow.

        Returns:
            the number of rows computed.
        """
        index = {entry.shard: entry for entry in self._intact_entries()}
        if self._list.receipts():  # of a run that was killed
            self.save_index(index.values())
        asked = set(image_ids)
        new = sorted(
            asked.difference(i for entry in index.values() for i in entry.image_ids),
            key=lambda i: (i if file_of is None else file_of[i], i),
        )
        again = (
            {shard: [i for i in entry.image_ids if i in asked] for shard, entry in index.items()}
            if force
            else {}
        )
        replaces = {ids[0]: shard for shard, ids in again.items() if ids}
        step = self._rows_a_shard(rows_a_shard)
        shards = [
            *filter(None, again.values()),
            *(new[i : i + step] for i in range(0, len(new), step)),
        ]
        with in_shards(sum(map(len, shards))) as stored:
            for number, ids in enumerate(shards, start=1):
                entry = self._write_shard(ids, produce(ids), origin)
                old = index.pop(replaces.get(ids[0], ""), None)
                index[entry.shard] = entry
                if old is not None and old.shard != entry.shard:
                    self._retire(old, ids, index)
                else:
                    self._list.add(entry)
                if number % MERGE_SHARDS == 0 or number == len(shards):
                    self.save_index(index.values())
                stored(len(ids))
        return sum(map(len, shards))

    def _rows_a_shard(self, most: int | None) -> int:
        """Return how many rows a shard of this set holds, at most ``most``."""
        row_bytes = np.dtype(self.feature_set.dtype).itemsize * math.prod(
            self.feature_set.row_shape
        )
        return min(most or SHARD_ROWS, SHARD_ROWS, max(SHARD_BYTES // row_bytes, 1))

    def _retire(self, old: ShardEntry, replaced: list[str], index: dict[str, ShardEntry]) -> None:
        """Take a shard out of the store of which some images, ``replaced``, have new rows.

        Its other images, which were not asked for, move to a shard of their own.

        Args:
            old: entry of the shard.
            replaced: images whose new rows are stored.
            index: every other shard; the one of the images that were left is added.
        """
        left = sorted(set(old.image_ids).difference(replaced))
        entry = self._write_shard(left, self._stored_rows(left), old.origin)
        index[entry.shard] = entry
        self.save_index(index.values())
        # no index lists it any more, so nothing else would ever remove it
        (self.folder / old.shard).unlink()

    def _write_shard(
        self, ids: list[str], rows: NDArray[Any], origin: dict[str, Any]
    ) -> ShardEntry:
        """Write a shard and return its entry."""
        name = f"{self.feature_set.shard_key(ids)}.h5"
        check_rows(rows, ids, self.feature_set, name)
        data = shard_bytes(rows, ids, self.feature_set.model_dump(mode="json"))
        written = write_atomically(self.folder / name, data)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return ShardEntry(
            shard=name,
            rows=len(ids),
            sha256=written.sha256,
            bytes=written.bytes,
            image_ids=ids,
            origin={"created": now, **origin},
        )

    def _stored_rows(self, image_ids: list[str]) -> NDArray[Any]:
        reader = self.reader(image_ids)
        try:
            return reader.rows(0, len(reader))
        finally:
            reader.close()

    def _holders(self, asked: set[str]) -> list[ShardEntry]:
        """Return the entries of the shards that hold the rows of some images.

        Raises:
            ContractError: an image has no row, or the index or a receipt is damaged.
        """
        entries = [entry for entry in self.index() if not asked.isdisjoint(entry.image_ids)]
        absent = asked.difference(*(entry.image_ids for entry in entries))
        if absent:
            raise ContractError(
                f"{len(absent)} of {len(asked)} images have no row in {self.feature_set.kind} of "
                f"{self.dataset}",
                f"Materialise {self.feature_set.kind} again",
            )
        return entries

    def _need_intact(self, entry: ShardEntry) -> None:
        if not self._is_intact(entry):
            raise ContractError(
                f"{self.folder / entry.shard} is missing or its bytes are not those of the index",
                MEND,
            )

    def reader(self, image_ids: list[str]) -> FeatureReader:
        """Return a reader of ``image_ids``, its shards verified against the index.

        Raises:
            ContractError: an image has no row, or a shard is missing or its bytes differ from the
                index.
        """
        place: dict[str, tuple[str, int]] = {}
        asked = set(image_ids)
        for entry in self._holders(asked):
            self._need_intact(entry)
            place.update({image_id: (entry.shard, i) for i, image_id in enumerate(entry.image_ids)})
        return FeatureReader(self.folder, self.feature_set, sorted(asked), place)

    def check(self, image_ids: list[str]) -> int:
        """Read the rows of ``image_ids`` back and check them, as far as they are new.

        A shard whose rows obeyed the contract once is not unpacked again while its digest is the
        same, and is not hashed again while its file is the same by inode, size and times.

        Returns:
            the number of rows that were read.

        Raises:
            ContractError: an image has no row, a shard is missing or its bytes differ from the
                index, or a row breaks a rule.
        """
        checked, read = CheckedList(self.folder, self.feature_set.key), 0
        entries = self._holders(set(image_ids))
        for entry in entries:
            if self._is_known(entry, checked):
                continue
            stamp = checked.stamp_of(entry)
            self._need_intact(entry)
            if not checked.obeyed(entry):
                self._check_rows(entry)
                read += entry.rows
            checked.add(entry, stamp)
        checked.save({entry.shard for entry in entries})
        return read

    def _check_rows(self, entry: ShardEntry) -> None:
        """Read the rows of a verified shard and check them."""
        place = {image_id: (entry.shard, i) for i, image_id in enumerate(entry.image_ids)}
        reader = FeatureReader(self.folder, self.feature_set, entry.image_ids, place)
        where = f"{self.feature_set.kind} of {self.dataset}"
        try:
            for start in range(0, len(reader), CHECKED_ROWS):
                ids = reader.image_ids[start : start + CHECKED_ROWS]
                rows = reader.rows(start, start + CHECKED_ROWS)
                check_rows(rows, ids, self.feature_set, where)
        finally:
            reader.close()

    def damaged(self) -> list[Path]:
        """Return what is missing or not as it was stored: index, receipts, shards that they list.

        Every byte is read, and the list of checked shards with them.
        """
        listed, checked = self._list.read(), CheckedList(self.folder, self.feature_set.key)
        return [
            *listed.damaged,
            *([checked.path] if checked.is_damaged else []),
            *(self.folder / entry.shard for entry in listed.entries if not self._is_intact(entry)),
        ]

    def stored_bytes(self) -> int:
        """Return the size of all listed shards in bytes."""
        return sum(entry.bytes for entry in self.index())

    def stored_megabytes(self) -> float:
        """Return the size of all listed shards in megabytes, to a tenth."""
        return round(self.stored_bytes() / 1e6, 1)

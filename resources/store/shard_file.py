"""One HDF5 shard: made in memory, and read by row. The rules and the measurements behind them are
in docs/adr/0003.

Chunks are packed and unpacked here, side by side, by ISA-L's gzip, and handed to HDF5 as they are:
writing takes a sixth of what HDF5's own gzip takes on two cores. The file is an ordinary one: any
HDF5 library with gzip, all of them have it, reads it.
"""

import os

# no filter plug-ins from the environment; must precede h5py
os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")

import itertools
import json
import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from numpy.typing import NDArray

from data_contracts.errors import ContractError
from data_contracts.records.feature_shard import CHUNK_BYTES, CHUNK_NUMBERS, DATASET, IDS
from resources.cores import cores

T = TypeVar("T")
MOST_DEALT = 32
GZIP_LEVEL = 2
"""Of ISA-L's 0 to 3: packs real features within 3 % of zlib's level 4; 3 is half as fast and packs
no tighter."""


def _chunk_shape(features: NDArray[Any]) -> tuple[int, ...]:
    row = (min(CHUNK_NUMBERS, features.shape[1]),) if features.ndim == 2 else features.shape[1:]
    row_bytes = features.itemsize * math.prod(row)
    return (min(max(CHUNK_BYTES // max(row_bytes, 1), 1), len(features)), *row)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), "shard")


os.register_at_fork(after_in_child=_threads.cache_clear)  # the threads themselves stay behind


def _dealt(chunks: list[T]) -> list[list[T]]:
    """In parts for the threads: one chunk at a time would cost as much in handing out as in
    packing.
    """
    size = min(max(len(chunks) // (2 * cores()), 1), MOST_DEALT)
    return [chunks[first : first + size] for first in range(0, len(chunks), size)]


def _packed(features: NDArray[Any], chunk: tuple[int, ...], place: tuple[int, ...]) -> bytes:
    """The chunk at ``place``, filled up with zeros where it sticks out."""
    part = features[
        tuple(slice(start, start + side) for start, side in zip(place, chunk, strict=True))
    ]
    if part.shape != chunk:
        part = np.pad(
            part, [(0, side - have) for side, have in zip(chunk, part.shape, strict=True)]
        )
    packed: bytes = isal_zlib.compress(np.ascontiguousarray(part), GZIP_LEVEL)
    return packed


def shard_bytes(features: NDArray[Any], image_ids: list[str], attributes: dict[str, Any]) -> bytes:
    """The HDF5 file as bytes, built in memory (a full disk makes h5py end the process)."""
    chunk = _chunk_shape(features)
    places = list(
        itertools.product(
            *(range(0, n, side) for n, side in zip(features.shape, chunk, strict=True))
        )
    )
    with h5py.File(
        "shard",
        "w",
        driver="core",
        backing_store=False,
        libver=("earliest", "v110"),
        track_order=False,
    ) as file:
        data = file.create_dataset(
            DATASET,
            features.shape,
            features.dtype,
            chunks=chunk,
            compression="gzip",
            fillvalue=0,
            track_times=False,
        )
        dealt = _dealt(places)
        packed = _threads().map(
            lambda some: [_packed(features, chunk, place) for place in some], dealt
        )
        for some, parts in zip(dealt, packed, strict=True):
            for place, part in zip(some, parts, strict=True):
                data.id.write_direct_chunk(place, part)
        file.create_dataset(IDS, data=np.array(image_ids, dtype="S64"), track_times=False)
        for name, value in sorted(attributes.items()):
            file.attrs[name] = (
                str(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)
            )
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def guarded(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """The dataset ``name`` of an open shard, refused unless its bytes lie in this very file.

    Raises:
        ContractError: a soft or external link, external or virtual storage, an odd dtype or filter,
            or a declared size far above what is stored.
    """
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise ContractError(
            f"{where}: /{name} is not stored in the file itself",
            "Delete the file and materialise again",
        )
    data = file[name]
    stored = max(data.id.get_storage_size(), 1)
    filters = data.id.get_create_plist()
    known = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    if (
        data.external
        or data.is_virtual
        or data.dtype.kind not in "fuS"
        or known not in ([], [h5py.h5z.FILTER_DEFLATE])
    ):
        raise ContractError(
            f"{where}: /{name} has external storage or a type that is not allowed",
            "Delete the file and materialise again",
        )
    if data.nbytes > 4 * 2**30 or data.nbytes > 2000 * stored:
        raise ContractError(
            f"{where}: /{name} declares {data.nbytes:,} bytes and stores {stored:,}",
            "Delete the file and materialise again",
        )
    return data


class ShardFile:
    """Rows of one shard. HDF5 says where its chunks lie, and is closed again: of a hundred shards
    it would hold 270 MB.

    Args:
        path: of a file whose bytes have been verified.

    Raises:
        ContractError: it is no HDF5 file, see :func:`guarded`, or the rows are not packed in chunks
            as they are written here.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            file = h5py.File(path, "r", locking=False, driver="sec2")
        except OSError as error:
            raise ContractError(
                f"{path.name} cannot be opened as HDF5 ({error})",
                "Delete the file and materialise again",
            ) from error
        with file:
            data = guarded(file, DATASET, path.name)
            self._shape, self._dtype, self._chunk = data.shape, data.dtype, data.chunks
            if (
                self._chunk is None
                or data.compression != "gzip"
                or any(np.greater(self._chunk, self._shape))
            ):
                raise self._odd()  # a chunk larger than its rows unpacks to gigabytes
            if data.ndim < 2 or (data.ndim > 2 and self._chunk[1:] != self._shape[1:]):
                raise self._odd()
            found: list[Any] = []
            try:
                data.id.chunk_iter(found.append)
            except (OSError, RuntimeError) as error:
                raise self._odd() from error
            self._descriptor = os.dup(file.id.get_vfd_handle())
        grid = [-(-n // side) for n, side in zip(self._shape, self._chunk, strict=True)]
        if len(found) != math.prod(grid):
            raise self._odd()
        masks, starts, sizes = np.array([chunk[1:] for chunk in found], np.int64).T
        if masks.any() or (starts + sizes).max() > os.fstat(self._descriptor).st_size:
            raise self._odd()
        row, column = (np.array([chunk.chunk_offset[:2] for chunk in found]) // self._chunk[:2]).T
        self._stored = np.zeros((*grid[:2], 2), np.int64)
        """First byte of each chunk, and how many they are, by its row and column of chunks."""
        self._stored[row, column] = np.stack([starts, sizes], axis=1)

    def _odd(self) -> ContractError:
        return ContractError(
            f"{self._name}: its rows are not packed as this version packs them",
            "Materialise again with force",
        )

    def read(
        self,
        rows: NDArray[np.int64],
        taken: NDArray[Any],
        places: NDArray[np.int64],
        columns: slice | None = None,
    ) -> None:
        """Put rows into ``taken``; of a table of vectors perhaps some columns only.

        Args:
            rows: (m,) positions in the shard, ascending.
            taken: (n, ...) of the rows' dtype.
            places: (m,) where in ``taken`` each goes.
            columns: of vectors; None for all.

        Raises:
            ContractError: the rows have another type or shape than ``taken``, or a chunk does not
                hold what it should.
        """
        wide = (columns.stop - columns.start,) if columns else self._shape[1:]
        if (
            self._dtype != taken.dtype
            or wide != taken.shape[1:]
            or (columns and columns.stop > self._shape[1])
        ):
            raise self._odd()
        dealt = _dealt(self._chunks(rows, columns))
        for _ in _threads().map(
            lambda some: self._unpack(some, rows, taken, places, columns), dealt
        ):
            pass

    def _chunks(
        self, rows: NDArray[np.int64], columns: slice | None
    ) -> list[tuple[int, int, slice]]:
        """First row and column of every chunk that is needed, and which of ``rows`` are in it."""
        table, high = len(self._shape) == 2, self._chunk[0]
        wide = self._chunk[1] if table else 1
        start, stop = (
            (columns.start, columns.stop) if columns else (0, self._shape[1] if table else 1)
        )
        firsts, edges = np.unique(rows // high, return_index=True)
        return [
            (int(first) * high, column, slice(int(low), int(above)))
            for first, low, above in zip(firsts, edges, [*edges[1:], len(rows)], strict=True)
            for column in range(start // wide * wide, stop, wide)
        ]

    def _unpack(
        self,
        chunks: list[tuple[int, int, slice]],
        rows: NDArray[np.int64],
        taken: NDArray[Any],
        places: NDArray[np.int64],
        columns: slice | None,
    ) -> None:
        """What :meth:`read` does, of some chunks."""
        shape, dtype = self._chunk, self._dtype
        n_bytes = dtype.itemsize * math.prod(shape)
        for row, column, which in chunks:
            start, size = self._stored[row // shape[0], column // shape[1]].tolist()
            try:
                stream = isal_zlib.decompressobj()
                # One more, or the checksum is not looked at.
                unpacked = stream.decompress(os.pread(self._descriptor, size, start), n_bytes + 1)
            except (OSError, IsalError) as error:  # type: ignore[misc]  # its stub calls it an instance
                raise self._odd() from error
            if len(unpacked) != n_bytes or not stream.eof:
                raise self._odd()
            values = np.frombuffer(unpacked, dtype).reshape(shape)
            from_, to = slice(None), slice(None)
            if len(shape) == 2:
                wanted = columns or slice(0, self._shape[1])
                low, high = max(wanted.start, column), min(wanted.stop, column + shape[1])
                from_, to = (
                    slice(low - column, high - column),
                    slice(low - wanted.start, high - wanted.start),
                )
            for source, target in zip(rows[which] - row, places[which], strict=True):
                taken[target, to] = values[source, from_]

    def close(self) -> None:
        """Close the file; it may have been closed before."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            self.close()

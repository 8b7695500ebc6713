"""One HDF5 shard, made in memory and read by row (docs/adr/0003 has the rules and measurements).

h5py writes it and finds its chunks. Chunks are unpacked here: HDF5 2.0 ends the process where a
crafted chunk unpacks to fewer bytes than its rows take.
"""

import os

# no filter plug-ins from the environment; must precede h5py
os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")

import json
import math
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import ContractError
from data_contracts.records.feature_shard import CHUNK_BYTES, CHUNK_NUMBERS, DATASET, IDS

GZIP_LEVEL = 2
"""Level of zlib: real features pack as tightly as at the default 4, in a quarter less time."""
MAX_DATASET_BYTES = 4 * 2**30
"""Maximum unpacked size of a dataset in a shard, in bytes."""
MAX_GZIP_RATIO = 2000
"""Maximum ratio of unpacked to stored bytes; deflate itself reaches 1032."""


def _chunk_shape(features: NDArray[Any]) -> tuple[int, ...]:
    row = (min(CHUNK_NUMBERS, features.shape[1]),) if features.ndim == 2 else features.shape[1:]
    row_bytes = features.itemsize * math.prod(row)
    return (min(max(CHUNK_BYTES // max(row_bytes, 1), 1), len(features)), *row)


def shard_bytes(features: NDArray[Any], image_ids: list[str], attributes: dict[str, Any]) -> bytes:
    """Return an HDF5 file as bytes, built in memory: a full disk makes h5py end the process."""
    with h5py.File(
        "shard",
        "w",
        driver="core",
        backing_store=False,
        libver=("earliest", "v110"),
        track_order=False,
    ) as file:
        file.create_dataset(
            DATASET,
            data=features,
            chunks=_chunk_shape(features),
            compression="gzip",
            compression_opts=GZIP_LEVEL,
            fillvalue=0,
            track_times=False,
        )
        file.create_dataset(IDS, data=np.array(image_ids, dtype="S64"), track_times=False)
        for name, value in sorted(attributes.items()):
            file.attrs[name] = (
                str(value) if isinstance(value, str) else json.dumps(value, sort_keys=True)
            )
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def guarded(file: h5py.File, name: str, where: str) -> h5py.Dataset:
    """Return the dataset ``name`` of an open shard if its bytes lie in this very file.

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
    if data.nbytes > MAX_DATASET_BYTES or data.nbytes > MAX_GZIP_RATIO * stored:
        raise ContractError(
            f"{where}: /{name} declares {data.nbytes:,} bytes and stores {stored:,}",
            "Delete the file and materialise again",
        )
    return data


class ShardFile:
    """An open shard, read by row.

    Args:
        path: of a file whose bytes have been verified.

    Raises:
        ContractError: it is no HDF5 file, see :func:`guarded`, or the rows are not packed in chunks
            as they are written here.
    """

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            # A chunk cache would hold unused memory: chunks are read past it.
            self._file = h5py.File(path, "r", locking=False, driver="sec2", rdcc_nbytes=0)
        except OSError as error:
            raise ContractError(
                f"{path.name} cannot be opened as HDF5 ({error})",
                "Delete the file and materialise again",
            ) from error
        try:
            self._data = guarded(self._file, DATASET, path.name)
            self._shape, self._dtype = self._data.shape, self._data.dtype
            self._chunk = self._data.chunks
            if (
                self._data.ndim < 2
                or self._chunk is None
                or self._data.compression != "gzip"
                # a chunk larger than its rows unpacks to gigabytes
                or any(np.greater(self._chunk, self._shape))
                or (self._data.ndim > 2 and self._chunk[1:] != self._shape[1:])
            ):
                raise self._odd()
        except ContractError:
            self.close()
            raise

    def _odd(self) -> ContractError:
        return ContractError(
            f"{self._name}: its rows are not packed as this version packs them",
            "Materialise again with force",
        )

    def read(
        self,
        rows: NDArray[np.int64],
        result: NDArray[Any],
        places: NDArray[np.int64],
        columns: slice | None = None,
    ) -> None:
        """Put rows into ``result``; of a table of vectors perhaps some columns only.

        Args:
            rows: (m,) positions in the shard, ascending.
            result: (n, ...) of the rows' dtype.
            places: (m,) where in ``result`` each goes.
            columns: start and stop among a vector's numbers; None for all.

        Raises:
            ContractError: the rows have another type or shape than ``result``, or a chunk does not
                hold what it should.
        """
        wide = (columns.stop - columns.start,) if columns else self._shape[1:]
        if (
            self._dtype != result.dtype
            or wide != result.shape[1:]
            or (columns and columns.stop > self._shape[1])
        ):
            raise self._odd()
        height, width = self._chunk[:2]
        asked = columns or slice(0, self._shape[1])
        firsts, edges = np.unique(rows // height, return_index=True)
        for first, low, high in zip(firsts * height, edges, [*edges[1:], len(rows)], strict=True):
            for column in range(asked.start // width * width, asked.stop, width):
                start, stop = max(asked.start, column), min(asked.stop, column + width)
                to = slice(start - asked.start, stop - asked.start)
                values = self._unpacked(int(first), column)[:, start - column : stop - column]
                result[places[low:high], to] = values[rows[low:high] - first]

    def _unpacked(self, row: int, column: int) -> NDArray[Any]:
        """Return the chunk that begins at ``row`` and ``column``, of the shape of a chunk."""
        n_bytes = self._dtype.itemsize * math.prod(self._chunk)
        place = (row, column, *(0 for _ in self._shape[2:]))
        try:
            stored = self._data.id.get_chunk_info_by_coord(place)
            if stored.byte_offset is None or stored.size > self._file.id.get_filesize():
                raise self._odd()
            mask, packed = self._data.id.read_direct_chunk(place)
            stream = zlib.decompressobj()
            # One more, or the checksum is not looked at.
            unpacked = stream.decompress(packed, n_bytes + 1)
        except (OSError, RuntimeError, zlib.error) as error:
            raise self._odd() from error
        if mask or len(unpacked) != n_bytes or not stream.eof:
            raise self._odd()
        return np.frombuffer(unpacked, self._dtype).reshape(self._chunk)

    def close(self) -> None:
        """Close the file; it may have been closed before."""
        self._file.close()

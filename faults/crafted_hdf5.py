"""Crafted HDF5 shards, whose author could write the index too, so that their checksum is right."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from faults.crafted_ground import FEATURES, GOOD, NAME, Ground, refused
from resources.store.atomic_file import file_sha256
from resources.store.feature_store import FeatureStore

IDS = sorted(hashlib.sha256(str(number).encode()).hexdigest() for number in range(GOOD))
SHAPE = (GOOD, *FEATURES.row_shape)
CHUNK = (1, *FEATURES.row_shape)
OTHER_FILTER = 32015
"""Registered number of the filter plug-in Zstandard, which HDF5 seeks in HDF5_PLUGIN_PATH."""


def in_place_of_a_shard(ground: Ground, write: Callable[[h5py.File], None]) -> None:
    """Replace a shard by a file that ``write`` makes, list its checksum, and read the rows."""
    shards = FeatureStore(ground.store, NAME, FEATURES)
    shards.fill(IDS, lambda ids: np.zeros((len(ids), *FEATURES.row_shape), np.float32), {})
    (entry,) = shards.index()
    path = shards.folder / entry.shard
    path.unlink()
    with h5py.File(path, "w") as file:
        write(file)
    update = {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    shards.save_index([entry.model_copy(update=update)])
    read_back(ground, shards)


def read_back(ground: Ground, shards: FeatureStore) -> None:
    with refused(""):
        ground.read.append(shards.reader(IDS).rows(0, len(IDS)).tobytes())


def external_storage(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        offset = ground.secret_h5.read_bytes().index(ground.secret_numbers.tobytes())
        places = [(str(ground.secret_h5), offset, ground.secret_numbers.nbytes)]
        file.create_dataset("features", SHAPE, np.float32, external=places)

    in_place_of_a_shard(ground, write)


def external_link(ground: Ground) -> None:
    in_place_of_a_shard(
        ground,
        lambda file: file.__setitem__("features", h5py.ExternalLink(ground.secret_h5, "/features")),
    )


def soft_link(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        file["elsewhere"] = h5py.ExternalLink(ground.secret_h5, "/features")
        file["features"] = h5py.SoftLink("/elsewhere")

    in_place_of_a_shard(ground, write)


def soft_link_loop(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        file["features"], file["again"] = h5py.SoftLink("/again"), h5py.SoftLink("/features")

    in_place_of_a_shard(ground, write)


def virtual_dataset(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(SHAPE, np.float32)
        layout[:] = h5py.VirtualSource(ground.secret_h5, "features", SHAPE)
        file.create_virtual_dataset("features", layout)

    in_place_of_a_shard(ground, write)


def declares_terabytes(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        file.create_dataset("features", (2**40, 4, 3), np.float32, chunks=CHUNK, compression="gzip")

    in_place_of_a_shard(ground, write)


def filter_plug_in(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(CHUNK)
        plan.set_filter(OTHER_FILTER, h5py.h5z.FLAG_OPTIONAL, ())
        data = h5py.h5d.create(
            file.id, b"features", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(SHAPE), plan
        )
        for row in range(GOOD):
            data.write_direct_chunk((row, 0, 0), np.zeros(CHUNK, np.float32).tobytes())

    in_place_of_a_shard(ground, write)


def of_type(dtype: np.dtype) -> Callable[[Ground], None]:
    def attack(ground: Ground) -> None:
        in_place_of_a_shard(
            ground,
            lambda file: (
                file.create_dataset("features", SHAPE, dtype, chunks=CHUNK, compression="gzip")
                and None
            ),
        )

    return attack


def text_in_place_of_numbers(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        file.create_dataset(
            "features", data=np.full(SHAPE, b"text", "S4"), chunks=CHUNK, compression="gzip"
        )

    in_place_of_a_shard(ground, write)


def rows_of_another_shape(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        file.create_dataset(
            "features",
            data=np.zeros((GOOD, 5, 3), np.float32),
            chunks=(1, 5, 3),
            compression="gzip",
        )

    in_place_of_a_shard(ground, write)


def packed(
    chunk: tuple[int, ...], most: tuple[int | None, ...] | None, unpacked: int
) -> Callable[[Ground], None]:
    """Return an attack by chunks that unpack to so many zeros, whatever the rows need."""

    def attack(ground: Ground) -> None:
        data = zlib.compress(bytes(unpacked), 1)

        def write(file: h5py.File) -> None:
            made = file.create_dataset(
                "features", SHAPE, np.float32, chunks=chunk, maxshape=most, compression="gzip"
            )
            for row in range(0, GOOD, chunk[0]):
                made.id.write_direct_chunk((row, 0, 0), data)

        in_place_of_a_shard(ground, write)

    return attack


def a_group_in_place_of_rows(ground: Ground) -> None:
    in_place_of_a_shard(ground, lambda file: file.create_group("features") and None)


def link_in_place_of_the_file(ground: Ground) -> None:
    """Replace the shard by a link to a file outside; the index has that file's checksum."""
    shards = FeatureStore(ground.store, NAME, FEATURES)
    shards.fill(IDS, lambda ids: np.zeros((len(ids), *FEATURES.row_shape), np.float32), {})
    (entry,) = shards.index()
    path: Path = shards.folder / entry.shard
    path.unlink()
    path.symlink_to(ground.secret_text)
    size = ground.secret_text.stat().st_size
    update = {"sha256": file_sha256(ground.secret_text), "bytes": size}
    shards.save_index([entry.model_copy(update=update)])
    read_back(ground, shards)
    path.unlink()
    shards.index_path.unlink()  # the attacker's own line repeats the checksum


CRAFTED: dict[str, Callable[[Ground], None]] = {
    "HDF5: external storage": external_storage,
    "HDF5: external link": external_link,
    "HDF5: soft link to an external link": soft_link,
    "HDF5: loop of soft links": soft_link_loop,
    "HDF5: virtual dataset": virtual_dataset,
    "HDF5: declares terabytes": declares_terabytes,
    "HDF5: filter plug-in": filter_plug_in,
    "HDF5: objects": of_type(h5py.string_dtype()),
    "HDF5: lists of any length": of_type(h5py.vlen_dtype(np.float32)),
    "HDF5: references": of_type(h5py.ref_dtype),
    "HDF5: text in place of numbers": text_in_place_of_numbers,
    "HDF5: rows of another shape": rows_of_another_shape,
    "HDF5: chunks that unpack to more than their rows": packed(CHUNK, None, 2**26),
    "HDF5: chunks larger than all rows": packed((2**8, 2**9, 2**9), (None, None, None), 2**28),
    "HDF5: a group in place of rows": a_group_in_place_of_rows,
    "HDF5: a link in place of the file": link_in_place_of_the_file,
}

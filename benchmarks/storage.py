"""Benchmark of storing features of 1,024 images and reading a random tenth, against plain h5py.

    .venv/bin/python -m benchmarks.storage

The peer makes one dataset with a chunk an image and gzip at h5py's default level and writes image
after image. It reads by a list of rows, which is how h5py is asked for some rows; a second row of
the table has it read them one by one, which few write. Ours is everything that a stage does: the
same gzip, hash, write under a temporary name, fsync, rename, index; on reading, open the index and
the shard, whose hash is verified once a process and so in the round that does not count. The goals
are that durability and verification cost at most a half more. Both read from the page cache.

The rows are conv5 maps of random pictures under fixed random weights, shifted to the zeros that
ImageNet's weights give: after the overlapping max-pool the same number stands in neighbouring
places, which decides how well they pack. No network, no weights; half a minute.

A last row is the processor time of storing one of many shards, in times that of one of few: it grew
with their number as long as the index was written after every shard.
"""

from __future__ import annotations

import hashlib
import itertools
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch

from benchmarks.measure import ROUNDS, ROUNDS_OF_MILLISECONDS, Row, against, at_most, main
from data_contracts.records.feature_shard import FeatureSet
from methods.features.frozen_network import CONV5_SHAPE, Conv5Extractor, extract, random_alexnet
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore

ROWS = 1024
ZEROS = 0.66
"""Share of zeros that ImageNet's weights give on chest X-rays."""
GOAL = 2 / 3
"""Minimum ratio of the peer's seconds to ours."""
PEER = "h5py, chunk an image, gzip"
SET = FeatureSet(
    kind="alexnet_conv5", dtype="float32", row_shape=CONV5_SHAPE, preprocessing={}, code_version="1"
)
SHORT = SET.model_copy(update={"row_shape": (8,)})
"""Rows that pack at once: what a shard costs beside its numbers."""
FEW, MANY = 25, 200
"""Numbers of shards that are stored at once."""


def features() -> np.ndarray:
    """Return rows like those of conv5, (ROWS, 256, 6, 6) float32."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (ROWS // 4, 16, 16, 3), np.uint8)
    pictures = coarse.repeat(15, axis=1).repeat(15, axis=2)[:, :227, :227]
    maps = extract(Conv5Extractor(random_alexnet()), pictures, torch.device("cpu"), 32)
    maps = np.maximum(maps - np.quantile(maps[:16], ZEROS, axis=(0, 2, 3), keepdims=True), 0)
    return np.concatenate([maps * np.float32(scale) for scale in (1, 1.1, 1.2, 1.3)]).astype(
        np.float32
    )


def write_plainly(path: Path, rows: np.ndarray) -> None:
    """Write rows with h5py, a chunk an image, gzip."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "features", rows.shape, rows.dtype, chunks=(1, *rows.shape[1:]), compression="gzip"
        )
        for number, row in enumerate(rows):
            data[number] = row


def rows() -> list[Row]:
    """Return the rows of writing, of reading and of the size of the file."""
    x, rng = features(), np.random.default_rng(1)
    ids = sorted(hashlib.sha256(str(n).encode()).hexdigest() for n in range(ROWS))
    tenth = np.sort(rng.choice(ROWS, ROWS // 10, replace=False))
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.h5"
        numbers, store = itertools.count(), FeatureStore(DatasetStore(home=folder), "none", SET)

        def write() -> None:
            nonlocal store
            store = FeatureStore(DatasetStore(home=folder), f"set{next(numbers)}", SET)
            store.fill(ids, lambda wanted: x, {})

        def read() -> np.ndarray:
            reader = store.reader(ids)
            taken = reader.take(tenth)
            reader.close()
            return taken

        def read_a_list() -> np.ndarray:
            with h5py.File(plain) as file:
                return file["features"][tenth]

        def read_one_by_one() -> np.ndarray:
            with h5py.File(plain) as file:
                data = file["features"]
                return np.stack([data[int(i)] for i in tenth])

        many = ROUNDS_OF_MILLISECONDS
        written = against(
            f"write conv5 of {ROWS} images",
            write,
            PEER,
            lambda: write_plainly(plain, x),
            GOAL,
            rounds=many,
        )
        np.testing.assert_array_equal(read(), read_a_list())
        what = f"read a random tenth of {ROWS} images"
        listed = against(what, read, f"{PEER}, data[rows]", read_a_list, GOAL, rounds=many)
        note = "half of ours is SHA-256 of the file, once a process"
        looped = against(
            what, read, f"{PEER}, row by row", read_one_by_one, GOAL, rounds=many, note=note
        )
        size = _size(store.stored_bytes() / plain.stat().st_size, x)
    return [written, listed, looped, size, _one_of_many()]


def _seconds_a_shard(number: int) -> float:
    """Return the processor time of storing ``number`` shards in an empty store, by their number."""
    x = np.random.default_rng(0).random((ROWS, *SHORT.row_shape), np.float32)
    ids = sorted(hashlib.sha256(str(n).encode()).hexdigest() for n in range(ROWS * number))
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(DatasetStore(home=folder), "many", SHORT)
        started = time.process_time()
        store.fill(ids, lambda wanted: x, {})
        return (time.process_time() - started) / number


def _one_of_many() -> Row:
    """Return the row of the processor time of one of many shards, in times that of one of few."""
    _seconds_a_shard(1)
    pairs = [(_seconds_a_shard(FEW), _seconds_a_shard(MANY)) for _ in range(ROUNDS)]
    slowest = max(many for _, many in pairs)
    return at_most(
        f"processor time of storing a shard among {MANY}",
        f"that of a shard among {FEW}",
        [many / few for few, many in pairs],
        "x",
        2,
        note=f"at most {1000 * slowest:.0f} ms",
    )


def _size(share: float, x: np.ndarray) -> Row:
    """Return the row of the size of the file, a ``share`` of the peer's."""
    return Row(
        "size of the file, ours / the peer's",
        PEER,
        share,
        1.0,
        "",
        None,
        (share, share),
        1.1,
        share <= 1.1,
        f"of {x.nbytes / 1e6:.0f} MB, {float((x == 0).mean()):.0%} zeros",
    )


if __name__ == "__main__":
    main(rows)

"""The disk is full at each write of all that a store commits, and on small real file systems."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from faults import commits
from faults.harness import Fault, Outcome
from faults.os_layer import may_mount, quick_folder, watched
from faults.study import home_in
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore

TAKES_ROOM = ("write", "posix_fallocate", "mkdir")
"""Calls that need space."""
SIMULATED = 150
"""Number of seeds with a simulated full disk; the others fill a real file system in memory."""
WHOLE_OR_TORN = 2
"""Seeds for each change: nothing of it is written, or half."""
MEGABYTES = (3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Sizes of the real file systems."""
BIG = FeatureSet(
    kind="big", dtype="float32", row_shape=(2**17,), preprocessing={}, code_version="1"
)


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    with quick_folder(folder) as quick:
        archive = commits.put_archive(quick)
        changes, whole = commits.unharmed(quick / "unharmed", archive, TAKES_ROOM)
        assert 2 * changes <= SIMULATED, f"{changes} writes are more than seeds for them"
        for seed in seeds:
            if seed >= SIMULATED and may_mount():
                yield _filled(seed, quick / str(seed), MEGABYTES[seed - SIMULATED])
                continue
            with home_in(quick / str(seed)) as store:
                change, torn = divmod(seed, WHOLE_OR_TORN)
                outcome = _full_from(seed, change % changes, bool(torn), store, archive, whole)
                yield (
                    outcome
                    if seed < SIMULATED
                    else replace(outcome, note=f"as nothing may be mounted, {outcome.note}")
                )


def _full_from(
    seed: int, first: int, torn: bool, store: DatasetStore, archive: Path, whole: str
) -> Outcome:
    """Let every write from change ``first`` on fail, after half of its bytes if ``torn``."""
    real_write = os.write

    def full(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if number >= first:
            if number == first and torn and name == "write":
                real_write(arguments[0], bytes(arguments[1][: len(arguments[1]) // 2]))
            raise OSError(errno.ENOSPC, "No space left on device")

    try:
        with watched(TAKES_ROOM, full):
            commits.commit(store, archive, [])
        return Outcome(seed, False, f"change {first}: no error")
    except InputError as error:
        message = str(error)
    wrong = commits.finished(store, archive, whole)
    clean = "the disk is full: /" in message and "bytes" in message
    return Outcome(seed, clean and not wrong, f"change {first}: {message} {wrong}")


@contextmanager
def _mounted(folder: Path, megabytes: int) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True
    )
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _filled(seed: int, folder: Path, megabytes: int) -> Outcome:
    """Compute a feature set until the disk is full, then continue on a larger one."""
    ids = commits.IDS[:12] + [f"{number:064}" for number in range(3 * megabytes)]
    computed: list[str] = []

    def produce(asked: list[str]) -> np.ndarray:
        computed.extend(asked)
        return np.random.default_rng([seed, ids.index(asked[0])]).random(
            (len(asked), 2**17), np.float32
        )

    with commits.small_shards(), _mounted(folder, megabytes), home_in(folder) as store:
        shards = FeatureStore(store, "set", BIG)
        try:
            with store.lock("set", "big"):
                shards.fill(ids, produce, {})
            return Outcome(seed, False, f"{megabytes} MB: no error")
        except InputError as error:
            message = str(error)
        kept = set(ids) - set(shards.missing(ids))
        left = [str(path) for path in folder.rglob(".*.tmp")]
        subprocess.run(
            ["mount", "-o", f"remount,size={4 * megabytes + 32}m", str(folder)], check=True
        )
        computed.clear()
        with store.lock("set", "big"):
            shards.fill(ids, produce, {})
        reader = shards.reader(ids)
        rows = reader.rows(0, len(reader))
        reader.close()
        clean = "the disk is full: /" in message and "bytes" in message
        survived = (
            clean and not left and not kept & set(computed) and len(rows) == len(ids) and bool(kept)
        )
        return Outcome(seed, survived, f"{megabytes} MB: {message} kept {len(kept)}, left {left}")


FAULT = Fault(
    number=4,
    name="disk full at every write, and ten real file systems of 3 to 64 MB",
    goal=(
        "a clean error that names path and bytes; what is committed is whole; a rerun goes on to "
        "the same digest"
    ),
    full=160,
    sample=20,
    inject=inject,
    kinds=WHOLE_OR_TORN,
)

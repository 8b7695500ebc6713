"""The process group of a whole study is killed at a random moment; the study is run again."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_contracts.errors import InputError
from faults.harness import Fault, Outcome
from faults.study import digest, home_in, put_images, register
from faults.zygote import Zygote, unharmed, zygote
from pipeline.care.store_health import damaged_files
from resources.store.dataset_store import DatasetStore


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    images = put_images(folder / "images")
    with zygote(folder / "log") as one:
        longest, whole = unharmed(folder / "unharmed", images, one)
        for seed in seeds:
            with home_in(folder / str(seed)) as store:
                register(store, images)
                yield _killed(seed, longest, store, one, whole)
            shutil.rmtree(folder / str(seed))


def _killed(seed: int, longest: float, store: DatasetStore, one: Zygote, whole: str) -> Outcome:
    after = float(np.random.default_rng(seed).uniform(0, longest))
    process = one.begin("run_study")
    time.sleep(after)
    os.killpg(process, signal.SIGKILL)
    status = one.end(process)
    where = f"killed after {after:.2f} of {longest:.1f} s"
    try:
        damaged = [str(damage) for damage in damaged_files(store)]
        before = {path: path.stat().st_mtime_ns for path in (store.root / "store").rglob("*.h5")}
        ended = one.end(one.begin("run_study"))
        rewritten = [
            path
            for path, written in before.items()
            if path.exists() and path.stat().st_mtime_ns != written
        ]
        same = ended == 0 and digest(store) == whole
    except InputError as error:
        return Outcome(seed, False, f"{where}: {error}")
    left = [path.name for path in store.root.rglob(".*.tmp")]
    survived = (
        status in (0, -signal.SIGKILL) and same and not damaged and len(rewritten) <= 1 and not left
    )
    found = (
        f"rerun ended with {ended}, damaged {damaged}, {len(rewritten)} shards redone, left {left}"
    )
    return Outcome(seed, survived, f"{where}: {found}{'' if survived else one.said()}")


FAULT = Fault(
    number=1,
    name="kill -9 of the process group at a random moment of the Ahn study",
    goal="the rerun ends with the same digest; nothing damaged; at most one shard redone",
    full=200,
    sample=5,
    inject=inject,
)

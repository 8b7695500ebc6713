"""The daemon is killed around the tick of the sensor that a drop waits for, and started again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import numpy as np

from faults.daemon import Daemon, each_site, finished, in_flight, until
from faults.fault_06_two_runs import doubled_rows
from faults.harness import Fault, Outcome
from faults.study import DATASET, STUDY, put_drop
from faults.zygote import Zygote
from pipeline.automation.requests import code_versions
from pipeline.automation.staleness import stale_reason
from pipeline.care.doctor import examine
from resources.store.dataset_store import DatasetStore

LATEST = 30.0
"""Latest moment of the kill, in seconds after the drop."""
BY_ITSELF = 600.0
"""Maximum time until a drop takes effect where no run was killed, in seconds."""


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    yield from each_site(seeds, folder, _killed)


def _killed(seed: int, store: DatasetStore, one: Zygote, whole: str, log: Path) -> Outcome:
    after = float(np.random.default_rng(seed).uniform(0, LATEST))
    alone = seed % 2 == 0
    with dg.DagsterInstance.get() as instance:
        daemon = Daemon(log)
        daemon.wait_until_ready(instance)
        put_drop(store)
        time.sleep(after)
        daemon.kill() if alone else daemon.kill_everything()
        cut_short = [] if alone else in_flight(instance)
        again = Daemon(log)
        if cut_short:  # of a run that died the doctor is told, by a person or a timer
            list(examine(fix=True))
        else:
            until(
                lambda: (
                    stale_reason(store, DATASET, code_versions(STUDY)) is None
                    and not in_flight(instance)
                ),
                BY_ITSELF,
            )
        by_itself = stale_reason(store, DATASET, code_versions(STUDY))
        again.kill_everything()
        list(examine(fix=True))
    wrong = finished(store, one, whole)
    doubled = doubled_rows(store)
    survived = not wrong and not doubled and (bool(cut_short) or by_itself is None)
    where = (
        f"{'the daemon' if alone else 'everything'} killed {after:.1f} s after the drop, "
        f"{len(cut_short)} runs cut short"
    )
    return Outcome(
        seed,
        survived,
        f"{where}; stale after the restart: {by_itself}; {doubled} rows doubled {wrong}",
    )


FAULT = Fault(
    number=8,
    name="daemon killed around a sensor's tick, alone or with all that it started",
    goal=(
        "the drop takes effect exactly once: by itself, or with the next reconciliation where its "
        "run was killed"
    ),
    full=30,
    sample=2,
    inject=inject,
    kinds=2,
)

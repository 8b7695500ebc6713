"""The daemon, its code servers and its runs are killed at once, while a run goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import numpy as np

from faults.daemon import Daemon, each_site, finished, in_flight, until
from faults.harness import Fault, Outcome
from faults.study import put_drop
from faults.zygote import Zygote
from pipeline.care.doctor import examine
from resources.store.dataset_store import DatasetStore

LATEST = 8.0
"""Latest moment of the kill, in seconds after the run began."""
ALLOWED = 60.0
"""Maximum time until every run has an end, in seconds."""


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    yield from each_site(seeds, folder, _killed)


def _killed(seed: int, store: DatasetStore, one: Zygote, whole: str, log: Path) -> Outcome:
    after = float(np.random.default_rng(seed).uniform(0, LATEST))
    with dg.DagsterInstance.get() as instance:
        put_drop(store)
        daemon = Daemon(log)
        begun = until(
            lambda: any(run.status == dg.DagsterRunStatus.STARTED for run in in_flight(instance))
        )
        time.sleep(after if begun else 0.0)
        daemon.kill_everything()
        started = time.monotonic()
        list(examine(fix=True))
        seconds = time.monotonic() - started
        left = [f"{run.run_id} {run.status.value}" for run in in_flight(instance)]
    wrong = finished(store, one, whole)
    survived = begun and not left and seconds <= ALLOWED and not wrong
    where = (
        f"killed {after:.1f} s after a run began ({begun}); doctor took {seconds:.1f} s, not "
        f"ended: {left}"
    )
    return Outcome(seed, survived, f"{where} {wrong}")


FAULT = Fault(
    number=7,
    name="daemon, code servers and runs killed at once while a run goes on",
    goal=(
        "after `doctor --fix` every run has an end within 60 s; the next reconciliation ends with "
        "the same digest"
    ),
    full=20,
    sample=1,
    inject=inject,
)

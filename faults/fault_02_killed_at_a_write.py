"""A process is killed at each write, fsync and rename of all that a store commits.

The call is not made at all, or made half-way.
"""

from __future__ import annotations

import mmap
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

from faults import commits
from faults.harness import Fault, Outcome
from faults.os_layer import CHANGES, killed_at, quick_folder
from faults.study import home_in
from resources.store.dataset_store import DatasetStore

PER_CHANGE = 2
"""Seeds for each change: 2 n is before change n, 2 n + 1 half-way through it."""


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    with quick_folder(folder) as quick:
        archive = commits.put_archive(quick)
        changes, whole = commits.unharmed(quick / "unharmed", archive, CHANGES)
        assert changes * PER_CHANGE <= FAULT.full, f"{changes} changes are more than seeds for them"
        for seed in seeds:
            with home_in(quick / str(seed)) as store:
                yield _killed(
                    seed,
                    seed // PER_CHANGE % changes,
                    seed % PER_CHANGE == 1,
                    store,
                    archive,
                    whole,
                )


def _killed(
    seed: int, change: int, torn: bool, store: DatasetStore, archive: Path, whole: str
) -> Outcome:
    where = f"change {change}{', torn' if torn else ''}"
    shards = mmap.mmap(-1, 1)  # shared with the child

    def one_more() -> None:
        shards[0] += 1

    status = killed_at(change, torn, lambda: commits.commit(store, archive, [], one_more))
    if status != -signal.SIGKILL:
        return Outcome(seed, False, f"{where}: the child ended with {status}")
    wrong = commits.finished(store, archive, whole, shards[0])
    return Outcome(seed, not wrong, f"{where}: {wrong}")


FAULT = Fault(
    number=2,
    name="kill -9 at every write, fsync and rename of all that a store commits, whole and torn",
    goal=(
        "nothing damaged, nothing computed twice that was committed, nothing left over, same digest"
    ),
    full=300,
    sample=30,
    inject=inject,
    kinds=PER_CHANGE,
)

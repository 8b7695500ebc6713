"""Files crafted to do harm, each given to the entry that would accept it.

A process of its own takes one after another, so that one that ends it, or never comes back, is
counted like any other.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from faults.harness import Fault, Outcome

SECONDS = 30
"""Time after which an attack counts as having blocked the process, in seconds."""


def _attack(seed: int, folder: Path) -> Outcome:
    from faults import crafted_archives, crafted_datasets, crafted_hdf5, crafted_pickles
    from faults.crafted_ground import Ground

    crafted = {
        **crafted_hdf5.CRAFTED,
        **crafted_pickles.CRAFTED,
        **crafted_archives.CRAFTED,
        **crafted_datasets.CRAFTED,
    }
    assert len(crafted) == FAULT.full
    name, attack = list(crafted.items())[seed]
    ground = Ground(folder)
    try:
        attack(ground)
    except Exception as error:  # whatever a person would have seen as a traceback
        return Outcome(seed, False, f"{name}: {type(error).__name__}: {error}")
    through = ground.came_through()
    return Outcome(seed, not through, f"{name}: {'; '.join(through) or 'refused or counted'}")


def _inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    left = list(seeds)
    while left:
        command = [sys.executable, "-W", "ignore", "-m", __name__, str(folder), *map(str, left)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        ) as process:
            for line in process.stdout or ():
                left.pop(0)
                yield Outcome(**json.loads(line))
        if left:
            yield Outcome(left.pop(0), False, f"the process ended with {process.returncode}")


FAULT = Fault(
    number=11,
    name="crafted files: HDF5, pickles, archives, manifests, links, DICOM, names",
    goal=(
        "no byte from outside is read, nothing is written outside or executed, and each is refused "
        "or counted"
    ),
    full=86,
    sample=86,
    inject=_inject,
)


def _main(folder: str, *seeds: str) -> None:
    for seed in map(int, seeds):
        own = Path(folder) / str(seed)
        own.mkdir()
        signal.alarm(SECONDS)  # ends the process, also out of a library that does not return
        print(json.dumps(asdict(_attack(seed, own))), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])

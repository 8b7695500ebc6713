"""The same rows with another number of threads, another batch or another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from faults.harness import Fault, Outcome
from faults.stages import BATCHES, STAGES, auto_encoder, codes

TOLERANCE = 1e-4
"""Maximum difference over a stage's spread, where threads or batches differ."""
TRAINED_TOLERANCE = 2e-3
"""The same limit after a training of the auto-encoder.

Every step carries the rounding of the one before, and the optimiser divides gradients near zero by
their own size (8e-4 at most in 20 trainings of 12 steps).
"""

TRAINED = (auto_encoder.__name__, codes.__name__)


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    threads = {"a": 1, "b": 1, "c": 2, "d": 2}
    runs = {
        name: _computed(folder / f"{name}.npz", number, seeds) for name, number in threads.items()
    }
    for seed in seeds:
        yield _compared(seed, runs)


def _computed(path: Path, threads: int, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    environment = {
        **os.environ,
        **dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
        ),
    }
    subprocess.run(
        [sys.executable, "-m", "faults.stages", str(path), *map(str, seeds)],
        check=True,
        env=environment,
    )
    with np.load(path) as file:
        return dict(file)


def _compared(seed: int, runs: dict[str, dict[str, np.ndarray]]) -> Outcome:
    stage = STAGES[seed % len(STAGES)].__name__
    keys = [f"{seed} {batch}" for batch in BATCHES]
    same = all(
        runs[one][key].tobytes() == runs[other][key].tobytes()
        for one, other in (("a", "b"), ("c", "d"))
        for key in keys
    )
    reference = runs["a"][keys[-1]].astype(np.float64)
    spread = float(reference.std()) or 1.0
    apart = max(
        float(np.abs(run[key] - reference).max()) / spread for run in runs.values() for key in keys
    )
    note = (
        f"{stage}: two processes {'the same bytes' if same else 'OTHER BYTES'}; threads and "
        f"batches {apart:.1e} apart"
    )
    tolerance = TRAINED_TOLERANCE if stage in TRAINED else TOLERANCE
    return Outcome(seed, same and apart <= tolerance, note)


FAULT = Fault(
    number=15,
    name=(
        "other numbers of threads (1, 2), other batches (1, 7, 64), another process, in six "
        "numerical stages"
    ),
    goal=(
        "another process: the same bytes; threads and batches: within 1e-4 of the spread, 2e-3 "
        "after a training"
    ),
    full=60,
    sample=6,
    inject=inject,
    kinds=len(STAGES),
)

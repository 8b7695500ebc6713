"""Measuring the rows of the benchmarks: ours and a named peer, in turn in one process.

A row is a module of this package with a function ``rows() -> list[Row]``, and is run by itself with

    .venv/bin/python -m benchmarks.NAME [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS = 5
ROUNDS_OF_MILLISECONDS = 25
"""Number of rounds of a call of milliseconds, any of which may be disturbed."""
PAUSE = 0.1
"""Pause before a call, in seconds.

Threads of OpenBLAS and OpenMP look for more work for some 20 ms, on the cores of the call that
comes next.
"""
PRELOADED_MEDFEAT = """
import matplotlib.pyplot, methods.features.frozen_network, methods.reporting.figures
import methods.imaging.image_file, pyarrow.dataset, pyarrow.parquet
import sklearn.model_selection, sklearn.svm, torch
from pipeline.cli import main
main()
"""
"""Program for ``python -c`` that loads the command's libraries before it runs the command.

A stage's seconds are then its own work alone.
"""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        row: what is done.
        peer: what it is compared with.
        ours: median over the rounds.
        theirs: the peer's median; None where the goal is a limit of our own figure.
        unit: of both.
        ratio: median over the rounds of how many times better ours was in that round.
        spread: smallest and largest of those.
        goal: the ratio to be reached; or, without a peer, the figure not to be passed.
        met: whether the goal was reached.
        note: what else was seen, such as the difference of the results.
    """

    row: str
    peer: str
    ours: float
    theirs: float | None
    unit: str
    ratio: float | None
    spread: tuple[float, float]
    goal: float
    met: bool
    note: str = ""


def seconds(call: Callable[[], object]) -> float:
    """Return the wall time of one call, made once the threads of earlier calls sleep."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def against(
    row: str,
    ours: Callable[[], object],
    peer: str,
    theirs: Callable[[], object],
    goal: float,
    *,
    rounds: int = ROUNDS,
    note: str = "",
) -> Row:
    """Return the row of two calls that are timed in turn, ``rounds`` times.

    A first round does not count, as it allocates, compiles and fills caches.
    """
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return from_pairs(row, peer, pairs, goal, note=note)


def from_pairs(
    row: str, peer: str, pairs: Sequence[tuple[float, float]], goal: float, *, note: str = ""
) -> Row:
    """Return the row of (our seconds, the peer's seconds) of each round."""
    ratios = [theirs / ours for ours, theirs in pairs]
    return Row(
        row=row,
        peer=peer,
        ours=median(ours for ours, _ in pairs),
        theirs=median(theirs for _, theirs in pairs),
        unit="s",
        ratio=median(ratios),
        spread=(min(ratios), max(ratios)),
        goal=goal,
        met=median(ratios) >= goal,
        note=note,
    )


def at_most(
    row: str, limit: str, values: Sequence[float], unit: str, goal: float, *, note: str = ""
) -> Row:
    """Return a row without a peer: the median of ``values`` is not to exceed ``goal``."""
    return Row(
        row,
        limit,
        median(values),
        None,
        unit,
        None,
        (min(values), max(values)),
        goal,
        median(values) <= goal,
        note,
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [
        "| what | peer, or limit | ours | peer's | ratio (min - max) | goal | met | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        theirs = "-" if row.theirs is None else f"{_number(row.theirs)} {row.unit}"
        low, high = map(_number, row.spread)
        if row.ratio is None:
            ratio, goal = f"- ({low} - {high} {row.unit})", f"<= {_number(row.goal)} {row.unit}"
        else:
            ratio, goal = f"**{_number(row.ratio)}** ({low} - {high})", f">= {_number(row.goal)}"
        cells = (
            row.row,
            row.peer,
            f"{_number(row.ours)} {row.unit}",
            theirs,
            ratio,
            goal,
            "yes" if row.met else "NO",
            row.note,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Return processor, cores, graphics card and the versions on which the figures depend.

    No name or path of the machine is part of it.
    """
    import torch

    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [
        line.partition(":")[2].strip() for line in cpu.splitlines() if line.startswith("model name")
    ]
    packages = (
        "torch",
        "torchvision",
        "numpy",
        "scipy",
        "scikit-learn",
        "h5py",
        "pillow",
        "dagster",
    )
    return {
        "processor": names[0] if names else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def main(rows: Callable[[], list[Row]]) -> None:
    """Measure, print, and write JSON where the command line asks for it."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--json", type=Path, help="file for the rows")
    chosen = arguments.parse_args()
    measured = rows()
    print(table(measured))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(row) for row in measured], indent=1))

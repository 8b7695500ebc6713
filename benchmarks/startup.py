"""Benchmark of the seconds before a command or a step of Dagster begins its work.

    .venv/bin/python -m benchmarks.startup

Processes of their own, packages compiled to bytecode as `make setup` leaves them. The note says
what `import dagster` takes by itself, which is the least that the definitions can take. Half a
minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import ROUNDS, Row, at_most, main, seconds

DEFINITIONS = "import sys, pipeline.definitions; assert 'torch' not in sys.modules"
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def times(*words: str) -> list[float]:
    """Return the seconds of a command, after a call that does not count."""

    def call() -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)

    call()
    return [seconds(call) for _ in range(ROUNDS)]


def rows() -> list[Row]:
    """Return the rows of the command line and of the definitions."""
    help_ = times(str(Path(sys.executable).parent / "medfeat"), "--help")
    alone = min(times(sys.executable, "-c", "import dagster"))
    note = f"`import dagster` alone {alone:.2f} s; torch is not imported"
    return [
        at_most("medfeat --help", "-", help_, "s", 0.5),
        at_most(
            "import pipeline.definitions",
            "-",
            times(sys.executable, "-c", DEFINITIONS),
            "s",
            1.5,
            note=note,
        ),
    ]


if __name__ == "__main__":
    main(rows)

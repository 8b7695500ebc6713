"""Benchmark of what Dagster, the contract checks and the start add to the Ahn study.

    .venv/bin/python -m benchmarks.overhead

`medfeat demo --data` in a fresh home, on phantoms drawn beforehand: from the folder to the report.
The stages' own work is what their records say, taken around the very function that each calls; all
the rest of the command's wall time is overhead. Five minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Row, at_most, main, seconds
from data_contracts.records.sealed import unsealed_json
from pipeline.commands.demo import write_phantoms

ROUNDS = 3
FIXED, SHARE = 10.0, 0.03


def one_round(images: Path) -> tuple[float, float]:
    """Return the seconds of the command, and of the stages in it."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
            "MEDFEAT_HOME": str(home),
            "MEDFEAT_SITE_KEY": str(Path(folder) / "site.key"),
        }
        command = [str(Path(sys.executable).parent / "medfeat"), "demo", "--data", str(images)]
        wall = seconds(
            lambda: subprocess.run(command, check=True, capture_output=True, env=environment)
        )
        records = [
            unsealed_json(path.read_bytes())
            for path in (home / "store" / "demo").glob("*/current.json")
        ]
        return wall, sum(float(record["seconds"]) for record in records)


def rows() -> list[Row]:
    """Return the row of the overhead of the whole study."""
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "phantoms"
        write_phantoms(images)
        rounds = [one_round(images) for _ in range(ROUNDS)]
    own = sorted(stages for _, stages in rounds)[ROUNDS // 2]
    return [
        at_most(
            "Ahn study, all but the stages' own work",
            "the stages called directly",
            [wall - stages for wall, stages in rounds],
            "s",
            FIXED + SHARE * own,
            note=f"the stages take {own:.0f} s",
        )
    ]


if __name__ == "__main__":
    main(rows)

"""Benchmark of a nightly drop of one new image in a hundred against running everything.

    .venv/bin/python -m benchmarks.rerun

A thousand generated images, the Ahn study from the command line; then, three times, ten unlabelled
images as a drop, and the same command. The stages' seconds are those of their records, in which
nothing else is: libraries are loaded at the start of the command. A run with nothing new, between
the drops, is the overhead that every run has. Random weights, else the study's defaults. A quarter
of an hour.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from benchmarks.measure import PRELOADED_MEDFEAT, Row, at_most, main, seconds
from data_contracts.records.sealed import unsealed_json
from methods.imaging.phantoms import KINDS, phantom

IMAGES, NEW, ROUNDS = 1000, 10, 3
SHARE = 0.03
SETTINGS = ("weights=random",)


def draw(folder: Path, numbers: range, labelled: bool) -> None:
    """Draw phantoms, in class folders where they are labelled."""
    for number in numbers:
        kind = KINDS[number % len(KINDS)]
        path = folder / (kind if labelled else "") / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantom(kind, seed=number)).save(path)


def records(home: Path) -> dict[str, dict[str, Any]]:
    """Return the current records, by asset."""
    return {
        path.parent.name: unsealed_json(path.read_bytes())
        for path in (home / "store" / "many").glob("*/current.json")
    }


def rows() -> list[Row]:
    """Return the rows of the stages' seconds and of the wall time."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
            "MEDFEAT_HOME": str(home),
            "MEDFEAT_SITE_KEY": str(Path(folder) / "site.key"),
        }

        def medfeat(*words: str) -> float:
            command = [sys.executable, "-c", PRELOADED_MEDFEAT, *words]
            return seconds(
                lambda: subprocess.run(command, check=True, capture_output=True, env=environment)
            )

        def run() -> tuple[float, float]:
            """Return wall seconds, and those of the stages that this run computed."""
            before = {asset: record["run_id"] for asset, record in records(home).items()}
            wall = medfeat(
                "run", "many", *(word for setting in SETTINGS for word in ("--set", setting))
            )
            own = [
                r["seconds"]
                for asset, r in records(home).items()
                if r["run_id"] != before.get(asset)
            ]
            return wall, sum(map(float, own))

        draw(Path(folder) / "images", range(IMAGES), labelled=True)
        medfeat("add", "many", str(Path(folder) / "images"), "--unlabelled", "--show-names")
        wall, full = run()
        idle, drops = [], []
        for number in range(ROUNDS):
            idle.append(run()[0])
            drop = home / "drops" / "many" / f"night{number}"
            draw(drop, range(IMAGES + number * NEW, IMAGES + (number + 1) * NEW), labelled=False)
            (drop / "_READY").touch()
            drops.append(run())
    note = f"full run {full:.0f} s of stages, {wall:.0f} s of the command"
    fixed = median(idle)
    return [
        at_most(
            f"stages of a rerun with {NEW / IMAGES:.0%} new images",
            "full run",
            [100 * own / full for _, own in drops],
            "%",
            100 * SHARE,
            note=note,
        ),
        at_most(
            f"command with {NEW / IMAGES:.0%} new images",
            f"a run with nothing new ({fixed:.1f} s) + {SHARE:.0%} of the full run",
            [taken for taken, _ in drops],
            "s",
            fixed + SHARE * wall,
        ),
    ]


if __name__ == "__main__":
    main(rows)

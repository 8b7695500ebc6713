"""Inject the faults of the table, all of each row, and write ``docs/reliability.md``.

make faults                                     # hours on two cores
.venv/bin/python -m tests.faults 3 13           # these rows anew, the others as they were last counted
.venv/bin/python -m tests.faults 3 --seeds 7 8  # these seeds of a row, to look into them; nothing is written
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tests.faults import FAULTS
from tests.faults.harness import Fault, Outcome

COUNTED = Path(__file__).parent / "counted.json"
PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
SHOWN = 10
"""Seeds of a row that are named when it does not reach its goal."""


def injected(fault: Fault, seeds: list[int]) -> list[Outcome]:
    """Outcomes, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = list(tqdm(fault.inject(seeds, Path(folder)), f"{fault.number} {fault.name}", len(seeds)))
    assert [outcome.seed for outcome in outcomes] == seeds
    return outcomes


def counted(fault: Fault) -> dict[str, Any]:
    """What is written down of a whole row."""
    started = time.monotonic()
    outcomes = injected(fault, list(range(fault.full)))
    lost = [outcome for outcome in outcomes if not outcome.survived]
    return {
        "injected": len(outcomes),
        "survived": len(outcomes) - len(lost),
        "not_survived": {str(outcome.seed): outcome.note for outcome in lost},
        "seconds": round(time.monotonic() - started),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """The table in Markdown."""
    lines = ["| # | fault | goal | injected | survived | | counted |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for fault in FAULTS:
        row = rows.get(str(fault.number))
        if row is None:
            lines.append(f"| {fault.number} | {fault.name} | {fault.goal} | not yet | | | |")
            continue
        seeds = list(row["not_survived"])
        missed = f"**NO**: seeds {', '.join(seeds[:SHOWN])}{' ...' if len(seeds) > SHOWN else ''}" if seeds else "yes"
        when = f"{row['date']}, {row['seconds']:,} s, {row['machine']}"
        lines.append(
            f"| {fault.number} | {fault.name} | {fault.goal} | {row['injected']:,} (seeds 0-{row['injected'] - 1}) "
            f"| {row['survived']:,} | {missed} | {when} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count rows and write them down, row by row."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("rows", type=int, nargs="*", help="numbers; all rows where none is given")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these")
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if not arguments.rows or fault.number in arguments.rows]
    if arguments.seeds:
        for fault in chosen:
            for outcome in injected(fault, arguments.seeds):
                print(outcome)
        return
    rows = json.loads(COUNTED.read_bytes()) if COUNTED.exists() else {}
    for fault in chosen:
        rows[str(fault.number)] = counted(fault)
        COUNTED.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
        before, rest = PAGE.read_text().split(MARKS[0])
        PAGE.write_text(before + MARKS[0] + table(rows) + MARKS[1] + rest.split(MARKS[1])[1])


if __name__ == "__main__":
    main()

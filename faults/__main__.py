"""Inject the faults of the table, all of each row, and write ``docs/reliability.md``.

make faults                                     # hours on two cores
.venv/bin/python -m faults 3 13           # these rows anew, the others as they were last counted
.venv/bin/python -m faults 3 --seeds 7 8  # these seeds of a row, to look into them; nothing is
written

A row that is interrupted goes on from the next seed when it is counted again. Rows may be counted
by several of these at once.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from faults import FAULTS
from faults.harness import Fault, Outcome

COUNTED = Path(__file__).parent / "counted.json"
OUTCOMES = Path(__file__).parent / ".outcomes"
"""Folder of the rows that are being counted, with a line for each seed."""
PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
SHOWN = 10
"""Maximum number of seeds that are named when a row does not reach its goal."""


def injected(fault: Fault, seeds: Sequence[int]) -> Iterator[Outcome]:
    """Inject the faults of these seeds in a temporary folder and yield the outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = tqdm(
            fault.inject(seeds, Path(folder)), f"{fault.number} {fault.name}", len(seeds)
        )
        for seed, outcome in zip(seeds, outcomes, strict=True):
            assert outcome.seed == seed
            yield outcome


def counted(fault: Fault) -> dict[str, Any]:
    """Return what is stored of a complete row."""
    OUTCOMES.mkdir(exist_ok=True)
    path = OUTCOMES / f"{fault.number}.jsonl"
    with path.open("a+") as file:
        file.seek(0)
        done = len(file.readlines())
        started = time.monotonic()
        for outcome in injected(fault, range(done, fault.full)):
            line = {**asdict(outcome), "seconds": time.monotonic() - started}
            file.write(f"{json.dumps(line)}\n")
            file.flush()
            started = time.monotonic()
        file.seek(0)
        lines = [json.loads(line) for line in file]
    path.unlink()
    outcomes = [Outcome(line["seed"], line["survived"], line["note"]) for line in lines]
    lost = [outcome for outcome in outcomes if not outcome.survived]
    return {
        "injected": len(outcomes),
        "survived": len(outcomes) - len(lost),
        "not_survived": {str(outcome.seed): outcome.note for outcome in lost},
        "seconds": round(sum(line["seconds"] for line in lines)),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| # | fault | goal | injected | survived | | counted |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for fault in FAULTS:
        row = rows.get(str(fault.number))
        if row is None:
            lines.append(f"| {fault.number} | {fault.name} | {fault.goal} | not yet | | | |")
            continue
        seeds = sorted(row["not_survived"], key=int)
        missed = (
            f"**NO**: seeds {', '.join(seeds[:SHOWN])}{' ...' if len(seeds) > SHOWN else ''}"
            if seeds
            else "yes"
        )
        when = f"{row['date']}, {row['seconds']:,} s, {row['machine']}"
        lines.append(
            f"| {fault.number} | {fault.name} | {fault.goal} | {row['injected']:,} (seeds "
            f"0-{row['injected'] - 1}) | {row['survived']:,} | {missed} | {when} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Count rows and write the table after each."""
    parser = argparse.ArgumentParser(prog="python -m faults")
    parser.add_argument("rows", type=int, nargs="*", help="numbers; all rows where none is given")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these")
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if not arguments.rows or fault.number in arguments.rows]
    if arguments.seeds:
        for fault in chosen:
            for outcome in injected(fault, arguments.seeds):
                print(outcome)
        return
    for fault in chosen:
        row = counted(fault)
        # read again: others may have counted meanwhile
        rows = json.loads(COUNTED.read_bytes()) | {str(fault.number): row}
        COUNTED.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")
        before, rest = PAGE.read_text().split(MARKS[0])
        PAGE.write_text(before + MARKS[0] + table(rows) + MARKS[1] + rest.split(MARKS[1])[1])


if __name__ == "__main__":
    main()

"""Run every benchmark, each module in a process of its own, and write the tables.

The tables are those of ``benchmarks/results/`` and ``docs/performance.md``.

    make bench
    .venv/bin/python -m benchmarks forward storage     # these anew, the others as they were last
    measured

On an otherwise idle machine; about an hour and a half on two cores. The modules of this folder that
are not in MODULES measure one thing for the person who works on it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import Row, machine, table

MODULES = (
    "files",
    "forward",
    "cae",
    "svm",
    "storage",
    "rerun",
    "overhead",
    "startup",
    "memory",
    "gpu",
)
RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
MARKS = ("<!-- tables -->\n", "<!-- end of tables -->\n")


def measured(module: str) -> list[dict[str, Any]]:
    """Run one module and return its rows, which it prints as they come.

    Raises:
        SystemExit: it failed.
    """
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{module}", "--json", file.name], check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"error: benchmarks.{module} failed")
        rows: list[dict[str, Any]] = json.loads(Path(file.name).read_bytes())
        return rows


def page(results: dict[str, Any]) -> str:
    """Return the results in Markdown.

    There is one table for each machine and set of versions that modules were measured on.
    """
    lines = []
    for about in {
        json.dumps(some["machine"], sort_keys=True): some["machine"] for some in results.values()
    }.values():
        device = about["gpu"] or about["processor"]
        versions = ", ".join(
            f"{package} {version}" for package, version in about["versions"].items()
        )
        lines.append(
            f"{device}, {about['cores']} cores, {about['instructions']}; {about['date']}; "
            f"{versions}.\n"
        )
        here = [
            row
            for module in MODULES
            if module in results and results[module]["machine"] == about
            for row in results[module]["rows"]
        ]
        lines.append(table([Row(**{**row, "spread": tuple(row["spread"])}) for row in here]) + "\n")
    absent = [module for module in MODULES if not results.get(module, {"rows": []})["rows"]]
    if absent:
        lines.append(f"Not measured: {', '.join(absent)}.\n")
    return "\n".join(lines)


def write_down(stored: Path, results: dict[str, Any]) -> None:
    """Write the results as JSON and Markdown, and all machines' results into the documentation."""
    stored.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    stored.with_suffix(".md").write_text(page(results))
    pages = "\n".join(
        page(json.loads(path.read_bytes())) for path in sorted(RESULTS.glob("*.json"))
    )
    before, rest = PAGE.read_text().split(MARKS[0])
    PAGE.write_text(before + MARKS[0] + pages + MARKS[1] + rest.split(MARKS[1])[1])


def main() -> None:
    """Measure module by module, and write the results after each."""
    about = {"date": datetime.now(UTC).date().isoformat(), **machine()}
    RESULTS.mkdir(exist_ok=True)
    stored = RESULTS / ("gpu.json" if about["gpu"] else "cpu.json")
    results = json.loads(stored.read_bytes()) if stored.exists() else {}
    for module in sys.argv[1:] or MODULES:
        results[module] = {"machine": about, "rows": measured(module)}
        write_down(stored, results)
    rows = [row for some in results.values() for row in some["rows"]]
    print(
        f"{sum(row['met'] for row in rows)} of {len(rows)} goals met: {stored.with_suffix('.md')}"
    )


if __name__ == "__main__":
    main()

"""Every row, each module in a process of its own, and the tables in ``benchmarks/results/``.

    make bench

On an otherwise idle machine; about an hour on two cores. The other modules of this folder are no rows of the table: they measure
one thing for the person who works on it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Row, machine, table

MODULES = ("files", "forward", "cae", "svm", "kmeans", "vlad", "storage", "rerun", "overhead", "startup", "memory", "gpu")
RESULTS = Path(__file__).parent / "results"


def measured(module: str) -> list[Row]:
    """Rows of one module, printed as they come."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{module}", "--json", file.name], check=False)
        if done.returncode != 0:
            print(f"benchmarks.{module} FAILED")
            return []
        return [Row(**{**row, "spread": tuple(row["spread"])}) for row in json.loads(Path(file.name).read_bytes())]


def main() -> None:
    """Measure all and write them down."""
    found = {module: measured(module) for module in MODULES}
    rows = [row for some in found.values() for row in some]
    about = {"date": datetime.now(UTC).date().isoformat(), **machine()}
    RESULTS.mkdir(exist_ok=True)
    name = "gpu" if about["gpu"] else "cpu"
    versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
    heading = (
        f"{about['gpu'] or about['processor']}, {about['cores']} cores, {about['instructions']}; {about['date']}; {versions}."
    )
    absent = "".join(f"\nNot measured: {module}.\n" for module, some in found.items() if not some)
    (RESULTS / f"{name}.md").write_text(f"{heading}\n\n{table(rows)}\n{absent}")
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": about, "rows": [vars(row) for row in rows]}, indent=1) + "\n")
    print(f"{sum(row.met for row in rows)} of {len(rows)} goals met: {RESULTS / name}.md")
    if any(not some for module, some in found.items() if module != "gpu"):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

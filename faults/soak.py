"""Many small drops through Dagster's sensor and daemon: what grows that should not?

    .venv/bin/python -m faults.soak [--drops 300]

Three datasets take turns, as the sensor looks every 30 s and a run takes longer than that on a
small machine. After each drop has taken effect: resident memory and open files of the daemon and
its code server, bytes of Dagster's databases and of the store. Writes the part of
``docs/reliability.md`` between its marks. About 25 s a drop on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
from PIL import Image
from tqdm import tqdm

from data_contracts.records.dataset import DatasetSpec
from faults.__main__ import PAGE
from faults.daemon import Daemon, processes_of, until
from faults.study import STUDY, home_in, put_images
from pipeline.automation.requests import code_versions
from pipeline.automation.staleness import stale_reason
from pipeline.launch import DONE, run_job
from resources.intake.drops import MARKER
from resources.store.dataset_store import DatasetStore
from tests.conftest import TINY_STUDY, draw

DATASETS = ("one", "two", "three")
MARKS = ("<!-- soak -->\n", "<!-- end of soak -->\n")
LONGEST = 300.0
"""Time after which a drop without effect counts as lost, in seconds."""


def _put(store: DatasetStore, dataset: str, number: int) -> None:
    folder = store.root / "drops" / dataset / f"{number:04}"
    folder.mkdir(parents=True)
    Image.fromarray(draw(number % 2, 1000 + number)).save(folder / "image.png")
    (folder / MARKER).touch()


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _figures(store: DatasetStore) -> dict[str, float]:
    standing = [
        process
        for process in processes_of(str(store.root))
        if "spawn_main" not in " ".join(process.cmdline())
    ]
    return {
        "resident memory, MB": sum(process.memory_info().rss for process in standing) / 1e6,
        "open files": float(sum(process.num_fds() for process in standing)),
        "Dagster's databases, MB": _bytes_below(store.root / "dagster") / 1e6,
        "store, MB": _bytes_below(store.root / "store") / 1e6,
    }


def soak(store: DatasetStore, folder: Path, drops: int) -> tuple[list[dict[str, float]], int]:
    """Return figures after each drop, and how many drops took no effect."""
    for dataset in DATASETS:
        store.save_spec(
            DatasetSpec(name=dataset, root=put_images(folder / dataset), show_names=True)
        )
        outcome = run_job(STUDY, dataset, TINY_STUDY, "cpu")
        assert outcome.exit_code == DONE, outcome.message
    figures, lost = [], 0
    daemon = Daemon(folder / "daemon.log")
    try:
        with dg.DagsterInstance.get() as instance:
            daemon.wait_until_ready(instance)
        for number in tqdm(range(drops), "drops"):
            dataset = DATASETS[number % len(DATASETS)]
            # The one before in this dataset has to be done; those of the others may go on.
            lost += not until(
                lambda dataset=dataset: stale_reason(store, dataset, code_versions(STUDY)) is None,
                LONGEST,
            )  # type: ignore[misc]
            _put(store, dataset, number)
            time.sleep(1)
            figures.append(_figures(store))
        for dataset in DATASETS:
            lost += not until(
                lambda dataset=dataset: stale_reason(store, dataset, code_versions(STUDY)) is None,
                LONGEST,
            )  # type: ignore[misc]
        figures.append(_figures(store))
    finally:
        daemon.kill_everything()
    return figures, lost


def table(figures: list[dict[str, float]], lost: int, seconds: float) -> str:
    """Return start, end and the slope over the second half in Markdown."""
    drops = len(figures) - 1
    lines = [
        f"{drops} drops of one image in {seconds / 60:.0f} minutes, {datetime.now(UTC).date()}: "
        f"{lost} without effect.",
        "",
        "| | after the first drop | after the last | a drop more, second half |",
        "| --- | --- | --- | --- |",
    ]
    half = np.arange(drops // 2, drops + 1)
    for name in figures[0]:
        values = np.array([row[name] for row in figures])
        slope = np.polyfit(half, values[half], 1)[0]
        lines.append(f"| {name} | {values[0]:,.1f} | {values[-1]:,.1f} | {slope:+.3f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Soak, and write the part of the document."""
    parser = argparse.ArgumentParser(prog="python -m faults.soak")
    parser.add_argument("--drops", type=int, default=300)
    drops = parser.parse_args().drops
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, home_in(Path(folder)) as store:
        figures, lost = soak(store, Path(folder), drops)
        print(json.dumps(figures[:: max(drops // 20, 1)], indent=1))
    written = table(figures, lost, time.monotonic() - started)
    print(written)
    before, rest = PAGE.read_text().split(MARKS[0])
    PAGE.write_text(before + MARKS[0] + written + MARKS[1] + rest.split(MARKS[1])[1])


if __name__ == "__main__":
    main()

"""Count the drops that the sensor takes up before a slow copy is complete.

    .venv/bin/python -m benchmarks.slow_copies [DROPS]

Fifty copiers (by default) write into drop folders of fifty datasets at once, in random chunks with
random pauses up to 80 % of the time that a drop must not change. A third write under the final
names, a third under unfinished names that are renamed, and a third set a marker at the end. The
real sensor is evaluated the whole time; what it asks to run is compared, file by file and byte by
byte, with what was to be copied. Takes about a minute; no GPU, no weights, no network.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

N_DROPS = 50
SETTLE_SECONDS = 3.0
TICK_SECONDS = 0.7
LONGEST_PAUSE = 0.8 * SETTLE_SECONDS
SEED = 0


def bmp(seed: int) -> bytes:
    """Return an image of random pixels."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8)).save(
        buffer, "BMP"
    )
    return buffer.getvalue()


class Copier(threading.Thread):
    """A thread that writes one drop slowly."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(daemon=True)
        self.folder, self.random = folder, random.Random(SEED + number)
        self.how = ("final names", "renamed", "marker")[number % 3]
        self.files = {
            f"{'ab'[i % 2]}/{i}.bmp": bmp(1000 * number + i)
            for i in range(self.random.randint(3, 8))
        }
        self.finished = False

    def pause(self) -> None:
        """Wait as a slow disk or network makes a copy wait."""
        time.sleep(self.random.uniform(0, LONGEST_PAUSE))

    def run(self) -> None:
        """Copy the files of the drop."""
        self.pause()
        for name, data in self.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.with_name(f"{path.name}.part") if self.how == "renamed" else path
            with open(written, "wb") as stream:
                at = 0
                while at < len(data):
                    step = self.random.randint(1, len(data))
                    stream.write(data[at : at + step])
                    stream.flush()
                    at += step
                    self.pause()
            if written != path:
                written.rename(path)
        if self.how == "marker":
            (self.folder / "_READY").touch()
        self.finished = True

    def is_whole(self) -> bool:
        """Whether every file is there with all its bytes."""
        return all(
            (self.folder / name).is_file() and (self.folder / name).read_bytes() == data
            for name, data in self.files.items()
        )


def main() -> None:
    """Copy, tick, compare, print."""
    n_drops = int(sys.argv[1]) if len(sys.argv) > 1 else N_DROPS
    with tempfile.TemporaryDirectory() as place:
        os.environ.update(
            MEDFEAT_HOME=f"{place}/home",
            MEDFEAT_SITE_KEY=f"{place}/key",
            MEDFEAT_DROP_SETTLE_SECONDS=str(SETTLE_SECONDS),
        )
        for name in ("DAGSTER_HOME", "MEDFEAT_DROPS"):
            os.environ.pop(name, None)
        from resources.store.home import prepare_home

        home = prepare_home()
        copiers = {
            f"set{n}": Copier(home / "drops" / f"set{n}" / "night", n) for n in range(n_drops)
        }
        measure(copiers)


def measure(copiers: dict[str, Copier]) -> None:
    """Tick until a run was requested for every drop."""
    from pipeline.automation.sensors import drops
    from resources.intake.drops import check_drops
    from resources.intake.site_key import names_of
    from resources.store.dataset_store import DatasetStore

    store = DatasetStore()
    partial: list[str] = []
    asked: dict[str, float] = {}
    started, ticks = time.monotonic(), 0
    for copier in copiers.values():
        copier.start()
    while len(asked) < len(copiers) and time.monotonic() - started < 300:
        with (
            dg.DagsterInstance.get() as instance,
            dg.build_sensor_context(instance=instance, resources={"store": store}) as context,
        ):
            ticked: Any = drops(context)
        ticks += 1
        for request in ticked.run_requests or []:
            name = str(request.partition_key)
            copier = copiers[name]
            counted = (
                check_drops(store, name, names_of(store.root, name, show=False), first_load=True)
                .drops[0]
                .files
            )
            if not (
                copier.finished and copier.is_whole() and counted - {"_READY"} == set(copier.files)
            ):
                partial.append(f"{name} ({copier.how})")
            asked.setdefault(name, time.monotonic() - started)
        time.sleep(TICK_SECONDS)
    print(
        f"{len(copiers)} drops copied in {max(asked.values(), default=0):.0f} s while the sensor "
        f"ticked {ticks} times"
    )
    print(f"asked for: {len(asked)}; before they were whole: {len(partial)} {' '.join(partial)}")


if __name__ == "__main__":
    main()

"""Dagster's daemon as a site runs it, with all that it starts, for the faults that kill it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import psutil

from faults.harness import Outcome
from faults.study import digest, home_in, put_drop, put_images, register
from faults.zygote import Zygote, seconds_of, zygote
from pipeline.orphans import IN_FLIGHT
from resources.run_owner import process_lives
from resources.store.dataset_store import DatasetStore
from resources.store.home import PROJECT_ROOT

READY_SECONDS = 600.0


class Daemon:
    """A daemon that was started."""

    def __init__(self, log: Path) -> None:
        self.started = time.time()
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "ignore",
                    "-m",
                    "dagster._daemon",
                    "run",
                    "-w",
                    "workspace.yaml",
                ],
                cwd=PROJECT_ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_until_ready(self, instance: dg.DagsterInstance) -> None:
        """Wait until its sensors have ticked once."""
        until(
            lambda: any(
                s.last_heartbeat and s.last_heartbeat.timestamp > self.started
                for s in _sensor_daemon(instance)
            )
        )

    def kill(self) -> None:
        """Kill the daemon alone; code servers and runs notice by themselves."""
        self._process.kill()
        self._process.wait()

    def kill_everything(self) -> None:
        """Kill the daemon, its code servers and its runs at once, and wait until none is left."""
        killed = [psutil.Process(self._process.pid)]

        def all_dead() -> bool:
            # also what one began just before it was killed
            begun = list(processes_of(os.environ["MEDFEAT_HOME"]))
            for process in begun:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            killed.extend(begun)
            return not begun and not any(
                process_lives(process.pid, process.create_time()) for process in killed
            )

        self.kill()
        if not until(all_dead):
            raise TimeoutError(f"some of {killed} do not die")


def _sensor_daemon(instance: dg.DagsterInstance) -> list[Any]:
    return [
        status
        for status in instance.get_daemon_statuses().values()
        if status.daemon_type == "SENSOR"
    ]


def processes_of(home: str) -> Iterator[psutil.Process]:
    """Return the processes that work in a home: code servers and runs.

    The command lines of runs do not say Dagster.
    """
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("MEDFEAT_HOME") == home:
                yield process
        except psutil.Error:
            continue


def until(is_so: Callable[[], bool], seconds: float = READY_SECONDS) -> bool:
    """Wait for a condition and return whether it came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.25)
    return False


def in_flight(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Return the runs that have not ended."""
    return list(instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT)))


@contextmanager
def bases(folder: Path, one: Zygote) -> Iterator[tuple[Callable[[str], Path], str]]:
    """Yield homes in which a first study has been run.

    A function that makes one, and the digest after a drop.
    """
    images = put_images(folder / "images")
    with home_in(folder / "base") as store:
        register(store, images)
        seconds_of(one.begin("run_study"), one)

    def copied(name: str) -> Path:
        shutil.copytree(folder / "base", folder / name)
        return folder / name

    with home_in(copied("unharmed")) as store:
        put_drop(store)
        seconds_of(one.begin("backfill"), one)
        whole = digest(store)
    yield copied, whole


def each_site(
    seeds: Sequence[int],
    folder: Path,
    trial: Callable[[int, DatasetStore, Zygote, str, Path], Outcome],
) -> Iterator[Outcome]:
    """Yield the outcome of a trial for each seed, in a home of its own.

    A trial gets seed, store, zygote, digest of an unharmed store, and log.
    """
    with zygote(folder / "log") as one, bases(folder, one) as (copied, whole):
        for seed in seeds:
            with home_in(copied(str(seed))) as store:
                yield trial(seed, store, one, whole, folder / "daemon.log")
            shutil.rmtree(folder / str(seed))


def finished(store: DatasetStore, one: Zygote, whole: str) -> str:
    """Return what is wrong after the nightly reconciliation, or ""."""
    ended = one.end(one.begin("backfill"))
    if ended != 0:
        return f"the reconciliation ended with {ended}: {one.said()}"
    return "" if digest(store) == whole else "another digest"

"""The process that owns a Dagster run: a run whose owner died is told from one that works.

The owner is written into the tags of the run, where every host that shares the database sees it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import psutil

from resources.host import Host, Place, this_host

STARTED_HERE = "medfeat/pid"
"""Tag of a Dagster run with the process number of the command that started it and waits for it."""
HOST = "medfeat/host"
"""Tag of a Dagster run with the name of the host that it runs on."""
BOOT = "medfeat/boot"
"""Tag of a Dagster run with the boot and the PID namespace of that host."""
PROCESS = "medfeat/process"
"""Tag of a Dagster run with number and start time of its process, and the id of the run.

Dagster copies the tags of a run to the one that repeats it, so the id tells whose they are.
"""
CLOCK_TOLERANCE = 1.0
"""Maximum difference between the system's and Dagster's time of a process start, in seconds."""

_claimed: set[str] = set()


def command_tags() -> dict[str, str]:
    """Return the tags of a run that this process starts and waits for."""
    return {STARTED_HERE: str(os.getpid()), **_host_tags()}


def _host_tags() -> dict[str, str]:
    here = this_host()
    return {HOST: here.name, BOOT: here.boot}


def _start_of(process: psutil.Process) -> str:
    """Return the start time of a process, on Linux in ticks since this boot.

    That clock is never set; elsewhere it is seconds since 1970.
    """
    try:
        status = Path(f"/proc/{process.pid}/stat").read_text()
    except FileNotFoundError:
        return str(process.create_time())
    return status.rpartition(")")[2].split()[19]


def claim_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Record this process as the owner of a run, once.

    Its start time is recorded too, because the system reuses process numbers.
    """
    if run_id in _claimed:
        return
    me = psutil.Process()
    process = f"{me.pid} {_start_of(me)} {run_id}"
    instance.add_run_tags(run_id, {**_host_tags(), PROCESS: process})
    _claimed.add(run_id)


def is_claimed(run: dg.DagsterRun) -> bool:
    """Tell whether the process that executes a run has recorded itself as its owner."""
    return run.tags.get(PROCESS, "").endswith(f" {run.run_id}")


def place_of(tags: Mapping[str, str]) -> Place | None:
    """Tell where the process is that the tags of a run name; None where they name no host."""
    if HOST not in tags:
        return None
    return this_host().place_of(Host(tags[HOST], tags.get(BOOT, "")))


def owner_lives(run: dg.DagsterRun) -> bool:
    """Tell whether the owner of a claimed run, a process of this host and boot, is alive."""
    pid, start, _ = run.tags[PROCESS].split()
    try:
        process = psutil.Process(int(pid))
        return _start_of(process) == start and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def process_lives(pid: int, began_by: float) -> bool:
    """Tell whether the process that had this number at a time (seconds since 1970) is alive."""
    try:
        process = psutil.Process(pid)
        return (
            process.create_time() <= began_by + CLOCK_TOLERANCE
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False

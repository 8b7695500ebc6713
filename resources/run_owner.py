"""Which process owns a Dagster run, so that a run whose owner died can be told from one that
works.
"""

import json
import platform
from pathlib import Path

import psutil

from resources.store.atomic_file import write_atomically

CLOCK_SECONDS = 1.0
"""By which the system's and Dagster's times of a start may differ."""


def _path(home: Path, run_id: str) -> Path:
    return home / "dagster" / "run_owners" / f"{run_id}.json"


def _start_of(process: psutil.Process) -> str:
    """When a process began, by a clock that nobody sets, where the system has one (Linux: ticks
    since this boot).
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        after_the_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return f"{boot} {after_the_name[19]}"
    except FileNotFoundError:
        return str(process.create_time())


def claim_run(home: Path, run_id: str) -> None:
    """Record this process as the owner of a run. Its start guards against a number that was given
    out again.
    """
    path = _path(home, run_id)
    if not path.exists():
        me = psutil.Process()
        owner = {"pid": me.pid, "start": _start_of(me), "host": platform.node()}
        write_atomically(path, json.dumps(owner).encode())


def owner_is_alive(home: Path, run_id: str) -> bool | None:
    """Whether the owner lives, or is on another machine and cannot be asked; None where no owner
    was recorded.
    """
    try:
        owner = json.loads(_path(home, run_id).read_bytes())
        if owner["host"] != platform.node():
            return True
        process = psutil.Process(int(owner["pid"]))
        return _start_of(process) == owner["start"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or none that can be read
        return None


def process_lives(pid: int, began_by: float) -> bool:
    """Whether the process that had this number at a time (seconds since 1970) still works."""
    try:
        process = psutil.Process(pid)
        return (
            process.create_time() <= began_by + CLOCK_SECONDS
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except psutil.NoSuchProcess:
        return False

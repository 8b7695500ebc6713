"""The process that owns a Dagster run: a run whose owner died is told from one that works."""

import json
import platform
from pathlib import Path

import psutil

from resources.store.atomic_file import write_atomically

STARTED_HERE = "medfeat/pid"
"""Tag of a Dagster run with the process number of the command that started it and waits for it."""
CLOCK_TOLERANCE = 1.0
"""Maximum difference between the system's and Dagster's time of a process start, in seconds."""


def owner_file(home: Path, run_id: str) -> Path:
    """Return the file that says which process owns a run."""
    return home / "dagster" / "run_owners" / f"{run_id}.json"


def _start_of(process: psutil.Process) -> str:
    """Return the start time of a process, on Linux in ticks since this boot.

    That clock is never set; elsewhere it is seconds since 1970.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        after_the_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        return f"{boot} {after_the_name[19]}"
    except FileNotFoundError:
        return str(process.create_time())


def claim_run(home: Path, run_id: str) -> None:
    """Record this process as the owner of a run.

    Its start time is stored too, because the system reuses process numbers.
    """
    path = owner_file(home, run_id)
    if not path.exists():
        me = psutil.Process()
        owner = {"pid": me.pid, "start": _start_of(me), "host": platform.node()}
        write_atomically(path, json.dumps(owner).encode())


def owner_is_alive(home: Path, run_id: str) -> bool | None:
    """Tell whether the owner of a run is alive; None if no owner was recorded.

    An owner on another machine cannot be examined and counts as alive.
    """
    try:
        owner = json.loads(owner_file(home, run_id).read_bytes())
        if owner["host"] != platform.node():
            return True
        process = psutil.Process(int(owner["pid"]))
        return _start_of(process) == owner["start"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except (OSError, ValueError, KeyError, TypeError):  # no record, or none that can be read
        return None


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

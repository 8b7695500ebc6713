"""Which process owns a Dagster run, so that a run whose owner died can be told from one that works."""

import json
from pathlib import Path

import psutil

from resources.atomic_file import write_atomically


def _path(home: Path, run_id: str) -> Path:
    return home / "dagster" / "run_owners" / f"{run_id}.json"


def claim_run(home: Path, run_id: str) -> None:
    """Record this process as the owner of a run. The start time guards against a pid that was given out again."""
    path = _path(home, run_id)
    if not path.exists():
        me = psutil.Process()
        write_atomically(path, json.dumps({"pid": me.pid, "started": me.create_time()}).encode())


def owner_is_alive(home: Path, run_id: str) -> bool | None:
    """Whether the owner lives; None where no owner was recorded."""
    try:
        owner = json.loads(_path(home, run_id).read_bytes())
        return abs(psutil.Process(int(owner["pid"])).create_time() - float(owner["started"])) < 1.0
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or none that can be read
        return None
    except psutil.NoSuchProcess:
        return False

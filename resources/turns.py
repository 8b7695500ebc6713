"""Turns: one run at a time writes an output or computes on a device, and a run that waits says so.

The lock is the operating system's, so it is free as soon as its holder ends, however that ends.
A waiting run sleeps, and any signal reaches it.
"""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger("medfeat.turns")

POLL_SECONDS = 0.5
"""Interval between two looks at a lock that another run holds, in seconds."""
SAY_AGAIN_SECONDS = 300.0
"""Interval between two lines that say that a run still waits, in seconds."""


@dataclass(frozen=True)
class Holder:
    """Who has a turn.

    Attributes:
        run_id: its Dagster run, "" outside of one.
        dataset: the dataset that it works on.
        since: local time at which it got the turn, ISO 8601.
    """

    run_id: str
    dataset: str
    since: str

    @classmethod
    def now(cls, run_id: str, dataset: str) -> "Holder":
        """The holder of a turn that begins now."""
        return cls(run_id, dataset, datetime.now().astimezone().isoformat(timespec="seconds"))

    def __str__(self) -> str:
        who = f"run {self.run_id[:8]}" if self.run_id else "another process"
        began = datetime.fromisoformat(self.since)
        today = began.date() == datetime.now(began.tzinfo).date()
        return f"{who} of {self.dataset}, since {began:{'%H:%M' if today else '%Y-%m-%d %H:%M'}}"


def _holder_file(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.holder")


def holder_of(lock: Path) -> Holder | None:
    """Who last got a lock; None where that was not written down."""
    try:
        return Holder(**json.loads(_holder_file(lock).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def turn(lock: Path, what: str, holder: Holder, timeout: float) -> Iterator[None]:
    """Hold a lock; where another run holds it, wait and say for whom.

    Args:
        lock: file of the lock; its folder exists.
        what: what the turn is for, in words, for the line that says that this run waits.
        holder: this run, for the line of the next one.
        timeout: maximum wait in seconds.

    Raises:
        filelock.Timeout: another run holds it for longer.
        OSError: the lock cannot be made.
    """
    file_lock = FileLock(lock)
    asked, said = time.monotonic(), float("-inf")
    while True:
        try:
            file_lock.acquire(timeout=0)
            break
        except Timeout:
            now = time.monotonic()
            if now - asked > timeout:
                raise
            if now - said > SAY_AGAIN_SECONDS:
                said = now
                log.info(
                    "waiting for %s (%s); Ctrl-C gives up the place",
                    holder_of(lock) or "another run",
                    what,
                )
            time.sleep(POLL_SECONDS)
    try:
        _holder_file(lock).write_text(json.dumps(asdict(holder)))
        if said > float("-inf"):
            log.info("goes on after %.0f s of waiting", time.monotonic() - asked)
        yield
    finally:
        file_lock.release()

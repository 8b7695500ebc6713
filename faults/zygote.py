"""A process that has loaded everything and forks a child for each fault that kills.

The child has a session of its own.

python -m faults.zygote       # reads orders from standard input, answers on standard output
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faults.study import digest, home_in, register


class Zygote:
    """The parent's end of a zygote: it starts work in children and waits for them."""

    def __init__(self, log: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.zygote_process", str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._log = log

    def _order(self, **order: object) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(order), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, self._log.read_text()[-2000:]
        return int(answer)

    def begin(self, work: str) -> int:
        """Start work in this process's environment; return its process id, which is its group."""
        names = ("MEDFEAT", "DAGSTER", "TORCH_HOME", "OMP_NUM_THREADS")
        return self._order(
            work=work,
            environment={key: value for key, value in os.environ.items() if key.startswith(names)},
        )

    def end(self, process: int) -> int:
        """Wait for the work: 0 if it is done, 1 if it failed, -9 if it was killed."""
        return self._order(wait=process)

    def said(self) -> str:
        """Return the last that its children printed."""
        return self._log.read_text()[-1000:]

    def close(self) -> None:
        """End the zygote."""
        self._process.kill()
        self._process.wait()


@contextmanager
def zygote(log: Path) -> Iterator[Zygote]:
    """Start a zygote and end it afterwards; ``log`` gets what its children print."""
    one = Zygote(log)
    try:
        yield one
    finally:
        one.close()


def seconds_of(process: int, one: Zygote) -> float:
    """Wait for work that must succeed, and return its seconds."""
    started = time.monotonic()
    status = one.end(process)
    assert status == 0, status
    return time.monotonic() - started


def unharmed(folder: Path, images: Path, one: Zygote) -> tuple[float, str]:
    """Return the seconds of an undisturbed study, and the digest of its results."""
    with home_in(folder) as store:
        register(store, images)
        seconds = seconds_of(one.begin("run_study"), one)
        return seconds, digest(store)

"""A process that has loaded everything and forks one that works, in a session of its own, for each
fault that kills.

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
    """The other end: starts work in children and waits for them."""

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
        """Start some work in this process's environment; gives the process, which is also its
        group."""
        names = ("MEDFEAT", "DAGSTER", "TORCH_HOME", "OMP_NUM_THREADS")
        return self._order(
            work=work,
            environment={key: value for key, value in os.environ.items() if key.startswith(names)},
        )

    def end(self, process: int) -> int:
        """Wait for it: 0 where it is done, 1 where it failed, -9 where it was killed."""
        return self._order(wait=process)

    def said(self) -> str:
        """The last that its children printed."""
        return self._log.read_text()[-1000:]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


@contextmanager
def zygote(log: Path) -> Iterator[Zygote]:
    """One, ended afterwards; ``log`` gets what the children print."""
    one = Zygote(log)
    try:
        yield one
    finally:
        one.close()


def seconds_of(process: int, one: Zygote) -> float:
    """Wait for work that must succeed."""
    started = time.monotonic()
    status = one.end(process)
    assert status == 0, status
    return time.monotonic() - started


def unharmed(folder: Path, images: Path, one: Zygote) -> tuple[float, str]:
    """Seconds of a study to which nothing happens, and the digest of what it makes."""
    with home_in(folder) as store:
        register(store, images)
        seconds = seconds_of(one.begin("run_study"), one)
        return seconds, digest(store)

"""Wrappers of the system calls that change a file system: counted, failing, killing, recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

CHANGES = (
    "write",
    "posix_fallocate",
    "fsync",
    "sync",
    "replace",
    "rename",
    "link",
    "mkdir",
    "unlink",
)
"""Calls by which the store changes a disk, except opening and closing."""

Before = Callable[[int, str, tuple[Any, ...]], None]


@contextmanager
def watched(
    names: tuple[str, ...], before: Before, after: Before = lambda *_: None
) -> Iterator[None]:
    """Call ``before`` and ``after`` with the number, name and arguments of each of these calls.

    They are functions of ``os``, numbered from 0.
    """
    number = 0

    def wrapped(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal number
            this, number = number, number + 1
            before(this, name, arguments)
            try:
                return real(*arguments, **more)
            finally:
                after(this, name, arguments)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setattr(os, name, wrapped(name, getattr(os, name)))
        yield


@cache
def may_mount() -> bool:
    """Whether file systems may be mounted; not even root may in most containers."""
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False
        ).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
        return True


def count(names: tuple[str, ...], work: Callable[[], None]) -> int:
    """Return how many of these calls some work makes."""
    seen = 0

    def add(*_: Any) -> None:
        nonlocal seen
        seen += 1

    with watched(names, add):
        work()
    return seen


def killed_at(wanted: int, torn: bool, work: Callable[[], None]) -> int:
    """Do some work in a child that kills itself at a change.

    Args:
        wanted: which change, from 0.
        torn: a write puts half of its bytes, and any other call does not happen; else the call is
            made first.
        work: what is done.

    Returns:
        the wait status of the child: -9 where it was killed, 0 where it came to its end, 1 where it
        failed.
    """
    real_write = os.write

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def before(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if torn and number == wanted:
            if name == "write":
                real_write(arguments[0], bytes(arguments[1][: len(arguments[1]) // 2]))
            die()

    def after(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if not torn and number == wanted:
            die()

    child = os.fork()
    if child == 0:
        status = 1
        try:
            with watched(CHANGES, before, after):
                work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@contextmanager
def quick_folder(folder: Path) -> Iterator[Path]:
    """Return a new folder in memory, or ``folder`` where the system has no such place.

    It is for faults that do not need a disk.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield folder
        return
    with tempfile.TemporaryDirectory(dir=memory) as quick:
        yield Path(quick)

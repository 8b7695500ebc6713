"""The system denies: I/O errors, too many open files, no permission, a read-only store."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import InputError
from faults import commits
from faults.harness import Fault, Outcome
from faults.os_layer import may_mount, quick_folder, watched
from faults.study import home_in
from resources.store.dataset_store import DatasetStore

CHANGES = ("open", "write", "posix_fallocate", "fsync", "replace", "mkdir")
NOBODY = 65534
CLEAN, DONE, UNCLEAN = 3, 0, 1
"""Exit status of a child: an error for a person, everything committed, or any other end."""


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    with quick_folder(folder) as quick:
        quick.chmod(0o755)
        archive = commits.put_archive(quick)
        changes, whole = commits.unharmed(quick / "unharmed", archive, CHANGES)
        for seed in seeds:
            with home_in(quick / str(seed)) as store:
                kind = KINDS[seed % len(KINDS)]
                said = kind(seed * 7 % changes, store, archive)
                wrong = commits.finished(store, archive, whole)
                survived = not wrong and not said.startswith("NOT CLEAN")
                yield Outcome(seed, survived, f"{kind.__name__}: {said} {wrong}")


def _denied(number: int, first: int, store: DatasetStore, archive: Path) -> str:
    """Return the outcome when one call fails with an error number."""

    def deny(at: int, name: str, arguments: tuple[Any, ...]) -> None:
        if at == first:
            raise OSError(number, os.strerror(number))

    try:
        with watched(CHANGES, deny):
            commits.commit(store, archive, [])
    except InputError as error:
        return str(error) if "/" in str(error) else f"NOT CLEAN, no path: {error}"
    except Exception as error:
        return f"NOT CLEAN: {error!r}"
    return "it was done without"


def input_output_error(first: int, store: DatasetStore, archive: Path) -> str:
    return _denied(errno.EIO, first, store, archive)


def no_permission(first: int, store: DatasetStore, archive: Path) -> str:
    return _denied(errno.EACCES, first, store, archive)


def read_only(first: int, store: DatasetStore, archive: Path) -> str:
    return _denied(errno.EROFS, first, store, archive)


def too_many_files(first: int, store: DatasetStore, archive: Path) -> str:
    return _denied(errno.EMFILE, first, store, archive)


def unreadable(first: int, store: DatasetStore, archive: Path) -> str:
    """Return the outcome when stored bytes cannot be read back at one place."""
    commits.commit(store, archive, [])
    real, number = Path.read_bytes, 0

    def read(path: Path) -> bytes:
        nonlocal number
        number += 1
        if path.is_relative_to(store.root) and number == 1 + first % 12:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        try:
            commits.commit(store, archive, [])
            commits.digest(store)
        except InputError as error:
            return str(error)
        except Exception as error:
            return f"NOT CLEAN: {error!r}"
    return "it was computed again or not needed"


def _in_child(prepare: Callable[[], None], work: Callable[[], None]) -> str:
    child = os.fork()
    if child == 0:
        status = UNCLEAN
        try:
            prepare()
            work()
            status = DONE
        except InputError as error:
            status = CLEAN if "/" in str(error) else UNCLEAN
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {CLEAN: "a clean error", DONE: "it was done without"}.get(
        ended, f"NOT CLEAN: the child ended with {ended}"
    )


def few_files_allowed(first: int, store: DatasetStore, archive: Path) -> str:
    """Return the outcome under a real limit on open files."""
    used = len(os.listdir("/proc/self/fd"))
    limit = used + first % 4
    return _in_child(
        lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
        lambda: commits.commit(store, archive, []),
    )


def another_user(first: int, store: DatasetStore, archive: Path) -> str:
    """Return the outcome where the store really belongs to another user."""
    if os.geteuid() != 0:
        return no_permission(first, store, archive)
    if first % 2:
        commits.commit(store, archive, [])
    return _in_child(lambda: os.setuid(NOBODY), lambda: commits.commit(store, archive, []))


def mounted_read_only(first: int, store: DatasetStore, archive: Path) -> str:
    """Return the outcome where the store's file system is really mounted read-only."""
    if not may_mount():
        return f"as nothing may be mounted: {read_only(first, store, archive)}"
    home = str(store.root)
    subprocess.run(["mount", "--bind", home, home], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
        return _in_child(lambda: None, lambda: commits.commit(store, archive, []))
    finally:
        subprocess.run(["umount", home], check=True)


KINDS = (
    input_output_error,
    no_permission,
    read_only,
    too_many_files,
    unreadable,
    few_files_allowed,
    another_user,
    mounted_read_only,
)

FAULT = Fault(
    number=5,
    name="the system denies: EIO, EMFILE, EACCES, EROFS, at calls by number and for real",
    goal=(
        "a clean error that names a path, or done without; nothing damaged; a rerun goes on to the "
        "same digest"
    ),
    full=60,
    sample=10,
    inject=inject,
    kinds=len(KINDS),
)

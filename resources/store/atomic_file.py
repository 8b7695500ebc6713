"""Writing a file so that it is there whole or not at all."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import psutil

from data_contracts.errors import InputError
from data_contracts.records.output_record import StoredFile

TEMPORARY = re.compile(r"^\..+\.(\d+)\.[0-9a-f]{8}\.tmp$")

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
CLOCK_TICK = 2.0
"""Seconds, of the coarsest file systems."""


def temporary_name(path: Path) -> Path:
    """A hidden name beside ``path`` that nobody else uses."""
    return path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.tmp"


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Remove what killed processes left half-written in a folder, and nothing that a living one
    writes.

    In a folder that others use as well, ``name`` is the file whose leftovers alone are looked at.
    """
    for path in folder.glob(".*.tmp"):
        named = TEMPORARY.search(path.name)
        if (
            named is None
            or not path.name.startswith(f".{name}")
            or not _owner_is_gone(int(named[1]), path)
        ):
            continue
        # another process removed it, or it may not be removed: it harms nobody
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _owner_is_gone(pid: int, path: Path) -> bool:
    try:
        # A process that began after the file was written has the number of one that is gone.
        return psutil.Process(pid).create_time() > path.stat().st_mtime + CLOCK_TICK
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True


def write_atomically(path: Path, *parts: bytes) -> StoredFile:
    """Write ``parts``, one after another: temporary name in the same folder, space reserved, fsync,
    rename, fsync of the folder.

    Returns:
        name (of the file alone), sha256 and size of what was written.

    Raises:
        InputError: the disk is full or the folder is not writable; nothing is left behind.
    """
    temporary, size = temporary_name(path), sum(map(len, parts))
    try:
        make_folder(path.parent)
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
        fsync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise not_written(path, f"{size:,} bytes", error) from error
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return StoredFile(name=path.name, sha256=digest.hexdigest(), bytes=size)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Make a folder and those above it where they are not there yet; each survives a power failure.

    Raises:
        InputError: the system does not allow it.
    """
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir(mode=mode, exist_ok=True)
            fsync_folder(path.parent)
    except OSError as error:
        raise not_written(folder, "a few bytes", error) from error


def fsync_folder(folder: Path) -> None:
    """Let the names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def not_written(path: Path, need: str, error: OSError) -> InputError:
    """What a user can do about a file that the system did not let be written; ``need`` is how much
    room it takes.
    """
    if error.errno in DISK_FULL:
        return InputError(
            f"the disk is full: {path} needs {need}",
            "Free space and run again; nothing stored was damaged",
        )
    remedies = {
        errno.EMFILE: "Allow this user more open files (ulimit -n) and run again; nothing stored was damaged",
        errno.EIO: "Look at the disk (dmesg), and run again; nothing stored was damaged",
    }
    remedy = remedies.get(error.errno or 0, "Make the folder writable or set MEDFEAT_HOME")
    return InputError(f"{path} cannot be written ({error.strerror})", remedy)


def is_whole(path: Path, file: StoredFile) -> bool:
    """Whether the bytes at ``path`` are those that were stored."""
    try:
        return (
            path.is_file()
            and path.stat().st_size == file.bytes
            and file_sha256(path) == file.sha256
        )
    except OSError:  # went away, or the disk does not give it
        return False


Opener = Callable[[str, int], int]
"""What :func:`open` takes."""


def file_sha256(path: Path, opener: Opener | None = None) -> str:
    """SHA-256 of a file's bytes, hex; looked up where this process has hashed the very same file
    before.
    """
    found = path.stat()
    stamp = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    # A file may change twice within a tick of a file system's clock, and the second time is not
    # seen.
    settled = time.time() - max(found.st_mtime, found.st_ctime) > CLOCK_TICK
    return _sha256(path, stamp, opener) if settled else _sha256.__wrapped__(path, stamp, opener)


@lru_cache(2**16)
def _sha256(path: Path, stamp: tuple[int, ...], opener: Opener | None) -> str:
    del stamp  # part of what is looked up: a file that was touched is hashed again
    with open(path, "rb", opener=opener) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

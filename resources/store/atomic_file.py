"""Atomic file writing: a file appears complete or not at all."""

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
from resources.host import this_host

TEMPORARY = re.compile(r"^\..+?(?:\.([0-9a-f]{12}))?\.(\d+)\.[0-9a-f]{8}\.tmp$")
"""Names of unfinished files; the groups are the host and the number of the process that writes it.

Those of earlier versions have no host.
"""
FOREIGN_SECONDS = 86400.0
"""Age in seconds from which an unfinished file of another host counts as abandoned."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of an exhausted quota."""
FileStamp = tuple[int, int, int, int, int]
"""Device, inode, size in bytes, and times of modification and of change in nanoseconds."""
CLOCK_TICK = 2.0
"""Resolution of the coarsest file systems' time stamps, in seconds."""


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside ``path`` that no other process of any host uses."""
    writer = f"{this_host().token}.{os.getpid()}"
    return path.parent / f".{path.name}.{writer}.{uuid.uuid4().hex[:8]}.tmp"


def remove_unfinished(folder: Path, name: str = "") -> None:
    """Remove the unfinished files of killed processes from a folder.

    Args:
        folder: files that a living process writes are left alone, and for a day those of other
            hosts, PID namespaces and boots, whose processes cannot be examined.
        name: start of the file names that are examined, for a folder that others use as well.
    """
    for path in folder.glob(".*.tmp"):
        match = TEMPORARY.search(path.name)
        if (
            match is None
            or not path.name.startswith(f".{name}")
            or _may_be_written(match[1], int(match[2]), path)
        ):
            continue
        # another process removed it, or it cannot be removed, which does no harm
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _may_be_written(host: str | None, pid: int, path: Path) -> bool:
    try:
        written = path.stat().st_mtime
        if host != this_host().token:
            return time.time() - written < FOREIGN_SECONDS
        # A process that began after the file was written has the number of one that ended.
        return psutil.Process(pid).create_time() <= written + CLOCK_TICK
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


def write_atomically(path: Path, *parts: bytes) -> StoredFile:
    """Write the concatenated ``parts`` so that the file appears complete or not at all.

    The steps are: a temporary name in the same folder, space reserved, write, fsync, rename, fsync
    of the folder.

    Returns:
        name (without folders), sha256 and size of the file.

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
    """Make a folder and its missing parents, so that each survives a power failure.

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
    """Make the names in a folder survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def not_written(path: Path, need: str, error: OSError) -> InputError:
    """Return the error of a file that the system did not let be written, with its remedy.

    Args:
        path: of the file.
        need: space that it needs, in words.
        error: of the system.
    """
    if error.errno in DISK_FULL:
        return InputError(
            f"the disk is full: {path} needs {need}",
            "Free space and run again; nothing stored was damaged",
        )
    remedies = {
        errno.EMFILE: "Allow this user more open files (ulimit -n) and run again; "
        "nothing stored was damaged",
        errno.EIO: "Look at the disk (dmesg), and run again; nothing stored was damaged",
    }
    remedy = remedies.get(error.errno or 0, "Make the folder writable or set MEDFEAT_HOME")
    return InputError(f"{path} cannot be written ({error.strerror})", remedy)


def is_intact(path: Path, file: StoredFile) -> bool:
    """Tell whether the bytes at ``path`` are those that were stored."""
    try:
        return (
            path.is_file()
            and path.stat().st_size == file.bytes
            and file_sha256(path) == file.sha256
        )
    except OSError:  # removed meanwhile, or unreadable
        return False


Opener = Callable[[str, int], int]
"""Opens a file by path and flags, as :func:`open` takes it."""


def file_sha256(path: Path, opener: Opener | None = None) -> str:
    """Return the SHA-256 of a file's bytes, hex.

    It is computed once per process for the same path, inode, size and times.
    """
    status = path.stat()
    # A second change within one tick of the file system's clock would not be seen.
    hashed = _sha256 if is_settled(status) else _sha256.__wrapped__
    return hashed(path, file_stamp(status), opener)


def file_stamp(status: os.stat_result) -> FileStamp:
    """Return what tells a file from one that was changed or put in its place.

    Returns:
        device, inode, size in bytes, and times of modification and of change in nanoseconds.
    """
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def is_settled(status: os.stat_result) -> bool:
    """Tell whether a file is old enough for a later change to alter its stamp."""
    return time.time() - max(status.st_mtime, status.st_ctime) > CLOCK_TICK


@lru_cache(2**16)
def _sha256(path: Path, stamp: tuple[int, ...], opener: Opener | None) -> str:
    del stamp  # part of the cache key: a file that was touched is hashed again
    with open(path, "rb", opener=opener) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""What is unpacked, written so that the folder appears whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from data_contracts.errors import InputError
from resources.store.atomic_file import fsync_folder, make_folder, not_written, temporary_name


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its name when the block ends, and is removed
    when the block fails.

    Raises:
        InputError: ``target`` exists, or the disk is full or not writable.
    """
    if os.path.lexists(target):
        raise InputError(
            f"{target} exists already", "Remove it, or give a folder that does not exist"
        )
    temporary = temporary_name(target)
    try:
        make_folder(target.parent)
        temporary.mkdir()
        yield temporary
        # everything at once: one fsync for each of a million files would take longer than unpacking
        # them
        os.sync()
        temporary.rename(target)
        fsync_folder(target.parent)
    except BaseException as error:  # an interrupt must not leave half a dataset either
        written = sum(
            path.stat().st_size for path in temporary.rglob("*") if isinstance(error, OSError)
        )
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise not_written(target, f"more than {written:,} bytes", error) from error
        raise


def write_new_file(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file that must not exist, never through a link, with the modification time 0.

    Args:
        path: in a folder of :func:`new_folder`, which turns an OSError into what the user can do
            about it.
        blocks: iterated while the file is open; what it raises passes, and :func:`new_folder`
            removes the file.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o644)
    try:
        for block in blocks:
            view = memoryview(block)
            while view:
                view = view[os.write(descriptor, view) :]
        os.utime(descriptor, (0, 0))
    finally:
        os.close(descriptor)

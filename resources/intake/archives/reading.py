"""The file that an archive is, read a bounded number of bytes at a time."""

import io
import os
from pathlib import Path
from typing import cast

from data_contracts.errors import InputError
from resources.intake.archives.refusal import DAMAGED, TOO_MANY, RefusedArchiveError
from resources.store.atomic_file import Opener

BLOCK = 2**20
"""Bytes read, expanded or written at a time."""

MEMORY = 256 * 2**20
"""Bytes that a decoder may take for its dictionary, and a zip file for its list of members."""


class ArchiveFile(io.FileIO):
    """An unbuffered file, of which a parser cannot read more into memory than a list of members can
    need.

    Args:
        path: of a regular file.
        opener: as of :func:`open`.

    Raises:
        InputError: its disk fails. Not an OSError, which would look like a failure to write what
            was unpacked.
    """

    def __init__(self, path: Path, opener: Opener | None = None) -> None:
        super().__init__(path, opener=opener)
        self._path = path

    def read(self, size: int | None = -1, /) -> bytes:
        """Bytes from here on; a block of them where no size is given."""
        if size is None or size < 0:
            size = BLOCK
        if size > MEMORY:
            raise RefusedArchiveError(TOO_MANY)
        try:
            return cast(bytes, super().read(size))
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def read_at(self, position: int, size: int) -> bytes:
        """Bytes from anywhere, fewer at the end; several readers may take turns."""
        try:
            return os.pread(self.fileno(), size, position)
        except OSError as error:
            raise _unreadable(self._path, error) from error

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a place that an archive names."""
        if whence == os.SEEK_SET and offset < 0:
            raise RefusedArchiveError(DAMAGED)
        return super().seek(offset, whence)


def open_archive(path: Path, opener: Opener | None = None) -> ArchiveFile:
    """The file, open.

    Raises:
        InputError: it is not there, cannot be read, or is a folder or a device.
    """
    try:
        # before the open, which would wait on a pipe
        if opener is None and path.exists() and not path.is_file():
            raise InputError(f"{path} is not a file", "Give the archive itself")
        return ArchiveFile(path, opener)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be read ({error.strerror})",
        "Check the path, its permissions and the disk it is on",
    )

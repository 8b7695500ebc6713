"""Opening a file that strangers may replace at any time: what was opened is checked, not what the
name stood for before.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

LEAVES = "link leaves the dataset's folder"
NOT_REGULAR = "not a regular file"

_OPEN_FILES = Path("/proc/self/fd")


class RefusedFileError(Exception):
    """A file is not to be read; the message is LEAVES or NOT_REGULAR."""


def is_inside(file: Path, root: Path) -> bool:
    """Whether a file, links followed, lies in a folder; ``root`` itself has no links in it (see
    :func:`without_links`).
    """
    return without_links(file).is_relative_to(root)


def without_links(path: Path) -> Path:
    """Where a path leads."""
    return Path(os.path.realpath(path))


@dataclass(frozen=True)
class ConfinedOpener:
    """An ``opener`` for :func:`open` that opens regular files in a folder alone, links followed,
    and waits on no pipe.

    Attributes:
        root: the folder, without links in it: one that is replaced by a link later is another.

    Raises:
        RefusedFileError: it lies elsewhere, or is a pipe, a device or a folder.
    """

    root: Path

    def __call__(self, path: str, flags: int) -> int:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RefusedFileError(NOT_REGULAR)
            if not _lies_in(descriptor, Path(path), self.root):
                raise RefusedFileError(LEAVES)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _lies_in(descriptor: int, path: Path, root: Path) -> bool:
    if _OPEN_FILES.is_dir():
        return Path(os.readlink(_OPEN_FILES / str(descriptor))).is_relative_to(root)
    real = without_links(path)  # may lead elsewhere by now: then it is another file
    return real.is_relative_to(root) and os.path.samestat(os.lstat(real), os.fstat(descriptor))

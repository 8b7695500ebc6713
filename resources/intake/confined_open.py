"""Opening files that others may replace at any time, confined to one folder.

What was opened is checked, not what the name led to before.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

LEAVES = "link leaves the dataset's folder"
NOT_REGULAR = "not a regular file"

_OPEN_FILES = Path("/proc/self/fd")
"""Folder in which Linux tells where each open file lies."""


class RefusedFileError(Exception):
    """A file must not be read; the message is LEAVES or NOT_REGULAR."""


def is_inside(file: Path, root: Path) -> bool:
    """Whether a file, links followed, lies in a folder.

    Args:
        file: any path.
        root: the folder, without links in it (see :func:`without_links`).
    """
    return without_links(file).is_relative_to(root)


def without_links(path: Path) -> Path:
    """The path that a path leads to, all links followed."""
    return Path(os.path.realpath(path))


@dataclass(frozen=True)
class ConfinedOpener:
    """An ``opener`` for :func:`open` that opens only regular files in a folder.

    Links are followed, and the place they lead to is checked; it never waits on a pipe.

    Attributes:
        root: the folder, without links in it: if a link replaces it later, files there are refused.

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

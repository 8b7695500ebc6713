"""Opening files that others may replace at any time, confined to one folder.

What was opened is checked, not what the name led to before.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

LEAVES = "link leaves the dataset's folder (--follow-links FOLDER allows links into a folder)"
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


class FolderLinks:
    """Which links to folders a walk follows: those into a store beside the walked folder.

    No folder is reached twice by links, so that no loop can hold up the walk.

    Args:
        root: the walked folder, without links in it.
        store: folder that links may lead into, without links in it; None follows none.
    """

    def __init__(self, root: Path, store: Path | None) -> None:
        self._root, self._store = root, store
        self._followed: set[Path] = set()
        self._above: set[Path] = set()

    def follow(self, entry: os.DirEntry[str]) -> bool:
        """Whether to walk what an entry leads to; true at most once for each folder."""
        if self._store is None or not entry.is_symlink() or not entry.is_dir():
            return False
        target = without_links(Path(entry.path))
        if not target.is_relative_to(self._store) or target.is_relative_to(self._root):
            return False
        if target in self._above or self._root.is_relative_to(target):
            return False
        if not self._followed.isdisjoint((target, *target.parents)):
            return False
        self._followed.add(target)
        self._above.update(target.parents)
        return True


@dataclass(frozen=True)
class ConfinedOpener:
    """An ``opener`` for :func:`open` that opens only regular files in a folder, or in two.

    Links are followed, and the place they lead to is checked; it never waits on a pipe.

    Attributes:
        root: the folder, without links in it: if a link replaces it later, files there are refused.
        store: another folder, without links in it, where files may lie that links lead to, or None.

    Raises:
        RefusedFileError: it lies elsewhere, or is a pipe, a device or a folder.
    """

    root: Path
    store: Path | None = None

    def __call__(self, path: str, flags: int) -> int:
        descriptor = os.open(path, flags | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise RefusedFileError(NOT_REGULAR)
            folders = [self.root] if self.store is None else [self.root, self.store]
            if not any(_lies_in(descriptor, Path(path), folder) for folder in folders):
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

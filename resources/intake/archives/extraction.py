"""The folder that an archive of whatever kind is unpacked into: names and limits are checked
here.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from resources.intake.archives.limits import ArchiveLimits
from resources.intake.archives.refusal import (
    BACKSLASH,
    EMPTY,
    FILE_AND_FOLDER,
    LEAVES,
    LONG_NAME,
    NO_NAME,
    NOT_UTF8,
    NUL_NAME,
    SAME_NAME,
    TOO_DEEP,
    TOO_MANY,
    RefusedArchiveError,
)
from resources.intake.archives.writing import write_new_file

RATIO_FROM = 2**20
"""Bytes below which no packing ratio is suspicious: one black mask packs a thousand times."""

_NAME_PART = 255  # bytes of one file name on every file system in use


class ExtractionFolder:
    """The folder being filled: checks names and limits of whatever kind of archive.

    Args:
        root: an empty folder.
        limits: what may be written.
        packed: bytes of the archive.
    """

    def __init__(self, root: Path, limits: ArchiveLimits, packed: int) -> None:
        self.limits = limits
        self._root = root
        self._packed = packed
        self._members = 0
        self._written = 0
        self._is_folder: dict[str, bool] = {}
        self._keys: set[str] = set()

    def add_folder(self, name: str) -> None:
        """Make the folder of a member; it may be there already."""
        self._count_member()
        self._make_folders(_checked_parts(name, self.limits))

    def add_file(self, name: str, size: int, blocks: Iterable[bytes]) -> None:
        """Write the file of a member, and the folders it lies in.

        Args:
            name: as stored.
            size: as declared, only to refuse early.
            blocks: its bytes.
        """
        self._count_member()
        parts = _checked_parts(name, self.limits)
        if not parts:
            raise RefusedArchiveError(NO_NAME)
        if size > self.limits.member_bytes:
            raise self._too_large()
        self._make_folders(parts[:-1])
        path = "/".join(parts)
        self._claim(path, is_folder=False)
        write_new_file(self._root / path, self._counted(blocks))

    def finish(self) -> None:
        """To be called after the last member."""
        if not self._members:
            raise RefusedArchiveError(EMPTY)

    def _count_member(self) -> None:
        self._members += 1
        if self._members > self.limits.members:
            raise RefusedArchiveError(TOO_MANY)

    def _make_folders(self, parts: tuple[str, ...]) -> None:
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            if self._claim(path, is_folder=True):
                (self._root / path).mkdir()

    def _claim(self, path: str, *, is_folder: bool) -> bool:
        """Whether the path is new. Names count as the same where any file system in use would take
        them for one.
        """
        known = self._is_folder.get(path)
        if known is None:
            key = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
            if key in self._keys:
                raise RefusedArchiveError(SAME_NAME)
            self._keys.add(key)
            self._is_folder[path] = is_folder
            return True
        if known != is_folder:
            raise RefusedArchiveError(FILE_AND_FOLDER)
        if not is_folder:
            raise RefusedArchiveError(SAME_NAME)
        return False

    def _counted(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        size = 0
        for block in blocks:
            size += len(block)
            self._written += len(block)
            if size > self.limits.member_bytes:
                raise self._too_large()
            if self._written > self.limits.total_bytes:
                raise RefusedArchiveError(
                    f"it unpacks to more than {self.limits.total_bytes / 2**30:g} GiB"
                )
            if self._written > max(RATIO_FROM, self.limits.ratio * self._packed):
                raise RefusedArchiveError(
                    f"it is packed more than {self.limits.ratio:g} times (a bomb?)"
                )
            yield block

    def _too_large(self) -> RefusedArchiveError:
        return RefusedArchiveError(
            f"a member is larger than {self.limits.member_bytes / 2**30:g} GiB"
        )


def _checked_parts(name: str, limits: ArchiveLimits) -> tuple[str, ...]:
    """Folders and file name; none for the root itself ("./")."""
    if not name:
        raise RefusedArchiveError(NO_NAME)
    if "\0" in name:
        raise RefusedArchiveError(NUL_NAME)
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise RefusedArchiveError(NOT_UTF8) from None
    if "\\" in name or re.match("[A-Za-z]:", name):
        raise RefusedArchiveError(BACKSLASH)
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts:
        raise RefusedArchiveError(LEAVES)
    if len(parts) > limits.depth:
        raise RefusedArchiveError(TOO_DEEP)
    if n_bytes > limits.name_bytes or any(len(part.encode()) > _NAME_PART for part in parts):
        raise RefusedArchiveError(LONG_NAME)
    return parts

"""A whole archive unpacked into a new folder, with every name and size checked on the way."""

import contextlib
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from data_contracts.errors import InputError
from resources.intake.archives import refusal
from resources.intake.archives.reading import BLOCK, ArchiveLimits, open_archive
from resources.intake.archives.refusal import RefusedArchiveError
from resources.intake.archives.tar_file import tar_members
from resources.intake.archives.zip_file import zip_members
from resources.store.atomic_file import (
    Opener,
    fsync_folder,
    make_folder,
    not_written,
    temporary_name,
)

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
DEFAULT_LIMITS = ArchiveLimits()

RATIO_FROM = 2**20
"""Unpacked bytes below which no ratio is suspicious: one black mask packs a thousand times."""

_PART_BYTES = 255
"""Maximum bytes of one part of a path on every file system in use."""


def is_archive(path: Path) -> bool:
    """Whether the name ends like that of an archive, in any case."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(
    archive: Path,
    target: Path,
    limits: ArchiveLimits = DEFAULT_LIMITS,
    opener: Opener | None = None,
) -> None:
    """Unpack all of an archive into ``target``, which appears whole or not at all.

    Files get mode 0644 less the user's umask and the modification time 0, whatever the archive
    says.

    Args:
        archive: a zip or tar file. The first bytes of a tar file say how it is compressed: browsers
            and servers unpack .gz without renaming.
        target: folder to make; must not exist.
        limits: what the archive may hold.
        opener: passed to :func:`open`; what it raises is passed on.

    Raises:
        RefusedArchiveError: one member or the archive as a whole is not acceptable; nothing is left
            behind.
        InputError: the archive cannot be opened, the target exists, or the disk is full or not
            writable.
    """
    with open_archive(archive, limits, opener) as stream, new_folder(target) as folder:
        extraction = _Extraction(folder, limits, os.fstat(stream.fileno()).st_size)
        if archive.name.lower().endswith(".zip"):
            for member in zip_members(stream):
                if member.is_folder:
                    extraction.add_folder(member.name)
                else:
                    with member.open() as unpacked:
                        blocks = iter(partial(unpacked.read, BLOCK), b"")
                        extraction.add_file(member.name, member.info.file_size, blocks)
        else:
            for header, blocks in tar_members(stream):
                if header.isdir():
                    extraction.add_folder(header.name)
                else:
                    extraction.add_file(header.name, header.size, blocks)
        if not extraction.members:
            raise RefusedArchiveError(refusal.EMPTY)


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Fill a temporary folder that takes the name ``target`` at the end of the block.

    It is removed where the block fails.

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
        # once for all: an fsync for each of a million files would take longer than unpacking them
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
        path: lies in a folder of :func:`new_folder`, which removes it on failure and turns an
            OSError into what the user can do about it.
        blocks: iterated while the file is open; what it raises is passed on.
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


class _Extraction:
    """A folder being filled from an archive: checks names, and counts what is written.

    Args:
        root: an empty folder.
        limits: what may be written.
        packed: bytes of the archive.

    Attributes:
        members: how many were added.
    """

    def __init__(self, root: Path, limits: ArchiveLimits, packed: int) -> None:
        self.members = 0
        self._root, self._limits, self._packed = root, limits, packed
        self._written = 0
        self._is_folder: dict[str, bool] = {}
        self._keys: set[str] = set()

    def add_folder(self, name: str) -> None:
        """Make the folder of a member, unless it exists."""
        self._count_member()
        self._make_folders(_checked_parts(name, self._limits))

    def add_file(self, name: str, size: int, blocks: Iterable[bytes]) -> None:
        """Write the file of a member, and the folders it lies in.

        Args:
            name: as stored.
            size: as declared, only to refuse early.
            blocks: its bytes.
        """
        self._count_member()
        parts = _checked_parts(name, self._limits)
        if not parts:
            raise RefusedArchiveError(refusal.NO_NAME)
        self._check_size(size)
        self._make_folders(parts[:-1])
        path = "/".join(parts)
        self._register(path, is_folder=False)
        write_new_file(self._root / path, self._counted(blocks))

    def _count_member(self) -> None:
        self.members += 1
        if self.members > self._limits.members:
            raise RefusedArchiveError(refusal.TOO_MANY)

    def _make_folders(self, parts: tuple[str, ...]) -> None:
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            if self._register(path, is_folder=True):
                (self._root / path).mkdir()

    def _register(self, path: str, *, is_folder: bool) -> bool:
        """Whether the path is new.

        Names count as the same where any file system in use would take them for one.
        """
        registered = self._is_folder.get(path)
        if registered is None:
            key = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
            if key in self._keys:
                raise RefusedArchiveError(refusal.SAME_NAME)
            self._keys.add(key)
            self._is_folder[path] = is_folder
            return True
        if registered != is_folder:
            raise RefusedArchiveError(refusal.FILE_AND_FOLDER)
        if not is_folder:
            raise RefusedArchiveError(refusal.SAME_NAME)
        return False

    def _counted(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        limits, size = self._limits, 0
        for block in blocks:
            size += len(block)
            self._written += len(block)
            self._check_size(size)
            if self._written > limits.total_bytes:
                raise RefusedArchiveError(
                    f"it unpacks to more than {limits.total_bytes / 2**30:g} GiB"
                )
            if self._written > max(RATIO_FROM, limits.ratio * self._packed):
                raise RefusedArchiveError(
                    f"it is packed more than {limits.ratio:g} times (a bomb?)"
                )
            yield block

    def _check_size(self, size: int) -> None:
        if size > self._limits.member_bytes:
            raise RefusedArchiveError(
                f"a member is larger than {self._limits.member_bytes / 2**30:g} GiB"
            )


def _checked_parts(name: str, limits: ArchiveLimits) -> tuple[str, ...]:
    """Folders and file name; none for the root itself ("./")."""
    if not name:
        raise RefusedArchiveError(refusal.NO_NAME)
    if "\0" in name:
        raise RefusedArchiveError(refusal.NUL_NAME)
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise RefusedArchiveError(refusal.NOT_UTF8) from None
    if "\\" in name or re.match("[A-Za-z]:", name):
        raise RefusedArchiveError(refusal.BACKSLASH)
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/") or ".." in parts:
        raise RefusedArchiveError(refusal.LEAVES)
    if len(parts) > limits.depth:
        raise RefusedArchiveError(refusal.TOO_DEEP)
    if n_bytes > limits.name_bytes or any(len(part.encode()) > _PART_BYTES for part in parts):
        raise RefusedArchiveError(refusal.LONG_NAME)
    return parts

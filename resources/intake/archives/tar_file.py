"""Members of a tar file, whose headers tarfile parses from a bounded stream.

tarfile alone reads a name of gigabytes into memory, turns back for ever, searches long headers in
quadratic time, and takes garbage for the end.
"""

import gzip
import os
import re
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from resources.intake.archives import refusal
from resources.intake.archives.reading import BLOCK, ArchiveFile, bz2_stream, parsing, xz_stream
from resources.intake.archives.refusal import RefusedArchiveError

_HEADER_BYTES = 64 * 2**10
"""Maximum bytes of one member's header with all that extends it."""

_PADDING = 2**20
"""Maximum bytes of zeros behind the end; the widest blocking factor in use pads less."""

_LONGEST_NUMBER = 255
"""Maximum digits in a row in a long header, which tarfile searches for them in quadratic time."""


def tar_members(stream: ArchiveFile) -> Iterator[tuple[tarfile.TarInfo, Iterator[bytes]]]:
    """Headers and bytes of a tar file's members; the bytes are to be used before the next member.

    Raises:
        RefusedArchiveError: it is damaged, or a member is a link, a device, or sparse.
    """
    overhead = stream.limits.members * 4096 + 2 * _PADDING  # headers and padding
    reader = _ForwardReader(_unpacked(stream), stream.limits.total_bytes + overhead)
    with parsing():
        # UTF-8 whatever the locale; the escapes keep other bytes recognisable
        archive = tarfile.TarFile(
            fileobj=cast(IO[bytes], reader), encoding="utf-8", errors="surrogateescape"
        )
    while True:
        with parsing():
            header = archive.next()
        if header is None:
            break
        archive.members = []  # type: ignore[attr-defined]  # or a million of them stay in memory
        _check_kind(header)
        yield header, reader.blocks(0 if header.isdir() else header.size)
        reader.header_bytes = 0
    reader.check_end()


def _check_kind(header: tarfile.TarInfo) -> None:
    if header.issym() or header.islnk():
        raise RefusedArchiveError(refusal.LINK)
    if header.issparse():
        raise RefusedArchiveError(refusal.SPARSE)
    if not (header.isreg() or header.isdir()):
        raise RefusedArchiveError(refusal.NOT_REGULAR)
    if header.size < 0:
        raise RefusedArchiveError(refusal.DAMAGED)


def _unpacked(stream: ArchiveFile) -> IO[bytes]:
    head = stream.read(6)
    stream.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream, mode="rb"))
    if head.startswith(b"BZh"):
        return bz2_stream(stream)
    return xz_stream(stream) if head.startswith(b"\xfd7zXZ\0") else stream


class _ForwardReader:
    """An unpacked tar file: tarfile reads the headers from it, we the members' bytes.

    Args:
        unpacked: reads as many bytes as asked for, fewer at the end alone.
        limit: maximum bytes of the tar file.

    Attributes:
        header_bytes: how many were read since it was last set to 0.
    """

    def __init__(self, unpacked: IO[bytes], limit: int) -> None:
        self.header_bytes = 0
        self._unpacked = unpacked
        self._limit = limit
        self._position = 0
        self._last = b""

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Skip forward over the padding of a member."""
        if whence != os.SEEK_SET or not 0 <= offset - self._position <= tarfile.BLOCKSIZE:
            raise RefusedArchiveError(refusal.DAMAGED)
        self._read(offset - self._position)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Read part of a header."""
        self.header_bytes += size
        if size < 0 or self.header_bytes > _HEADER_BYTES:
            raise RefusedArchiveError(refusal.DAMAGED)
        self._last = self._read(size)
        numbers = re.findall(rb"[0-9]+", self._last) if size > tarfile.BLOCKSIZE else []
        if max(map(len, numbers), default=0) > _LONGEST_NUMBER:
            raise RefusedArchiveError(refusal.DAMAGED)
        return self._last

    def blocks(self, size: int) -> Iterator[bytes]:
        """Read the bytes of a member."""
        for start in range(0, size, BLOCK):
            block = self._read(min(BLOCK, size - start))
            if len(block) < min(BLOCK, size - start):
                raise RefusedArchiveError(refusal.DAMAGED)
            yield block

    def check_end(self) -> None:
        """Check that tarfile stopped at the mark of the end, and that only zeros follow.

        Raises:
            RefusedArchiveError: it stopped at garbage, the archive was cut off between two members,
                or its checksum is wrong.
        """
        rest = self._read(_PADDING)
        if self._last != bytes(tarfile.BLOCKSIZE) or rest.strip(b"\0") or self._read(1):
            raise RefusedArchiveError(refusal.DAMAGED)

    def _read(self, size: int) -> bytes:
        with parsing():
            block = self._unpacked.read(size)
        self._position += len(block)
        if self._position > self._limit:
            raise RefusedArchiveError(refusal.DAMAGED)
        return block

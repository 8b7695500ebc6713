"""Members of a tar file.

Headers are parsed by tarfile, which is given no more than a header's worth of bytes and only ever
moves forward: of its own accord it would read a name of gigabytes, turn back for ever, and take
garbage for the end.
"""

import bz2
import gzip
import lzma
import os
import re
import tarfile
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

from resources.intake.archives.decoder import Decoder
from resources.intake.archives.extraction import ExtractionFolder
from resources.intake.archives.reading import BLOCK, MEMORY, ArchiveFile
from resources.intake.archives.refusal import (
    DAMAGED,
    LINK,
    NOT_REGULAR,
    SPARSE,
    RefusedArchiveError,
    parsing,
)

_HEADER_BYTES = 64 * 2**10  # of one member, with all that extends it
_PADDING = 2**20  # zeros after the end; the widest blocking factor in use pads less
_LONGEST_NUMBER = 255  # digits on end in a long header


class _Source(Protocol):
    """What packed or unpacked bytes are read from."""

    def read(self, size: int, /) -> bytes: ...


def unpack_tar(stream: ArchiveFile, folder: ExtractionFolder) -> None:
    """Write all members into the folder.

    Raises:
        RefusedArchiveError: one of them is not acceptable.
    """
    # with headers and padding
    limit = folder.limits.total_bytes + folder.limits.members * 4096 + 2 * _PADDING
    source = _TarSource(_uncompressed(stream), limit)
    with parsing():
        # UTF-8 whatever the locale; the escapes keep other bytes recognisable.
        archive = tarfile.TarFile(
            fileobj=cast(IO[bytes], source), encoding="utf-8", errors="surrogateescape"
        )
    while True:
        source.header_bytes = 0
        with parsing():
            member = archive.next()
        if member is None:
            break
        archive.members = []  # type: ignore[attr-defined]  # or a million of them stay in memory
        _check_tar_kind(member)
        if member.isdir():
            folder.add_folder(member.name)
        else:
            folder.add_file(member.name, member.size, source.take(member.size))
    source.check_end()


def _check_tar_kind(member: tarfile.TarInfo) -> None:
    if member.issym() or member.islnk():
        raise RefusedArchiveError(LINK)
    if member.issparse():
        raise RefusedArchiveError(SPARSE)
    if not (member.isreg() or member.isdir()):
        raise RefusedArchiveError(NOT_REGULAR)
    if member.size < 0:
        raise RefusedArchiveError(DAMAGED)


def _uncompressed(stream: ArchiveFile) -> _Source:
    head = stream.read_at(0, 6)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=stream, mode="rb")
    if head.startswith(b"BZh"):
        return _Decompressed(stream, bz2.BZ2Decompressor)
    if head.startswith(b"\xfd7zXZ\0"):
        return _Decompressed(stream, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY))
    return stream


class _Decompressed:
    """Reads bz2 or xz streams one after the other.

    Unlike the standard library's readers it refuses garbage behind them, and xz that wants
    gigabytes of memory.
    """

    def __init__(self, packed: _Source, make_decoder: Callable[[], Decoder]) -> None:
        self._packed = packed
        self._make_decoder = make_decoder
        self._decoder = make_decoder()

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""
        while True:
            data = b""
            if self._decoder.eof:
                data = self._next_stream()
                if not data:
                    return b""
                self._decoder = self._make_decoder()
            elif self._decoder.needs_input:
                data = self._packed.read(2**16)
                if not data:
                    raise RefusedArchiveError(DAMAGED)
            if block := self._decoder.decompress(data, size):
                return block

    def _next_stream(self) -> bytes:
        """Begin of the next stream after padding of zeros, or nothing."""
        data = self._decoder.unused_data
        while not data.lstrip(b"\0"):
            data = self._packed.read(2**16)
            if not data:
                return b""
        return data.lstrip(b"\0")


class _TarSource:
    """What tarfile reads headers from, and we the members' bytes.

    Args:
        source: the tar file, uncompressed.
        limit: bytes that it may have.
    """

    def __init__(self, source: _Source, limit: int) -> None:
        self.header_bytes = 0
        self._source = source
        self._limit = limit
        self._position = 0
        self._last = b""

    def tell(self) -> int:
        """Bytes read so far."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Skip forward, over the padding of a member."""
        if whence != os.SEEK_SET or not 0 <= offset - self._position <= tarfile.BLOCKSIZE:
            raise RefusedArchiveError(DAMAGED)
        self._exactly(offset - self._position)
        return self._position

    def read(self, size: int = -1, /) -> bytes:
        """Part of a header."""
        self.header_bytes += size
        if size < 0 or self.header_bytes > _HEADER_BYTES:
            raise RefusedArchiveError(DAMAGED)
        self._last = self._exactly(size)
        # tarfile searches long headers for digits in quadratic time, and no name in use has more of
        # them on end than this.
        if (
            size > tarfile.BLOCKSIZE
            and max(map(len, re.findall(rb"[0-9]+", self._last)), default=0) > _LONGEST_NUMBER
        ):
            raise RefusedArchiveError(DAMAGED)
        return self._last

    def take(self, size: int) -> Iterator[bytes]:
        """The next bytes, in blocks."""
        left = size
        while left:
            block = self._some(min(left, BLOCK))
            if not block:
                raise RefusedArchiveError(DAMAGED)
            left -= len(block)
            yield block

    def check_end(self) -> None:
        """Check that tarfile stopped at the mark of the end, and that nothing but zeros follows.

        Raises:
            RefusedArchiveError: it stopped at garbage, the archive was cut off between two members,
                or its checksum is wrong.
        """
        if self._last != bytes(tarfile.BLOCKSIZE):
            raise RefusedArchiveError(DAMAGED)
        left = _PADDING
        while block := self._some(BLOCK):
            left -= len(block)
            if left < 0 or block.strip(b"\0"):
                raise RefusedArchiveError(DAMAGED)

    def _exactly(self, size: int) -> bytes:
        """``size`` bytes, fewer at the end."""
        blocks = []
        while size and (block := self._some(size)):
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)

    def _some(self, size: int) -> bytes:
        with parsing():
            block = self._source.read(size)
        self._position += len(block)
        if self._position > self._limit:
            raise RefusedArchiveError(DAMAGED)
        return block

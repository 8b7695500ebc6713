"""An archive read within limits: its file, and bz2, xz and LZMA streams in bounded memory."""

import bz2
import contextlib
import io
import lzma
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from data_contracts.errors import InputError
from resources.intake.archives import refusal
from resources.intake.archives.refusal import RefusedArchiveError
from resources.store.atomic_file import Opener

BLOCK = 2**20
"""Maximum bytes that are read, unpacked or written in one step."""

MEMORY = 256 * 2**20
"""Maximum bytes of memory for a decoder's dictionary, and of a zip file's central directory."""

_DIRECTORY_ENTRY = b"PK\1\2"
"""Signature of one member in a zip file's central directory."""


@dataclass(frozen=True)
class ArchiveLimits:
    """Maximum contents of an archive.

    Attributes:
        members: number of files and folders.
        total_bytes: bytes of all files together, unpacked.
        member_bytes: bytes of one file, unpacked.
        ratio: bytes unpacked for each byte of the archive.
        depth: parts of a member's path, the file name included.
        name_bytes: bytes of a member's path.
    """

    members: int = 1_000_000
    total_bytes: int = 200 * 2**30
    member_bytes: int = 2**30
    ratio: float = 200.0
    depth: int = 32
    name_bytes: int = 1024


class ArchiveFile(io.FileIO):
    """An unbuffered file of which no parser reads more than one bounded piece into memory.

    Args:
        path: a regular file.
        limits: what it may hold.
        opener: passed to :func:`open`.
    """

    def __init__(self, path: Path, limits: ArchiveLimits, opener: Opener | None = None) -> None:
        super().__init__(path, opener=opener)
        self.limits = limits
        self._path = path

    def read(self, size: int | None = -1, /) -> bytes:
        """Read the next bytes; one block of them where no size is given.

        Raises:
            RefusedArchiveError: a zip file's central directory is too large. It is the only piece
                that is read in one go, and takes some ten times its bytes once it is parsed.
            InputError: the disk fails. An OSError would look like a failure to write.
        """
        size = BLOCK if size is None or size < 0 else size
        if size > MEMORY:
            raise RefusedArchiveError(refusal.TOO_MANY)
        data, block = bytearray(), b" "
        try:
            while block and len(data) < size:  # some network drives give less at a time
                block = os.read(self.fileno(), size - len(data))
                data += block
        except OSError as error:
            raise _unreadable(self._path, error) from error
        if size > BLOCK and data.count(_DIRECTORY_ENTRY) > self.limits.members:
            raise RefusedArchiveError(refusal.TOO_MANY)
        return bytes(data)


def open_archive(path: Path, limits: ArchiveLimits, opener: Opener | None = None) -> ArchiveFile:
    """Open an archive.

    Raises:
        InputError: it does not exist, cannot be read, or is a folder or a device.
    """
    try:
        # before the open, which would wait on a pipe
        if opener is None and path.exists() and not path.is_file():
            raise InputError(f"{path} is not a file", "Give the archive itself")
        return ArchiveFile(path, limits, opener)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be read ({error.strerror})",
        "Check the path, its permissions and the disk it is on",
    )


@contextlib.contextmanager
def parsing() -> Iterator[None]:
    """Turn whatever a parser of an archive's bytes raises into a refusal without its text.

    Raises:
        RefusedArchiveError: DAMAGED in place of any other error.
        InputError: passed on; the disk failed.
    """
    try:
        yield
    except (RefusedArchiveError, InputError):
        raise
    # OSError, ValueError, struct.error, RecursionError ...: they differ between releases of Python
    except Exception:
        raise RefusedArchiveError(refusal.DAMAGED) from None


class _Decompressed(io.RawIOBase):
    """The unpacked bytes of compressed streams one after the other, in bounded memory.

    ``bz2.BZ2File`` and ``lzma.LZMAFile`` bound the bytes but not the dictionary, and take garbage
    behind a stream for its end.
    """

    def __init__(self, packed: IO[bytes], new_decoder: Callable[[], Any]) -> None:
        self._packed = packed
        self._new_decoder = new_decoder
        self._decoder = new_decoder()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        size, block = len(buffer), b""
        while not block:
            data = b""
            if self._decoder.eof:
                data = self._next_stream()
                if not data:
                    return 0
                self._decoder = self._new_decoder()
            elif self._decoder.needs_input:
                data = self._packed.read(2**16)
                if not data:
                    raise RefusedArchiveError(refusal.DAMAGED)
            block = self._decoder.decompress(data, size)
        buffer[: len(block)] = block
        return len(block)

    def _next_stream(self) -> bytes:
        """Begin of the next stream behind padding of zeros, or nothing."""
        data: bytes = self._decoder.unused_data
        while not data.lstrip(b"\0"):
            data = self._packed.read(2**16)
            if not data:
                return b""
        return data.lstrip(b"\0")


def bz2_stream(packed: IO[bytes]) -> IO[bytes]:
    """Unpacked bytes of bz2 streams."""
    return io.BufferedReader(_Decompressed(packed, bz2.BZ2Decompressor))


def xz_stream(packed: IO[bytes]) -> IO[bytes]:
    """Unpacked bytes of xz streams, whose dictionaries have MEMORY bytes at most."""
    new_decoder = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=MEMORY)
    return io.BufferedReader(_Decompressed(packed, new_decoder))


def lzma_stream(packed: IO[bytes]) -> IO[bytes]:
    """Unpacked bytes of LZMA as a zip member holds it (APPNOTE.TXT 5.8.8).

    A version and the length of the properties (2 bytes each), the properties (always 5 bytes), then
    the raw stream. The end mark is optional: no more than the member's size is to be read.
    """
    head = packed.read(9)
    properties, dictionary = head[4], int.from_bytes(head[5:], "little")
    if len(head) < 9 or head[2:4] != b"\5\0" or properties >= 9 * 5 * 5 or dictionary > MEMORY:
        raise RefusedArchiveError(refusal.DAMAGED)
    lzma1 = {
        "id": lzma.FILTER_LZMA1,
        "dict_size": max(dictionary, 4096),
        "lc": properties % 9,
        "lp": properties // 9 % 5,
        "pb": properties // 45,
    }
    new_decoder = partial(lzma.LZMADecompressor, lzma.FORMAT_RAW, filters=[lzma1])
    return io.BufferedReader(_Decompressed(packed, new_decoder))

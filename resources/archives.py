"""Archives (zip and tar) that a user hands over: unpacked whole below a new folder, or refused with nothing left behind.

What is inside is not trusted: every name, size and kind is checked, and the limits count what is really written. Reasons of a
refusal are from a fixed vocabulary and repeat nothing of the archive.
"""

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, cast

from data_contracts.errors import InputError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

BLOCK = 2**20
"""Bytes read, expanded or written at a time."""

RATIO_FROM = 2**20
"""Bytes below which no packing ratio is suspicious: one black mask packs a thousand times."""

DAMAGED = "the archive is damaged or cut off"
EMPTY = "the archive is empty"
ENCRYPTED = "it is encrypted"
LINK = "the archive holds a link"
NOT_REGULAR = "a member is not a regular file"
SPARSE = "a member is a sparse file"
NO_NAME = "a member has no name"
NUL_NAME = "a member's name contains a zero byte"
NOT_UTF8 = "a member's name is not valid UTF-8"
BACKSLASH = "a member's name contains a backslash or a drive"
LEAVES = "a member's name is absolute or contains .."
LONG_NAME = "a member's name is too long"
TOO_DEEP = "a member lies too deep in folders"
SAME_NAME = "two members have the same name"
FILE_AND_FOLDER = "a member is a file where another needs a folder"
OVERLAP = "members overlap"
METHOD = "it is packed by a method that is not accepted"
TOO_MANY = "too many members"

_MEMORY = 256 * 2**20  # that a decoder may take for its dictionary, and a zip file for its list of members
_HEADER_BYTES = 64 * 2**10  # of one tar member, with all that extends it
_PADDING = 2**20  # zeros after the end of a tar file; the widest blocking factor in use pads less
_NAME_PART = 255  # bytes of one file name on every file system in use
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold.

    Attributes:
        members: files and folders.
        total_bytes: of all files together, unpacked.
        member_bytes: of one file, unpacked.
        ratio: bytes unpacked for each byte of the archive.
        depth: folders and the file, from the top.
        name_bytes: of a member's path.
    """

    members: int = 1_000_000
    total_bytes: int = 200 * 2**30
    member_bytes: int = 2**30
    ratio: float = 200.0
    depth: int = 32
    name_bytes: int = 1024


_DEFAULT_LIMITS = ArchiveLimits()


class RefusedArchiveError(Exception):
    """An archive is not unpacked. The message is a short reason that repeats nothing of what the archive holds."""


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip file whose place and header were checked.

    Attributes:
        name: as stored.
        is_folder: it has no bytes.
        method: of packing, one of zipfile's.
        start: of its packed bytes in the file.
        packed: number of packed bytes.
        size: declared number of unpacked bytes.
        crc: declared CRC-32 of the unpacked bytes.
    """

    name: str
    is_folder: bool
    method: int
    start: int
    packed: int
    size: int
    crc: int


class _Source(Protocol):
    """What packed or unpacked bytes are read from."""

    def read(self, size: int, /) -> bytes: ...


class _Decoder(Protocol):
    """What bz2 and lzma have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def is_archive(path: Path) -> bool:
    """Whether the name ends like that of an archive, in any case."""
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, target: Path, limits: ArchiveLimits = _DEFAULT_LIMITS) -> None:
    """Unpack all of an archive below ``target``, which appears whole or not at all.

    Files get mode 0644 less the user's umask and the modification time 0, whatever the archive says.

    Args:
        archive: a zip or tar file. How a tar file is compressed is told by its first bytes: browsers and servers unpack .gz
            without renaming.
        target: folder to make; must not exist.
        limits: what the archive may hold.

    Raises:
        RefusedArchiveError: one member or the archive as a whole is not acceptable; nothing is left behind.
        InputError: the archive cannot be opened, the target exists, or the disk is full or not writable.
    """
    with open_regular(archive) as stream, new_folder(target) as folder:
        tree = _Tree(folder, limits, os.fstat(stream.fileno()).st_size)
        with reading(archive):
            if archive.name.lower().endswith(".zip"):
                _unpack_zip(stream, tree)
            else:
                _unpack_tar(stream, tree)


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[io.FileIO]:
    """An unbuffered stream of a regular file.

    Raises:
        InputError: it is not there, cannot be read, or is a folder or a device.
    """
    try:
        if path.exists() and not path.is_file():  # before the open, which would wait on a pipe
            raise InputError(f"{path} is not a file", "Give the archive itself")
        stream = _CappedFile(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    with stream:
        yield stream


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that takes its name when the block ends, and is removed when the block fails.

    Raises:
        InputError: ``target`` exists, or the disk is full or not writable.
    """
    if os.path.lexists(target):
        raise InputError(f"{target} exists already", "Remove it, or give a folder that does not exist")
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        _fsync(temporary)
        temporary.rename(target)
        _fsync(target.parent)
    except BaseException as error:  # an interrupt must not leave half a dataset either
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, OSError):
            raise _unwritable(target, error) from error
        raise


@contextlib.contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Turns a disk's failure to read into what the user can do about it; failures to write pass as :class:`_WriteError`."""
    try:
        yield
    except _WriteError as error:
        raise error.cause from error
    except OSError as error:
        raise _unreadable(archive, error) from error


class _WriteError(Exception):
    """Carries an OSError of writing through code whose own OSErrors are of reading."""

    def __init__(self, cause: OSError) -> None:
        super().__init__()
        self.cause = cause


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror})", "Check the path, its permissions and the disk it is on")


def _unwritable(target: Path, error: OSError) -> InputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return InputError(f"the disk is full: {target} was not written", "Free space and run again; nothing stored was damaged")
    return InputError(f"{target} cannot be written ({error.strerror})", "Make the folder writable or set MEDFEAT_HOME")


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new_file(path: Path, blocks: Iterable[bytes]) -> None:
    """Write a file that must not exist, never through a link, with the modification time 0.

    ``blocks`` is iterated while the file is open; what it raises passes, and the caller removes the folder.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY, 0o644)
    except OSError as error:
        raise _WriteError(error) from error
    try:
        for block in blocks:
            _write_all(descriptor, block)
        os.utime(descriptor, (0, 0))
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder that must not exist."""
    try:
        path.mkdir()
    except OSError as error:
        raise _WriteError(error) from error


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        raise _WriteError(error) from error


@contextlib.contextmanager
def parsing() -> Iterator[None]:
    """Around calls into libraries that parse what an archive holds: whatever they raise says that it is damaged.

    Only an OSError with a number is the disk's; those of bz2 and gzip have none.

    Raises:
        RefusedArchiveError: instead of any other error, without its text.
    """
    try:
        yield
    except (RefusedArchiveError, _WriteError):
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise RefusedArchiveError(DAMAGED) from None
    except Exception:  # ValueError, struct.error, RecursionError, MemoryError ...: they differ between releases of Python
        raise RefusedArchiveError(DAMAGED) from None


class _Tree:
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
                make_folder(self._root / path)

    def _claim(self, path: str, *, is_folder: bool) -> bool:
        """Whether the path is new. Names count as the same where any file system in use would take them for one."""
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
                raise RefusedArchiveError(f"it unpacks to more than {self.limits.total_bytes / 2**30:g} GiB")
            if self._written > max(RATIO_FROM, self.limits.ratio * self._packed):
                raise RefusedArchiveError(f"it is packed more than {self.limits.ratio:g} times (a bomb?)")
            yield block

    def _too_large(self) -> RefusedArchiveError:
        return RefusedArchiveError(f"a member is larger than {self.limits.member_bytes / 2**30:g} GiB")


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


# ---- zip. The list of members is read by zipfile. Their bytes are not: zipfile expands bz2 and lzma without a bound on memory,
# and knows nothing of members that overlap.


class _CappedFile(io.FileIO):
    """A file of which a parser cannot read more into memory than a list of members can need."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return cast(bytes, super().read(BLOCK))
        if size > _MEMORY:
            raise RefusedArchiveError(TOO_MANY)
        return cast(bytes, super().read(size))

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_SET and offset < 0:
            raise RefusedArchiveError(DAMAGED)  # or it would look like a failure of the disk
        return super().seek(offset, whence)


def _unpack_zip(stream: io.FileIO, tree: _Tree) -> None:
    for member in zip_members(stream, tree.limits):
        if member.is_folder:
            tree.add_folder(member.name)
        else:
            tree.add_file(member.name, member.size, zip_blocks(stream, member))
    tree.finish()


def zip_members(stream: io.FileIO, limits: ArchiveLimits) -> list[ZipMember]:
    """The members of a zip file in the order of their bytes, none of which two of them share.

    Args:
        stream: from :func:`open_regular`.
        limits: of their number and declared sizes.

    Raises:
        RefusedArchiveError: the list or a header is damaged, or a member is encrypted, a link, or packed by another method.
    """
    with parsing(), zipfile.ZipFile(stream) as file:
        infos, end = file.infolist(), file.start_dir
    if len(infos) > limits.members:
        raise RefusedArchiveError(TOO_MANY)
    if sum(info.file_size for info in infos) > limits.total_bytes:
        raise RefusedArchiveError(f"it unpacks to more than {limits.total_bytes / 2**30:g} GiB")
    infos.sort(key=lambda info: info.header_offset)
    ends = [info.header_offset for info in infos[1:]] + [end]
    with parsing():
        return [_zip_member(stream, info, next_one) for info, next_one in zip(infos, ends, strict=False)]


def _zip_member(stream: io.FileIO, info: zipfile.ZipInfo, end: int) -> ZipMember:
    """Check a member against its local header; ``end`` is where the next one begins."""
    _check_zip_kind(info)
    if info.header_offset < 0:  # or it would look like a failure of the disk
        raise RefusedArchiveError(DAMAGED)
    # Without the flag the name is officially cp437, and in truth UTF-8 (macOS) or unknowable.
    raw = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
    header = os.pread(stream.fileno(), _LOCAL_HEADER.size + len(raw), info.header_offset)
    magic, _, flags, method, _, _, _, _, _, n_name, n_extra = _LOCAL_HEADER.unpack_from(header)
    start = info.header_offset + _LOCAL_HEADER.size + n_name + n_extra
    if magic != b"PK\3\4" or header[_LOCAL_HEADER.size :] != raw or n_name != len(raw) or method != info.compress_type:
        raise RefusedArchiveError(DAMAGED)
    if flags & 1:
        raise RefusedArchiveError(ENCRYPTED)
    if start + info.compress_size > end:
        raise RefusedArchiveError(OVERLAP)
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise RefusedArchiveError(NOT_UTF8) from None
    is_folder = name.endswith("/") or stat.S_ISDIR(info.external_attr >> 16)
    if is_folder and info.file_size:
        raise RefusedArchiveError(DAMAGED)
    return ZipMember(name, is_folder, info.compress_type, start, info.compress_size, info.file_size, info.CRC)


def _check_zip_kind(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x2041:  # encrypted, strongly encrypted, encrypted list
        raise RefusedArchiveError(ENCRYPTED)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        raise RefusedArchiveError(METHOD)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK or info.external_attr & 0x400:  # 0x400: a Windows reparse point
        raise RefusedArchiveError(LINK)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedArchiveError(NOT_REGULAR)


def zip_blocks(stream: io.FileIO, member: ZipMember) -> Iterator[bytes]:
    """The unpacked bytes of a member in blocks; two members of one stream may be read by turns.

    Raises:
        RefusedArchiveError: damaged, or not as many bytes as declared.
    """
    size = crc = 0
    blocks = _expanded(member.method, _packed(stream, member))
    while True:
        with parsing():
            block = next(blocks, b"")
        if member.method == zipfile.ZIP_LZMA:
            block = block[: member.size - size]  # without an end mark the decoder makes up bytes from the padding
        if not block:
            break
        size += len(block)
        if size > member.size:
            raise RefusedArchiveError(DAMAGED)
        crc = zlib.crc32(block, crc)
        yield block
    if (size, crc) != (member.size, member.crc):
        raise RefusedArchiveError(DAMAGED)


def _packed(stream: io.FileIO, member: ZipMember) -> Iterator[bytes]:
    position, end = member.start, member.start + member.packed
    while position < end:
        data = os.pread(stream.fileno(), min(BLOCK, end - position), position)
        if not data:
            raise RefusedArchiveError(DAMAGED)
        position += len(data)
        yield data


def _expanded(method: int, packed: Iterator[bytes]) -> Iterator[bytes]:
    if method == zipfile.ZIP_STORED:
        return packed
    if method == zipfile.ZIP_DEFLATED:
        return _inflated(packed)
    if method == zipfile.ZIP_BZIP2:
        return _decoded(bz2.BZ2Decompressor(), packed, has_end=True)
    return _unlzma(packed)


def _inflated(packed: Iterator[bytes]) -> Iterator[bytes]:
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)
    for data in packed:
        if decoder.eof:
            raise RefusedArchiveError(DAMAGED)
        rest = data
        while rest and not decoder.eof:
            if block := decoder.decompress(rest, BLOCK):
                yield block
            rest = decoder.unconsumed_tail
    if block := decoder.flush():
        yield block
    if not decoder.eof or decoder.unused_data:
        raise RefusedArchiveError(DAMAGED)


def _decoded(decoder: _Decoder, packed: Iterable[bytes], *, has_end: bool) -> Iterator[bytes]:
    for data in packed:
        if decoder.eof:
            raise RefusedArchiveError(DAMAGED)
        rest = data
        while True:
            if block := decoder.decompress(rest, BLOCK):
                yield block
            if decoder.eof or decoder.needs_input:
                break
            rest = b""
    if (has_end and not decoder.eof) or decoder.unused_data:
        raise RefusedArchiveError(DAMAGED)


def _unlzma(packed: Iterator[bytes]) -> Iterator[bytes]:
    """LZMA in a zip file: version, length of the properties (always 5), properties, raw stream (APPNOTE.TXT, 5.8.8)."""
    first = next(packed, b"")
    _, n_properties, packing, dictionary = struct.unpack_from("<HHBL", first)
    if n_properties != 5 or packing >= 9 * 5 * 5 or dictionary > _MEMORY:
        raise RefusedArchiveError(DAMAGED)
    lp_pb, lc = divmod(packing, 9)
    pb, lp = divmod(lp_pb, 5)
    filters = [{"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary, 4096), "lc": lc, "lp": lp, "pb": pb}]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    yield from _decoded(decoder, _then(first[9:], packed), has_end=False)


def _then(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    yield from rest


# ---- tar. Headers are parsed by tarfile, which is given no more than a header's worth of bytes and only ever moves forward: of
# its own accord it would read a name of gigabytes, turn back for ever, and take garbage for the end.


def _unpack_tar(stream: io.FileIO, tree: _Tree) -> None:
    limit = tree.limits.total_bytes + tree.limits.members * 4096 + 2 * _PADDING  # with headers and padding
    source = _TarSource(_uncompressed(stream), limit)
    with parsing():
        # UTF-8 whatever the locale; the escapes keep other bytes recognisable.
        archive = tarfile.TarFile(fileobj=cast(IO[bytes], source), encoding="utf-8", errors="surrogateescape")
    while True:
        source.header_bytes = 0
        with parsing():
            member = archive.next()
        if member is None:
            break
        archive.members = []  # type: ignore[attr-defined]  # or a million of them stay in memory
        _check_tar_kind(member)
        if member.isdir():
            tree.add_folder(member.name)
        else:
            tree.add_file(member.name, member.size, source.take(member.size))
    source.check_end()
    tree.finish()


def _check_tar_kind(member: tarfile.TarInfo) -> None:
    if member.issym() or member.islnk():
        raise RefusedArchiveError(LINK)
    if member.issparse():
        raise RefusedArchiveError(SPARSE)
    if not (member.isreg() or member.isdir()):
        raise RefusedArchiveError(NOT_REGULAR)
    if member.size < 0:
        raise RefusedArchiveError(DAMAGED)


def _uncompressed(stream: io.FileIO) -> _Source:
    head = os.pread(stream.fileno(), 6, 0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=stream, mode="rb")
    if head.startswith(b"BZh"):
        return _Decompressed(stream, bz2.BZ2Decompressor)
    if head.startswith(b"\xfd7zXZ\0"):
        return _Decompressed(stream, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY))
    return cast(_Source, stream)


class _Decompressed:
    """Reads bz2 or xz streams one after the other.

    Unlike the standard library's readers it refuses garbage behind them, and xz that wants gigabytes of memory.
    """

    def __init__(self, packed: _Source, make_decoder: Callable[[], _Decoder]) -> None:
        self._packed = packed
        self._make_decoder = make_decoder
        self._decoder = make_decoder()
        self._is_first = True

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
        # tarfile searches long headers for digits in quadratic time, and no name in use has more of them on end than this.
        if size > tarfile.BLOCKSIZE and max(map(len, re.findall(rb"[0-9]+", self._last)), default=0) > _NAME_PART:
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
            RefusedArchiveError: it stopped at garbage, the archive was cut off between two members, or its checksum is wrong.
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

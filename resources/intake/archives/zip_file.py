"""Members of a zip file as streams of zipfile, each checked against its local header.

zipfile alone does not notice members that overlap, two headers that differ, or fewer bytes than
declared, and unpacks bz2 and LZMA without a bound on memory.
"""

import copy
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, cast

from resources.intake.archives import refusal
from resources.intake.archives.reading import ArchiveFile, bz2_stream, lzma_stream, parsing
from resources.intake.archives.refusal import RefusedArchiveError

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_FLAGS_OF_ENCRYPTION = 0x2041  # of a member, strong, of the central directory
_REPARSE_POINT = 0x400  # Windows' links
_DECODERS: dict[int, Callable[[IO[bytes]], IO[bytes]]] = {
    zipfile.ZIP_BZIP2: bz2_stream,
    zipfile.ZIP_LZMA: lzma_stream,
}


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip file whose place and headers were checked.

    Attributes:
        name: its path as stored.
        is_folder: whether it is a folder, which has no bytes.
        archive: what it lies in.
        info: its entry in the central directory.
    """

    name: str
    is_folder: bool
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    def open(self) -> IO[bytes]:
        """Open its unpacked bytes; several members may be read in turns.

        Reading raises RefusedArchiveError where they are damaged, not as many as declared, or have
        another CRC-32.
        """
        entry = copy.copy(self.info)
        del entry.CRC  # checked here with the size, at which zipfile would cut the bytes
        entry.file_size += 1
        decoder = _DECODERS.get(entry.compress_type)
        if decoder is not None:
            entry.compress_type, entry.file_size = zipfile.ZIP_STORED, entry.compress_size
        with parsing():
            packed = self.archive.open(entry)
            return io.BufferedReader(_Checked(decoder(packed) if decoder else packed, self.info))


class _Checked(io.RawIOBase):
    """The bytes of a member: exactly as many as declared, with the declared CRC-32."""

    def __init__(self, unpacked: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._unpacked = unpacked
        self._left, self._crc, self._declared_crc = info.file_size, 0, info.CRC
        # without its optional end mark, LZMA goes on with bytes made of padding
        self._behind = 0 if info.compress_type == zipfile.ZIP_LZMA else 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        with parsing():
            data = self._unpacked.read(min(len(buffer), self._left or self._behind))
        if len(data) > self._left or (self._left and not data):
            raise RefusedArchiveError(refusal.DAMAGED)
        self._left -= len(data)
        self._crc = zlib.crc32(data, self._crc)
        if not data and self._crc != self._declared_crc:
            raise RefusedArchiveError(refusal.DAMAGED)
        buffer[: len(data)] = data
        return len(data)


def zip_members(stream: ArchiveFile) -> list[ZipMember]:
    """List a zip file's members in the order of their bytes, none of which two of them share.

    Raises:
        RefusedArchiveError: there are too many or too large ones by their declared sizes, the
            central directory or a header is damaged, or a member is encrypted, a link, or packed by
            another method than stored, deflate, bz2 and LZMA.
    """
    limits = stream.limits
    with parsing():
        archive = zipfile.ZipFile(cast(IO[bytes], stream))
    infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    if len(infos) > limits.members:
        raise RefusedArchiveError(refusal.TOO_MANY)
    if sum(info.file_size for info in infos) > limits.total_bytes:
        raise RefusedArchiveError(f"it unpacks to more than {limits.total_bytes / 2**30:g} GiB")
    ends = [info.header_offset for info in infos[1:]] + [archive.start_dir]
    members = []
    for info, end in zip(infos, ends, strict=False):
        _check_kind(info)
        with parsing():
            raw_name = _check_local_header(stream, info, end)
        try:
            name = raw_name.decode()
        except UnicodeDecodeError:
            raise RefusedArchiveError(refusal.NOT_UTF8) from None
        is_folder = name.endswith("/") or stat.S_ISDIR(info.external_attr >> 16)
        if is_folder and info.file_size:
            raise RefusedArchiveError(refusal.DAMAGED)
        members.append(ZipMember(name, is_folder, archive, info))
    return members


def _check_kind(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & _FLAGS_OF_ENCRYPTION:
        raise RefusedArchiveError(refusal.ENCRYPTED)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, *_DECODERS):
        raise RefusedArchiveError(refusal.METHOD)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK or info.external_attr & _REPARSE_POINT:
        raise RefusedArchiveError(refusal.LINK)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedArchiveError(refusal.NOT_REGULAR)


def _check_local_header(stream: ArchiveFile, info: zipfile.ZipInfo, end: int) -> bytes:
    """Check a member against its local header, and that it ends before ``end``; gives its name."""
    # Without the flag the name is officially cp437, and in truth UTF-8 (macOS) or unknowable.
    name = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
    stream.seek(info.header_offset)
    header = stream.read(_LOCAL_HEADER.size + len(name))
    magic, _, flags, method, _, _, _, _, _, n_name, n_extra = _LOCAL_HEADER.unpack_from(header)
    if (magic, method, n_name) != (b"PK\3\4", info.compress_type, len(name)):
        raise RefusedArchiveError(refusal.DAMAGED)
    if header[_LOCAL_HEADER.size :] != name:
        raise RefusedArchiveError(refusal.DAMAGED)
    if flags & 1:
        raise RefusedArchiveError(refusal.ENCRYPTED)
    if info.header_offset + len(header) + n_extra + info.compress_size > end:
        raise RefusedArchiveError(refusal.OVERLAP)
    return name

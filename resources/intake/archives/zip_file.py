"""Members of a zip file as streams of zipfile, each checked against its local header.

zipfile alone does not notice members that overlap, two headers that differ, or fewer bytes than
declared, and unpacks bz2 and LZMA without a bound on memory.
"""

import copy
import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, cast

from resources.intake.archives import refusal
from resources.intake.archives.reading import ArchiveFile, bz2_stream, lzma_stream, parsing
from resources.intake.archives.refusal import RefusedArchiveError

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_FLAGS_OF_ENCRYPTION = 0x2041  # of a member, strong, of the central directory
_REPARSE_POINT = 0x400  # Windows' links
_UNICODE_PATH = 0x7075  # extra field of Info-ZIP
_HALF_LETTER = re.compile(rb"[\x80-\xff]\\")
_DECODERS: dict[int, Callable[[IO[bytes]], IO[bytes]]] = {
    zipfile.ZIP_BZIP2: bz2_stream,
    zipfile.ZIP_LZMA: lzma_stream,
}


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip file whose place and headers were checked.

    Attributes:
        name: its path, with / between folders.
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
    stored_names = []
    for info, end in zip(infos, ends, strict=False):
        _check_kind(info)
        with parsing():
            stored_names.append(_check_local_header(stream, info, end))
    members = []
    for info, name in zip(infos, _decoded_names(infos, stored_names), strict=True):
        is_folder = name.endswith("/") or stat.S_ISDIR(info.external_attr >> 16)
        if is_folder and info.file_size:
            raise RefusedArchiveError(refusal.DAMAGED)
        members.append(ZipMember(name, is_folder, archive, info))
    return members


def _decoded_names(infos: Sequence[zipfile.ZipInfo], stored: Sequence[bytes]) -> list[str]:
    """Names as text, with / between folders: Windows' own tools also write backslashes.

    A name that has the flag of UTF-8, or a Unicode Path extra field, is what that says (APPNOTE.TXT
    4.6.9). All others have one encoding: UTF-8 where they are UTF-8, as macOS writes them, else a
    code page.
    """
    has_flag = [bool(info.flag_bits & 0x800) for info in infos]
    encoding = _encoding([name for name, flag in zip(stored, has_flag, strict=True) if not flag])
    names = []
    for info, raw, flag in zip(infos, stored, has_flag, strict=True):
        with parsing():
            name = _unicode_path(info.extra, raw) or raw.decode("utf-8" if flag else encoding)
        names.append(name.replace("\\", "/"))
    return names


def _encoding(names: Sequence[bytes]) -> str:
    """The encoding of names without the flag of UTF-8.

    It is cp437, the format's own, where they are not UTF-8: it keeps all names apart whatever code
    page they have. A byte that is a backslash in cp437 can be half of a letter in an East Asian
    code page, which is taken where no name then holds a backslash and another has folders with /.
    """
    if all(_is_text(name, "utf-8") for name in names):
        return "utf-8"
    if any(b"/" in name for name in names) and any(_HALF_LETTER.search(name) for name in names):
        for code_page in ("cp932", "gbk", "big5"):
            if all(_is_text(name, code_page) for name in names) and not any(
                "\\" in name.decode(code_page) for name in names
            ):
                return code_page
    return "cp437"


def _is_text(name: bytes, encoding: str) -> bool:
    try:
        name.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _unicode_path(extra: bytes, name: bytes) -> str | None:
    """The name in a Unicode Path extra field that was made for this name, or None."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and len(field) > 5:
            version, crc = struct.unpack_from("<BL", field)
            if version == 1 and crc == zlib.crc32(name):
                return field[5:].decode()
    return None


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
    # zipfile decodes it by the flag; this gives its bytes back
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

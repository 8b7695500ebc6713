"""Members of a zip file.

The list of members is read by zipfile. Their bytes are not: zipfile expands bz2 and lzma without a
bound on memory, ignores what a member holds beyond its declared size, and knows nothing of members
that overlap.
"""

import bz2
import itertools
import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from resources.intake.archives.decoder import Decoder
from resources.intake.archives.extraction import ExtractionFolder
from resources.intake.archives.limits import ArchiveLimits
from resources.intake.archives.reading import BLOCK, MEMORY, ArchiveFile
from resources.intake.archives.refusal import (
    DAMAGED,
    ENCRYPTED,
    LINK,
    METHOD,
    NOT_REGULAR,
    NOT_UTF8,
    OVERLAP,
    TOO_MANY,
    RefusedArchiveError,
    parsing,
)

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")


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


def unpack_zip(stream: ArchiveFile, folder: ExtractionFolder) -> None:
    """Write all members into the folder.

    Raises:
        RefusedArchiveError: one of them is not acceptable.
    """
    for member in zip_members(stream, folder.limits):
        if member.is_folder:
            folder.add_folder(member.name)
        else:
            folder.add_file(member.name, member.size, zip_blocks(stream, member))


def zip_members(stream: ArchiveFile, limits: ArchiveLimits) -> list[ZipMember]:
    """The members of a zip file in the order of their bytes, none of which two of them share.

    Args:
        stream: the file.
        limits: of their number and declared sizes.

    Raises:
        RefusedArchiveError: the list or a header is damaged, or a member is encrypted, a link, or
            packed by another method.
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
        return [
            _zip_member(stream, info, next_one) for info, next_one in zip(infos, ends, strict=False)
        ]


def _zip_member(stream: ArchiveFile, info: zipfile.ZipInfo, end: int) -> ZipMember:
    """Check a member against its local header; ``end`` is where the next one begins."""
    _check_zip_kind(info)
    if info.header_offset < 0:  # or it would look like a failure of the disk
        raise RefusedArchiveError(DAMAGED)
    # Without the flag the name is officially cp437, and in truth UTF-8 (macOS) or unknowable.
    raw = info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
    header = stream.read_at(info.header_offset, _LOCAL_HEADER.size + len(raw))
    magic, _, flags, method, _, _, _, _, _, n_name, n_extra = _LOCAL_HEADER.unpack_from(header)
    start = info.header_offset + _LOCAL_HEADER.size + n_name + n_extra
    if (
        magic != b"PK\3\4"
        or header[_LOCAL_HEADER.size :] != raw
        or n_name != len(raw)
        or method != info.compress_type
    ):
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
    return ZipMember(
        name, is_folder, info.compress_type, start, info.compress_size, info.file_size, info.CRC
    )


def _check_zip_kind(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x2041:  # encrypted, strongly encrypted, encrypted list
        raise RefusedArchiveError(ENCRYPTED)
    if info.compress_type not in (
        zipfile.ZIP_STORED,
        zipfile.ZIP_DEFLATED,
        zipfile.ZIP_BZIP2,
        zipfile.ZIP_LZMA,
    ):
        raise RefusedArchiveError(METHOD)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind == stat.S_IFLNK or info.external_attr & 0x400:  # 0x400: a Windows reparse point
        raise RefusedArchiveError(LINK)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise RefusedArchiveError(NOT_REGULAR)


def zip_blocks(stream: ArchiveFile, member: ZipMember) -> Iterator[bytes]:
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
            # without an end mark the decoder makes up bytes from the padding
            block = block[: member.size - size]
        if not block:
            break
        size += len(block)
        if size > member.size:
            raise RefusedArchiveError(DAMAGED)
        crc = zlib.crc32(block, crc)
        yield block
    if (size, crc) != (member.size, member.crc):
        raise RefusedArchiveError(DAMAGED)


def _packed(stream: ArchiveFile, member: ZipMember) -> Iterator[bytes]:
    position, end = member.start, member.start + member.packed
    while position < end:
        data = stream.read_at(position, min(BLOCK, end - position))
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


def _decoded(decoder: Decoder, packed: Iterable[bytes], *, has_end: bool) -> Iterator[bytes]:
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
    """LZMA in a zip file: version, length of the properties (always 5), properties, raw stream
    (APPNOTE.TXT, 5.8.8).
    """
    first = next(packed, b"")
    _, n_properties, packing, dictionary = struct.unpack_from("<HHBL", first)
    if n_properties != 5 or packing >= 9 * 5 * 5 or dictionary > MEMORY:
        raise RefusedArchiveError(DAMAGED)
    lp_pb, lc = divmod(packing, 9)
    pb, lp = divmod(lp_pb, 5)
    filters = [
        {"id": lzma.FILTER_LZMA1, "dict_size": max(dictionary, 4096), "lc": lc, "lp": lp, "pb": pb}
    ]
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
    yield from _decoded(decoder, itertools.chain([first[9:]], packed), has_end=False)

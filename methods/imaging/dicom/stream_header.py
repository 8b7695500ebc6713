"""The header of a compressed stream, read and checked before a codec in C sees the stream."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from methods.imaging.dicom.layout import PixelLayout
from methods.imaging.dicom.transfer_syntax import JPEG_2000, RLE
from methods.imaging.image_format import UndecodableImageError

END_OF_IMAGE = b"\xff\xd9"
"""The end marker of JPEG, JPEG-LS and JPEG 2000; none of them can have it within coded data."""

HEAD_BYTES = 64
"""Bytes at the beginning of a stream by which it is known: the length of an RLE header."""

_JPEG_2000_SIGNATURES = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")


@dataclass(frozen=True)
class StreamMarks:
    """The marks of the streams of a transfer syntax.

    Attributes:
        begins: whether bytes, of which it needs HEAD_BYTES, are the beginning of a stream.
        end: bytes with which a stream ends; empty where nothing marks the end.
    """

    begins: Callable[[bytes], bool]
    end: bytes


@dataclass(frozen=True)
class StreamHeader:
    """The header of a compressed stream.

    Attributes:
        rows: height in pixels.
        columns: width in pixels.
        samples: number of samples per pixel.
        precision: bits of a sample.
        own_colour: whether a marker or the component names settle the colour space, whatever the
            data set says.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    own_colour: bool


def jpeg_header(stream: bytes) -> StreamHeader:
    """Read the frame header of JPEG (ISO/IEC 10918-1 B.2.2) or JPEG-LS (ISO/IEC 14495-1 C.2.2).

    Raises:
        UndecodableImageError: there is none.
    """
    at, own_colour = 2, False
    while stream[:2] == b"\xff\xd8" and at + 10 <= len(stream) and stream[at] == 0xFF:
        marker = stream[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        length = struct.unpack_from(">H", stream, at + 2)[0]
        # like libjpeg, which ignores either marker where it is too short
        own_colour |= marker == 0xE0 and length >= 16 and stream[at + 4 : at + 9] == b"JFIF\0"
        own_colour |= marker == 0xEE and length >= 14 and stream[at + 4 : at + 9] == b"Adobe"
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            precision, rows, columns, samples = struct.unpack_from(">BHHB", stream, at + 4)
            names = stream[at + 10 : at + 10 + 3 * samples : 3]
            return StreamHeader(rows, columns, samples, precision, own_colour or names == b"RGB")
        at += 2 + length
    raise UndecodableImageError("the compressed frame has no readable header")


def jpeg_2000_header(stream: bytes) -> StreamHeader:
    """Read the SIZ marker segment (ISO/IEC 15444-1 A.5.1), behind the boxes of a stored JP2 file.

    Raises:
        UndecodableImageError: there is none.
    """
    at = 0 if stream[:2] == b"\xff\x4f" else stream.find(b"jp2c\xff\x4f\xff\x51") + 4
    if stream[at : at + 4] != b"\xff\x4f\xff\x51" or len(stream) < at + 43:
        raise UndecodableImageError("the compressed frame has no readable header")
    right, bottom, left, top = struct.unpack_from(">4L", stream, at + 8)
    samples = struct.unpack_from(">H", stream, at + 40)[0]
    return StreamHeader(bottom - top, right - left, samples, (stream[at + 42] & 0x7F) + 1, True)


def check_stream(layout: PixelLayout, header: StreamHeader) -> None:
    """Refuse a stream that decodes to another size than the data set gives it.

    The codecs in C trust the caller.
    """
    if (header.rows, header.columns, header.samples) != (
        layout.rows,
        layout.columns,
        layout.samples,
    ):
        raise UndecodableImageError("the compressed frame has another size than the header says")
    if not 1 <= header.precision <= 16:
        raise UndecodableImageError("the number of bits is not supported")


def without_padding(stream: bytes) -> bytes:
    """Return a stream without the zero bytes behind its end marker, of which there may be many."""
    stripped = stream.rstrip(b"\0")
    return stripped if stripped.endswith(END_OF_IMAGE) else stream


def check_end(stream: bytes) -> None:
    """Refuse a JPEG stream without its end marker: GDCM fills the missing part with grey."""
    if END_OF_IMAGE not in stream[-16:]:
        raise UndecodableImageError("the pixel data is truncated")


def stream_marks(syntax: str, layout: PixelLayout) -> StreamMarks:
    """Return the marks by which the streams of a compressed transfer syntax are known."""
    if syntax == RLE:
        segments = layout.samples * ((layout.allocated + 7) // 8)
        return StreamMarks(lambda head: _begins_rle(head, segments), b"")
    signatures = _JPEG_2000_SIGNATURES if syntax in JPEG_2000 else (b"\xff\xd8\xff",)
    return StreamMarks(lambda head: head.startswith(signatures), END_OF_IMAGE)


def _begins_rle(head: bytes, segments: int) -> bool:
    """Whether bytes begin like an RLE header (PS3.5 G.5) of so many segments."""
    if len(head) < HEAD_BYTES:
        return False
    n_segments, *offsets = struct.unpack("<16L", head)
    used, unused = offsets[:segments], offsets[segments:]
    return (
        n_segments == segments
        and used[0] == HEAD_BYTES
        and used == sorted(used)
        and not any(unused)
    )

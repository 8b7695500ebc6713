"""Headers of compressed streams, byte by byte."""

from __future__ import annotations

import struct

import pytest

from methods.imaging.dicom.stream_header import (
    StreamHeader,
    check_end,
    jpeg_2000_header,
    jpeg_header,
    without_padding,
)
from methods.imaging.image_format import UndecodableImageError


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def frame(marker: int, names: bytes = b"\x01\x02\x03") -> bytes:
    body = struct.pack(">BHHB", 8, 3, 5, len(names))
    return segment(marker, body + b"".join(bytes([name, 0x11, 0]) for name in names))


JFIF = segment(0xE0, b"JFIF\0" + b"\0" * 9)
ADOBE = segment(0xEE, b"Adobe" + b"\0" * 7)


@pytest.mark.parametrize(
    ("before", "names", "own"),
    [
        (b"", b"\x01\x02\x03", False),
        (b"", b"RGB", True),
        (JFIF, b"\x01\x02\x03", True),
        (ADOBE, b"\x01\x02\x03", True),
        (segment(0xE0, b"JFIF\0"), b"\x01\x02\x03", False),
        (segment(0xC4, b"\0" * 17) + b"\xff", b"\x01\x02\x03", False),
    ],
)
def test_a_jpeg_header_and_whose_colours_it_has(before: bytes, names: bytes, own: bool) -> None:
    stream = b"\xff\xd8" + before + frame(0xC0, names)
    assert jpeg_header(stream) == StreamHeader(3, 5, 3, 8, own)


@pytest.mark.parametrize("marker", [0xC1, 0xC3, 0xCF, 0xF7])
def test_every_kind_of_frame_is_known(marker: int) -> None:
    assert jpeg_header(b"\xff\xd8" + frame(marker, b"\x01")) == StreamHeader(3, 5, 1, 8, False)


@pytest.mark.parametrize(
    "stream",
    [b"", b"\xff\xd8", frame(0xC0), b"\xff\xd8" + frame(0xC8), b"\xff\xd8" + JFIF],
)
def test_a_stream_without_a_frame_header_is_refused(stream: bytes) -> None:
    with pytest.raises(UndecodableImageError, match="no readable header"):
        jpeg_header(stream)


def siz() -> bytes:
    size = struct.pack(">4L", 105, 53, 5, 3)  # right, bottom, left, top
    body = b"\0\0" + size + b"\0" * 16 + struct.pack(">H", 3) + bytes([0x8B, 1, 1]) * 3
    return b"\xff\x4f" + segment(0x51, body)


@pytest.mark.parametrize("boxes", [b"", b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\0jp2c"])
def test_a_jpeg_2000_header_behind_the_boxes_of_a_file(boxes: bytes) -> None:
    assert jpeg_2000_header(boxes + siz()) == StreamHeader(50, 100, 3, 12, True)


@pytest.mark.parametrize("stream", [b"", siz()[:42], b"\xff\x4f\xff\x52" + siz()[4:]])
def test_a_jpeg_2000_stream_without_a_size_is_refused(stream: bytes) -> None:
    with pytest.raises(UndecodableImageError, match="no readable header"):
        jpeg_2000_header(stream)


@pytest.mark.parametrize("zeros", [0, 1, 16, 100_000])
def test_zeros_behind_the_end_marker_are_cut_off(zeros: int) -> None:
    stream = b"x" * 40 + b"\xff\xd9"
    assert without_padding(stream + bytes(zeros)) == stream
    check_end(without_padding(stream + bytes(zeros)))


def test_zeros_that_may_be_data_are_left() -> None:
    assert without_padding(b"xyz\0\0") == b"xyz\0\0"


def test_a_stream_without_its_end_is_refused() -> None:
    check_end(b"x" * 40 + b"\xff\xd9\0\1")
    with pytest.raises(UndecodableImageError, match="truncated"):
        check_end(b"\xff\xd9" + b"\1" * 15)

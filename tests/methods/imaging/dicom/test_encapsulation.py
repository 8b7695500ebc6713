"""Fragments of compressed pixel data: which belong to which frame (PS3.5 A.4)."""

from __future__ import annotations

import struct

import pytest

from methods.imaging.dicom.encapsulation import frame_pieces
from methods.imaging.dicom.layout import MAX_FRAMES, PixelLayout
from methods.imaging.dicom.stream_header import stream_marks
from methods.imaging.dicom.transfer_syntax import JPEG_BASELINE, RLE
from methods.imaging.image_format import UndecodableImageError

END = struct.pack("<LL", 0xE0DDFFFE, 0)


def items(*bodies: bytes) -> bytes:
    return b"".join(struct.pack("<LL", 0xE000FFFE, len(body)) + body for body in bodies)


LAYOUT = PixelLayout(
    rows=2,
    columns=3,
    frames=1,
    samples=1,
    photometric="MONOCHROME2",
    planar=0,
    allocated=16,
    stored=16,
    signed=False,
    keyword="PixelData",
    vr="OB",
)
JPEG_2000 = "1.2.840.10008.1.2.4.90"
SOI, EOI = b"\xff\xd8\xff", b"\xff\xd9"
SOC = b"\xff\x4f\xff\x51"


def pieces(
    pixels: bytes, frames: int, syntax: str = JPEG_BASELINE, extended: bytes = b""
) -> list[list[bytes]]:
    marks = stream_marks(syntax, LAYOUT)
    found = frame_pieces(pixels, frames, marks, extended)
    return [[pixels[a:b] for a, b in frame] for frame in found]


def test_one_frame_has_all_fragments() -> None:
    assert pieces(items(b"", b"abcd", b"ef") + END, 1) == [[b"abcd", b"ef"]]


def test_as_many_fragments_as_frames_need_no_table() -> None:
    assert pieces(items(b"", b"ab", b"cd") + END, 2) == [[b"ab"], [b"cd"]]


@pytest.mark.parametrize("said", [1, 2, 3])
def test_the_table_says_where_frames_start(said: int) -> None:
    """Also where the data set says 1, or a number that nothing agrees with."""
    table = struct.pack("<LL", 0, 20)  # two fragments of 2 bytes and 8 of header each
    streams = (SOI, EOI + EOI, SOI + EOI)
    offsets = struct.pack("<LL", 0, 11 + 12)
    expected = [[SOI, EOI + EOI], [SOI + EOI]]
    if said < 3:  # three fragments of three frames need no table
        assert pieces(items(table, b"ab", b"cd", b"ef") + END, said) == [[b"ab", b"cd"], [b"ef"]]
        assert pieces(items(offsets, *streams), said) == expected
        extended = struct.pack("<QQ", 0, 11 + 12)
        assert pieces(items(b"", *streams), said, extended=extended) == expected
    else:
        assert len(pieces(items(table, b"ab", b"cd", b"ef") + END, said)) == 3


@pytest.mark.parametrize(
    "table",
    [
        struct.pack("<LL", 4, 20),
        struct.pack("<LL", 0, 0),
        struct.pack("<LL", 0, 21),
        struct.pack("<LL", 20, 0),
    ],
)
def test_a_table_that_does_not_fit_is_not_looked_at(table: bytes) -> None:
    streams = (SOI + b"a", EOI, SOI + b"bc" + EOI)
    expected = [[SOI + b"a", EOI], [SOI + b"bc" + EOI]]
    assert pieces(items(table, *streams), 2) == expected
    with pytest.raises(UndecodableImageError, match="fragments are broken"):
        pieces(items(table, b"ab", b"cd", b"ef"), 2)


@pytest.mark.parametrize("zeros", [0, 1, 15, 16, 1000])
@pytest.mark.parametrize(
    ("syntax", "begin"), [(JPEG_BASELINE, SOI), (JPEG_2000, SOC)], ids=["JPEG", "JPEG 2000"]
)
@pytest.mark.parametrize("said", [1, 2, 5])
def test_without_a_table_a_frame_ends_with_its_end_marker(
    said: int, syntax: str, begin: bytes, zeros: int
) -> None:
    """However many zero bytes lie behind it, in the same fragment or in one of their own."""
    padding = bytes(zeros)
    first, second = (begin + b"ab", b"c" + EOI + padding), (begin + b"ef", b"g" + EOI, padding)
    found = pieces(items(b"", *first, *second), said, syntax)
    if said == 5:  # a frame per fragment
        assert len(found) == 5
    else:
        assert found == [list(first), list(second)]


def rle(segments: int = 2, body: bytes = b"\0" * 20) -> bytes:
    offsets = [64 + 10 * number for number in range(segments)]
    return struct.pack("<16L", segments, *offsets, *[0] * (15 - segments)) + body


def test_rle_frames_are_known_by_their_headers() -> None:
    # two segments, as 16 bits of one sample have; a header of three is none
    begin, other = rle(), rle(3)
    assert pieces(items(b"", begin, other, begin, b"ab"), 2, RLE) == [
        [begin, other],
        [begin, b"ab"],
    ]
    assert pieces(items(b"", begin, begin, begin), 1, RLE) == [[begin]] * 3


def test_a_stream_in_several_fragments_is_one_frame_whatever_they_begin_with() -> None:
    inner = (SOI + b"thumbnail", SOI + b"x" + EOI)
    assert pieces(items(b"", *inner), 1) == [list(inner)]


def test_fewer_frames_than_said_are_given_where_each_is_whole() -> None:
    whole, cut = SOI + b"a" + EOI + b"\0", SOI + b"a"
    assert pieces(items(b"", whole, whole), 3) == [[whole], [whole]]
    with pytest.raises(UndecodableImageError, match="truncated"):
        pieces(items(b"", whole, cut), 3)


def test_too_many_frames_are_refused() -> None:
    whole = SOI + EOI
    assert len(pieces(items(b"", *[whole] * MAX_FRAMES), 1)) == MAX_FRAMES
    with pytest.raises(UndecodableImageError, match="too many frames"):
        pieces(items(b"", *[whole] * (MAX_FRAMES + 1)), 1)


@pytest.mark.parametrize(
    ("pixels", "frames", "reason"),
    [
        (b"", 1, "truncated"),
        (items(b""), 1, "truncated"),
        (items(b"", b"abcd")[:-1], 1, "truncated"),
        (items(b"", b"ab"), 2, "truncated"),
        (items(b"") + b"\x00" * 8, 1, "fragments are broken"),
        (items(b"", b"ab", b"cd", b"ef"), 2, "fragments are broken"),
    ],
)
def test_what_is_cut_off_or_inconsistent_is_refused(
    pixels: bytes, frames: int, reason: str
) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        pieces(pixels, frames)

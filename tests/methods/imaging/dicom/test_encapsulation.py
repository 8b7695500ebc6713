"""Fragments of compressed pixel data: which belong to which frame (PS3.5 A.4)."""

from __future__ import annotations

import struct

import pytest

from methods.imaging.dicom.encapsulation import frame_pieces
from methods.imaging.image_format import UndecodableImageError

END = struct.pack("<LL", 0xE0DDFFFE, 0)


def items(*bodies: bytes) -> bytes:
    return b"".join(struct.pack("<LL", 0xE000FFFE, len(body)) + body for body in bodies)


def pieces(pixels: bytes, frames: int) -> list[list[bytes]]:
    return [[pixels[a:b] for a, b in frame] for frame in frame_pieces(pixels, frames)]


def test_one_frame_has_all_fragments() -> None:
    assert pieces(items(b"", b"abcd", b"ef") + END, 1) == [[b"abcd", b"ef"]]


def test_as_many_fragments_as_frames_need_no_table() -> None:
    assert pieces(items(b"", b"ab", b"cd") + END, 2) == [[b"ab"], [b"cd"]]


def test_the_table_says_where_frames_start() -> None:
    table = struct.pack("<LL", 0, 20)  # two fragments of 2 bytes and 8 of header each
    assert pieces(items(table, b"ab", b"cd", b"ef") + END, 2) == [[b"ab", b"cd"], [b"ef"]]


def test_without_a_table_a_frame_ends_with_its_end_marker() -> None:
    fragments = (b"ab", b"c\xff\xd9\x00", b"ef", b"g\xff\xd9\x00")
    expected = [[b"ab", b"c\xff\xd9\x00"], [b"ef", b"g\xff\xd9\x00"]]
    assert pieces(items(b"", *fragments), 2) == expected


@pytest.mark.parametrize(
    ("pixels", "frames", "reason"),
    [
        (b"", 1, "truncated"),
        (items(b""), 1, "truncated"),
        (items(b"", b"abcd")[:-1], 1, "truncated"),
        (items(b"", b"ab"), 2, "truncated"),
        (items(b"") + b"\x00" * 8, 1, "fragments are broken"),
        (items(struct.pack("<LL", 4, 20), b"ab", b"cd", b"ef"), 2, "fragments are broken"),
        (items(b"", b"ab", b"cd", b"ef"), 2, "fragments are broken"),
    ],
)
def test_what_is_cut_off_or_inconsistent_is_refused(
    pixels: bytes, frames: int, reason: str
) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        frame_pieces(pixels, frames)

"""PBM, PGM, PPM and PAM; what they show is worked by hand, and agrees with Netpbm's pnmtopng."""

import struct

import numpy as np
import pytest

from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import ImageFacts, UndecodableImageError
from methods.imaging.readers import open_image
from tests.methods.imaging.formats.damaged import outcomes_of_mutants


def shown(data: bytes, frame: int = 0) -> list[object]:
    """The pixels of an image; a level where it is grey."""
    pixels = np.asarray(open_image(data).decode(frame))
    is_grey = bool((pixels == pixels[..., :1]).all())
    levels: list[object] = (pixels[..., 0] if is_grey else pixels).tolist()
    return levels


def pam(width: int, height: int, depth: int, maximum: int, kind: str, values: bytes) -> bytes:
    header = f"P7\n# scanner\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL {maximum}\n"
    return (header + f"TUPLTYPE {kind}\nENDHDR\n").encode() + values


DEEP = struct.pack(">4H", 1000, 3000, 5000, 9000)
"""(v - 1000) / 8000 * 255 = 0, 63.75, 127.5 (to even: 128), 255."""


@pytest.mark.parametrize(
    ("data", "facts", "pixels"),
    [
        # a 1 is black; 10 columns take two bytes
        (b"P4 10 1\n\xa0\x40", (10, 1, "1", "PBM"), [[0, 255, 0, 255, 255, 255, 255, 255, 255, 0]]),
        (b"P1\n3 2\n1 0 1\n0 1 0\n", (3, 2, "1", "PBM"), [[0, 255, 0], [255, 0, 255]]),
        (b"P1\n# by hand\n3 2\n101010", (3, 2, "1", "PBM"), [[0, 255, 0], [255, 0, 255]]),
        (b"P5 2 2 255\n\x00\x0a\xc8\xff", (2, 2, "L", "PGM"), [[0, 10], [200, 255]]),
        # the byte behind the maximum may look like a line break
        (b"P5\r\n2 1\r255\n\n\r", (2, 1, "L", "PGM"), [[10, 13]]),
        (b"P5#a\n2#b c\n1 # 9\n255\n\x01\x02", (2, 1, "L", "PGM"), [[1, 2]]),
        (b"P2 2 2 255 0 10 200 255", (2, 2, "L", "PGM"), [[0, 10], [200, 255]]),
        (b"P2 2 1 255 # x\n7 # y\n8\n", (2, 1, "L", "PGM"), [[7, 8]]),
        # v / 15 * 255 = 17 v; v / 100 * 255 = 127.5 (to even), 2.55
        (b"P5 3 1 15\n\x00\x01\x0f", (3, 1, "L", "PGM"), [[0, 17, 255]]),
        (b"P2 2 1 100 50 1", (2, 1, "L", "PGM"), [[128, 3]]),
        (b"P6 1 2 255\n\x01\x02\x03\x04\x05\x06", (1, 2, "RGB", "PPM"), [[[1, 2, 3]], [[4, 5, 6]]]),
        (b"P3 1 1 255 9 8 7", (1, 1, "RGB", "PPM"), [[[9, 8, 7]]]),
        # more than 8 bits: by their own range, whatever the maximum
        (b"P5 2 2 65535\n" + DEEP, (2, 2, "I;16", "PGM"), [[0, 64], [128, 255]]),
        (b"P5 2 2 16383\n" + DEEP, (2, 2, "I;16", "PGM"), [[0, 64], [128, 255]]),
        (b"P2 2 2 65535 1000 3000 5000 9000", (2, 2, "I;16", "PGM"), [[0, 64], [128, 255]]),
        (
            b"P6 1 1 65535\n" + struct.pack(">3H", 0, 1000, 5100),
            (1, 1, "RGB;16", "PPM"),
            [[[0, 50, 255]]],
        ),
        (pam(2, 1, 1, 1, "BLACKANDWHITE", b"\x00\x01"), (2, 1, "L", "PAM"), [[0, 255]]),
        (pam(2, 1, 1, 255, "GRAYSCALE", b"\x05\x06"), (2, 1, "L", "PAM"), [[5, 6]]),
        # 100 at 51/255: 0.2 * 100 + 0.8 * 255 = 224
        (
            pam(3, 1, 2, 255, "GRAYSCALE_ALPHA", bytes([100, 255, 100, 51, 7, 0])),
            (3, 1, "LA", "PAM"),
            [[100, 224, 255]],
        ),
        (
            pam(1, 1, 4, 255, "RGB_ALPHA", bytes([1, 2, 3, 255])),
            (1, 1, "RGBA", "PAM"),
            [[[1, 2, 3]]],
        ),
        (
            pam(
                2,
                2,
                2,
                65535,
                "GRAYSCALE_ALPHA",
                struct.pack(
                    ">8H", *sum(((value, 65535) for value in (1000, 3000, 5000, 9000)), ())
                ),
            ),
            (2, 2, "LA;16", "PAM"),
            [[0, 64], [128, 255]],
        ),
    ],
)
def test_every_kind(data: bytes, facts: tuple[int, int, str, str], pixels: object) -> None:
    (frame,) = inspect_file(data).frames
    assert frame.facts == ImageFacts(*facts)
    assert shown(data) == pixels


def test_several_images_behind_each_other() -> None:
    data = b"P5 2 1 255\n\x01\x02" + b"P6 1 1 255\n\x01\x02\x03" + b"P4 1 1\n\x80"
    facts = open_image(data).facts
    assert [frame.facts.format for frame in facts.frames] == ["PGM", "PPM", "PBM"]
    assert [shown(data, number) for number in (2, 0, 1)] == [[[0]], [[1, 2]], [[[1, 2, 3]]]]
    assert facts.notice is None


@pytest.mark.parametrize(
    ("rest", "notice"),
    [(b"\n", None), (b"\0\0", None), (b"more", "bytes behind the last image left out")],
)
def test_what_lies_behind_the_last_image(rest: bytes, notice: str | None) -> None:
    assert open_image(b"P5 1 1 255\n\x07" + rest).facts.notice == notice


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P5 3 2 255\n\x00\x00\x00\x00\x00", "the file is truncated"),
        (b"P5 3 2 65535\n" + bytes(11), "the file is truncated"),
        (b"P4 9 2\n\x00\x00\x00", "the file is truncated"),
        (b"P2 3 2 255 1 2 3 4 5", "the file is truncated"),
        (b"P2 3 1 255 1 2     ", "the file is truncated"),
        (b"P1 3 2 10101", "the file is truncated"),
        (b"P5 1 1 255\n\x01P5 9 9 255\n\x01", "the file is truncated"),
        (pam(2, 2, 1, 255, "GRAYSCALE", b"\x00"), "the file is truncated"),
        (b"P5 20000 20000 255\n", "larger than 100 megapixels"),
        (b"P5 9999999999 9999999999 255\n", "larger than 100 megapixels"),
        (b"P5 2 1 99\n\x00\x64", "a value is above the maximum that the header states"),
        (b"P2 2 1 99 0 100", "a value is above the maximum that the header states"),
        (b"P2 1 1 99 99999999999999999999999", "a value is above the maximum"),
        (b"P2 2 1 99 0 -1", "a value that is no number"),
        (b"P2 2 1 99 0 x", "a value that is no number"),
        (b"P1 2 1\n0 2", "a value that is no number"),
        (b"P5 2 0 255\n", "a text file"),
        (b"P5 2 1 0\n\x00\x01", "a broken PGM file"),
        (b"P5 2 1 65536\n\x00\x01", "a broken PGM file"),
        (b"P5 of the study\n", "a text file"),
        (b"P7 332\n#XVVERSION\n", "a text file"),
        (pam(1, 1, 5, 255, "RGB", bytes(5)), "a PAM that is neither grey nor colour"),
        (pam(1, 1, 10**9, 255, "", b""), "a PAM that is neither grey nor colour"),
        (pam(1, 1, 1, 10**9, "GRAYSCALE", b"\x01"), "a broken PAM file"),
        (b"P7\nWIDTH one\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n\x01", "a broken PAM file"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        inspect_file(data)


def test_mutants_are_read_or_refused() -> None:
    sources = [
        b"P5 4 3 255\n" + bytes(range(12)),
        b"P2 3 2 300\n1 2 3\n4 5 300\n",
        b"P1 3 2\n101010",
        pam(2, 2, 4, 65535, "RGB_ALPHA", bytes(range(32))),
        b"P4 9 3\n" + bytes(6),
    ]
    assert outcomes_of_mutants(sources, 400, intact=2) == {"read", "refused"}

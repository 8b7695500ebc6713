"""JPEG 2000 of every depth and kind of component, written losslessly and wrapped by hand."""

import struct

import imagecodecs
import numpy as np
import pytest

from methods.imaging.formats.jpeg2000 import FILE_SIGNATURE
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import ImageFacts, UndecodableImageError
from methods.imaging.readers import open_image
from tests.methods.imaging.formats.damaged import outcomes_of_mutants

LEVELS = np.array([[1000, 3000], [5000, 9000]], np.uint16)
"""(v - 1000) / 8000 * 255 = 0, 63.75, 127.5 (to even: 128), 255."""


def codestream(values: object, bits: int | None = None) -> bytes:
    array = np.asarray(values)
    data: bytes = imagecodecs.jpeg2k_encode(
        array, level=0, codecformat="j2k", reversible=True, mct=False, bitspersample=bits
    )
    return data


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def jp2(stream: bytes, *boxes: bytes, space: int = 17, more: bytes = b"") -> bytes:
    """A file around a codestream; `boxes` stand in the header behind the colour space."""
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    (n_components,) = struct.unpack_from(">H", stream, 40)
    size = struct.pack(">IIHBBBB", bottom - top, right - left, n_components, stream[42], 7, 0, 0)
    colour = box(b"colr", struct.pack(">BBBI", 1, 0, 0, space))
    header = box(b"jp2h", box(b"ihdr", size) + colour + b"".join(boxes))
    return FILE_SIGNATURE + box(b"ftyp", b"jp2 \0\0\0\0jp2 ") + header + box(b"jp2c", stream) + more


def shown(data: bytes) -> list[object]:
    pixels = np.asarray(open_image(data).decode(0))
    is_grey = bool((pixels == pixels[..., :1]).all())
    levels: list[object] = (pixels[..., 0] if is_grey else pixels).tolist()
    return levels


def opacity_box(*kinds: int) -> bytes:
    entries = [struct.pack(">HHH", number, kind, 0) for number, kind in enumerate(kinds)]
    return box(b"cdef", struct.pack(">H", len(kinds)) + b"".join(entries))


GREY_16 = codestream(LEVELS)
OPAQUE = np.full((2, 2), 65535, np.uint16)


@pytest.mark.parametrize(
    ("data", "mode", "pixels"),
    [
        (codestream(np.array([[10, 20]], np.uint8)), "L", [[10, 20]]),
        (jp2(codestream(np.array([[10, 20]], np.uint8))), "L", [[10, 20]]),
        (
            jp2(codestream(np.array([[[1, 2, 3], [9, 8, 7]]], np.uint8)), space=16),
            "RGB",
            [[[1, 2, 3], [9, 8, 7]]],
        ),
        # signed samples lie around the middle
        (codestream(np.array([[-128, 0, 127]], np.int8)), "L", [[0, 128, 255]]),
        # v / 15 * 255
        (codestream(np.array([[0, 1, 15]], np.uint8), 4), "L", [[0, 17, 255]]),
        (codestream(np.array([[0, 1]], np.uint8), 1), "L", [[0, 255]]),
        (GREY_16, "I;16", [[0, 64], [128, 255]]),
        (jp2(GREY_16), "I;16", [[0, 64], [128, 255]]),
        (codestream(LEVELS // 4, 12), "I;16", [[0, 64], [128, 255]]),
        (codestream(LEVELS.astype(np.int16) - 5000), "I;16", [[0, 64], [128, 255]]),
        (
            jp2(codestream(np.stack([LEVELS, OPAQUE], -1)), opacity_box(0, 1)),
            "LA;16",
            [[0, 64], [128, 255]],
        ),
        (
            jp2(codestream(np.stack([LEVELS] * 3, -1)), space=16),
            "RGB;16",
            [[0, 64], [128, 255]],
        ),
        # the channels share the range 0..5100
        (
            codestream(np.array([[[0, 1000, 5100]]], np.uint16)),
            "RGB;16",
            [[[0, 50, 255]]],
        ),
        # 100 at 51/255 over white is 224
        (
            jp2(codestream(np.array([[[100, 51], [7, 0]]], np.uint8)), opacity_box(0, 1)),
            "LA",
            [[224, 255]],
        ),
        # two equal entries of a palette stay two
        (
            jp2(
                codestream(np.array([[0, 1, 2]], np.uint8)),
                box(
                    b"pclr",
                    struct.pack(">HB", 3, 3) + bytes([7] * 3) + bytes([9, 8, 7] * 2 + [1, 2, 3]),
                ),
                box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, number) for number in range(3))),
                space=16,
            ),
            "RGB",
            [[[9, 8, 7], [9, 8, 7], [1, 2, 3]]],
        ),
    ],
)
def test_every_kind(data: bytes, mode: str, pixels: object) -> None:
    (frame,) = inspect_file(data).frames
    height, width = np.asarray(pixels).shape[:2]
    assert frame.facts == ImageFacts(width, height, mode, "JPEG 2000")
    assert shown(data) == pixels


def test_luma_and_chroma_become_rgb() -> None:
    values = np.array([[[180, 90, 60], [243, 90, 60]]], np.uint8)
    pixels = np.array(shown(jp2(codestream(values), space=18)))
    # of Cb - 128 = -38 and Cr - 128 = -68: R = Y + 1.402 Cr, G = Y - 0.344 Cb - 0.714 Cr,
    # B = Y + 1.772 Cb
    np.testing.assert_allclose(pixels, [[[85, 242, 113], [148, 255, 176]]], atol=1)


def test_a_colour_profile_changes_nothing() -> None:
    profile = bytes(16) + b"GRAY" + bytes(200)
    stream = codestream(np.array([[10, 20]], np.uint8))
    plain = jp2(stream)
    stated = box(b"colr", struct.pack(">BBBI", 1, 0, 0, 17))
    assert stated in plain
    grown = box(b"colr", b"\2\0\0" + profile)
    # the header's length grows by that of the profile
    start = plain.index(b"jp2h") - 4
    (length,) = struct.unpack_from(">I", plain, start)
    longer = struct.pack(">I", length + len(grown) - len(stated))
    assert shown((plain[:start] + longer + plain[start + 4 :]).replace(stated, grown)) == [[10, 20]]


def test_more_images_of_a_jpx_file_are_said() -> None:
    stream = codestream(np.array([[10, 20]], np.uint8))
    facts = open_image(jp2(stream, more=box(b"jp2c", stream))).facts
    assert facts.notice == "1 more images of a JPX file left out"


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_truncated(share: float, wrapped: bool) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    data = jp2(codestream(values)) if wrapped else codestream(values)
    with pytest.raises(UndecodableImageError):
        inspect_file(data[: int(len(data) * share)])


def with_size(stream: bytes, at: int, value: bytes) -> bytes:
    return stream[:at] + value + stream[at + len(value) :]


TWO = codestream(np.zeros((2, 2, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (with_size(GREY_16, 8, struct.pack(">II", 60_000, 60_000)), "larger than 100 megapixels"),
        (with_size(GREY_16, 8, struct.pack(">II", 0, 0)), "a header that is not JPEG 2000's"),
        (with_size(GREY_16, 40, b"\x00\x00"), "a header that is not JPEG 2000's"),
        (with_size(TWO, 42, b"\x0b"), "components of several depths"),
        (with_size(TWO, 43, b"\2\2"), "subsampled components that are no chroma"),
        (with_size(GREY_16, 42, b"\x25"), "1 components of 38 bits"),
        (
            jp2(codestream(np.zeros((2, 2), np.uint8)), box(b"pclr", b"\0\1\5" + b"\7" * 10)),
            "5 components of 8 bits",
        ),
        (jp2(TWO, space=12), "a colour space other than grey, RGB and YCbCr"),
        (jp2(TWO, opacity_box(1, 0, 0), space=16), "channels that are no picture"),
        (FILE_SIGNATURE, "truncated"),
        (FILE_SIGNATURE + b"\0\0\0\2jp2h", "a header that is not JPEG 2000's"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        inspect_file(data)


def test_mutants_are_read_or_refused() -> None:
    sources = [GREY_16, jp2(GREY_16), jp2(TWO, space=16), codestream(LEVELS // 4, 12)]
    assert outcomes_of_mutants(sources, 300, intact=12) == {"read", "refused"}

"""JPEG XL of every depth; lossless, so that what is shown can be worked by hand."""

import imagecodecs
import numpy as np
import pytest

from methods.imaging.formats.jpeg_xl import FILE_SIGNATURE, OpenedJpegXl
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import ImageFacts, UndecodableImageError
from methods.imaging.readers import open_image
from tests.methods.imaging.formats.damaged import outcomes_of_mutants

LEVELS = np.array([[1000, 3000], [5000, 9000]], np.uint16)
"""(v - 1000) / 8000 * 255 = 0, 63.75, 127.5 (to even: 128), 255."""
OPAQUE = np.full((2, 2), 65535, np.uint16)
TURNED = bytes.fromhex(
    "0000000c4a584c200d0a870a00000014667479706a786c20000000006a786c20000000276a786c63ff0a08400b04c5"
    "25010802010040004b188b150a1dc3c6050dd61019b9f40b"
)
"""The grey lines 0 100 200 and 50 150 255 with the orientation 6, written by cjxl."""
ANIMATED = bytes.fromhex(
    "ff0a0840410016149704080800000034004b188b15c249411e000000fa03080840000038004b188b15c249411e8090"
    "0000fa03"
)
"""Two frames of 3 x 2 pixels, written by cjxl."""


def jxl(values: object, **options: object) -> bytes:
    data: bytes = imagecodecs.jpegxl_encode(np.asarray(values), lossless=True, **options)
    return data


def shown(data: bytes) -> list[object]:
    pixels = np.asarray(open_image(data).decode(0))
    is_grey = bool((pixels == pixels[..., :1]).all())
    levels: list[object] = (pixels[..., 0] if is_grey else pixels).tolist()
    return levels


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(
    ("values", "bits", "mode", "pixels"),
    [
        (np.array([[10, 20]], np.uint8), 8, "uint8", [[10, 20]]),
        (np.array([[[1, 2, 3], [9, 8, 7]]], np.uint8), 8, "uint8", [[[1, 2, 3], [9, 8, 7]]]),
        # v / 15 * 255
        (np.array([[0, 1, 15]], np.uint8), 4, "uint4", [[0, 17, 255]]),
        (LEVELS, 16, "uint16", [[0, 64], [128, 255]]),
        (LEVELS // 4, 12, "uint12", [[0, 64], [128, 255]]),
        (np.stack([LEVELS] * 3, -1), 16, "uint16", [[0, 64], [128, 255]]),
        # the channels share the range 0..5100
        (np.array([[[0, 1000, 5100]]], np.uint16), 16, "uint16", [[[0, 50, 255]]]),
        (np.stack([LEVELS, OPAQUE], -1), 16, "uint16", [[0, 64], [128, 255]]),
        (np.stack([LEVELS, LEVELS, LEVELS, OPAQUE], -1), 16, "uint16", [[0, 64], [128, 255]]),
        # 100 at 51/255 over white is 224
        (np.array([[[100, 51], [7, 255]]], np.uint8), 8, "uint8", [[224, 7]]),
        # (v + 1) / 4 * 255 = 0, 63.75, 255
        (np.array([[-1, 0, 3]], np.float32), 32, "float32", [[0, 64, 255]]),
    ],
)
def test_every_kind(
    values: np.ndarray, bits: int, mode: str, pixels: object, container: bool
) -> None:
    data = jxl(values, bitspersample=bits, usecontainer=container)
    assert data.startswith(FILE_SIGNATURE) or not container
    (frame,) = inspect_file(data).frames
    height, width = values.shape[:2]
    assert frame.facts == ImageFacts(width, height, mode, "JPEG XL")
    assert shown(data) == pixels


@pytest.mark.parametrize(
    ("width", "height"),
    [(8, 8), (256, 256), (257, 3), (12, 10), (160, 90), (64, 32), (513, 8200), (1, 1), (300, 40)],
)
def test_the_size_is_read_before_anything_is_decoded(width: int, height: int) -> None:
    facts = open_image(jxl(np.zeros((height, width), np.uint8))).facts.frames[0].facts
    assert (facts.width, facts.height) == (width, height)


def test_the_orientation_is_applied() -> None:
    assert open_image(TURNED).facts.frames[0].facts == ImageFacts(
        2, 3, "uint8", "JPEG XL", orientation=6
    )
    assert shown(TURNED) == [[50, 0], [150, 100], [255, 200]]


def test_an_animation_is_refused() -> None:
    with pytest.raises(UndecodableImageError, match="an animated JPEG XL: write its frames as PNG"):
        inspect_file(ANIMATED)


def test_too_many_pixels_are_refused_before_the_decoder_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", lambda *_, **__: pytest.fail("decoded"))
    # not small; two bits say 30 bits follow, of the height - 1; the ratio 1 is a square
    header = 0 | 3 << 1 | (2**30 - 1) << 3 | 1 << 33
    with pytest.raises(UndecodableImageError, match="larger than 100 megapixels"):
        open_image(b"\xff\x0a" + (header | 1 << 36).to_bytes(8, "little"))


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_truncated(share: float, container: bool) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    data = jxl(values, usecontainer=container)
    with pytest.raises(UndecodableImageError):
        inspect_file(data[: int(len(data) * share)])


def test_no_such_frame() -> None:
    with pytest.raises(UndecodableImageError, match="no such frame"):
        OpenedJpegXl(jxl(LEVELS)).decode(1)


def test_mutants_are_read_or_refused() -> None:
    sources = [jxl(LEVELS), jxl(np.stack([LEVELS, OPAQUE], -1), usecontainer=True), TURNED]
    assert outcomes_of_mutants(sources, 300, intact=2) == {"read", "refused"}

"""AVIF of 10 and 12 bits, and of 8 turned by its own boxes; libavif wrote the images."""

import io

import imagecodecs
import numpy as np
import pytest
from PIL import AvifImagePlugin, Image

from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError
from methods.imaging.readers import open_image
from tests.methods.imaging.formats.damaged import outcomes_of_mutants

RAMP = np.add.outer(np.arange(32), np.arange(64)).astype(np.uint16) * 5 + 200
"""Values 200..670, a small part of 10 and of 12 bits."""
EXPECTED = np.rint((RAMP - 200.0) / 470 * 255)


def deep(values: np.ndarray, bits: int) -> bytes:
    data: bytes = imagecodecs.avif_encode(values, level=100, bitspersample=bits, pixelformat="444")
    return data


def turned(data: bytes, quarters: int) -> bytes:
    """The same image with a box that turns it; libavif writes the property of no turn as free."""
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = {0: 1, 1: 8, 3: 6}[quarters]
    with Image.open(io.BytesIO(data)) as image:
        image.save(stream, "AVIF", quality=100, subsampling="4:4:4", exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_values_are_stretched_by_their_own_range(bits: int) -> None:
    data = deep(np.stack([RAMP] * 3, -1), bits)
    (frame,) = inspect_file(data).frames
    assert (frame.facts.width, frame.facts.height, frame.facts.mode) == (64, 32, "RGB;16")
    pixels = np.asarray(open_image(data).decode(0))
    assert np.abs(pixels - EXPECTED[..., None]).max() <= 1
    # in 8 bits Pillow shows the dark part of the range alone
    with Image.open(io.BytesIO(data)) as image:
        assert np.asarray(image).max() < 200


def test_deep_grey_and_opacity() -> None:
    grey = np.asarray(open_image(deep(RAMP, 10)).decode(0))
    assert np.abs(grey - EXPECTED[..., None]).max() <= 1
    alpha = np.full(RAMP.shape, 1023, np.uint16)
    alpha[:16] = 0
    pixels = np.asarray(open_image(deep(np.stack([RAMP, RAMP, RAMP, alpha], -1), 10)).decode(0))
    assert (pixels[:15] == 255).all()
    assert pixels[31, 63].max() >= 254  # the brightest that can be seen
    assert pixels[16, 0].max() <= 2


@pytest.mark.parametrize(("quarters", "size"), [(0, (64, 32)), (1, (32, 64)), (3, (32, 64))])
def test_the_image_is_turned_as_its_box_says(quarters: int, size: tuple[int, int]) -> None:
    levels = (EXPECTED // 2).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(levels).convert("RGB").save(stream, "AVIF", quality=100)
    opened = open_image(turned(stream.getvalue(), quarters))
    facts = opened.facts.frames[0].facts
    image = opened.decode(0)
    assert (facts.width, facts.height) == image.size == size
    assert np.abs(np.asarray(image)[..., 0].astype(int) - np.rot90(levels, quarters)).max() <= 6


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated(share: float) -> None:
    data = deep(np.random.default_rng(0).integers(0, 1024, (64, 64)).astype(np.uint16), 10)
    with pytest.raises(UndecodableImageError):
        inspect_file(data[: int(len(data) * share)])


def test_one_thread_decodes() -> None:
    open_image(deep(RAMP, 10))
    assert AvifImagePlugin.DEFAULT_MAX_THREADS == 1


def test_mutants_are_read_or_refused() -> None:
    assert outcomes_of_mutants([deep(RAMP, 10)], 200, intact=4) == {"read", "refused"}

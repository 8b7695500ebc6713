"""Squares of pixels from decoded images, with pixel values worked by hand."""

from __future__ import annotations

import numpy as np
from PIL import Image

from methods.imaging.preprocessing import PreprocessingSettings, to_square


def square(image: Image.Image, settings: PreprocessingSettings) -> list[list[int]]:
    """One channel of the square of a grey image."""
    pixels = to_square(image.convert("RGB"), settings)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].tolist()


def test_direct_is_antialiased_and_ignores_the_aspect_ratio() -> None:
    # Triangle of half-width 2 around 1.0: pixel centres 0.5, 1.5, 2.5 weigh 3 : 3 : 1, so (3*0
    # + 3*0 + 1*140) / 7 = 20.
    image = Image.fromarray(np.array([[0, 0, 140, 140]] * 2, np.uint8))
    assert square(image, PreprocessingSettings(size=2)) == [[20, 120], [20, 120]]


def test_pad_centres_a_wide_image_on_black() -> None:
    wide = Image.new("L", (8, 4), 200)
    assert square(wide, PreprocessingSettings("pad", 4)) == [[0] * 4, [200] * 4, [200] * 4, [0] * 4]


def test_pad_enlarges_a_small_tall_image() -> None:
    tall = Image.new("L", (1, 3), 200)
    rows = [[0] * 3 + [200] * 3 + [0] * 3] * 9
    assert square(tall, PreprocessingSettings("pad", 9)) == rows


def test_pad_keeps_one_line_of_an_extreme_shape() -> None:
    line = Image.new("L", (1000, 1), 200)
    rows = [[0] * 5] * 2 + [[200] * 5] + [[0] * 5] * 2
    assert square(line, PreprocessingSettings("pad", 5)) == rows

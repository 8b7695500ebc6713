"""Pictures with structure of every size, and ways to change them, for the search for copies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageOps

SIZE = 227
"""Pixels on a side, as of prepared images."""


def picture(seed: int) -> Image.Image:
    """A grey picture of random cells of four sizes; no two seeds have anything in common."""
    rng = np.random.default_rng(seed)
    total = np.zeros((SIZE, SIZE))
    for cells in (4, 8, 16, 32):
        small = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
        total += np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return Image.fromarray(np.clip(127 + 30 * total, 0, 255).astype(np.uint8))


def cropped(part: float) -> Callable[[Image.Image], Image.Image]:
    """A crop off-centre by ``part`` of the width and height."""

    def change(image: Image.Image) -> Image.Image:
        x, y = part * image.width, part * image.height
        return image.crop(
            tuple(map(round, (0.7 * x, 0.3 * y, image.width - 0.3 * x, image.height - 0.7 * y)))
        )

    return change


def moved(image: Image.Image) -> Image.Image:
    """A shift by 4 % to the right and 3 % up; what comes in is black."""
    x, y = round(0.04 * image.width), round(-0.03 * image.height)
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, -x, 0, 1, -y))


def written_on(image: Image.Image) -> Image.Image:
    """A white box in a corner, as a burned-in label is."""
    image = image.copy()
    box = (0.02 * image.width, 0.02 * image.height, 0.3 * image.width, 0.12 * image.height)
    ImageDraw.Draw(image).rectangle(box, fill=255)
    return image


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "smaller": lambda image: image.resize((90, 90)),
    "rotated": lambda image: image.rotate(5, Image.Resampling.BILINEAR),
    "rotated back": lambda image: image.rotate(-5, Image.Resampling.BILINEAR),
    "cropped": cropped(0.08),
    "moved": moved,
    "inverted": ImageOps.invert,
    "quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "half a turn": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "mirrored": ImageOps.mirror,
    "transposed": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    "framed": lambda image: ImageOps.expand(image, 22, 255),
    "framed twice": lambda image: ImageOps.expand(ImageOps.expand(image, 8, 0), 10, 255),
    "written on": written_on,
    "mirrored and cropped": lambda image: cropped(0.05)(ImageOps.mirror(image)),
    "inverted and rotated": lambda image: ImageOps.invert(image).rotate(3),
}
"""Changes after which a picture is still the same one."""


def square(image: Image.Image) -> NDArray[np.uint8]:
    """The picture resized to SIZE pixels."""
    return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))

"""From a decoded image to the square of pixels that a backbone takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass(frozen=True)
class PreprocessingSettings:
    """Settings with which an image becomes a square.

    Attributes:
        resize: "direct" ignores the aspect ratio; "pad" keeps it and fills the rest with black, the
            image centred.
        size: pixels on a side.
        voi: which grey values of a DICOM image are shown: "file" (its own window) or "full" (all of
            its range).
        decode: "exact" decodes every pixel of a JPEG; "scaled" has libjpeg shrink a large JPEG 2, 4
            or 8 times while it decodes, but not below
            :data:`~methods.imaging.pictures.SCALED_MARGIN` times the resized side. It changes
            nothing for other formats and for small images.
    """

    resize: Literal["direct", "pad"] = "direct"
    size: int = 227
    voi: Literal["file", "full"] = "file"
    decode: Literal["exact", "scaled"] = "exact"


def resized_shape(image: Image.Image, settings: PreprocessingSettings) -> tuple[int, int]:
    """Return the width and height in pixels that the resize gives an image."""
    if settings.resize == "direct":
        return settings.size, settings.size
    width, height = (max(1, round(side * settings.size / max(image.size))) for side in image.size)
    return width, height


def to_square(image: Image.Image, settings: PreprocessingSettings) -> NDArray[np.uint8]:
    """Resize an image to the square that a backbone takes.

    The resize is bilinear and antialiased: Pillow widens the filter when it shrinks an image.

    Args:
        image: RGB.
        settings: side and aspect ratio.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    size, (width, height) = settings.size, resized_shape(image, settings)
    inner = image.resize((width, height), Image.Resampling.BILINEAR)
    if settings.resize == "direct":
        return np.array(inner)
    square = Image.new("RGB", (size, size))
    square.paste(inner, ((size - width) // 2, (size - height) // 2))
    return np.array(square)

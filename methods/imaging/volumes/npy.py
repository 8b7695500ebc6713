"""The reader of NumPy arrays (.npy): one image, or a stack of images along the first axis.

The last axis tells colour: of length 1 it is grey, of 3 RGB, of 4 RGBA, behind the height and the
width. So an array is (h, w), (h, w, c), (n, h, w) or (n, h, w, c), and where three axes could be
both, the last one decides: (5, 8, 3) is one colour image. (3, h, w), which other libraries use for
colour, is a stack of three images, and a notice says so. A stack whose images would be at most
THIN wide, and SLENDER times as high, has another order of axes and is refused.

All images of an array share its range of values, as the slices of a volume do. Nothing is ever
unpickled.

Source: numpy.lib.format.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.imaging.deep import ValueRange, range_of, stretch_to_8_bits
from methods.imaging.image_format import (
    FileFacts,
    Frame,
    ImageFacts,
    UndecodableImageError,
    check_pixels,
)
from methods.imaging.npy_header import read_npy_header
from methods.imaging.preprocessing import PreprocessingSettings

NPY_SIGNATURE = b"\x93NUMPY"

MAX_IMAGES = 2**16
"""Maximum number of images of a file."""

THIN = 16
"""Maximum width, in pixels, of images that may be a stack with its axes in another order."""

SLENDER = 4
"""Height as a multiple of the width from which such a stack is refused."""

THREE_PLANES = "its first axis, of length 3 or 4, was taken as images and not as colour"
MORE_DATA = "data behind its first array was not read"

_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
_KINDS = {"O": "Python objects", "c": "complex numbers", "V": "records", "S": "text", "U": "text"}
"""What an array of each of NumPy's kinds holds that is no image."""


class OpenedNpy:
    """A file of one array.

    Args:
        data: bytes of the file.

    Attributes:
        facts: what the header says.

    Raises:
        UndecodableImageError: the header is broken, the array is of another type or shape than
            images, or has more pixels or images than are allowed, or the file is truncated.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        try:
            header = read_npy_header(data)
        except Exception as error:
            raise UndecodableImageError(
                f"broken header of a NumPy array ({type(error).__name__})"
            ) from error
        kind = header.dtype.kind
        if kind not in "buif":
            held = _KINDS.get(kind, "dates") if header.dtype.names is None else "records"
            raise UndecodableImageError(f"a NumPy array of {held}")
        self._data, self._header = data, header
        self._images = _images(header.shape)
        n_images, height, width, channels = self._images
        if 0 in self._images:
            raise UndecodableImageError("a NumPy array without pixels")
        check_pixels(height, width)
        if n_images > MAX_IMAGES:
            raise UndecodableImageError(f"more than {MAX_IMAGES} images")
        end = header.n_bytes + math.prod(header.shape) * header.dtype.itemsize
        if len(data) < end:
            raise UndecodableImageError("the file is truncated")
        three = header.shape[0] in (3, 4) and n_images == header.shape[0] and channels == 1
        notices = [
            text for text, holds in ((THREE_PLANES, three), (MORE_DATA, len(data) > end)) if holds
        ]
        facts = ImageFacts(width, height, _CHANNELS[channels], "NPY")
        self.facts = FileFacts((Frame(facts),) * n_images, notice="; ".join(notices) or None)

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode an image.

        Args:
            frame: its number, from 0.
            settings: ignored.

        Raises:
            UndecodableImageError: no such frame, infinite values, or no numbers at all.
        """
        if not 0 <= frame < len(self.facts.frames):
            raise UndecodableImageError("no such frame")
        image = np.ascontiguousarray(self._values[frame])
        if image.shape[2] == 1:
            levels = stretch_to_8_bits(image[..., 0], within=self._range)
            return Image.fromarray(levels).convert("RGB")
        alpha = image[..., 3] if image.shape[2] == 4 else None
        return Image.fromarray(stretch_to_8_bits(image[..., :3], alpha, within=self._range))

    @cached_property
    def _values(self) -> NDArray[Any]:
        """The values, (n, h, w, c)."""
        header = self._header
        values = np.frombuffer(
            self._data, header.dtype, math.prod(header.shape), header.n_bytes
        ).reshape(header.shape, order="F" if header.fortran else "C")
        return values.reshape(self._images)

    @cached_property
    def _range(self) -> ValueRange | None:
        """Range that the images share; None for one image, and where nothing is stretched."""
        if len(self.facts.frames) == 1 or self._header.dtype in (np.bool_, np.uint8):
            return None
        return range_of(self._values[..., :3] if self._images[3] == 4 else self._values)


def _images(shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the number of images, the height, the width and the number of channels.

    Raises:
        UndecodableImageError: an array of this shape holds no images.
    """
    if len(shape) == 2:
        return 1, *shape, 1
    if len(shape) == 3 and shape[2] in _CHANNELS:
        return 1, *shape
    if len(shape) == 3:
        n_images, height, width = shape
        if width <= THIN and min(n_images, height) >= SLENDER * width:
            raise UndecodableImageError(
                "a NumPy array of 3 axes of which the last is neither colour (1, 3 or 4) nor the "
                "width of images; the axes are images, height, width"
            )
        return n_images, height, width, 1
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return shape
    raise UndecodableImageError(
        f"a NumPy array of {len(shape)} axes that are not images, height, width and colour "
        "(1, 3 or 4)"
    )

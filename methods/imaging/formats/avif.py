"""The reader of AVIF: Pillow reads 8 bits, and imagecodecs 10 and 12, which Pillow cuts to 8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.imaging.deep import stretch_to_8_bits
from methods.imaging.image_format import FileFacts, OpenedImage, UndecodableImageError
from methods.imaging.orientation import turned_upright
from methods.imaging.pictures import OpenedSequence, refusing_hostile_bytes
from methods.imaging.preprocessing import PreprocessingSettings

_CONFIGURATION = b"av1C\x81"
"""Kind of a box and its first byte, of which AV1-ISOBMFF 2.3 has one version."""
_HIGH_BIT_DEPTH, _TWELVE_BITS = 0x40, 0x20


def is_avif(data: bytes) -> bool:
    """Whether the file type box names AVIF among its brands (ISO/IEC 14496-12, 4.3)."""
    if data[4:8] != b"ftyp":
        return False
    box = data[8 : int.from_bytes(data[:4])]
    return any(box[at : at + 4] in (b"avif", b"avis") for at in range(0, len(box), 4) if at != 4)


def open_avif(data: bytes) -> OpenedImage:
    """Open an AVIF of any depth.

    Raises:
        UndecodableImageError: a broken header, more than MAX_PIXELS pixels or MAX_FRAMES images.
    """
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # there is a process for each core already
    opened = OpenedSequence(data)
    bits = _bits(data)
    return opened if bits == 8 else OpenedDeepAvif(data, opened.facts, bits)


class OpenedDeepAvif:
    """An AVIF of 10 or 12 bits, which are stretched by the range of each image.

    Args:
        data: bytes of the file.
        facts: what the header says, with the pixel mode of 8 bits.
        bits: of each sample.

    Attributes:
        facts: what the header says.
    """

    facts: FileFacts

    def __init__(self, data: bytes, facts: FileFacts, bits: int) -> None:
        self._data, self._bits = data, bits
        frames = [
            replace(frame, facts=replace(frame.facts, mode=f"{frame.facts.mode};16"))
            for frame in facts.frames
        ]
        self.facts = replace(facts, frames=tuple(frames))

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode an image.

        Raises:
            UndecodableImageError: no such frame, or it is truncated or broken.
        """
        if not 0 <= frame < len(self.facts.frames):
            raise UndecodableImageError("no such frame")
        import imagecodecs

        with refusing_hostile_bytes():
            values: NDArray[Any] = imagecodecs.avif_decode(self._data, frame, numthreads=1)
        values = values.reshape(*values.shape[:2], -1)
        colour, opacity = values, None
        if values.shape[2] in (2, 4):
            full = 255 if values.dtype == np.uint8 else 2**self._bits - 1
            colour, opacity = values[..., :-1], values[..., -1] / full
        levels = stretch_to_8_bits(colour, opacity)
        image = Image.fromarray(np.broadcast_to(levels, (*levels.shape[:2], 3)).copy())
        return turned_upright(image, self.facts.frames[frame].facts.orientation)


def _bits(data: bytes) -> int:
    """Return the bits of a sample, which every image of a file shares."""
    at = data.find(_CONFIGURATION)
    flags = data[at + 6] if 0 <= at < len(data) - 6 else 0
    if not flags & _HIGH_BIT_DEPTH:
        return 8
    return 12 if flags & _TWELVE_BITS else 10

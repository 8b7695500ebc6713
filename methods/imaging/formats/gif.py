"""The reader of GIF (GIF89a Specification, 1990): every image as a viewer shows it.

Pillow decompresses each patch. The patches are laid over each other here: Pillow keeps a disposal
that a later patch does not have, fills with the background colour where browsers show nothing, and
enlarges the canvas in the middle of a file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.imaging.formats.animation import Animation, Disposal, Patch, Rgba
from methods.imaging.image_format import (
    MAX_FRAMES,
    FileFacts,
    Frame,
    ImageFacts,
    UndecodableImageError,
    check_pixels,
)
from methods.imaging.pictures import refusing_hostile_bytes, to_rgb
from methods.imaging.preprocessing import PreprocessingSettings

SIGNATURES = (b"GIF87a", b"GIF89a")
_EXTENSION, _IMAGE, _END = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
_HAS_PALETTE, _INTERLACED, _HAS_TRANSPARENCY = 0x80, 0x40, 0x01
_DISPOSALS: dict[int, Disposal] = {2: "clear", 3: "restore"}
"""Disposal by its number; the others keep the patch."""

_TRUNCATED = "the file is truncated"
NO_END = "the end marker is missing"
"""Notice of a file that ends after a whole image but without saying so."""


@dataclass(frozen=True)
class _Image:
    """An image descriptor, what the control before it says, and the compressed indices."""

    left: int
    top: int
    width: int
    height: int
    is_interlaced: bool
    palette: bytes
    transparent: int | None
    disposal: Disposal
    compressed: memoryview


class OpenedGif:
    """A GIF: one image, or every image of an animation as a viewer shows it.

    What no patch covers is transparent, as in browsers; transparency lies over white.

    Args:
        data: bytes of the file.

    Attributes:
        facts: what the blocks of the file say, which is no proof that they can be decompressed.

    Raises:
        UndecodableImageError: the file is truncated within its first image or broken, has no image,
            or is over a limit.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        blocks = _Blocks(data)
        width, height = _canvas(blocks.size, blocks.images[0])
        check_pixels(width, height)
        self._animation = Animation(
            width, height, [_patch(image) for image in blocks.images], np.uint8
        )
        frames = (Frame(ImageFacts(width, height, "P", "GIF")),) * len(blocks.images)
        self.facts = FileFacts(frames, notice=None if blocks.has_end else NO_END)

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode an image; in ascending order each patch is decompressed once.

        Raises:
            UndecodableImageError: no such frame, or this or an earlier one is truncated or broken.
        """
        return to_rgb(Image.fromarray(self._animation.image(frame)))


def _canvas(size: tuple[int, int], first: _Image) -> tuple[int, int]:
    """Return the width and height of the canvas, which holds the first image whatever it states."""
    return max(size[0], first.left + first.width), max(size[1], first.top + first.height)


class _Blocks:
    """The images of a file, read block by block.

    Attributes:
        size: width and height of the canvas.
        images: in the order of the file, at least one.
        has_end: whether the file ends with its end marker.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._at = 6
        screen = self._take(7)
        self.size = struct.unpack_from("<HH", screen)
        self._palette = self._palette_of(screen[4])
        self.images: list[_Image] = []
        self._control = bytes(4)
        self.has_end = False
        while self._at < len(data) and not self.has_end:
            self._read_block()
        if not self.images:
            raise UndecodableImageError("a GIF without an image" if self.has_end else _TRUNCATED)

    def _take(self, n_bytes: int) -> memoryview:
        taken = self._data[self._at : self._at + n_bytes]
        if len(taken) < n_bytes:
            raise UndecodableImageError(_TRUNCATED)
        self._at += n_bytes
        return taken

    def _palette_of(self, flags: int) -> bytes:
        return bytes(self._take(3 * 2 ** ((flags & 7) + 1))) if flags & _HAS_PALETTE else b""

    def _skip_parts(self) -> None:
        """Go behind the parts of a block, each after its length, and the 0 behind the last."""
        while n_bytes := self._take(1)[0]:
            self._take(n_bytes)

    def _read_block(self) -> None:
        kind = self._take(1)[0]
        if kind == _END:
            self.has_end = True
        elif kind == _IMAGE:
            self._read_image()
            self._control = bytes(4)
        elif kind == _EXTENSION:
            label, start = self._take(1)[0], self._at
            self._skip_parts()
            if label == _GRAPHIC_CONTROL and self._data[start] >= 4:
                self._control = bytes(self._data[start + 1 : start + 5])
        elif kind != 0:  # zeros between blocks are common
            raise UndecodableImageError("a block of an unknown kind")

    def _read_image(self) -> None:
        if len(self.images) == MAX_FRAMES:
            raise UndecodableImageError(f"an animation of more than {MAX_FRAMES} frames")
        left, top, width, height, flags = struct.unpack("<4HB", self._take(9))
        palette = self._palette_of(flags) or self._palette
        start = self._at
        self._take(1)
        self._skip_parts()
        packed, transparent = self._control[0], self._control[3]
        self.images.append(
            _Image(
                left,
                top,
                width,
                height,
                bool(flags & _INTERLACED),
                palette,
                transparent if packed & _HAS_TRANSPARENCY else None,
                _DISPOSALS.get(packed >> 2 & 7, "keep"),
                self._data[start : self._at],
            )
        )


def _patch(image: _Image) -> Patch:
    check_pixels(image.width, image.height)
    return Patch(
        image.left,
        image.top,
        image.width,
        image.height,
        partial(_decompressed, image),
        image.disposal,
    )


def _decompressed(image: _Image) -> Rgba:
    """Decompress one image: Pillow gets a file that holds nothing else, in levels of grey."""
    if not (image.width and image.height):
        return np.zeros((image.height, image.width, 4), np.uint8)
    size = struct.pack("<HH", image.width, image.height)
    flags = bytes([_INTERLACED if image.is_interlaced else 0])
    head = SIGNATURES[0] + size + b"\0\0\0,\0\0\0\0" + size + flags
    with refusing_hostile_bytes():
        indices = np.asarray(Image.open(BytesIO(head + image.compressed + b";"), formats=("GIF",)))
    colours: Rgba = _colours(image)[indices]
    return colours


def _colours(image: _Image) -> NDArray[np.uint8]:
    """Return the colour of each index, (256, 4) uint8: black where the palette has none."""
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 3] = 255
    if image.palette:
        palette = np.frombuffer(image.palette, np.uint8).reshape(-1, 3)
        colours[: len(palette), :3] = palette
    else:
        colours[:, :3] = np.arange(256)[:, None]
    if image.transparent is not None:
        colours[image.transparent, 3] = 0
    return colours

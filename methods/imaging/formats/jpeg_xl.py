"""The reader of JPEG XL (ISO/IEC 18181), which imagecodecs decodes with libjxl.

The header is read here first (18181-1, Annex D): libjxl allocates by it, and imagecodecs does not
tell what its channels mean.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.imaging.deep import stretch_to_8_bits
from methods.imaging.image_format import (
    FileFacts,
    Frame,
    ImageFacts,
    UndecodableImageError,
    check_pixels,
)
from methods.imaging.orientation import upright_size
from methods.imaging.pictures import refusing_hostile_bytes
from methods.imaging.preprocessing import PreprocessingSettings

CODESTREAM_SIGNATURE = b"\xff\x0a"
FILE_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
SIGNATURES = (CODESTREAM_SIGNATURE, FILE_SIGNATURE)
_TRUNCATED = "the file is truncated"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
"""Width over height, by their number."""
_ALPHA, _SPOT, _BLACK, _CFA = 0, 2, 4, 5
_SIDE = ((1, 9), (1, 13), (1, 18), (1, 30))
_NUMBER_OF_AN_ENUM = ((0, 0), (1, 0), (2, 4), (18, 6))
_HEAD_BYTES = 2**16
_Distribution = tuple[tuple[int, int], ...]
"""Four pairs: what is added to so many bits; two bits say which pair holds."""


class _Bits:
    """Numbers from the bits of bytes, the lowest bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._bits, self._n_left = int.from_bytes(data[:_HEAD_BYTES], "little"), 8 * len(data)

    def number(self, n_bits: int) -> int:
        self._n_left -= n_bits
        if self._n_left < 0:
            raise UndecodableImageError(_TRUNCATED)
        value = self._bits & ((1 << n_bits) - 1)
        self._bits >>= n_bits
        return value

    def flag(self) -> bool:
        return self.number(1) == 1

    def of(self, distribution: _Distribution) -> int:
        least, n_bits = distribution[self.number(2)]
        return least + self.number(n_bits)


@dataclass
class _Header:
    """The size and the metadata of an image.

    Attributes:
        width: pixels, as stored.
        height: pixels, as stored.
        orientation: EXIF orientation.
        is_animated: whether it has frames that follow each other.
        bits: of each sample of colour.
        is_float: whether samples are floats.
        channels: kind and whether the colours are multiplied by it of each channel beside colour.
    """

    width: int
    height: int
    orientation: int = 1
    is_animated: bool = False
    bits: int = 8
    is_float: bool = False
    channels: tuple[tuple[int, bool], ...] = ()

    @property
    def has_alpha(self) -> bool:
        return any(kind == _ALPHA for kind, _ in self.channels)

    @property
    def is_multiplied(self) -> bool:
        return next((multiplied for kind, multiplied in self.channels if kind == _ALPHA), False)


class OpenedJpegXl:
    """A still image, which libjxl turns upright.

    Animations are refused: imagecodecs leaves their first frame out.

    Args:
        data: bytes of the file.

    Attributes:
        facts: what the header says.

    Raises:
        UndecodableImageError: a broken header, more than MAX_PIXELS pixels, inks or an animation.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        header = _header(_codestream(data))
        if header.is_animated:
            raise UndecodableImageError(
                "an animated JPEG XL: write its frames as PNG, with djxl for example"
            )
        check_pixels(header.width, header.height)
        if any(kind == _BLACK for kind, _ in header.channels):
            raise UndecodableImageError("JPEG XL of inks (CMYK)")
        self._data, self._header = data, header
        width, height = upright_size(header.width, header.height, header.orientation)
        self._shape = height, width
        mode = f"{'float' if header.is_float else 'uint'}{header.bits}"
        facts = ImageFacts(width, height, mode, "JPEG XL", orientation=header.orientation)
        others = sum(kind not in (_ALPHA, _SPOT) for kind, _ in header.channels)
        self.facts = FileFacts(
            (Frame(facts),),
            notice="channels beside colour and opacity left out" if others else None,
        )

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode the image.

        Raises:
            UndecodableImageError: no such frame, or truncated or broken.
        """
        if frame != 0:
            raise UndecodableImageError("no such frame")
        import imagecodecs

        with refusing_hostile_bytes():
            values: NDArray[Any] = imagecodecs.jpegxl_decode(self._data, 0, numthreads=1)
        if values.ndim == 3 and values.shape[1:] == self._shape != values.shape[:2]:
            values = values[0]  # grey, and channels that are not opacity
        if values.shape[:2] != self._shape:
            raise UndecodableImageError("an image of another size than its header says")
        values = values.reshape(*self._shape, -1)
        header = self._header
        full = 1 if values.dtype.kind == "f" else 2**header.bits - 1
        colour, opacity = values, None
        if header.has_alpha:
            colour, opacity = values[..., :-1], values[..., -1].astype(np.float64) / full
        if values.dtype == np.uint8:
            colour = ((colour.astype(np.uint32) * 255 + full // 2) // full).astype(np.uint8)
        levels = stretch_to_8_bits(colour, opacity, premultiplied=header.is_multiplied)
        return Image.fromarray(np.broadcast_to(levels, (*self._shape, 3)).copy())


def _codestream(data: bytes) -> bytes:
    """Return the codestream, or its first part where a file holds it in several."""
    if not data.startswith(FILE_SIGNATURE):
        return data
    for kind, body in _boxes(data):
        if kind == b"jxlc":
            return body
        if kind == b"jxlp":
            return body[4:]
    raise UndecodableImageError(_TRUNCATED)


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the beginning of the content of boxes (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1 and at + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        yield kind, data[start : start + _HEAD_BYTES]
        if length < start - at:  # 0: the last box; else the length is none
            return
        at += length


def _header(codestream: bytes) -> _Header:
    if not codestream.startswith(CODESTREAM_SIGNATURE):
        raise UndecodableImageError("a header that is not JPEG XL's")
    bits = _Bits(codestream[2:])
    header = _Header(*_size(bits))
    if bits.flag():  # all as usual
        return header
    if bits.flag():
        header.orientation = 1 + bits.number(3)
        if bits.flag():
            _size(bits)  # at which it is to be shown
        if bits.flag():
            _skip_preview(bits)
        header.is_animated = bits.flag()
        if header.is_animated:
            return header
    header.is_float, header.bits = _depth(bits)
    bits.flag()  # whether 16 bits are enough to decode it
    n_channels = bits.of(((0, 0), (1, 0), (2, 4), (1, 12)))
    header.channels = tuple(_channel(bits) for _ in range(n_channels))
    return header


def _size(bits: _Bits) -> tuple[int, int]:
    """Read a width and a height in pixels."""
    is_small = bits.flag()

    def side() -> int:
        return 8 * (1 + bits.number(5)) if is_small else bits.of(_SIDE)

    height = side()
    ratio = bits.number(3)
    if ratio == 0:
        return side(), height
    over, under = _RATIOS[ratio]
    return height * over // under, height


def _skip_preview(bits: _Bits) -> None:
    eighths = ((16, 0), (32, 0), (1, 5), (33, 9))
    sides = eighths if bits.flag() else ((1, 6), (65, 8), (321, 10), (1345, 12))
    bits.of(sides)
    if bits.number(3) == 0:
        bits.of(sides)


def _depth(bits: _Bits) -> tuple[bool, int]:
    """Read whether samples are floats, and of how many bits."""
    if bits.flag():
        n_bits = bits.of(((32, 0), (16, 0), (24, 0), (1, 6)))
        bits.number(4)  # of the exponent
        return True, n_bits
    return False, bits.of(((8, 0), (10, 0), (12, 0), (1, 6)))


def _channel(bits: _Bits) -> tuple[int, bool]:
    """Read the kind of a channel beside colour, and whether the colours are multiplied by it."""
    if bits.flag():  # as usual: opacity of 8 bits
        return _ALPHA, False
    kind = bits.of(_NUMBER_OF_AN_ENUM)
    _depth(bits)
    bits.of(((0, 0), (3, 0), (4, 0), (1, 3)))  # pixels per sample
    bits.number(8 * bits.of(((0, 0), (0, 4), (16, 5), (48, 10))))  # its name
    is_multiplied = bits.flag() if kind == _ALPHA else False
    if kind == _SPOT:
        bits.number(64)
    elif kind == _CFA:
        bits.of(((1, 0), (0, 2), (3, 4), (19, 8)))
    return kind, is_multiplied

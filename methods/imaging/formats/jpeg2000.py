"""The reader of JPEG 2000 (ISO/IEC 15444-1): files (.jp2) and bare codestreams (.j2k).

imagecodecs decodes with OpenJPEG, which refuses truncated data. Pillow, which does too, takes the
high byte of deep colour, shifts samples of fewer bits than 8, and drops equal entries of palettes.
Colour profiles are taken out of the file before, as they are ignored in every format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

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
from methods.imaging.pictures import refusing_hostile_bytes
from methods.imaging.preprocessing import PreprocessingSettings

FILE_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM_SIGNATURE = b"\xff\x4f\xff\x51"
_BROKEN = "a header that is not JPEG 2000's"
_TRUNCATED = "the file is truncated"
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_SRGB, _GREY, _SYCC = 16, 17, 18
_PROFILE_SPACES = {b"GRAY": _GREY, b"RGB ": _SRGB}
_OPACITY, _MULTIPLIED_OPACITY = 1, 2
_MAX_BITS = 24


@dataclass(frozen=True)
class _Size:
    """The marker segment SIZ (A.5.1).

    Attributes:
        width: pixels.
        height: pixels.
        components: bits, whether signed, and pixels per sample across and down of each component.
    """

    width: int
    height: int
    components: tuple[tuple[int, bool, int, int], ...]


class OpenedJpeg2000:
    """An image of grey, palette, RGB or YCbCr, with or without alpha.

    More than 8 bits are stretched by their own range; fewer are scaled so that the maximum is
    white.

    Args:
        data: bytes of the file.

    Attributes:
        facts: what the header says.

    Raises:
        UndecodableImageError: a broken header, more than MAX_PIXELS pixels, or a picture of another
            kind.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        header, codestreams = _parts(data)
        size = _size(codestreams[0])
        check_pixels(size.width, size.height)
        palette = header.get(b"pclr", b"\0\0\0")
        self._n_channels = palette[2] or len(size.components)
        self._bits, self._is_signed, _, _ = size.components[0]
        if palette[2]:
            self._bits, self._is_signed = (palette[3] & 0x7F) + 1, bool(palette[3] & 0x80)
        _check(size, self._n_channels, self._bits)
        self._is_multiplied = _is_multiplied(header.get(b"cdef", b""), self._n_channels)
        self._size = size
        self._file = _without_profile(header, codestreams[0])
        mode = _MODES[self._n_channels]
        if self._bits > 8:
            mode = "I;16" if self._n_channels == 1 else f"{mode};16"
        more = len(codestreams) - 1
        self.facts = FileFacts(
            (Frame(ImageFacts(size.width, size.height, mode, "JPEG 2000")),),
            notice=f"{more} more images of a JPX file left out" if more else None,
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
            decoded: NDArray[np.signedinteger] = imagecodecs.jpeg2k_decode(self._file, numthreads=1)
            shape = self._size.height, self._size.width, self._n_channels
            values = decoded.reshape(shape).astype(np.int32)
        if self._is_signed:
            values += 2 ** (self._bits - 1)
        full = 2**self._bits - 1
        opacity = values[..., -1] / full if self._n_channels in (2, 4) else None
        colour: NDArray[np.integer] = values if opacity is None else values[..., :-1]
        if self._bits <= 8:
            colour = ((colour * 255 + full // 2) // full).astype(np.uint8)
        levels = stretch_to_8_bits(colour, opacity, premultiplied=self._is_multiplied)
        return Image.fromarray(np.broadcast_to(levels, (*levels.shape[:2], 3)).copy())


def _check(size: _Size, n_channels: int, bits: int) -> None:
    """Raise where the components make no picture that is read."""
    depths = {component[:2] for component in size.components}
    if len(depths) > 1:
        raise UndecodableImageError("JPEG 2000 with components of several depths")
    if n_channels not in _MODES or bits > _MAX_BITS:
        raise UndecodableImageError(f"JPEG 2000 with {n_channels} components of {bits} bits")
    steps = [component[2:] for component in size.components]
    is_full = all(step == (1, 1) for step in steps)
    if not is_full and not (steps[0] == (1, 1) and len(steps) == 3 and steps[1] == steps[2]):
        raise UndecodableImageError("JPEG 2000 with subsampled components that are no chroma")


def _parts(data: bytes) -> tuple[dict[bytes, bytes], list[bytes]]:
    """Return the boxes of the header and the codestreams; a bare codestream has no header."""
    if not data.startswith(FILE_SIGNATURE):
        return {}, [data]
    header: dict[bytes, bytes] = {}
    codestreams: list[bytes] = []
    for kind, body in _boxes(data):
        if kind == b"jp2h" and not header:
            for inner, content in _boxes(body):
                header.setdefault(inner, content)
        elif kind == b"jp2c":
            codestreams.append(body)
    if not codestreams:
        raise UndecodableImageError(_TRUNCATED)
    return header, codestreams


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and content of boxes (I.4)."""
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if length == 1 and at + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, start)
            start += 8
        end = at + length if length else len(data)
        if end < start:
            raise UndecodableImageError(_BROKEN)
        if end > len(data):
            raise UndecodableImageError(_TRUNCATED)
        yield kind, data[start:end]
        at = end


def _size(codestream: bytes) -> _Size:
    """Read the size of an image from its codestream, which alone the decoder goes by."""
    if not codestream.startswith(CODESTREAM_SIGNATURE):
        raise UndecodableImageError(_BROKEN)
    if len(codestream) < 42:
        raise UndecodableImageError(_TRUNCATED)
    right, bottom, left, top = struct.unpack_from(">4I", codestream, 8)
    (n_components,) = struct.unpack_from(">H", codestream, 40)
    if not (left < right and top < bottom and n_components > 0):
        raise UndecodableImageError(_BROKEN)
    stored = codestream[42 : 42 + 3 * min(n_components, len(_MODES) + 1)]
    if len(stored) % 3 or len(stored) < 3:
        raise UndecodableImageError(_TRUNCATED)
    components = tuple(
        ((stored[at] & 0x7F) + 1, bool(stored[at] & 0x80), stored[at + 1], stored[at + 2])
        for at in range(0, len(stored), 3)
    )
    return _Size(right - left, bottom - top, components)


def _is_multiplied(definition: bytes, n_channels: int) -> bool:
    """Whether the colours are multiplied by the opacity, which must be the last channel (I.5.3.6).

    Raises:
        UndecodableImageError: the channels have another meaning.
    """
    kinds = {
        channel: kind
        for at in range(2, len(definition) - 5, 6)
        for channel, kind in [struct.unpack_from(">HH", definition, at)]
    }
    for channel in range(n_channels):
        is_last = channel == n_channels - 1 and n_channels in (2, 4)
        allowed = (_OPACITY, _MULTIPLIED_OPACITY) if is_last else (0,)
        if kinds.get(channel, allowed[0]) not in allowed:
            raise UndecodableImageError("JPEG 2000 with channels that are no picture")
    return kinds.get(n_channels - 1) == _MULTIPLIED_OPACITY


def _without_profile(header: dict[bytes, bytes], codestream: bytes) -> bytes:
    """Return a file whose colour space is stated by its number; a codestream stays bare.

    Raises:
        UndecodableImageError: a colour space that is none of grey, RGB and YCbCr.
    """
    if not header:
        return codestream
    colour = header.get(b"colr", b"")
    if len(colour) >= 7 and colour[0] == 1:
        space = struct.unpack_from(">I", colour, 3)[0]
    else:
        space = _PROFILE_SPACES.get(colour[19:23], 0)
    if space not in (_SRGB, _GREY, _SYCC):
        raise UndecodableImageError("JPEG 2000 in a colour space other than grey, RGB and YCbCr")
    boxes = {**header, b"colr": struct.pack(">BBBI", 1, 0, 0, space)}
    wanted = (b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef")
    inner = b"".join(_box(kind, boxes[kind]) for kind in wanted if kind in boxes)
    brand = _box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return FILE_SIGNATURE + brand + _box(b"jp2h", inner) + _box(b"jp2c", codestream)


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body

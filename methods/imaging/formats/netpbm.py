"""The reader of PBM, PGM, PPM and PAM (Netpbm's formats P1 to P7), after Netpbm's own manual pages.

Written out here, because Pillow takes the high byte of 16-bit colour and reads the first image of a
file only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods.imaging.deep import stretch_to_8_bits
from methods.imaging.image_format import (
    MAX_FRAMES,
    FileFacts,
    Frame,
    ImageFacts,
    UndecodableImageError,
    UnknownFormatError,
    check_pixels,
)
from methods.imaging.preprocessing import PreprocessingSettings

_TRUNCATED = "the file is truncated"
_TOO_LARGE = "a value is above the maximum that the header states"
_MOST_DIGITS = 9
"""Maximum length of a value in text, leading zeros included."""
_BROKEN = "a header that is not Netpbm's"
_SPACE = rb"(?:[ \t\n\v\f\r]|#[^\n\r]*[\n\r])"
"""White space, of which a comment is a part."""
_MAGIC = re.compile(rb"P([1-7])(?=" + _SPACE + rb")")
_BITMAP = re.compile(_SPACE + rb"+(\d{1,10})" + _SPACE + rb"+(\d{1,10})[ \t\n\v\f\r]")
_MAP = re.compile(
    _SPACE + rb"+(\d{1,10})" + _SPACE + rb"+(\d{1,10})" + _SPACE + rb"+(\d{1,5})[ \t\n\v\f\r]"
)
_PAM_HEADER = re.compile(rb"\n(.*?\n)??ENDHDR *\r?\n", re.DOTALL)
_PAM_HEADER_BYTES = 2**16
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_TUPLE_TYPES = {
    (1, b"BLACKANDWHITE"),
    (1, b"GRAYSCALE"),
    (3, b"RGB"),
    (2, b"BLACKANDWHITE_ALPHA"),
    (2, b"GRAYSCALE_ALPHA"),
    (4, b"RGB_ALPHA"),
}
"""Depths and tuple types of PAM that are visual images."""


@dataclass(frozen=True)
class _Map:
    """One image of a file.

    Attributes:
        name: PBM, PGM, PPM or PAM.
        width: pixels.
        height: pixels.
        n_channels: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha.
        maximum: value of white, and of opaque alpha.
        start: where its values begin.
        n_bytes: bytes of the values; None where they are written as text.
        is_bits: whether a pixel is a bit, of which 1 is black.
    """

    name: str
    width: int
    height: int
    n_channels: int
    maximum: int
    start: int
    n_bytes: int | None
    is_bits: bool = False

    @property
    def facts(self) -> ImageFacts:
        """Facts of the image; ";16" ends the mode where values have more than 8 bits."""
        mode = "1" if self.is_bits else _MODES[self.n_channels]
        if self.maximum > 255:
            mode = "I;16" if self.n_channels == 1 else f"{mode};16"
        return ImageFacts(self.width, self.height, mode, self.name)


def is_netpbm(data: bytes, kinds: bytes) -> bool:
    """Whether bytes begin like a format, whose magic numbers are P and one of the kinds.

    A text may do so by chance.
    """
    magic = _MAGIC.match(data)
    return magic is not None and magic[1] in kinds


class OpenedNetpbm:
    """A file of one image, or of several behind each other where their values are binary.

    Values above 255 are stretched by their own range, as all deep values; others are scaled so that
    the maximum is white.

    Args:
        data: bytes of the file.

    Attributes:
        facts: one frame for each image.

    Raises:
        UndecodableImageError: a header is broken, the file is truncated, or an image is over a
            limit or no picture.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._maps = [_header(data, 0)]
        end = _end(self._maps[0], len(data))
        while end is not None and _MAGIC.match(data, end):
            if len(self._maps) == MAX_FRAMES:
                raise UndecodableImageError(f"a file of more than {MAX_FRAMES} images")
            self._maps.append(_header(data, end))
            end = _end(self._maps[-1], len(data))
        rest = b"" if end is None else data[end:].strip()
        self.facts = FileFacts(
            tuple(Frame(image.facts) for image in self._maps),
            notice="bytes behind the last image left out" if rest.strip(b"\0") else None,
        )

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode an image.

        Raises:
            UndecodableImageError: no such image, it is truncated, or a value is above the maximum.
        """
        if not 0 <= frame < len(self._maps):
            raise UndecodableImageError("no such frame")
        image = self._maps[frame]
        values = _values(image, self._data)
        if int(values.max()) > image.maximum:
            raise UndecodableImageError(_TOO_LARGE)
        if image.is_bits:
            values = 1 - values
        alpha = values[..., -1] if image.n_channels in (2, 4) else None
        colour = values if alpha is None else values[..., :-1]
        if image.maximum <= 255:
            colour = _scaled(colour, image.maximum)
        opacity = None if alpha is None else alpha.astype(np.float64) / image.maximum
        levels = stretch_to_8_bits(colour, opacity)
        return Image.fromarray(np.broadcast_to(levels, (*levels.shape[:2], 3)).copy())


def _header(data: bytes, at: int) -> _Map:
    magic = _MAGIC.match(data, at)
    if magic is None:
        raise UnknownFormatError(_BROKEN)
    kind = int(magic[1])
    image = _pam(data, magic.end()) if kind == 7 else _pnm(kind, data, magic.end())
    if not (image.width and image.height and 0 < image.maximum <= 65535):
        raise UnknownFormatError(_BROKEN)
    check_pixels(image.width, image.height)
    n_values = image.width * image.height * image.n_channels
    # a value of text takes two bytes, with the space behind it, but for bits
    least = (
        (n_values if image.is_bits else 2 * n_values - 1)
        if image.n_bytes is None
        else image.n_bytes
    )
    if len(data) - image.start < least:
        raise UndecodableImageError(_TRUNCATED)
    return image


def _pnm(kind: int, data: bytes, at: int) -> _Map:
    """Read the header of P1 to P6, behind the magic number."""
    is_bits, is_text = kind in (1, 4), kind <= 3
    header = (_BITMAP if is_bits else _MAP).match(data, at)
    if header is None:
        raise UnknownFormatError(_BROKEN)
    width, height, *rest = (int(number) for number in header.groups())
    maximum = 1 if is_bits else rest[0]
    n_channels = 3 if kind in (3, 6) else 1
    name = {1: "PBM", 2: "PGM", 0: "PPM"}[kind % 3]
    n_bytes = (width + 7) // 8 * height if is_bits else _n_bytes(width, height, n_channels, maximum)
    return _Map(
        name,
        width,
        height,
        n_channels,
        maximum,
        header.end(),
        None if is_text else n_bytes,
        is_bits,
    )


def _pam(data: bytes, at: int) -> _Map:
    """Read the header of P7, behind the magic number."""
    header = _PAM_HEADER.match(data, at, at + _PAM_HEADER_BYTES)
    if header is None:
        raise UnknownFormatError(_BROKEN)
    fields: dict[bytes, bytes] = {}
    for line in (header[1] or b"").splitlines():
        key, _, value = line.strip().partition(b" ")
        if key and not key.startswith(b"#"):
            fields[key] = (fields.get(key, b"") + b" " + value.strip()).strip()
    try:
        width, height, depth, maximum = (
            int(fields[key]) if len(fields[key]) <= 10 else 0
            for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        )
    except (KeyError, ValueError):
        raise UnknownFormatError(_BROKEN) from None
    tuple_type = fields.get(b"TUPLTYPE", b"")
    if (depth, tuple_type) not in _TUPLE_TYPES and (tuple_type or depth not in (1, 3)):
        raise UndecodableImageError("a PAM that is neither grey nor colour")
    n_bytes = _n_bytes(width, height, depth, maximum)
    return _Map("PAM", width, height, depth, maximum, header.end(), n_bytes)


def _n_bytes(width: int, height: int, n_channels: int, maximum: int) -> int:
    return width * height * n_channels * (1 if maximum <= 255 else 2)


def _end(image: _Map, n_bytes: int) -> int | None:
    """Return where the image behind begins; None where values are text, which only one may be."""
    return None if image.n_bytes is None else min(image.start + image.n_bytes, n_bytes)


def _values(image: _Map, data: bytes) -> NDArray[np.unsignedinteger]:
    """Return the values as they are stored, (height, width, n_channels)."""
    shape = image.height, image.width, image.n_channels
    if image.n_bytes is None:
        return _text_values(image, data[image.start :]).reshape(shape)
    stored = data[image.start : image.start + image.n_bytes]
    if image.is_bits:
        lines = np.frombuffer(stored, np.uint8).reshape(image.height, -1)
        return np.unpackbits(lines, axis=1, count=image.width).reshape(shape)
    return np.frombuffer(stored, np.uint8 if image.maximum <= 255 else ">u2").reshape(shape)


def _text_values(image: _Map, text: bytes) -> NDArray[np.unsignedinteger]:
    """Return values that are written in decimals; bits need no space between them."""
    n_values = image.width * image.height * image.n_channels
    text = re.sub(rb"#[^\n\r]*", b"", text)
    if re.search(rb"[^01\s]" if image.is_bits else rb"[^\d\s]", text):
        raise UndecodableImageError("a value that is no number")
    words = re.findall(rb"[01]", text) if image.is_bits else text.split()
    if len(words) < n_values:
        raise UndecodableImageError(_TRUNCATED)
    if max(map(len, words)) > _MOST_DIGITS:
        raise UndecodableImageError(_TOO_LARGE)
    values = np.array(words[:n_values]).astype(np.uint32)
    if int(values.max()) > image.maximum:
        raise UndecodableImageError(_TOO_LARGE)
    return values.astype(np.uint16)


def _scaled(values: NDArray[np.unsignedinteger], maximum: int) -> NDArray[np.uint8]:
    """Scale values from 0..maximum to 0..255, rounded half up as Netpbm does."""
    levels = ((np.arange(maximum + 1) * 255 + maximum // 2) // maximum).astype(np.uint8)
    scaled: NDArray[np.uint8] = levels[values]
    return scaled

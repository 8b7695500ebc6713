"""The reader of PNG (W3C PNG, third edition): 16 bits at full depth, and animations (APNG).

Pillow reads the other kinds of PNG. It takes the high byte of 16-bit colour and alpha, overlooks
the transparent level of grey of 2 and 4 bits, and leaves parts of a broken animation out in
silence; here libpng decodes each image and the chunks of an animation are read as the standard
says.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import NamedTuple

import numpy as np
from PIL import Image

from methods.imaging.deep import stretch_to_8_bits
from methods.imaging.formats.animation import (
    Animation,
    Disposal,
    Patch,
    Rgba,
    frames_notice,
)
from methods.imaging.image_format import (
    MAX_FRAMES,
    FileFacts,
    Frame,
    ImageFacts,
    OpenedImage,
    UndecodableImageError,
    UnknownFormatError,
    check_pixels,
)
from methods.imaging.orientation import orientation_of, turned_upright, upright_size
from methods.imaging.pictures import OpenedPicture, refusing_hostile_bytes, to_rgb
from methods.imaging.preprocessing import PreprocessingSettings
from methods.imaging.quiet import ignoring_warnings

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY = 0
_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
_DISPOSALS: tuple[Disposal, ...] = ("keep", "clear", "restore")
_DECISIVE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"acTL", b"fcTL", b"fdAT")
"""Chunks that decide the pixels; their checksums must be right."""

# else Python prints its warnings, which can quote the file, where nobody set up logging
logging.getLogger("imagecodecs").addHandler(logging.NullHandler())


class _Header(NamedTuple):
    """The chunk IHDR."""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filters: int
    interlace: int

    @property
    def mode(self) -> str:
        """Pillow's name of the pixel mode; ";16" is added to those that it has in 8 bits only."""
        if self.depth == 16:
            return "I;16" if self.colour == _GREY else f"{_MODES[self.colour]};16"
        return "1" if self.depth == 1 and self.colour == _GREY else _MODES[self.colour]


class _FrameControl(NamedTuple):
    """The chunk fcTL."""

    sequence: int
    width: int
    height: int
    left: int
    top: int
    delay_numerator: int
    delay_denominator: int
    disposal: int
    blending: int


@dataclass
class _Chunks:
    """What the chunks of a whole file hold.

    Attributes:
        header: IHDR.
        shared: PLTE and tRNS, which hold for every image of the file.
        exif: eXIf.
        image: the compressed data of the image that a viewer without animations shows.
        n_announced: number of frames of an animation, from acTL.
        frames: the control and the compressed data of each frame; the first may have that of the
            image.
    """

    header: _Header
    shared: list[tuple[bytes, memoryview]] = field(default_factory=list)
    exif: bytes = b""
    image: list[memoryview] = field(default_factory=list)
    n_announced: int = 0
    frames: list[tuple[_FrameControl, list[memoryview]]] = field(default_factory=list)
    n_sequenced: int = 0

    @property
    def image_is_left_out(self) -> bool:
        """Whether the image is no frame of the animation."""
        return self.frames[0][1] is not self.image


def open_png(data: bytes) -> OpenedImage:
    """Open a PNG of any kind.

    Raises:
        UndecodableImageError: the file is truncated or broken, or over a limit.
    """
    header, kinds = _first_chunks(data)
    if header is None:
        return OpenedPicture(data)  # which says what is wrong
    check_pixels(header.width, header.height)
    is_animated = b"acTL" in kinds
    is_small_grey = header.colour == _GREY and header.depth < 8
    if is_animated or header.depth == 16 or (is_small_grey and b"tRNS" in kinds):
        chunks = _read(data, header, is_animated)
        if chunks.frames and chunks.n_announced:
            return OpenedApng(data, chunks)
        return OpenedFullDepthPng(data, chunks)
    try:
        return OpenedPicture(data)
    except UnknownFormatError:  # a chunk that says nothing of the pixels is broken
        return OpenedFullDepthPng(data, _read(data, header, is_animated))


class OpenedFullDepthPng:
    """A PNG of one image that libpng decodes.

    Args:
        data: bytes of the file.
        chunks: its chunks.

    Attributes:
        facts: what the header says.
    """

    facts: FileFacts

    def __init__(self, data: bytes, chunks: _Chunks) -> None:
        self._chunks = chunks
        self._orientation = _orientation(data, chunks)
        self.facts = FileFacts((Frame(_image_facts(chunks.header, self._orientation)),))

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode the image.

        Raises:
            UndecodableImageError: no such frame, or truncated or broken.
        """
        if frame != 0:
            raise UndecodableImageError("no such frame")
        chunks = self._chunks
        pixels = _rgba(_decoded(chunks, chunks.header.width, chunks.header.height, chunks.image))
        return turned_upright(_shown(pixels), self._orientation)


class OpenedApng:
    """An animated PNG: every frame as a viewer shows it.

    The image that viewers without animations show is left out where the animation does not have it.

    Args:
        data: bytes of the file.
        chunks: its chunks, with a frame at least.

    Attributes:
        facts: what the header says, and a notice of what is left out or missing.

    Raises:
        UndecodableImageError: a frame lies outside the image, or its control is none of the
            standard's.
    """

    facts: FileFacts

    def __init__(self, data: bytes, chunks: _Chunks) -> None:
        header = chunks.header
        self._orientation = _orientation(data, chunks)
        patches = [_patch(chunks, control, parts) for control, parts in chunks.frames]
        dtype = np.uint16 if header.depth == 16 else np.uint8
        self._animation = Animation(header.width, header.height, patches, dtype)
        left_out = "the still image, which is no frame of the animation, left out"
        self.facts = FileFacts(
            (Frame(_image_facts(header, self._orientation)),) * len(patches),
            notice=frames_notice(
                len(patches), chunks.n_announced, left_out if chunks.image_is_left_out else None
            ),
        )

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode a frame; in ascending order each is decoded once.

        Raises:
            UndecodableImageError: no such frame, or this or an earlier one is truncated or broken.
        """
        return turned_upright(_shown(self._animation.image(frame)), self._orientation)


def _walk(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and content of each chunk up to IEND.

    Raises:
        UndecodableImageError: the file is truncated, or the checksum of a decisive chunk is wrong.
    """
    view, at = memoryview(data), len(SIGNATURE)
    while True:
        if at + 12 > len(data):
            raise UndecodableImageError("the file is truncated")
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 8
        if at + length + 4 > len(data):
            raise UndecodableImageError("the file is truncated")
        body = view[at : at + length]
        (checksum,) = struct.unpack_from(">I", data, at + length)
        if kind in _DECISIVE and checksum != zlib.crc32(body, zlib.crc32(kind)):
            raise UndecodableImageError("a checksum is wrong")
        yield kind, body
        if kind == b"IEND":
            return
        at += length + 4


def _first_chunks(data: bytes) -> tuple[_Header | None, set[bytes]]:
    """Return the header and the kinds of chunks before the pixels; None where it is no PNG's."""
    header: _Header | None = None
    kinds: set[bytes] = set()
    try:
        for kind, body in _walk(data):
            if kind == b"IHDR" and not kinds:
                header = _header(body)
            kinds.add(kind)
            if header is None or kind == b"IDAT":
                break
    except UndecodableImageError:
        pass
    return header, kinds


def _header(body: memoryview) -> _Header | None:
    if len(body) != 13:
        return None
    header = _Header(*struct.unpack(">IIBBBBB", body))
    is_known = header.colour in _MODES and header.depth in (1, 2, 4, 8, 16)
    return header if is_known and header.width and header.height else None


def _read(data: bytes, header: _Header, is_animated: bool) -> _Chunks:
    """Read the chunks of a whole file, those of an animation only where it is one.

    Raises:
        UndecodableImageError: the file is truncated, or its chunks are not those of the standard.
    """
    chunks = _Chunks(header)
    for kind, body in _walk(data):
        if kind in (b"PLTE", b"tRNS"):
            chunks.shared.append((kind, body))
        elif kind == b"eXIf":
            chunks.exif = bytes(body)
        elif kind == b"acTL" and len(body) == 8 and not chunks.image:
            (chunks.n_announced,) = struct.unpack_from(">I", body)
        elif kind == b"IDAT":
            chunks.image.append(body)
        elif kind in (b"fcTL", b"fdAT") and is_animated:
            _add_to_animation(chunks, kind, body)
    return chunks


def _add_to_animation(chunks: _Chunks, kind: bytes, body: memoryview) -> None:
    out_of_order = UndecodableImageError("the chunks of its animation are out of order")
    if len(body) < 4 or struct.unpack_from(">I", body) != (chunks.n_sequenced,):
        raise out_of_order
    chunks.n_sequenced += 1
    if kind == b"fdAT":
        if not chunks.frames or chunks.frames[-1][1] is chunks.image:
            raise out_of_order
        chunks.frames[-1][1].append(body[4:])
        return
    if len(body) != 26 or (chunks.frames and not chunks.image):
        raise out_of_order
    if len(chunks.frames) == MAX_FRAMES:
        raise UndecodableImageError(f"an animation of more than {MAX_FRAMES} frames")
    control = _FrameControl(*struct.unpack(">5I2H2B", body))
    chunks.frames.append((control, [] if chunks.image else chunks.image))


def _patch(chunks: _Chunks, control: _FrameControl, parts: list[memoryview]) -> Patch:
    header = chunks.header
    if (
        not (control.width and control.height)
        or control.left + control.width > header.width
        or control.top + control.height > header.height
    ):
        raise UndecodableImageError("a frame lies outside the image")
    if control.disposal >= len(_DISPOSALS) or control.blending > 1:
        raise UndecodableImageError("a frame is shown in a way that the standard does not have")

    def decode() -> Rgba:
        return _rgba(_decoded(chunks, control.width, control.height, parts))

    is_first = control is chunks.frames[0][0]
    disposal = "clear" if is_first and control.disposal == 2 else _DISPOSALS[control.disposal]
    return Patch(
        control.left,
        control.top,
        control.width,
        control.height,
        decode,
        disposal,
        control.blending == 1,
    )


def _decoded(chunks: _Chunks, width: int, height: int, parts: Sequence[memoryview]) -> Rgba:
    """Decode an image of the file with libpng, which sees the chunks that decide its pixels only.

    Returns:
        (height, width) or (height, width, 2 to 4) uint8 or uint16; transparency is alpha.
    """
    import imagecodecs

    if not any(len(part) for part in parts):
        raise UndecodableImageError("the file is truncated")
    header = chunks.header._replace(width=width, height=height)
    file = [SIGNATURE, _chunk(b"IHDR", struct.pack(">IIBBBBB", *header))]
    file += [_chunk(kind, body) for kind, body in chunks.shared]
    file += [_chunk(b"IDAT", b"".join(parts)), _chunk(b"IEND", b"")]
    with refusing_hostile_bytes():
        pixels: Rgba = imagecodecs.png_decode(b"".join(file))
        return pixels


def _chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)])


def _rgba(pixels: Rgba) -> Rgba:
    """Return grey or colour, with or without alpha, as (h, w, 4)."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    has_alpha = pixels.shape[2] in (2, 4)
    colour = pixels[..., : -1 if has_alpha else None]
    rgba = np.full((*pixels.shape[:2], 4), np.iinfo(pixels.dtype).max, pixels.dtype)
    rgba[..., :3] = colour
    if has_alpha:
        rgba[..., 3] = pixels[..., -1]
    return rgba


def _shown(pixels: Rgba) -> Image.Image:
    """Return pixels of 8 or 16 bits as RGB over white."""
    if pixels.dtype == np.uint8:
        return to_rgb(Image.fromarray(pixels))
    return Image.fromarray(stretch_to_8_bits(pixels[..., :3], pixels[..., 3]))


def _orientation(data: bytes, chunks: _Chunks) -> int:
    """Return the EXIF orientation, which may lie behind the pixels."""
    with ignoring_warnings(r"PIL\."):
        try:
            image: Image.Image = Image.open(BytesIO(data), formats=("PNG",))
        except Exception:  # whatever is wrong with the pixels, libpng will say
            image = Image.new("L", (1, 1))
        # without this Pillow decodes the pixels to look behind them
        image.info.setdefault("exif", chunks.exif)
        return orientation_of(image)


def _image_facts(header: _Header, orientation: int) -> ImageFacts:
    width, height = upright_size(header.width, header.height, orientation)
    return ImageFacts(width, height, header.mode, "PNG", orientation=orientation)

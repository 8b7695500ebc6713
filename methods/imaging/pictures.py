"""The reader of ordinary pictures (JPEG, PNG, BMP, WebP) with Pillow.

A picture is decoded fully where its facts are asked for: JPEG's scaled decoding takes other code
paths and could accept what a full decode then refuses. Colour profiles and gamma tags are ignored,
as the networks were trained that way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from methods.imaging.deep import stretch_to_8_bits
from methods.imaging.image_format import (
    MAX_FRAMES,
    MAX_PIXELS,
    FileFacts,
    Frame,
    ImageFacts,
    UndecodableImageError,
    UnknownFormatError,
)
from methods.imaging.orientation import orientation_of, turned_upright, upright_size
from methods.imaging.preprocessing import PreprocessingSettings, resized_shape
from methods.imaging.quiet import ignoring_warnings

ACCEPTED_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "AVIF")
"""Formats that Pillow may open, told by content; its other decoders never see the bytes."""

SCALED_MARGIN = 2
"""Smallest side of a scaled JPEG as a multiple of the resized side (Pillow's ``reducing_gap``)."""

_DEEP_MODES = ("I;16", "I;16B", "I", "F")
_PNG_ORIENTATION = (b"eXIf", b"Raw profile type", b"tiff:Orientation")


# else Python prints its errors to stderr where nobody set up logging
logging.getLogger("PIL").addHandler(logging.NullHandler())


class OpenedPicture:
    """A picture of one image: the first page or frame of its file.

    1-bit, grey, palette, CMYK and YCbCr become RGB; transparency lies over white; grey of more than
    8 bits is scaled from its own minimum..maximum; the EXIF orientation is
    applied.

    Args:
        data: bytes of the file; its content decides the format.

    Attributes:
        facts: what the header says, which is no proof that the pixels can be decoded.

    Raises:
        UndecodableImageError: not an accepted format, a broken header, or more than MAX_PIXELS
            pixels.
    """

    facts: FileFacts

    def __init__(self, data: bytes) -> None:
        self._data = data
        with refusing_hostile_bytes():
            image = _open(data)
            self.facts = FileFacts((Frame(_facts_of(image, data)),))
        self._image: ImageFile.ImageFile | None = image

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode the picture.

        Args:
            frame: 0.
            settings: settings of the resize that follows, of which "scaled" makes a JPEG smaller
                while it is decoded; None where every pixel is wanted.

        Raises:
            UndecodableImageError: no such frame, truncated or broken, or infinite values.
        """
        if frame != 0:
            raise UndecodableImageError("no such frame")
        with refusing_hostile_bytes():
            # decoding changes an opened image, so a second time the bytes are opened again
            image, self._image = self._image or _open(self._data), None
            return _decode(image, settings)


class OpenedSequence(OpenedPicture):
    """A file of one or more images that its library lays over each other (WebP, AVIF).

    Every image of an animation is as a viewer shows it. In ascending order each is decoded once.

    Args:
        data: bytes of the file.

    Raises:
        UndecodableImageError: as for a picture, or more than MAX_FRAMES images.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        with refusing_hostile_bytes():
            n_frames = int(getattr(self._image, "n_frames", 1))
        if n_frames > MAX_FRAMES:
            raise UndecodableImageError(f"an animation of more than {MAX_FRAMES} frames")
        self.facts = replace(self.facts, frames=self.facts.frames * n_frames)

    def decode(self, frame: int, settings: PreprocessingSettings | None = None) -> Image.Image:
        """Decode an image.

        Raises:
            UndecodableImageError: no such frame, or this or an earlier one is truncated or broken.
        """
        if not 0 <= frame < len(self.facts.frames):
            raise UndecodableImageError("no such frame")
        with refusing_hostile_bytes():
            image, self._image = self._image, None
            if image is None or frame < image.tell():
                image = _open(self._data)
            image.seek(frame)
            rgb = _decode(image)
            self._image = image
            return rgb


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"larger than {MAX_PIXELS // 1_000_000} megapixels"
    if "truncated" in str(error).lower():
        return "the file is truncated"
    # a decoder's words can quote the file, and with it a patient's name
    return f"broken image data ({type(error).__name__})"


@contextmanager
def refusing_hostile_bytes() -> Iterator[None]:
    """Turn whatever Pillow raises into an UndecodableImageError.

    Pillow's decoders raise nearly every built-in exception. A MemoryError stays one: whether the
    file is to blame only the caller knows, who may have set the limit.
    """
    with ignoring_warnings(r"PIL\."):
        try:
            yield
        except (MemoryError, UndecodableImageError):
            raise
        except UnidentifiedImageError:  # its message holds an address in memory
            raise UnknownFormatError from None
        except Exception as error:
            raise UndecodableImageError(_reason(error)) from error


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header of a picture."""
    image = Image.open(BytesIO(data), formats=ACCEPTED_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    return image


def _facts_of(image: ImageFile.ImageFile, data: bytes) -> ImageFacts:
    """Return the facts of an opened picture, whose bytes are ``data``."""
    if image.format != "PNG":
        orientation = orientation_of(image)
    else:
        # The orientation of a PNG may lie behind its pixels, which Pillow then decodes: of another
        # opened image, since one whose decoding failed must not be decoded again.
        is_stated = any(mark in data for mark in _PNG_ORIENTATION)
        orientation = orientation_of(_open(data)) if is_stated else 1
    width, height = upright_size(*image.size, orientation)
    name = str(image.format)
    # A camera's multi-picture file (MPO) is a JPEG with more JPEGs behind it.
    format_ = "JPEG" if name == "MPO" else name
    return ImageFacts(width, height, image.mode, format_, orientation=orientation)


def _decode(
    image: ImageFile.ImageFile, settings: PreprocessingSettings | None = None
) -> Image.Image:
    """Decode an opened picture to upright 8-bit RGB."""
    drafted, full_size = None, image.size
    if settings is not None and settings.decode == "scaled":
        width, height = resized_shape(image, settings)
        drafted = image.draft(None, (SCALED_MARGIN * width, SCALED_MARGIN * height))
    image.load()
    orientation = orientation_of(image)
    rgb = to_rgb(image)
    if drafted and rgb.size != full_size:
        # The last pixels of a side may lie in part beyond the image, and only here is it known how
        # far.
        rgb = rgb.resize((width, height), Image.Resampling.BILINEAR, box=drafted[1])
    return turned_upright(rgb, orientation)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded picture to 8-bit RGB; transparency lies over white."""
    if image.mode in _DEEP_MODES:
        return Image.fromarray(stretch_to_8_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        over = Image.new("RGBA", image.size, "white")
        over.alpha_composite(image.convert("RGBA"))
        return over.convert("RGB")
    return image.convert("RGB")

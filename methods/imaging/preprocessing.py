"""From the bytes of an image file to the pixels that a backbone takes.

Every file is decoded by one function, :func:`decode_image`, whole where its facts are wanted:
JPEG's scaled decoding takes other code paths and could accept what a full decode then refuses.
Colour profiles and gamma tags are ignored, as the networks were trained that way.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, _imaging

ACCEPTED_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
"""Formats that are opened, told by content; Pillow's other decoders never see the bytes."""

MAX_PIXELS = 100_000_000
"""Width x height above which an image is refused before it is decoded."""

SCALED_MARGIN = 2
"""Pillow's advice for ``reducing_gap``."""

_DEEP_MODES = ("I;16", "I;16B", "I", "F")
_WHITE_IS_ZERO = 0
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UndecodableImageError(ValueError):
    """The bytes are not a whole image of an accepted format; the message is a short reason without
    a path.
    """


@dataclass(frozen=True)
class PreprocessingSettings:
    """How an image becomes a square.

    Attributes:
        resize: "direct" ignores the aspect ratio; "pad" keeps it and fills the rest with black, the
            image centred.
        size: pixels on a side.
        voi: which grey values of a DICOM image are shown: "file" (its own window) or "full" (all of
            its range).
        decode: "exact" decodes every pixel of a JPEG; "scaled" has libjpeg make it 2, 4 or 8 times
            smaller on the way, but not below SCALED_MARGIN times what the resize then makes of it.
            Other formats, and smaller images, know no difference.
    """

    resize: Literal["direct", "pad"] = "direct"
    size: int = 227
    voi: Literal["file", "full"] = "file"
    decode: Literal["exact", "scaled"] = "exact"


@dataclass(frozen=True)
class ImageFacts:
    """What the header of an image file says.

    Attributes:
        width: pixels, as stored (before the EXIF orientation).
        height: pixels, as stored.
        mode: Pillow's pixel mode, or DICOM's photometric interpretation.
        format: one of ACCEPTED_FORMATS, or DICOM.
    """

    width: int
    height: int
    mode: str
    format: str


class _QuietPillow:
    """Silences Pillow's warnings while any thread decodes; each thread's own ``catch_warnings``
    would undo the others'.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._saved_filters = ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._inside == 0:
                self._saved_filters.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._saved_filters.close()


quiet_pillow = _QuietPillow()


def _quiet_libtiff() -> None:
    """Stops libtiff from printing to stderr, which one odd TIFF can do a thousand times; the errors
    reach us all the same.

    A build of Pillow whose libtiff cannot be reached this way stays noisy.
    """
    pillow = ctypes.CDLL(_imaging.__file__)
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        with suppress(AttributeError):
            getattr(pillow, name)(None)


_quiet_libtiff()
# else Python prints its errors to stderr where nobody set up logging
logging.getLogger("PIL").addHandler(logging.NullHandler())


def _reason(error: Exception) -> str:
    if isinstance(error, UndecodableImageError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):  # its message holds an address in memory
        return "not a readable JPEG, PNG, TIFF, BMP, WebP or DICOM image"
    if isinstance(error, Image.DecompressionBombError):
        return f"larger than {MAX_PIXELS // 1_000_000} megapixels"
    if "truncated" in str(error).lower():
        return "the file is truncated"
    # a decoder's words can quote the file, and with it a patient's name
    return f"broken image data ({type(error).__name__})"


@contextmanager
def _refusing_hostile_bytes() -> Iterator[None]:
    """Whatever Pillow raises becomes an UndecodableImageError: its decoders raise nearly every
    built-in exception.

    A MemoryError stays one: whether it speaks against the file only the caller knows, who may have
    set the limit.
    """
    with quiet_pillow():
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            raise UndecodableImageError(_reason(error)) from error


def _open(data: bytes) -> tuple[ImageFile.ImageFile, ImageFacts]:
    """The image, not decoded yet, and its facts."""
    if not data:
        raise UndecodableImageError("the file is empty")
    image = Image.open(BytesIO(data), formats=ACCEPTED_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
    width, height = image.size
    # Pillow gives the size after the orientation for TIFF only
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, height = (
            image.tag_v2[ExifTags.Base.ImageWidth],
            image.tag_v2[ExifTags.Base.ImageLength],
        )
    found = str(image.format)
    # A camera's multi-picture file (MPO) is a JPEG with more JPEGs behind it.
    return image, ImageFacts(width, height, image.mode, "JPEG" if found == "MPO" else found)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; 1 where the EXIF data cannot be read, which says nothing against the
    pixels.
    """
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def _stretch(values: NDArray[np.generic], white_is_zero: bool) -> NDArray[np.uint8]:
    """Grey values of more than 8 bits scaled from their own minimum..maximum to 0..255.

    Scanners use a small part of 16 bits, anywhere in the range; clipping to 0..255 would give a
    white image. The rounding to 8 bits comes before the resize so that every mode takes the same
    way from here on; it moves a pixel by one level at most.

    Args:
        values: (h, w) integers or floats. NaN, "no measurement", becomes 0.
        white_is_zero: whether small values are bright.

    Returns:
        (h, w) uint8; all 0 for a constant image.

    Raises:
        UndecodableImageError: a value is infinite, or none is a number.
    """
    grey = values.astype(np.float64)
    if np.isinf(grey).any():
        raise UndecodableImageError("a pixel value is infinite")
    known = ~np.isnan(grey)
    if not known.any():
        raise UndecodableImageError("no pixel value is a number")
    low, high = grey.min(where=known, initial=np.inf), grey.max(where=known, initial=-np.inf)
    if white_is_zero:
        low, high = high, low
    grey -= low
    if high != low:
        grey *= 255
        grey /= high - low
    grey[~known] = 0
    return np.rint(grey).astype(np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB; transparency over white."""
    if image.mode in _DEEP_MODES:
        tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
        # Pillow inverts 8 bits only
        white_is_zero = tags.get(ExifTags.Base.PhotometricInterpretation) == _WHITE_IS_ZERO
        return Image.fromarray(_stretch(np.asarray(image), white_is_zero)).convert("RGB")
    if image.has_transparency_data:
        over = Image.new("RGBA", image.size, "white")
        over.alpha_composite(image.convert("RGBA"))
        return over.convert("RGB")
    return image.convert("RGB")


def read_header(data: bytes) -> ImageFacts:
    """Facts from the header alone: cheap, and no proof that the pixels can be read.

    Raises:
        UndecodableImageError: not an accepted format, a broken header, or more than MAX_PIXELS
            pixels.
    """
    with _refusing_hostile_bytes():
        return _open(data)[1]


def decode_image(
    data: bytes, settings: PreprocessingSettings | None = None
) -> tuple[Image.Image, ImageFacts]:
    """First page or frame, upright, 8-bit RGB, and the facts of the file.

    1-bit, grey, palette, CMYK and YCbCr become RGB; transparency lies over white; grey of more than
    8 bits (16-bit, 32-bit, float) is scaled from its own minimum..maximum; the EXIF orientation is
    applied.

    Args:
        data: bytes of the file; its content decides the format.
        settings: of the resize that follows, which a JPEG under "scaled" already has behind it;
            None where every pixel is wanted.

    Raises:
        UndecodableImageError: not an accepted format, truncated or broken, more than MAX_PIXELS
            pixels, or infinite values.
    """
    with _refusing_hostile_bytes():
        image, facts = _open(data)
        drafted, whole = None, image.size
        if settings is not None and settings.decode == "scaled":
            width, height = _resized(image, settings)
            drafted = image.draft(None, (SCALED_MARGIN * width, SCALED_MARGIN * height))
        image.load()
        orientation = _orientation(image)
        rgb = _to_rgb(image)
        if drafted and rgb.size != whole:
            # The last pixels of a side may lie in part beyond the image, and only here is it known
            # how far.
            rgb = rgb.resize((width, height), Image.Resampling.BILINEAR, box=drafted[1])
        return (rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb), facts


def _resized(image: Image.Image, settings: PreprocessingSettings) -> tuple[int, int]:
    """Width and height that the resize gives an image."""
    if settings.resize == "direct":
        return settings.size, settings.size
    width, height = (max(1, round(side * settings.size / max(image.size))) for side in image.size)
    return width, height


def to_square(image: Image.Image, settings: PreprocessingSettings) -> NDArray[np.uint8]:
    """Pixels for a backbone. The resize is bilinear and antialiased: Pillow widens the filter when
    it shrinks an image.

    Args:
        image: RGB.
        settings: side and aspect ratio.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    size, (width, height) = settings.size, _resized(image, settings)
    inner = image.resize((width, height), Image.Resampling.BILINEAR)
    if settings.resize == "direct":
        return np.array(inner)
    square = Image.new("RGB", (size, size))
    square.paste(inner, ((size - width) // 2, (size - height) // 2))
    return np.array(square)

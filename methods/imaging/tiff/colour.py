"""From the samples of a TIFF page to 8-bit RGB, as its photometric interpretation says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from methods.imaging.deep import BLOCK_VALUES, stretch_to_8_bits
from methods.imaging.image_format import UndecodableImageError
from methods.imaging.tiff.samples import sample_type

if TYPE_CHECKING:
    from tifffile import TiffPage

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
"""Values of PhotometricInterpretation (TIFF 6.0, sections 3 to 6, 16 and 21)."""

NAMES = {
    WHITE_IS_ZERO: "grey",
    BLACK_IS_ZERO: "grey",
    RGB: "RGB",
    PALETTE: "palette",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
}
"""Names of the photometric interpretations that are read."""

_REFUSED = {
    4: "a transparency mask as its image",
    8: "CIE L*a*b* colours",
    9: "ICC L*a*b* colours",
    10: "ITU L*a*b* colours",
    32803: "a camera's raw sensor data",
    34892: "a camera's raw sensor data",
    32844: "logarithmic luminance",
    32845: "logarithmic luminance and colour",
}
_COLOURS = {RGB: 3, CMYK: 4, YCBCR: 3}
_JPEG = (6, 7, 33007)
_APERIO_YCBCR = 33003
_ASSOCIATED, _UNASSOCIATED = 1, 2
"""Values of ExtraSamples that are an opacity (TIFF 6.0, section 18)."""

_INK_SET, _COLOUR_MAP, _COEFFICIENTS, _REFERENCES = 332, 320, 529, 532
_LUMA = (299, 1000, 587, 1000, 114, 1000)
_FULL_RANGE = (0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)


def colours_of(page: TiffPage) -> int:
    """Return how many of the samples of a pixel are colours."""
    return _COLOURS.get(int(page.photometric), 1)


def alpha_of(page: TiffPage) -> tuple[int, bool] | None:
    """Return the sample that is an opacity, and whether the colours were multiplied by it."""
    for extra, kind in enumerate(page.extrasamples):
        if kind in (_ASSOCIATED, _UNASSOCIATED):
            return colours_of(page) + extra, kind == _ASSOCIATED
    return None


def channels_left_out(page: TiffPage) -> int:
    """Return how many samples of a pixel are neither colours nor the opacity."""
    return page.samplesperpixel - colours_of(page) - (alpha_of(page) is not None)


def check_colours(page: TiffPage) -> None:
    """Refuse a page whose samples are no picture, by its directory.

    Raises:
        UndecodableImageError: the reason.
    """
    photometric, samples = int(page.photometric), page.samplesperpixel
    if 262 not in page.tags and page.compression not in _JPEG:
        raise UndecodableImageError("TIFF that does not say what its values mean")
    if photometric in _REFUSED:
        raise UndecodableImageError(f"TIFF with {_REFUSED[photometric]}")
    if photometric not in NAMES:
        raise UndecodableImageError(f"TIFF with photometric interpretation {photometric}")
    colours, alpha = colours_of(page), alpha_of(page)
    if samples < colours or (alpha is not None and alpha[0] >= samples):
        raise UndecodableImageError("TIFF with fewer samples per pixel than its colours")
    if colours == 1 and photometric != PALETTE and channels_left_out(page):
        raise UndecodableImageError(
            f"TIFF of {samples} channels that are neither colours nor an opacity"
        )
    dtype = sample_type(page)
    if photometric == CMYK and (dtype.kind != "u" or page.tags.valueof(_INK_SET, 1) != 1):
        raise UndecodableImageError("TIFF with inks other than CMYK of whole numbers")
    if photometric == CMYK and alpha is not None and alpha[1]:
        raise UndecodableImageError("TIFF with inks that were multiplied by an opacity")
    if photometric == PALETTE and dtype.kind not in "ub":
        raise UndecodableImageError("TIFF with a palette for numbers that are not whole")
    if _is_ycbcr(page) and (page.bitspersample != 8 or dtype.kind != "u"):
        raise UndecodableImageError("TIFF with YCbCr of other than 8 bits")
    if page.compression in _JPEG and photometric == YCBCR and samples > 3:
        raise UndecodableImageError("TIFF with JPEG compression of YCbCr and an opacity")


def _is_ycbcr(page: TiffPage) -> bool:
    """Whether the decoded samples are YCbCr, which JPEG's are not: libjpeg converts them."""
    if page.compression == _APERIO_YCBCR:
        return True
    return page.photometric == YCBCR and page.compression not in _JPEG


def to_rgb(page: TiffPage, samples: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert the samples of a page that was checked.

    Values of more than 8 bits are stretched by :func:`~methods.imaging.deep.stretch_to_8_bits`,
    those of fewer by their full range.

    Args:
        page: the page.
        samples: (h, w, samples).

    Returns:
        (h, w) grey or (h, w, 3) RGB, uint8; transparency lies over white.

    Raises:
        UndecodableImageError: a value is infinite, or a palette lacks an entry.
    """
    alpha = alpha_of(page)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 8
    colours = samples[..., : colours_of(page)]
    opacity = None if alpha is None else samples[..., alpha[0]]
    if page.photometric == PALETTE:
        colours = _looked_up(page, colours[..., 0])
    elif bits < 8 and samples.dtype == np.uint8:
        colours = _widened(colours, bits)
    if opacity is not None and bits < 8 and opacity.dtype == np.uint8:
        opacity = _widened(opacity, bits)
    if page.photometric == CMYK:
        colours = _from_inks(colours, bits)
    elif _is_ycbcr(page):
        colours = _from_ycbcr(page, colours)
    return stretch_to_8_bits(
        colours[..., 0] if colours.shape[2] == 1 else colours,
        opacity,
        white_is_zero=page.photometric == WHITE_IS_ZERO,
        premultiplied=alpha is not None and alpha[1],
        alpha_bits=bits if 8 < bits < 8 * samples.dtype.itemsize else None,
    )


def _widened(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Scale values of fewer than 8 bits by their full range."""
    levels: NDArray[np.uint8] = np.rint(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
    return levels[values]


def _looked_up(page: TiffPage, indices: NDArray[Any]) -> NDArray[np.uint8]:
    """Take colours from the palette, of which 16 bits are the rule and 8 bits occur (libtiff)."""
    stored = page.tags.valueof(_COLOUR_MAP)
    if stored is None:
        raise UndecodableImageError("TIFF without the palette of its colours")
    palette = np.asarray(stored).reshape(3, -1)
    if int(indices.max()) >= palette.shape[1]:
        raise UndecodableImageError("TIFF with colours beyond its palette")
    if palette.max() > 255:
        palette = palette >> 8
    colours: NDArray[np.uint8] = palette.T.astype(np.uint8)[indices.astype(np.intp)]
    return colours


def _by_rows(
    convert: Callable[[NDArray[Any]], NDArray[Any]], values: NDArray[Any], dtype: type
) -> NDArray[Any]:
    """Convert pixels to three channels, some rows at a time, which bounds the memory."""
    rgb = np.empty((*values.shape[:2], 3), dtype)
    n_rows = max(1, BLOCK_VALUES // (values.shape[1] * values.shape[2]))
    for start in range(0, len(values), n_rows):
        rows = slice(start, start + n_rows)
        converted = convert(values[rows])
        rgb[rows] = np.rint(converted.clip(0, 255)) if dtype is np.uint8 else converted
    return rgb


def _from_inks(inks: NDArray[Any], bits: int) -> NDArray[Any]:
    """Convert CMYK to RGB without a profile: what both an ink and black let through."""
    full = np.float32(255 if bits < 8 else 2**bits - 1)

    def convert(block: NDArray[Any]) -> NDArray[Any]:
        through = full - block.astype(np.float32)
        return through[..., :3] * through[..., 3:] / full

    return _by_rows(convert, inks, np.uint8 if bits <= 8 else np.float32)


def _from_ycbcr(page: TiffPage, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert YCbCr to RGB (TIFF 6.0, section 21)."""
    red, green, blue = _fractions(page.tags.valueof(_COEFFICIENTS, _LUMA))
    limits = np.array(_fractions(page.tags.valueof(_REFERENCES, _FULL_RANGE)), np.float32)
    black, white = limits[::2], limits[1::2]
    scale = np.array([255, 127, 127], np.float32) / (white - black)

    def convert(block: NDArray[Any]) -> NDArray[Any]:
        y, cb, cr = np.moveaxis((block - black) * scale, -1, 0)
        r = y + cr * np.float32(2 - 2 * red)
        b = y + cb * np.float32(2 - 2 * blue)
        g = (y - np.float32(red) * r - np.float32(blue) * b) / np.float32(green)
        return np.stack([r, g, b], axis=-1)

    return _by_rows(convert, values, np.uint8)


def _fractions(pairs: tuple[int, ...]) -> list[float]:
    return [above / below for above, below in zip(pairs[::2], pairs[1::2], strict=True)]

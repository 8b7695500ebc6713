"""Pixel values of more than 8 bits become 8 bits by one rule, whatever file they come from.

Scanners use a small part of 16 bits, anywhere in the range; clipping to 0..255 would give a white
image and taking the high byte a black one. So such values are stretched from their own
minimum..maximum to 0..255. Colour channels share one range, which keeps the hue. Alpha is no
measurement: it is taken by its full range, so that an opaque image stays opaque, and transparency
lies over white. The rounding to 8 bits comes before any resize, so that every kind of image takes
the same way from here on; it moves a pixel by one level at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.imaging.image_format import UndecodableImageError

Float64 = NDArray[np.float64]

BLOCK_VALUES = 2**20
"""Number of values that are computed with at a time; it bounds the memory of the arithmetic."""

ALPHA_BITS = (1, 8, 10, 12, 14, 16)
"""Bits that alpha can have in a wider type: the alpha of 12 bits in 16 is opaque at 4095."""

_ROOM = 2.0**-12
"""Factor by which floats shrink where 255 times their range is beyond float64."""


def stretch_to_8_bits(
    values: NDArray[np.generic],
    alpha: NDArray[np.generic] | None = None,
    *,
    white_is_zero: bool = False,
    premultiplied: bool = False,
    alpha_bits: int | None = None,
    within: ValueRange | None = None,
) -> NDArray[np.uint8]:
    """Scale pixel values of any type to 0..255, those of more than 8 bits by their own range.

    uint8 is never stretched, and bool becomes 0 and 255.

    Args:
        values: (h, w) or (h, w, c) bool, integers or floats of any byte order. NaN, "no
            measurement", becomes 0.
        alpha: (h, w) opacity, or None where all is opaque. The range is taken from pixels that can
            be seen; from those at least half opaque where `premultiplied`, for the colour of the
            others is mostly rounding.
        white_is_zero: whether small values are bright.
        premultiplied: whether the values were multiplied by the opacity ("associated alpha").
        alpha_bits: bits of alpha where they are fewer than its type has.
        within: range of the values of all images of which this is one, as the slices of a volume
            are; None for its own.

    Returns:
        uint8 of the shape of `values`; all 0 where the values are constant.

    Raises:
        UndecodableImageError: a value is infinite or complex, none is a number, or an opacity is
            negative or, of floats, more than 1 without being a known number of bits.
    """
    if values.dtype.kind not in "buif":
        raise UndecodableImageError("pixel values that are no real numbers")
    opacity = None if alpha is None else _opacity(alpha, alpha_bits, premultiplied)
    if values.dtype.kind == "b":
        values = values.astype(np.uint8) * np.uint8(255)
    offset, dark, bright = 0, 0.0, 255.0
    if values.dtype != np.uint8:
        if within is None:
            within = _range(values, opacity)
        offset, dark, bright = within.offset, within.low, within.high
    if white_is_zero:
        dark, bright = bright, dark
    levels = np.empty(values.shape, np.uint8)
    for rows in _blocks(values):
        block = _levels(_numbers(values[rows], offset, opacity, rows), dark, bright)
        if opacity is not None:
            block = 255 - (255 - block) * opacity.of(rows, block.ndim)
        levels[rows] = np.rint(block)
    return levels


@dataclass(frozen=True)
class ValueRange:
    """Minimum and maximum of values.

    Attributes:
        offset: what is taken from 64-bit integers while they are exact: their minimum; else 0.
        low: minimum less the offset.
        high: maximum less the offset.
    """

    offset: int
    low: float
    high: float


def range_of(values: NDArray[np.generic]) -> ValueRange:
    """Return the range of values of any shape; NaN does not count.

    Raises:
        UndecodableImageError: a value is infinite, or none is a number.
    """
    return _range(values, None)


@dataclass(frozen=True)
class _Opacity:
    """Alpha of an image: its opaque value, and whether the colours were multiplied by it."""

    alpha: NDArray[np.generic]
    full: float
    premultiplied: bool

    def of(self, rows: slice, ndim: int) -> Float64:
        """Return the opacity 0..1 of some rows, of as many dimensions as the values have."""
        opacity = np.nan_to_num(self.alpha[rows].astype(np.float64) / self.full)
        return opacity.reshape(opacity.shape + (1,) * (ndim - 2))


def _opacity(alpha: NDArray[np.generic], bits: int | None, premultiplied: bool) -> _Opacity | None:
    """Return the opacity, or None where all is opaque."""
    full = _full(alpha, bits)
    if alpha.size and float(alpha.min()) == full:
        return None
    return _Opacity(alpha, full, premultiplied)


def _full(alpha: NDArray[np.generic], bits: int | None) -> float:
    """Return the value of alpha that is opaque."""
    if alpha.dtype.kind not in "buif":
        raise UndecodableImageError("an opacity that is no real number")
    highest, full = float(np.nanmax(alpha, initial=0)), 1.0
    if alpha.dtype.kind in "ui":
        full = 2.0 ** (bits or 8 * alpha.dtype.itemsize - (alpha.dtype.kind == "i")) - 1
    if alpha.dtype != np.uint8 and highest in [2.0**some - 1 for some in ALPHA_BITS]:
        full = highest
    if float(np.nanmin(alpha, initial=0)) < 0 or highest > full:
        raise UndecodableImageError("an opacity is negative or more than the opaque one")
    return full


def _blocks(values: NDArray[np.generic]) -> Iterator[slice]:
    """Yield slices of rows that hold about BLOCK_VALUES values."""
    n_rows = max(1, BLOCK_VALUES * len(values) // max(1, values.size))
    for start in range(0, len(values), n_rows):
        yield slice(start, start + n_rows)


def _offset(values: NDArray[np.generic]) -> int:
    """Return what is taken from 64-bit integers while they are exact: their minimum."""
    wide = values.dtype.kind in "ui" and values.dtype.itemsize == 8
    return int(values.min()) if wide and values.size else 0


def _numbers(
    values: NDArray[np.generic], offset: int, opacity: _Opacity | None, rows: slice
) -> Float64:
    """Return some rows as float64: less the offset, and not multiplied by the opacity."""
    block = values
    if offset:
        # unsigned arithmetic is modulo 2**64, so the difference is exact for int64 too
        native = block.astype(block.dtype.newbyteorder("="))
        block = native.view(np.uint64) - np.uint64(offset % 2**64)
    numbers = block.astype(np.float64)
    if opacity is not None and opacity.premultiplied:
        divisor = opacity.of(rows, numbers.ndim)
        divisor[divisor == 0] = 1
        numbers = (numbers + offset) / divisor - offset
    return numbers


def _range(values: NDArray[np.generic], opacity: _Opacity | None) -> ValueRange:
    """Return the minimum and maximum of the values that count."""
    offset = _offset(values)
    low, high, any_number, least = np.inf, -np.inf, False, 0.0
    if opacity is not None and opacity.premultiplied:
        least = 0.5 if float(np.nanmax(opacity.alpha)) >= opacity.full / 2 else 0.0
    for rows in _blocks(values):
        numbers = _numbers(values[rows], offset, opacity, rows)
        if np.isinf(numbers).any():
            raise UndecodableImageError("a pixel value is infinite")
        counts = ~np.isnan(numbers)
        any_number = any_number or bool(counts.any())
        if opacity is not None:
            seen = opacity.of(rows, numbers.ndim)
            counts &= (seen >= least) & (seen > 0)
        low = min(low, float(numbers.min(where=counts, initial=np.inf)))
        high = max(high, float(numbers.max(where=counts, initial=-np.inf)))
    if not any_number:
        raise UndecodableImageError("no pixel value is a number")
    if low > high:  # where nothing can be seen
        low = high = 0.0
    return ValueRange(offset, low, high)


def _levels(numbers: Float64, dark: float, bright: float) -> Float64:
    """Map dark..bright to whole numbers 0..255; NaN becomes 0."""
    is_number = ~np.isnan(numbers)
    with np.errstate(over="ignore"):
        fits = np.isfinite((np.float64(bright) - np.float64(dark)) * 255)
    if not fits:
        numbers, dark, bright = numbers * _ROOM, dark * _ROOM, bright * _ROOM
    numbers = numbers - dark
    if bright != dark:
        numbers *= 255
        numbers /= bright - dark
    numbers[~is_number] = 0
    levels: Float64 = np.rint(numbers.clip(0, 255))
    return levels

"""From stored colour samples and palettes to 8-bit RGB (PS3.3 C.7.6.3.1.2).

The conversions are written out here: pydicom's rounds 8,936 of the 2**24 colours of YBR_FULL to
another level, and its palettes look up the wrong entry for an index above 255 where a palette has 8
bits, ignore the byte order of 16 bits, and expand segments without a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from methods.imaging.dicom.lookup_table import read_descriptor, table_entries, table_words
from methods.imaging.image_format import UndecodableImageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def _eight_bits(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Scale 0..2**bits - 1 to 0..255, rounded half to even."""
    if bits == 8 and values.dtype == np.uint8:
        return values
    top = (1 << bits) - 1
    clipped = np.clip(values, 0, top)
    eight: NDArray[np.uint8]
    if bits <= 16:
        eight = np.rint(np.arange(top + 1) * 255.0 / top).astype(np.uint8)[clipped]
    else:
        eight = np.rint(clipped * (255.0 / top)).astype(np.uint8)
    return eight


def _rgb_from_ybr(ybr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert (h, w, 3) uint8 of YBR_FULL, which is full-range CCIR 601, to (h, w, 3) uint8 RGB."""
    y, blue, red = (ybr[..., channel].astype(np.float64) for channel in range(3))
    blue -= 128
    red -= 128
    rgb = np.empty(ybr.shape, np.uint8)
    rgb[..., 0] = np.rint(np.clip(y + 1.402 * red, 0, 255))
    rgb[..., 1] = np.rint(
        np.clip(y - 0.114 * 1.772 / 0.587 * blue - 0.299 * 1.402 / 0.587 * red, 0, 255)
    )
    rgb[..., 2] = np.rint(np.clip(y + 1.772 * blue, 0, 255))
    return rgb


def show_colour(values: NDArray[Any], bits: int, photometric: str) -> NDArray[np.uint8]:
    """Convert (h, w, 3) samples to (h, w, 3) uint8 RGB."""
    if photometric in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        eight = _eight_bits(values, bits)
        return eight if photometric == "RGB" else _rgb_from_ybr(eight)
    raise UndecodableImageError("the photometric interpretation does not suit the transfer syntax")


def _expand_segments(words: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Expand a segmented palette (PS3.3 C.7.9.2) of discrete (0) and linear (1) segments.

    Args:
        words: the 16-bit words of the segments.
        count: number of entries of the palette; the expansion stops when it is reached.

    Raises:
        UndecodableImageError: an indirect segment, or a broken one.
    """
    pieces: list[NDArray[np.int64]] = []
    total, at = 0, 0
    while at + 1 < len(words) and total < count:
        kind, length = int(words[at]), int(words[at + 1])
        piece = np.empty(0, np.int64)
        if kind == 0:
            piece, at = words[at + 2 : at + 2 + length], at + 2 + length
        elif kind == 1 and pieces and at + 2 < len(words):
            piece = np.rint(np.linspace(pieces[-1][-1], words[at + 2], length + 1)[1:]).astype(
                np.int64
            )
            at += 3
        if not len(piece):
            raise UndecodableImageError("a palette is broken or of a kind that is not supported")
        pieces.append(piece)
        total += len(piece)
    return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


def read_palette(dataset: Dataset, signed: bool, little: bool) -> tuple[int, NDArray[np.uint8]]:
    """Read the Palette Color LUT Module (PS3.3 C.7.9).

    Returns:
        The first index and the (entries, 3) uint8 RGB colours.
    """
    columns: list[NDArray[np.int64]] = []
    first, bits = 0, 8
    for colour in ("Red", "Green", "Blue"):
        count, first, bits = read_descriptor(
            dataset.get(f"{colour}PaletteColorLookupTableDescriptor"), signed, little
        )
        value = dataset.get(f"{colour}PaletteColorLookupTableData")
        if value is None:
            segments = table_words(
                dataset.get(f"Segmented{colour}PaletteColorLookupTableData"), little
            )
            columns.append(table_entries(_expand_segments(segments, count), count, bits))
        else:
            columns.append(table_entries(table_words(value, little), count, bits))
    if len({len(column) for column in columns}) != 1:
        raise UndecodableImageError("a palette is broken or of a kind that is not supported")
    colours = np.stack(columns, axis=-1)
    # Some writers announce 16 bits and store 8; a palette with no colour above 255 of 65535 would
    # be all black.
    return first, _eight_bits(colours, 8 if colours.max() <= 255 else bits)


def show_palette(values: NDArray[Any], first: int, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Look up (h, w) indices in (entries, 3) uint8 colours, the first of which stands for `first`.

    Returns:
        (h, w, 3) uint8 RGB.
    """
    index = np.clip(values.astype(np.int64) - first, 0, len(colours) - 1)
    return colours[index]

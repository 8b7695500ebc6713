"""The samples of one TIFF page: checked against its directory, and decompressed strip by strip."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from methods.imaging.image_format import MAX_PIXELS, UndecodableImageError

if TYPE_CHECKING:
    from tifffile import TiffPage

MAX_SAMPLES = 16
"""Maximum samples of a pixel; it bounds the memory of an image of MAX_PIXELS."""

TRUNCATED = "the file is truncated"

_NONE = 1
_JPEG = (6, 7, 33007)
_CCITT = (2, 3, 4)
_PICTURES = (33003, 33005, 34712, 34887, 34933, 50001, 34927, 50002, 52546)
"""JPEG 2000, LERC, PNG, WebP and JPEG XL, whose data have an own header."""

_BYTES = {
    5: "lzw_decode",
    8: "deflate_decode",
    32946: "deflate_decode",
    50013: "deflate_decode",
    32773: "packbits_decode",
    34925: "lzma_decode",
    50000: "zstd_decode",
    34926: "zstd_decode",
}
"""Functions of imagecodecs for compressions of any bytes."""

_SAMPLE_FORMATS = {1: "unsigned", 2: "signed", 3: "float", 4: "untyped"}
_COMPLEX = {5: "complex integer samples", 6: "complex float samples"}
_PREDICTED = (5, 8, 32946, 34925, 50000, 34926)
"""Compressions that have a predictor; readers disagree whether others can."""

_PREDICTORS = {2: "iu", 3: "f"}
"""Predictors and the kinds of samples that they are defined for (TIFF 6.0, section 14)."""


def check_page(page: TiffPage, n_bytes: int) -> None:
    """Refuse a page whose samples cannot be decoded, or not within the limits, by its directory.

    Args:
        page: the page.
        n_bytes: bytes of the file.

    Raises:
        UndecodableImageError: the reason.
    """
    width, height = page.imagewidth, page.imagelength
    if min(width, height, page.samplesperpixel) < 1:
        raise UndecodableImageError("a TIFF page without an image")
    if width * height > MAX_PIXELS:
        raise UndecodableImageError(f"larger than {MAX_PIXELS // 1_000_000} megapixels")
    if page.samplesperpixel > MAX_SAMPLES:
        raise UndecodableImageError(f"TIFF with more than {MAX_SAMPLES} samples per pixel")
    if page.imagedepth != 1 or page.tiledepth != 1:
        raise UndecodableImageError("TIFF with a volume in one page")
    if page.planarconfig not in (1, 2):
        raise UndecodableImageError("TIFF with an unknown planar configuration")
    sample_type(page)
    _check_compression(page)
    if page.is_tiled and not 0 < page.tilewidth * page.tilelength <= MAX_PIXELS:
        raise UndecodableImageError("TIFF with tiles of no size, or larger than an image can be")
    segments(page, n_bytes)


def sample_type(page: TiffPage) -> np.dtype[Any]:
    """Return the type of the samples.

    Raises:
        UndecodableImageError: there is none; the reason says which it would be.
    """
    bits: Any = page.bitspersample
    kind: Any = page.sampleformat
    if kind in _COMPLEX:
        raise UndecodableImageError(f"TIFF with {_COMPLEX[kind]}")
    # readers disagree on the byte order of 24 bits
    if page.dtype is None or (bits == 24 and kind != 3):
        if not isinstance(bits, int) or not isinstance(kind, int):
            raise UndecodableImageError("TIFF with samples of different types")
        raise UndecodableImageError(
            f"TIFF with {bits}-bit {_SAMPLE_FORMATS.get(kind, 'unknown')} samples"
        )
    return page.dtype


def _check_compression(page: TiffPage) -> None:
    compression, predictor = page.compression, page.predictor
    known = (_NONE, *_JPEG, *_CCITT, *_PICTURES, *_BYTES)
    if compression not in known:
        raise UndecodableImageError(f"TIFF with compression {int(compression)}")
    if compression in _CCITT and (page.bitspersample, page.samplesperpixel) != (1, 1):
        raise UndecodableImageError("TIFF with fax compression of more than 1 bit")
    if predictor == 1 or compression in (*_JPEG, *_PICTURES):
        return  # they predict by themselves, and every reader ignores the tag
    if predictor not in _PREDICTORS or compression not in _PREDICTED:
        raise UndecodableImageError(
            f"TIFF with predictor {int(predictor)} and compression {int(compression)}"
        )
    dtype = sample_type(page)
    if dtype.kind not in _PREDICTORS[predictor] or page.bitspersample != 8 * dtype.itemsize:
        raise UndecodableImageError("TIFF with a predictor that its samples cannot have")


def segments(page: TiffPage, n_bytes: int) -> list[slice]:
    """Return where the strips or tiles of a page lie in the file.

    Raises:
        UndecodableImageError: one is missing, or reaches beyond the file.
    """
    number = math.prod(page.chunked)
    offsets, counts = page.dataoffsets, page.databytecounts
    if page.compression == _NONE:
        # the size is known; what a directory says of it is wrong in many files of one strip
        counts = tuple(_stored_bytes(page, index) for index in range(number))
    elif number == 1 and not {279, 325, 514} & set(page.tags.keys()):
        counts = tuple(n_bytes - offset for offset in offsets[:1])
    if min(len(offsets), len(counts)) < number:
        raise UndecodableImageError("TIFF with missing strips or tiles")
    places = []
    for offset, count in zip(offsets[:number], counts[:number], strict=True):
        if offset <= 0 or count <= 0:
            raise UndecodableImageError("TIFF with missing strips or tiles")
        if offset + count > n_bytes:
            raise UndecodableImageError(TRUNCATED)
        places.append(slice(int(offset), int(offset + count)))
    return places


def _stored_bytes(page: TiffPage, index: int) -> int:
    """Return the bytes of an uncompressed strip or tile."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    width, rows = page.imagewidth, page.rowsperstrip
    if page.is_tiled:
        width, rows = page.tilewidth, page.tilelength
    else:
        strips = math.ceil(page.imagelength / rows)
        rows = min(rows, page.imagelength - index % strips * rows)
    bits: Any = page.bitspersample
    row_bits = width * (sum(bits) if isinstance(bits, tuple) else samples * bits)
    return rows * math.ceil(row_bits / 8)


def read_samples(page: TiffPage, data: bytes) -> NDArray[Any]:
    """Decode the samples of a page that was checked.

    Returns:
        (h, w, samples), of the type that the directory says.

    Raises:
        UndecodableImageError: a strip or tile holds less than it should, or another type.
    """
    height, width = page.imagelength, page.imagewidth
    places = segments(page, len(data))
    unpack = _unpacker(page)
    planes, _, _, _, contiguous = page.shaped
    several = len(places) > 1
    dtype = np.dtype(np.uint8) if page.compression in _CCITT else sample_type(page)
    result = np.empty((planes, height, width, contiguous) if several else 0, dtype)
    for index, place in enumerate(places):
        decoded, (plane, _, y, x, _), _ = unpack(data[place], index)
        values: NDArray[Any] = decoded[0, : height - y, : width - x]
        rows = height - y if page.is_tiled else min(page.rowsperstrip, height - y)
        columns = min(page.tilewidth, width - x) if page.is_tiled else width
        rows = min(page.tilelength, rows) if page.is_tiled else rows
        if values.shape != (rows, columns, contiguous) or values.dtype != dtype:
            raise UndecodableImageError("broken image data (a strip or tile of another kind)")
        if not several:
            return values
        result[plane, y : y + rows, x : x + columns] = values
    return result[0] if planes == 1 else np.moveaxis(result[..., 0], 0, -1)


def _unpacker(page: TiffPage) -> Callable[[bytes, int], Any]:
    """Return a function from the bytes of a strip or tile to tifffile's answer."""
    if page.compression in _JPEG:
        return lambda stored, index: page.decode(
            _whole_jpeg(stored), index, jpegtables=page.jpegtables
        )
    if page.compression not in _BYTES:
        return lambda stored, index: page.decode(stored, index)
    import imagecodecs

    decompress = getattr(imagecodecs, _BYTES[page.compression])
    turned = page.fillorder == 2
    # The last strip may hold as many rows as the others, which tifffile has no room for: so the
    # bytes are decompressed here, and tifffile unpacks them as if they had been stored so.
    page.compression, page.fillorder = _NONE, 1
    room = max(_stored_bytes(page, 0), 1)

    def unpack(stored: bytes, index: int) -> Any:
        coded = imagecodecs.bitorder_decode(stored) if turned else stored
        return page.decode(bytes(decompress(coded, out=room)), index)

    return unpack


def _whole_jpeg(stored: bytes) -> bytes:
    """Return a JPEG stream that has its end marker, for libjpeg would make up what is missing."""
    if stored.find(b"\xff\xd9", stored.rfind(b"\xff\xda")) < 0:
        raise UndecodableImageError(TRUNCATED)
    return stored

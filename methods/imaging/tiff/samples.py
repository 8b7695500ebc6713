"""The samples of one TIFF page: checked against its directory, and decompressed strip by strip."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from methods.imaging.image_format import MAX_PIXELS, UndecodableImageError, check_pixels

if TYPE_CHECKING:
    from tifffile import TiffPage

MAX_SAMPLES = 16
"""Maximum samples of a pixel; it bounds the memory of an image of MAX_PIXELS."""

TRUNCATED = "the file is truncated"

_NONE, _OLD_JPEG = 1, 6
_JPEG = (_OLD_JPEG, 7, 33007)
_YCBCR = 6
_CCITT = (2, 3, 4)
_PICTURES = {
    33003: "jpeg2k_decode",
    33005: "jpeg2k_decode",
    34712: "jpeg2k_decode",
    34887: "lerc_decode",
    34933: "png_decode",
    34927: "webp_decode",
    50001: "webp_decode",
    50002: "jpegxl_decode",
    52546: "jpegxl_decode",
}
"""Functions of imagecodecs for data that have a header of their own."""

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


def check_page(page: TiffPage, data: bytes) -> None:
    """Refuse a page whose samples cannot be decoded, or not within the limits, by its directory.

    Args:
        page: the page.
        data: bytes of the file.

    Raises:
        UndecodableImageError: the reason.
    """
    width, height = page.imagewidth, page.imagelength
    if min(width, height, page.samplesperpixel) < 1:
        raise UndecodableImageError("a TIFF page without an image")
    check_pixels(width, height)
    if page.samplesperpixel > MAX_SAMPLES:
        raise UndecodableImageError(f"TIFF with more than {MAX_SAMPLES} samples per pixel")
    if page.imagedepth != 1 or page.tiledepth != 1:
        raise UndecodableImageError("TIFF with a volume in one page")
    if page.planarconfig not in (1, 2):
        raise UndecodableImageError("TIFF with an unknown planar configuration")
    sample_type(page)
    _check_compression(page)
    _check_subsampling(page)
    if page.is_tiled and not 0 < page.tilewidth * page.tilelength <= MAX_PIXELS:
        raise UndecodableImageError("TIFF with tiles of no size, or larger than an image can be")
    segments(page, data)


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


def segments(page: TiffPage, data: bytes) -> list[slice]:
    """Return where the strips or tiles of a page lie in the file.

    Raises:
        UndecodableImageError: one is missing, or reaches beyond the file.
    """
    number, n_bytes = math.prod(page.chunked), len(data)
    offsets, counts = page.dataoffsets, page.databytecounts
    if page.compression == _OLD_JPEG:
        offsets, counts = _old_jpeg(page, data)
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


def _old_jpeg(page: TiffPage, data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return where the one whole stream of the old JPEG compression lies, and its length.

    Files of several strips, or with their tables apart, are refused: tifffile cannot join them.
    """
    stated = page.tags.valueof(513, ())
    starts = [*(stated if isinstance(stated, tuple) else (stated,)), *page.dataoffsets[:1]]
    start = next((int(s) for s in starts if data[s : s + 2] == b"\xff\xd8"), -1)
    scan = data.find(b"\xff\xda", start)
    end = data.find(b"\xff\xd9", scan)
    if math.prod(page.chunked) > 1 or min(start, scan, end) < 0:
        raise UndecodableImageError("TIFF with old-style JPEG compression in pieces")
    return (start,), (end + 2 - start,)


def subsampling_of(page: TiffPage) -> tuple[int, int]:
    """Return how many columns and rows share a colour in YCbCr that is not JPEG's; 1 and 1 else.

    The default of the standard is 2 and 2 (TIFF 6.0, section 21).
    """
    if page.photometric != _YCBCR or page.compression in (*_JPEG, *_PICTURES):
        return 1, 1
    columns, rows = page.tags.valueof(530, (2, 2))
    return int(columns), int(rows)


def _check_subsampling(page: TiffPage) -> None:
    factors = subsampling_of(page)
    if factors == (1, 1):
        return
    if page.planarconfig != 1 or page.samplesperpixel != 3 or page.predictor != 1:
        raise UndecodableImageError("TIFF with fewer colours than pixels in separate planes")
    if not set(factors) <= {1, 2, 4}:
        raise UndecodableImageError("TIFF with an unknown chroma subsampling")


def _sides(page: TiffPage, index: int) -> tuple[int, int]:
    """Return the rows and columns that a strip or tile holds."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    rows = page.rowsperstrip
    strips = math.ceil(page.imagelength / rows)
    return min(rows, page.imagelength - index % strips * rows), page.imagewidth


def _stored_bytes(page: TiffPage, index: int) -> int:
    """Return the bytes of an uncompressed strip or tile."""
    rows, width = _sides(page, index)
    across, down = subsampling_of(page)
    if (across, down) != (1, 1):
        return math.ceil(rows / down) * math.ceil(width / across) * (across * down + 2)
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
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
    places = segments(page, data)
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
            _checked_jpeg(page, stored, index), index, jpegtables=page.jpegtables
        )
    if page.compression in _PICTURES:
        return _inner_picture(page)
    if page.compression in _CCITT:
        return lambda stored, index: page.decode(stored, index)
    import imagecodecs

    name, turned = _BYTES.get(page.compression), page.fillorder == 2
    room = max(_stored_bytes(page, 0), 1)
    # The last strip may hold as many rows as the others, which tifffile has no room for: so the
    # bytes are decompressed here, and tifffile unpacks them as if they had been stored so.
    page.compression, page.fillorder = _NONE, 1
    unpack = page.decode if subsampling_of(page) == (1, 1) else _subsampled(page)

    def read(stored: bytes, index: int) -> Any:
        coded = imagecodecs.bitorder_decode(stored) if turned else stored
        plain = coded if name is None else getattr(imagecodecs, name)(coded, out=room)
        return unpack(bytes(plain), index)

    return read


def _corner(page: TiffPage, index: int) -> tuple[int, int, int, int, int]:
    """Return the plane, and the first row and column, of a strip or tile as tifffile does."""
    across, down = 1, math.ceil(page.imagelength / (page.tilelength or page.rowsperstrip))
    if page.is_tiled:
        across = math.ceil(page.imagewidth / page.tilewidth)
    plane, index = divmod(index, across * down)
    rows, columns = page.tilelength or page.rowsperstrip, page.tilewidth
    return plane, 0, index // across * rows, index % across * columns, 0


def _check_inner_size(page: TiffPage, index: int, rows: int, columns: int) -> None:
    """Refuse data of another size than the strip or tile, which tifffile would cut or fold."""
    _, _, y, x, _ = _corner(page, index)
    whole = _sides(page, index)
    seen = min(whole[0], page.imagelength - y), min(whole[1], page.imagewidth - x)
    full = page.rowsperstrip or page.tilelength, whole[1]
    if (rows, columns) not in (whole, seen, full):
        raise UndecodableImageError("broken image data (a strip or tile of another size)")


def _inner_picture(page: TiffPage) -> Callable[[bytes, int], Any]:
    """Return the decoding of data that have a header of their own."""
    import imagecodecs

    decompress = getattr(imagecodecs, _PICTURES[page.compression])
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    # an opaque opacity may be left out of WebP
    options = {"hasalpha": True} if decompress is imagecodecs.webp_decode and samples == 4 else {}

    def read(stored: bytes, index: int) -> Any:
        values = decompress(stored, **options)
        _check_inner_size(page, index, *values.shape[:2])
        rows, columns = _sides(page, index)
        values = values.reshape(*values.shape[:2], samples)
        return values[np.newaxis, :rows, :columns], _corner(page, index), None

    return read


def _subsampled(page: TiffPage) -> Callable[[bytes, int], Any]:
    """Return what tifffile lacks: the unpacking of pixels that share their colours."""
    across, down = subsampling_of(page)

    def unpack(stored: bytes, index: int) -> Any:
        rows, columns = _sides(page, index)
        blocks = (math.ceil(rows / down), math.ceil(columns / across), across * down + 2)
        units = np.frombuffer(stored, np.uint8, math.prod(blocks)).reshape(blocks)
        luma = units[..., :-2].reshape(*blocks[:2], down, across).swapaxes(1, 2)
        values = np.empty((blocks[0] * down, blocks[1] * across, 3), np.uint8)
        values[..., 0] = luma.reshape(values.shape[:2])
        values[..., 1:] = units[..., -2:].repeat(down, 0).repeat(across, 1)
        return values[np.newaxis, :rows, :columns], _corner(page, index), None

    return unpack


def _checked_jpeg(page: TiffPage, stored: bytes, index: int) -> bytes:
    """Return a JPEG stream of the right size that has its end marker.

    libjpeg would make up what is missing.
    """
    from tifffile.tifffile import jpeg_shape

    if stored.find(b"\xff\xd9", stored.rfind(b"\xff\xda")) < 0:
        raise UndecodableImageError(TRUNCATED)
    _, rows, columns, _ = jpeg_shape(stored)
    _check_inner_size(page, index, rows, columns)
    return stored

"""How a picture is turned upright: the EXIF orientation (EXIF 3.0, 4.6.5.1.5)."""

from __future__ import annotations

from PIL import ExifTags, Image

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDES_SWAP = (5, 6, 7, 8)


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation 1..8 of a picture that was opened.

    It is 1 where the EXIF data cannot be read, which says nothing against the pixels. Pillow may
    decode a PNG for the answer, in which EXIF data can lie behind the pixels.
    """
    try:
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1
    return orientation if orientation in _UPRIGHT else 1


def turned_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn and mirror stored pixels as the EXIF orientation says."""
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return the width and height in pixels that stored pixels have once they are upright."""
    return (height, width) if orientation in _SIDES_SWAP else (width, height)

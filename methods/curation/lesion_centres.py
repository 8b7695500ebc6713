"""Lesions' centres in upright pixels, whichever pixels a user gave them in.

A file may store its pixels turned or mirrored and say so in its EXIF orientation; viewers show it
upright, other tools its stored pixels. Everything here is in upright pixels.
"""

from __future__ import annotations

from collections.abc import Callable

from methods.imaging.image_format import ImageFacts
from methods.imaging.orientation import upright_size

Point = tuple[float, float]
"""Column and row in pixels; whole numbers are the centres of pixels."""

CONVERTED = "its lesion's centre was given in stored pixels, before the EXIF orientation"
"""Notice of a centre that only the stored pixels contain."""
AMBIGUOUS = (
    "its lesion's centre is taken as upright pixels, though the file is turned or mirrored by its "
    "EXIF orientation and the stored pixels contain it as well"
)
"""Notice of a centre that may be meant either way."""

# from the column, the row, and the last column and row of the stored pixels
_UPRIGHT: dict[int, Callable[[float, float, float, float], Point]] = {
    2: lambda x, y, right, bottom: (right - x, y),
    3: lambda x, y, right, bottom: (right - x, bottom - y),
    4: lambda x, y, right, bottom: (x, bottom - y),
    5: lambda x, y, right, bottom: (y, x),
    6: lambda x, y, right, bottom: (bottom - y, x),
    7: lambda x, y, right, bottom: (bottom - y, right - x),
    8: lambda x, y, right, bottom: (y, right - x),
}


def upright_centre(centre: Point, facts: ImageFacts) -> tuple[Point, str | None]:
    """Return a lesion's centre in upright pixels, with what a reader must know of it.

    Args:
        centre: column and row as the user gave them, from 0.
        facts: of the image; its size is upright.

    Returns:
        The centre, and CONVERTED, AMBIGUOUS or None. A centre that lies in neither the upright nor
        the stored pixels stays as it is.
    """
    if facts.orientation not in _UPRIGHT:
        return centre, None
    # the way back from upright pixels swaps the same sides
    width, height = upright_size(facts.width, facts.height, facts.orientation)
    turned = _UPRIGHT[facts.orientation](*centre, width - 1, height - 1)
    as_upright = _lies_in(centre, facts.width, facts.height)
    as_stored = _lies_in(centre, width, height)
    if as_stored and not as_upright:
        return (max(turned[0], 0.0), max(turned[1], 0.0)), CONVERTED
    return centre, AMBIGUOUS if as_stored and as_upright and turned != centre else None


def _lies_in(point: Point, width: int, height: int) -> bool:
    """Whether a point lies in a picture, whose last pixels end half a pixel after their centres."""
    return point[0] <= width - 0.5 and point[1] <= height - 0.5

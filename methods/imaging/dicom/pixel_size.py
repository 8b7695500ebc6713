"""The side of a pixel in millimetres, where a data set states it and pixels are square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from methods.imaging.dicom.functional_groups import scopes

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SQUARE_TOLERANCE = 0.01
"""Maximum relative difference of the sides of a pixel that counts as square, as spacings are
rounded."""

_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_TWO_DIMENSIONS = 1
_CENTIMETRES = 3


def pixel_sizes(dataset: Dataset, frames: int) -> list[float | None]:
    """Return the side of a pixel in millimetres for each frame; None where it is not stated.

    It is the spacing in the patient (PS3.3 10.7.1.3), else at the detector, which nothing corrects
    for the magnification (C.8.11.7.1), else that of a scanned film or paper (C.8.6.1); of
    ultrasound that of its regions, where all agree (C.8.5.5).
    """
    if not dataset.get("PerFrameFunctionalGroupsSequence"):
        return [_pixel_size(dataset, 0)] * frames
    return [_pixel_size(dataset, frame) for frame in range(frames)]


def _pixel_size(dataset: Dataset, frame: int) -> float | None:
    try:
        for scope in scopes(dataset, frame, "PixelMeasuresSequence"):
            for keyword in _SPACINGS:
                spacing: Any = scope.get(keyword)
                if spacing:
                    return _side([float(one) for one in spacing])
        return _side(_region_sides(dataset))
    except (ValueError, TypeError, OverflowError):  # a number that is none
        return None


def _region_sides(dataset: Dataset) -> list[float]:
    """Return the sides of a pixel in the two-dimensional regions of an ultrasound image."""
    sides: list[float] = []
    for region in dataset.get("SequenceOfUltrasoundRegions") or ():
        if region.get("RegionSpatialFormat") == _TWO_DIMENSIONS:
            for axis in "XY":
                if region.get(f"PhysicalUnits{axis}Direction") != _CENTIMETRES:
                    return []
                sides.append(10 * abs(float(region.get(f"PhysicalDelta{axis}"))))
    return sides


def _side(sides: Sequence[float]) -> float | None:
    """Return the side of a square pixel; None where the sides differ, are none or no lengths."""
    if len(sides) < 2 or not all(0 < side < math.inf for side in sides):
        return None
    if max(sides) - min(sides) > SQUARE_TOLERANCE * min(sides):
        return None
    return sum(sides) / len(sides)

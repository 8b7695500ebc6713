"""Segmentation of a lesion in a mammographic region of interest, grown from its centre.

Huynh et al. 2016, section 2.4.

The paper names a "multiple-transition-point, gray-level, region-growing technique" (after Huo et
al. 1995, Med. Phys. 22:1569, and Li et al. 2008) and gives no numbers; what is done here, each step
a choice of ours unless a source is named:

1. Background (Huo): the picture is smoothed and a polynomial surface, fitted by least squares to
  all of it, is subtracted.
2. Growing (Huo): the region at threshold t is the 4-connected set of pixels at or above t that
   holds the centre, its holes filled. The thresholds fall evenly from the mean grey level around
   the centre to the one where the region first reaches the border of the picture. All regions come
   from two morphological reconstructions: the grey level at which a pixel joins the region is the
   highest minimum over all paths to the centre.
3. Transition points (Huo follows size and circularity against the threshold): with d the diameter
   of the circle of the region's area and w the window in thresholds, the jump after threshold k is
   ``((d[k + w] - d[k]) / w + 1 / w) / ((d[k] - d[k - w]) / w + 1 / w)``, pixels; one pixel keeps a
   standstill finite, and the window after k is cut at the border. A transition point is the first
   of each run of thresholds whose jump is at or above the limit: the last contour before the region
   runs out into the parenchyma. It lies at the outer foot of a soft edge.
4. Choice: of the transition points within the limits of size, the one with the greatest circularity
   times d, so a large region wins unless it got large by leaking. Circularity (Huo) is the fraction
   of the region inside the circle of equal area around its centroid.

Where a step fails the segmentation has a fault and an empty mask: a contour is never guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.morphology import reconstruction

Float64 = NDArray[np.float64]

DARK_CENTRE = "the centre is not brighter than its surround"
REACHES_BORDER = "the region reaches the border of the picture at every threshold"
NO_TRANSITION = "no transition point"
SIZE_OUT_OF_BOUNDS = (
    "every transition point is smaller than the smallest or larger than the largest lesion"
)

CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.bool_)
"""Neighbourhood of a pixel: the four that share an edge with it."""


@dataclass(frozen=True)
class SegmentationSettings:
    """Settings of the segmentation.

    Lengths are fractions of the shorter side of the picture (the paper's is 512 pixels, 51.2 mm).

    Attributes:
        smoothing_sigma: standard deviation of the Gaussian the picture is smoothed with (2 pixels
            of 512).
        background_degree: total degree of the background surface; 1 is a plane. A higher degree
            takes more of a large lesion for background.
        seed_diameter: disc around the centre whose mean grey level is the first threshold and that
            every region holds.
        min_diameter: of the circle of the lesion's area (the paper's lesions measure 2.8 to 32.1
            mm).
        max_diameter: see ``min_diameter``.
        levels: number of thresholds at which the region does not reach the border of the picture.
        window: thresholds before and after a transition point over which the growth is compared.
        jump: least ratio of the growth after a transition point to that before it.

    Raises:
        ValueError: a number is out of its range.
    """

    smoothing_sigma: float = 0.004
    background_degree: int = 1
    seed_diameter: float = 0.03
    min_diameter: float = 0.05
    max_diameter: float = 0.7
    levels: int = 64
    window: int = 4
    jump: float = 1.5

    def __post_init__(self) -> None:
        if self.smoothing_sigma < 0 or self.seed_diameter < 0 or self.background_degree < 0:
            raise ValueError(
                "smoothing_sigma, seed_diameter and background_degree must not be negative"
            )
        if not 0 <= self.min_diameter < self.max_diameter:
            raise ValueError(
                f"min_diameter {self.min_diameter:g} must be from 0 to below max_diameter "
                f"{self.max_diameter:g}"
            )
        if not 1 <= self.window < self.levels:
            raise ValueError(f"window {self.window} must be from 1 to below levels {self.levels}")
        if not self.jump > 1:
            raise ValueError(f"jump {self.jump:g} must be above 1")


@dataclass(frozen=True)
class Transition:
    """Contour after which the region grows abruptly.

    Attributes:
        threshold: grey levels above the background surface.
        area: of the region, holes filled, in pixels.
        circularity: fraction of the region inside the circle of equal area around its centroid, up
            to 1.
        jump: growth of the diameter after this threshold over that before it.
    """

    threshold: float
    area: int
    circularity: float
    jump: float


@dataclass(frozen=True)
class Segmentation:
    """Outline of a lesion, or the reason why there is none, with the course of the growth.

    Attributes:
        mask: (H, W) one 4-connected region without holes that holds the centre and does not touch
            the border of the picture; all False with a fault.
        threshold: of the chosen transition point; NaN with a fault.
        transitions: by falling threshold, those out of the limits of size among them.
        chosen: position in ``transitions``; -1 with a fault.
        thresholds: (levels + 1,) falling, grey levels above the background surface; at the last one
            the region reaches the border. Empty where nothing was grown.
        areas: (levels + 1,) int64, pixels.
        circularities: (levels + 1,).
        fault: empty, or one of ``DARK_CENTRE``, ``REACHES_BORDER``, ``NO_TRANSITION``,
            ``SIZE_OUT_OF_BOUNDS``.
    """

    mask: NDArray[np.bool_]
    threshold: float
    transitions: tuple[Transition, ...]
    chosen: int
    thresholds: Float64
    areas: NDArray[np.int64]
    circularities: Float64
    fault: str


def background_surface(picture: Float64, degree: int) -> Float64:
    """Fit the polynomial of total degree ``degree`` in row and column to a picture (H, W).

    It is the nearest in least squares.
    """
    bases = []
    for side in picture.shape:
        powers = np.vander(np.linspace(-1, 1, side), degree + 1, increasing=True)
        bases.append(np.linalg.qr(powers)[0])
    rows, columns = bases
    # The bases are orthonormal, so are their products on the grid: no system to solve. einsum sums
    # in one order on any machine.
    coefficients = np.einsum("ri,rj->ij", rows, np.einsum("rc,cj->rj", picture, columns))
    order = np.arange(coefficients.shape[0])
    coefficients[order[:, None] + order > degree] = 0
    surface: Float64 = np.einsum("rj,cj->rc", np.einsum("ri,ij->rj", rows, coefficients), columns)
    return surface


def circularities(
    rows: NDArray[np.intp], columns: NDArray[np.intp], areas: NDArray[np.int64]
) -> Float64:
    """Compute the circularity of nested regions (Huo et al. 1995).

    It is the share of a region within the circle of equal area around its centroid.

    Args:
        rows: (n,) of the pixels, in the order in which they join.
        columns: (n,).
        areas: (t,) each region is the first so many pixels, at least 1.

    Returns:
        (t,) numbers above 0, up to 1.
    """
    row_sums, column_sums = np.cumsum(rows), np.cumsum(columns)
    shares = []
    for area in areas:
        across, down = (
            columns[:area] - column_sums[area - 1] / area,
            rows[:area] - row_sums[area - 1] / area,
        )
        shares.append(np.count_nonzero(across * across + down * down <= area / math.pi) / area)
    return np.array(shares)


def _joining_level(grey: Float64, seed: NDArray[np.bool_]) -> Float64:
    """Compute the highest threshold at which each pixel is 4-connected with the seed, (H, W)."""
    joined: Float64 = reconstruction(np.where(seed, grey, grey.min()), grey, footprint=CROSS)  # type: ignore[no-untyped-call]
    return joined


def _fill_holes(ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Fill the holes of the regions of all ranks at once: (H, W) -> (H, W)."""
    marker = np.full_like(ranks, ranks.max())
    marker[_border(ranks.shape)] = ranks[_border(ranks.shape)]
    filled = reconstruction(marker, ranks, method="erosion", footprint=np.ones((3, 3)))  # type: ignore[no-untyped-call]
    return np.asarray(filled, np.int64)


def _border(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mark the pixels of the border of the picture."""
    border = np.ones(shape, np.bool_)
    border[1:-1, 1:-1] = False
    return border


def _jumps(areas: NDArray[np.int64], window: int) -> Float64:
    """Compute the jump after each threshold but the last, (levels,), see the module.

    It is 0 where there is no window before it.
    """
    diameters = np.sqrt(4 * areas / math.pi)
    last = len(areas) - 1
    before = np.arange(window, last)
    after = np.minimum(before + window, last)
    jumps = np.zeros(last)
    growth_after = (diameters[after] - diameters[before]) / (after - before)
    growth_before = (diameters[before] - diameters[before - window]) / window
    jumps[window:] = (growth_after + 1 / window) / (growth_before + 1 / window)
    return jumps


def _checked(roi: NDArray[np.generic], centre: tuple[float, float]) -> Float64:
    """Return the picture as float64, or refuse it."""
    if roi.ndim != 2 or 0 in roi.shape:
        raise ValueError(f"the picture must be (H, W), not {roi.shape}")
    picture = roi.astype(np.float64)
    if not np.isfinite(picture).all():
        raise ValueError("the picture has pixels that are NaN or infinite")
    if not all(0 <= position <= side - 1 for position, side in zip(centre, roi.shape, strict=True)):
        raise ValueError(f"the centre {centre} is outside the picture of shape {roi.shape}")
    return picture


def _fault(
    fault: str,
    shape: tuple[int, ...],
    course: tuple[Float64, NDArray[np.int64], Float64] = (
        np.zeros(0),
        np.zeros(0, np.int64),
        np.zeros(0),
    ),
    transitions: tuple[Transition, ...] = (),
) -> Segmentation:
    return Segmentation(np.zeros(shape, np.bool_), math.nan, transitions, -1, *course, fault=fault)


def _disc(shape: tuple[int, ...], centre: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    """Mark the pixels within a radius of the centre, at least the nearest one, (H, W)."""
    row, column = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(row - centre[0], column - centre[1])
    return np.asarray(distance <= max(radius, float(distance.min())))


def segment_lesion(
    roi: NDArray[np.generic],
    centre: tuple[float, float],
    settings: SegmentationSettings | None = None,
) -> Segmentation:
    """Segment the lesion around ``centre``, as the module describes.

    The outline is the same for any ``a * roi + b``, a > 0.

    Args:
        roi: (H, W) grey, lesions bright: uint8, uint16 or floating.
        centre: (row, column) in pixels, 0 the first pixel's middle.
        settings: see :class:`SegmentationSettings`, its defaults where None.

    Raises:
        ValueError: the picture is not (H, W) or not finite, or the centre is outside it.
    """
    settings = settings or SegmentationSettings()
    picture = _checked(roi, centre)
    side = min(picture.shape)
    # A surface that is fitted exactly leaves rounding errors, which are no contrast.
    tolerance = 1e-6 * float(np.ptp(picture))
    grey = gaussian_filter(picture, settings.smoothing_sigma * side, mode="nearest")
    grey -= background_surface(grey, settings.background_degree)
    seed = _disc(picture.shape, centre, settings.seed_diameter * side / 2)
    top = float(grey[seed].mean())
    if top <= tolerance:
        return _fault(DARK_CENTRE, picture.shape)
    grey[seed] = top
    joining = _joining_level(grey, seed)
    edge = float(joining[_border(joining.shape)].max())
    if top - edge <= tolerance:
        return _fault(REACHES_BORDER, picture.shape)

    thresholds = np.linspace(top, edge, settings.levels + 1)
    # number of regions that hold a pixel
    ranks = _fill_holes(np.searchsorted(thresholds[::-1], joining, side="right"))
    order = np.argsort(-ranks, axis=None, kind="stable")
    areas = np.cumsum(np.bincount(ranks.ravel(), minlength=len(thresholds) + 1)[:0:-1])
    rows, columns = np.unravel_index(order[: areas[-1]], ranks.shape)
    shapes = circularities(rows, columns, areas)
    course = (thresholds, areas, shapes)

    jumps = _jumps(areas, settings.window)
    abrupt = jumps >= settings.jump
    onsets = np.flatnonzero(abrupt[1:] & ~abrupt[:-1]) + 1
    transitions = tuple(
        Transition(float(thresholds[k]), int(areas[k]), float(shapes[k]), float(jumps[k]))
        for k in onsets
    )
    if not transitions:
        return _fault(NO_TRANSITION, picture.shape, course)
    diameters = np.sqrt(4 * areas[onsets] / math.pi)
    fitting = (diameters >= settings.min_diameter * side) & (
        diameters <= settings.max_diameter * side
    )
    if not fitting.any():
        return _fault(SIZE_OUT_OF_BOUNDS, picture.shape, course, transitions)
    chosen = int(np.argmax(np.where(fitting, shapes[onsets] * diameters, -1.0)))
    mask = ranks >= len(thresholds) - onsets[chosen]
    return Segmentation(mask, transitions[chosen].threshold, transitions, chosen, *course, fault="")

"""Analytic features of a segmented lesion: size, shape, intensity, texture and margin.

Huynh et al. 2016, section 2.4.

The paper names the families and leaves the formulas to earlier work of its laboratory; ``FEATURES``
states every formula used here. Sources: circularity and irregularity Giger et al. 1988 and Huo et
al. 1998; radial length Kilday et al. 1993; spiculation from the angles between gradient and radius
Huo et al. 1995; radial gradient index Kupinski and Giger 1998; texture Haralick et al. 1973. A
feature that carries PyRadiomics' name (van Griethuysen et al. 2017) has exactly its definition,
with ``force2D`` and ``binCount: 32``; this was checked against version 3.0.1.

Deviations: the width of the angles' histogram spans all its peaks above half, not the highest
alone, and the radial gradient index is positive for a lesion that darkens outwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter1d, sobel
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from scipy.stats import entropy, kurtosis, skew
from skimage.feature import graycomatrix, graycoprops
from skimage.measure import find_contours

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_PIXELS = 16
"""Minimum pixels of a lesion; fewer give no meaningful texture or outline."""
GREY_BINS = 32
"""Number of equal bins between the least and the greatest grey value of the lesion, for entropy and
texture."""
SURROUND_WIDTH = 0.5
"""Width of the ring around the lesion, and of the radial profile on either side of the outline, in
effective radii."""
MARGIN_PIXELS = 2.0
"""Half width of the margin, a band along the outline, in pixels."""
CONSTANT_RANGE = 1e-10
"""Largest spread of the grey values of a constant lesion, as a share of the largest of them."""
MAX_GREY = 1e100
"""Maximum magnitude of a grey value, so that squares stay finite."""
ANGLE_BIN_DEGREES = 5
"""Width of a bin of the histogram of angles, in degrees."""
ANGLE_SMOOTHING_DEGREES = 10
"""Standard deviation of the Gaussian that smooths the histogram of angles, in degrees."""


@dataclass(frozen=True)
class AnalyticFeature:
    """Description of one feature of :func:`analytic_features`.

    Attributes:
        name: unique; PyRadiomics' own in snake case where the definition is the same.
        family: group of section 2.4 of the paper.
        formula: in plain text, with the value where the formula has none.
        unit: "1" for a pure number.
        pyradiomics: PyRadiomics' name of the same definition, or empty.
    """

    name: str
    family: Literal["size", "shape", "intensity", "texture", "margin"]
    formula: str
    unit: str
    pyradiomics: str = ""


FEATURES: tuple[AnalyticFeature, ...] = (
    AnalyticFeature(
        "pixel_surface",
        "size",
        "A = number of pixels * pixel_mm^2",
        "mm^2",
        "original_shape2D_PixelSurface",
    ),
    AnalyticFeature("effective_diameter", "size", "2 sqrt(A / pi)", "mm"),
    AnalyticFeature(
        "perimeter",
        "size",
        "P = length of the marching-squares outline, holes included",
        "mm",
        "original_shape2D_Perimeter",
    ),
    AnalyticFeature(
        "maximum_diameter",
        "size",
        "largest distance of two points of the outline",
        "mm",
        "original_shape2D_MaximumDiameter",
    ),
    AnalyticFeature(
        "major_axis_length",
        "size",
        "4 sqrt(l1), l1 >= l2 the variances of the pixel positions along their principal axes",
        "mm",
        "original_shape2D_MajorAxisLength",
    ),
    AnalyticFeature(
        "minor_axis_length", "size", "4 sqrt(l2)", "mm", "original_shape2D_MinorAxisLength"
    ),
    AnalyticFeature(
        "circularity", "shape", "part of A inside the circle of area A around the centroid", "1"
    ),
    AnalyticFeature(
        "irregularity",
        "shape",
        "1 - 2 sqrt(pi M) / P, M the area inside the outline: 1 - PyRadiomics' Sphericity",
        "1",
    ),
    AnalyticFeature("elongation", "shape", "sqrt(l2 / l1)", "1", "original_shape2D_Elongation"),
    AnalyticFeature("eccentricity", "shape", "sqrt(1 - l2 / l1)", "1"),
    AnalyticFeature("solidity", "shape", "M / area of the outline's convex hull", "1"),
    AnalyticFeature("convexity", "shape", "perimeter of the outline's convex hull / P", "1"),
    AnalyticFeature(
        "radial_length_variation",
        "shape",
        "standard deviation / mean of the distance from the outline's points to the centroid",
        "1",
    ),
    AnalyticFeature(
        "mean", "intensity", "m = mean grey value inside", "grey", "original_firstorder_Mean"
    ),
    AnalyticFeature(
        "standard_deviation",
        "intensity",
        "s = sqrt(mean((x - m)^2))",
        "grey",
        "original_firstorder_StandardDeviation",
    ),
    AnalyticFeature(
        "skewness",
        "intensity",
        "mean((x - m)^3) / s^3; 0 for a constant lesion",
        "1",
        "original_firstorder_Skewness",
    ),
    AnalyticFeature(
        "kurtosis",
        "intensity",
        "mean((x - m)^4) / s^4, 3 for a Gaussian; 0 for a constant lesion",
        "1",
        "original_firstorder_Kurtosis",
    ),
    AnalyticFeature(
        "entropy",
        "intensity",
        "-sum h log2(h), h the shares of 32 equal bins from the least to the greatest grey value",
        "bit",
        "original_firstorder_Entropy",
    ),
    AnalyticFeature(
        "10_percentile",
        "intensity",
        "10th percentile of the grey values",
        "grey",
        "original_firstorder_10Percentile",
    ),
    AnalyticFeature(
        "median",
        "intensity",
        "50th percentile of the grey values",
        "grey",
        "original_firstorder_Median",
    ),
    AnalyticFeature(
        "90_percentile",
        "intensity",
        "90th percentile of the grey values",
        "grey",
        "original_firstorder_90Percentile",
    ),
    AnalyticFeature(
        "interquartile_range",
        "intensity",
        "75th less 25th percentile",
        "grey",
        "original_firstorder_InterquartileRange",
    ),
    AnalyticFeature(
        "surround_contrast",
        "intensity",
        "m - o, o the mean of the ring outside, half an effective radius wide",
        "grey",
    ),
    AnalyticFeature(
        "relative_surround_contrast", "intensity", "(m - o) / (|m| + |o|); 0 where both are 0", "1"
    ),
    AnalyticFeature(
        "contrast",
        "texture",
        "sum (i - j)^2 p(i, j); p: symmetric co-occurrence of levels 1 .. 32 at distance 1 inside, "
        "here and below the mean over "
        "the four directions",
        "level^2",
        "original_glcm_Contrast",
    ),
    AnalyticFeature(
        "correlation",
        "texture",
        "sum (i - u) (j - u) p / v, u = sum i p, v = sum (i - u)^2 p; 1 for v = 0",
        "1",
        "original_glcm_Correlation",
    ),
    AnalyticFeature(
        "joint_energy",
        "texture",
        "sum p^2 (angular second moment)",
        "1",
        "original_glcm_JointEnergy",
    ),
    AnalyticFeature(
        "joint_entropy", "texture", "-sum p log2(p)", "bit", "original_glcm_JointEntropy"
    ),
    AnalyticFeature(
        "idm",
        "texture",
        "sum p / (1 + (i - j)^2) (inverse difference moment, homogeneity)",
        "1",
        "original_glcm_Idm",
    ),
    AnalyticFeature(
        "maximum_probability", "texture", "max p", "1", "original_glcm_MaximumProbability"
    ),
    AnalyticFeature("sum_average", "texture", "sum (i + j) p", "level", "original_glcm_SumAverage"),
    AnalyticFeature(
        "cluster_tendency",
        "texture",
        "sum (i + j - 2 u)^2 p (sum variance)",
        "level^2",
        "original_glcm_ClusterTendency",
    ),
    AnalyticFeature(
        "cluster_shade", "texture", "sum (i + j - 2 u)^3 p", "level^3", "original_glcm_ClusterShade"
    ),
    AnalyticFeature(
        "sum_entropy",
        "texture",
        "-sum q log2(q), q(k) the sum of p over i + j = k",
        "bit",
        "original_glcm_SumEntropy",
    ),
    AnalyticFeature(
        "difference_average",
        "texture",
        "a = sum k d(k), d(k) the sum of p over |i - j| = k",
        "level",
        "original_glcm_DifferenceAverage",
    ),
    AnalyticFeature(
        "difference_variance",
        "texture",
        "sum (k - a)^2 d(k)",
        "level^2",
        "original_glcm_DifferenceVariance",
    ),
    AnalyticFeature(
        "difference_entropy", "texture", "-sum d log2(d)", "bit", "original_glcm_DifferenceEntropy"
    ),
    AnalyticFeature(
        "imc1",
        "texture",
        "(H(p) - 2 H(r)) / H(r), r(i) = sum over j of p, H the entropy (information measure of "
        "correlation); 0 for H(r) = 0",
        "1",
        "original_glcm_Imc1",
    ),
    AnalyticFeature(
        "margin_gradient",
        "margin",
        "mean of |g|, g the Sobel gradient, within 2 pixels of the outline (sharpness)",
        "grey/mm",
    ),
    AnalyticFeature(
        "margin_gradient_variation",
        "margin",
        "standard deviation / mean of |g| within 2 pixels of the outline; 0 for g = 0",
        "1",
    ),
    AnalyticFeature(
        "profile_slope",
        "margin",
        "least-squares fall of the grey value with the distance from the outline, up to half an "
        "effective radius in and out",
        "grey/mm",
    ),
    AnalyticFeature(
        "radial_gradient_index_margin",
        "margin",
        "-sum g.r / sum |g| within 2 pixels of the outline, r the unit vector away from the "
        "centroid; 0 for g = 0",
        "1",
    ),
    AnalyticFeature(
        "radial_gradient_index_lesion", "margin", "the same over the whole lesion", "1"
    ),
    AnalyticFeature(
        "radial_gradient_fwhm_margin",
        "margin",
        "full width at half maximum of the histogram, weighted by |g|, of the angle from r to -g "
        "within 2 pixels of the outline "
        "(bins of 5 degrees, Gaussian smoothing of 10 degrees): 360 less the longest arc below "
        "half; 360 for g = 0",
        "degree",
    ),
    AnalyticFeature(
        "radial_gradient_fwhm_lesion", "margin", "the same over the whole lesion", "degree"
    ),
)
"""Descriptions of all features, in the order of :func:`analytic_features`."""


def _check(image: Float64, mask: Mask, pixel_mm: float) -> None:
    """Refuse an image, mask or pixel size that gives no features."""
    if image.ndim != 2 or image.shape != mask.shape:
        raise ValueError(
            f"image and mask must be two-dimensional and of one shape, got {image.shape} and "
            f"{mask.shape}"
        )
    if mask.dtype != np.bool_:
        raise ValueError(f"the mask must be bool, got {mask.dtype}")
    if not 0 < pixel_mm < np.inf:
        raise ValueError(f"pixel_mm must be positive and finite, got {pixel_mm}")
    if not (np.abs(image) <= MAX_GREY).all():
        raise ValueError(f"the image has grey values that are NaN, infinite or beyond {MAX_GREY:g}")
    n_pixels = int(mask.sum())
    if n_pixels == 0:
        raise ValueError("the mask is empty")
    if n_pixels < MIN_PIXELS:
        raise ValueError(f"the mask has {n_pixels} pixels, at least {MIN_PIXELS} are needed")
    if n_pixels == mask.size:
        raise ValueError("the mask covers the whole image: no surround is left")


def _cropped(grey: Float64, mask: Mask, n_around: int) -> tuple[Float64, Mask]:
    """Crop to the lesion's bounding box and ``n_around`` pixels more, as far as the image goes."""
    box = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        box.append(slice(max(int(used[0]) - n_around, 0), int(used[-1]) + n_around + 1))
    return grey[box[0], box[1]], mask[box[0], box[1]]


def _size_and_shape(mask: Mask, pixel_mm: float) -> dict[str, float]:
    """Compute the features of size and shape."""
    rows, columns = np.nonzero(mask)
    n_pixels = len(rows)
    y, x = rows - rows.mean(), columns - columns.mean()
    # Not np.cov: its matrix product may add in an order that depends on the threads.
    yy, xx, xy = float((y * y).mean()), float((x * x).mean()), float((x * y).mean())
    spread = float(np.hypot((yy - xx) / 2, xy))
    major, minor = (yy + xx) / 2 + spread, max((yy + xx) / 2 - spread, 0.0)

    outlines = find_contours(np.pad(mask, 1).astype(np.float64), 0.5, fully_connected="low")  # type: ignore[no-untyped-call]
    steps = [np.diff(outline, axis=0) for outline in outlines]
    perimeter = float(sum(np.hypot(step[:, 0], step[:, 1]).sum() for step in steps))
    # Shoelace formula; an outline around a hole turns the other way and counts as negative.
    turns = sum(float((o[:-1, 0] * o[1:, 1] - o[1:, 0] * o[:-1, 1]).sum()) for o in outlines)
    mesh_surface = abs(turns) / 2
    points = np.concatenate([outline[:-1] for outline in outlines]) - 1
    hull = ConvexHull(points)
    radial_length = np.hypot(points[:, 0] - rows.mean(), points[:, 1] - columns.mean())
    return {
        "pixel_surface": n_pixels * pixel_mm**2,
        "effective_diameter": 2 * np.sqrt(n_pixels / np.pi) * pixel_mm,
        "perimeter": perimeter * pixel_mm,
        "maximum_diameter": float(pdist(points[hull.vertices]).max()) * pixel_mm,
        "major_axis_length": 4 * np.sqrt(major) * pixel_mm,
        "minor_axis_length": 4 * np.sqrt(minor) * pixel_mm,
        "circularity": float((y * y + x * x <= n_pixels / np.pi).mean()),
        "irregularity": 1 - 2 * np.sqrt(np.pi * mesh_surface) / perimeter,
        "elongation": np.sqrt(minor / major),
        "eccentricity": np.sqrt(1 - minor / major),
        # In two dimensions Qhull's volume is the area and its area the perimeter.
        "solidity": mesh_surface / hull.volume,
        "convexity": hull.area / perimeter,
        "radial_length_variation": float(radial_length.std() / radial_length.mean()),
    }


def _grey_levels(values: Float64) -> NDArray[np.uint8]:
    """Compute levels 1 .. GREY_BINS of the grey values by PyRadiomics' fixed bin count.

    A constant gives the middle level alone.
    """
    low, high = float(values.min()), float(values.max())
    if high - low <= CONSTANT_RANGE * max(abs(low), abs(high)):
        return np.full(values.shape, GREY_BINS // 2 + 1, np.uint8)
    edges = np.linspace(low, high, GREY_BINS + 1)
    return np.digitize(values, edges[:-1]).astype(np.uint8)


def _intensity(values: Float64, surround: Float64, levels: NDArray[np.uint8]) -> dict[str, float]:
    """Compute the features of intensity."""
    mean, outside = float(values.mean()), float(surround.mean())
    constant = bool((levels == levels[0]).all())
    # Moments of values of size one neither overflow nor vanish.
    unit = np.zeros(1) if constant else (values - mean) / (values.max() - values.min())
    p10, p25, p50, p75, p90 = (float(p) for p in np.percentile(values, [10, 25, 50, 75, 90]))
    size = abs(mean) + abs(outside)
    return {
        "mean": mean,
        "standard_deviation": 0.0
        if constant
        else float(unit.std() * (values.max() - values.min())),
        "skewness": 0.0 if constant else float(skew(unit)),
        "kurtosis": 0.0 if constant else float(kurtosis(unit, fisher=False)),
        "entropy": float(entropy(np.bincount(levels), base=2)),
        "10_percentile": p10,
        "median": p50,
        "90_percentile": p90,
        "interquartile_range": p75 - p25,
        "surround_contrast": mean - outside,
        "relative_surround_contrast": (mean - outside) / size if size > 0 else 0.0,
    }


def _texture(mask: Mask, levels: NDArray[np.uint8]) -> dict[str, float]:
    """Compute co-occurrence features; the outside is level 0, and its pairs are dropped."""
    picture = np.zeros(mask.shape, np.uint8)
    picture[mask] = levels
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    matrix = graycomatrix(picture, [1], angles, levels=GREY_BINS + 1, symmetric=True)  # type: ignore[no-untyped-call]
    counts = matrix[1:, 1:].astype(np.float64)
    pairs = counts.sum(axis=(0, 1, 2))
    if not pairs.any():
        raise ValueError("no two pixels of the mask are neighbours")
    p = (counts / np.where(pairs > 0, pairs, 1))[..., pairs > 0]

    level = np.arange(1, GREY_BINS + 1)
    flat = p[:, :, 0].reshape(GREY_BINS**2, -1)  # (pairs of levels, directions)
    total = np.add.outer(level, level).ravel()
    difference = np.abs(np.subtract.outer(level, level)).ravel()
    of_total = np.stack([np.bincount(total, column) for column in flat.T], axis=1)
    of_difference = np.stack([np.bincount(difference, column) for column in flat.T], axis=1)
    sum_average = (total[:, None] * flat).sum(axis=0)
    from_average = total[:, None] - sum_average
    steps = np.arange(GREY_BINS)[:, None]
    difference_average = (steps * of_difference).sum(axis=0)
    joint_entropy = entropy(flat, base=2, axis=0)
    level_entropy = entropy(p[:, :, 0].sum(axis=1), base=2, axis=0)
    # The matrix is symmetric: both marginals, and both of Haralick's HX and HY, are the same.
    imc1 = np.where(
        level_entropy > 0,
        (joint_entropy - 2 * level_entropy) / np.where(level_entropy > 0, level_entropy, 1),
        0,
    )
    properties = {
        "contrast": "contrast",
        "correlation": "correlation",
        "joint_energy": "ASM",
        "idm": "homogeneity",
    }
    by_direction = {
        **{name: graycoprops(p, its) for name, its in properties.items()},  # type: ignore[no-untyped-call]
        "joint_entropy": joint_entropy,
        "maximum_probability": flat.max(axis=0),
        "sum_average": sum_average,
        "cluster_tendency": (from_average**2 * flat).sum(axis=0),
        "cluster_shade": (from_average**3 * flat).sum(axis=0),
        "sum_entropy": entropy(of_total, base=2, axis=0),
        "difference_average": difference_average,
        "difference_variance": ((steps - difference_average) ** 2 * of_difference).sum(axis=0),
        "difference_entropy": entropy(of_difference, base=2, axis=0),
        "imc1": imc1,
    }
    return {name: float(np.mean(values)) for name, values in by_direction.items()}


def _full_width_at_half_maximum(angles: Float64, weights: Float64) -> float:
    """Compute the width of a weighted histogram of angles (n,), in degrees.

    It is 360 less the longest arc below half the maximum.

    Spicules give two peaks, one for each of their sides; the arc from the first to the last
    crossing holds both.
    """
    n_bins = 360 // ANGLE_BIN_DEGREES
    # Bins have their middle, not their edge, at the angles 0, 45 and 90 that a pixel grid prefers.
    bins = np.floor(angles / ANGLE_BIN_DEGREES + 0.5).astype(np.int64) % n_bins
    histogram = np.bincount(bins, weights, n_bins)
    smooth = gaussian_filter1d(histogram, ANGLE_SMOOTHING_DEGREES / ANGLE_BIN_DEGREES, mode="wrap")
    half = smooth.max() / 2
    high = np.flatnonzero(smooth >= half)
    next_high = np.append(high[1:], high[0] + n_bins)
    before_gap = next_high - high > 1
    left, right = high[before_gap], next_high[before_gap] % n_bins
    below_left, below_right = (left + 1) % n_bins, right - 1
    # The arcs end where straight lines between the bins cross the half.
    start = (smooth[left] - half) / (smooth[left] - smooth[below_left])
    end = (smooth[right] - half) / (smooth[right] - smooth[below_right])
    arcs = (next_high - high)[before_gap] - start - end
    return float(360 - ANGLE_BIN_DEGREES * arcs.max(initial=0))


def _margin(
    grey: Float64, mask: Mask, outwards: Float64, width: float, pixel_mm: float
) -> dict[str, float]:
    """Compute the features of the margin.

    ``outwards`` (H, W) is the distance from the outline in pixels, negative inside.
    """
    down, right = (sobel(grey, axis=axis, mode="nearest") / (8 * pixel_mm) for axis in (0, 1))
    magnitude = np.hypot(down, right)
    rows, columns = np.nonzero(mask)
    y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
    dy, dx = y - rows.mean(), x - columns.mean()
    radius = np.hypot(dy, dx)
    # Where the centroid is a pixel, its radius has no direction and it takes no part.
    with_radius = radius > 0
    radial = -(down * dy + right * dx) / np.where(with_radius, radius, 1)
    tangential = (down * dx - right * dy) / np.where(with_radius, radius, 1)
    angle = np.degrees(np.arctan2(tangential, radial))

    margin = np.abs(outwards) < MARGIN_PIXELS
    mean_gradient = float(magnitude[margin].mean())
    profile = np.abs(outwards) <= width
    distance = outwards[profile] - outwards[profile].mean()
    slope = (
        float(
            (distance * (grey[profile] - grey[profile].mean())).sum() / (distance * distance).sum()
        )
        / pixel_mm
    )
    features = {
        "margin_gradient": mean_gradient,
        "margin_gradient_variation": float(magnitude[margin].std()) / mean_gradient
        if mean_gradient > 0
        else 0.0,
        "profile_slope": -slope,
    }
    for name, region in (("margin", margin & with_radius), ("lesion", mask & with_radius)):
        total = float(magnitude[region].sum())
        features[f"radial_gradient_index_{name}"] = (
            float(radial[region].sum()) / total if total > 0 else 0.0
        )
        features[f"radial_gradient_fwhm_{name}"] = _full_width_at_half_maximum(
            angle[region], magnitude[region]
        )
    return features


def analytic_features(
    image: NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.floating],
    mask: Mask,
    pixel_mm: float = 1.0,
) -> Float64:
    """Compute the analytic features of one lesion (Huynh et al. 2016, section 2.4).

    Formulas and units are in :data:`FEATURES`.

    Where the edge of the image cuts the lesion, the cut counts for size and shape and is left out
    of the margin.

    Args:
        image: (H, W) grey values.
        mask: (H, W) True inside the lesion; holes and several parts are allowed.
        pixel_mm: side of a pixel in millimetres.

    Returns:
        (len(FEATURES),) finite numbers, in the order of ``FEATURES``. A constant lesion has the
        values that the formulas state.

    Raises:
        ValueError: the shapes differ, the mask is empty, not bool, has fewer than ``MIN_PIXELS``
            pixels, leaves no surround or has no two pixels that touch; pixel_mm is not positive; a
            grey value is NaN or beyond ``MAX_GREY``.
    """
    grey = image.astype(np.float64)
    _check(grey, mask, pixel_mm)
    width = SURROUND_WIDTH * float(np.sqrt(mask.sum() / np.pi))
    grey, inside = _cropped(grey, mask, int(np.ceil(max(width, MARGIN_PIXELS))) + 2)
    # The outline runs half a pixel outside the centres of the last pixels of the lesion.
    outwards = np.where(
        inside, 0.5 - distance_transform_edt(inside), distance_transform_edt(~inside) - 0.5
    )
    values = grey[inside]
    levels = _grey_levels(values)
    features = {
        **_size_and_shape(inside, pixel_mm),
        **_intensity(values, grey[(outwards > 0) & (outwards <= width)], levels),
        **_texture(inside, levels),
        **_margin(grey, inside, outwards, width, pixel_mm),
    }
    return np.array([features[feature.name] for feature in FEATURES], np.float64)

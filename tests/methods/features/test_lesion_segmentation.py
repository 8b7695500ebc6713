"""Lesions of known outline, the growing against plain labelling, and every way to fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.ndimage import binary_fill_holes, gaussian_filter, label

from methods.features.lesion_segmentation import (
    DARK_CENTRE,
    NO_TRANSITION,
    REACHES_BORDER,
    SIZE_OUT_OF_BOUNDS,
    Segmentation,
    SegmentationSettings,
    background_surface,
    circularities,
    segment_lesion,
)

SIZE = 256
CENTRE = (128, 128)
ROW, COLUMN = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)


def _disc(row: float, column: float, radius: float) -> np.ndarray:
    return np.hypot(ROW - row, COLUMN - column) <= radius


def _star(spicules: int = 8) -> np.ndarray:
    """A core of radius 30 with spicules up to radius 60."""
    angle = np.arctan2(ROW - 128, COLUMN - 128)
    return np.hypot(ROW - 128, COLUMN - 128) <= 30 + 30 * np.abs(np.cos(angle * spicules / 2)) ** 8


def _picture(
    lesion: np.ndarray, noise: float = 2.0, contrast: float = 60, slope: float = 0.3, seed: int = 0
) -> np.ndarray:
    """A lesion with a soft edge on a slope, with the noise of a correlated texture."""
    texture = gaussian_filter(np.random.default_rng(seed).normal(size=lesion.shape), 1.5)
    return (
        400
        + contrast * gaussian_filter(lesion.astype(float), 0.7)
        + slope * ROW
        + noise * texture / texture.std()
    )


def _dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return 2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum())


def _check_outline(found: Segmentation, centre: tuple[int, int] = CENTRE) -> None:
    assert found.fault == ""
    assert found.mask.dtype == np.bool_
    assert found.mask[centre]
    assert label(found.mask)[1] == 1
    np.testing.assert_array_equal(found.mask, binary_fill_holes(found.mask, np.ones((3, 3))))
    assert not found.mask[[0, -1]].any()
    assert not found.mask[:, [0, -1]].any()
    chosen = found.transitions[found.chosen]
    assert found.threshold == chosen.threshold
    assert found.mask.sum() == chosen.area


def _check_fault(found: Segmentation, fault: str) -> None:
    assert found.fault == fault
    assert not found.mask.any()
    assert found.mask.shape == (SIZE, SIZE)
    assert found.chosen == -1
    assert np.isnan(found.threshold)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_background_is_the_least_squares_surface(degree: int) -> None:
    picture = np.random.default_rng(degree).normal(size=(20, 31)) + np.mgrid[0:20, 0:31][1] ** 2
    row, column = np.mgrid[0:20, 0:31]
    terms = [
        row.ravel() ** i * column.ravel() ** j
        for i in range(degree + 1)
        for j in range(degree + 1 - i)
    ]
    design = np.stack(terms, axis=1).astype(float)
    expected = design @ np.linalg.lstsq(design, picture.ravel(), rcond=None)[0]
    np.testing.assert_allclose(
        background_surface(picture, degree).ravel(), expected, atol=1e-8 * np.abs(picture).max()
    )


def test_circularity_by_hand() -> None:
    # A line of 5: centroid at its middle, equal circle of radius sqrt(5 / pi) = 1.26 holds 3 of the
    # 5. Its first 2 pixels: radius 0.80, both 0.5 away. Its first pixel is its own circle.
    found = circularities(np.full(5, 7), np.arange(3, 8), np.array([1, 2, 5]))
    assert found.tolist() == [1.0, 1.0, 0.6]


def test_circularity_of_shapes() -> None:
    rows, columns = np.nonzero(_disc(100, 90, 40))
    assert circularities(rows, columns, np.array([len(rows)]))[0] > 0.99
    # A square of side 1 and a circle of radius r = 1 / sqrt(pi): four caps of half-angle a =
    # arccos(0.5 / r) stick out.
    radius = 1 / np.sqrt(np.pi)
    a = np.arccos(0.5 / radius)
    square = 1 - 4 * radius**2 * (a - np.sin(a) * np.cos(a))
    rows, columns = np.nonzero((np.abs(ROW - 80) <= 60) & (np.abs(COLUMN - 130) <= 60))
    assert circularities(rows, columns, np.array([len(rows)]))[0] == pytest.approx(
        square, abs=0.005
    )


def test_regions_equal_plain_labelling() -> None:
    rng = np.random.default_rng(3)
    picture = gaussian_filter(rng.normal(size=(60, 50)), 0.8)
    picture[25:35, 20:30] += picture.std() * 3
    settings = SegmentationSettings(
        smoothing_sigma=0, background_degree=0, seed_diameter=0, levels=20, window=2
    )
    found = segment_lesion(picture, (30, 25), settings)
    grey = picture - picture.mean()
    assert found.thresholds.shape == found.areas.shape == found.circularities.shape == (21,)
    np.testing.assert_allclose(np.diff(found.thresholds), np.diff(found.thresholds)[0])
    assert found.thresholds[0] == pytest.approx(grey[30, 25])
    assert found.areas[0] >= 1
    holes, checked = 0, 0
    # the first and the last threshold are pixels' own levels, where rounding decides
    for k in range(1, 20):
        regions, _ = label(grey >= found.thresholds[k])
        region = regions == regions[30, 25]
        assert not region[[0, -1]].any()
        assert not region[:, [0, -1]].any()
        filled = binary_fill_holes(region, np.ones((3, 3)))
        assert found.areas[k] == filled.sum()
        holes, checked = holes + (filled.sum() > region.sum()), checked + 1
        if found.fault == "" and found.threshold == found.thresholds[k]:
            np.testing.assert_array_equal(found.mask, filled)
    assert holes >= 3  # or the filling was not tested
    lower = label(grey >= found.thresholds[-1] - 1e-9)[0]
    region = lower == lower[30, 25]
    assert region[[0, -1]].any() or region[:, [0, -1]].any()


def test_transitions_are_those_of_the_formulas() -> None:
    settings = SegmentationSettings(levels=40, window=3)
    found = segment_lesion(_picture(_star(), noise=12, seed=1), CENTRE, settings)
    d = np.sqrt(4 * found.areas / np.pi)
    jumps = {}
    for k in range(3, 40):
        last = min(k + 3, 40)
        jumps[k] = ((d[last] - d[k]) / (last - k) + 1 / 3) / ((d[k] - d[k - 3]) / 3 + 1 / 3)
    expected = [k for k, jump in jumps.items() if jump >= 1.5 and jumps.get(k - 1, 0) < 1.5]
    assert len(expected) >= 3
    assert [t.threshold for t in found.transitions] == found.thresholds[expected].tolist()
    assert [t.area for t in found.transitions] == found.areas[expected].tolist()
    assert [t.jump for t in found.transitions] == pytest.approx([jumps[k] for k in expected])
    assert [t.circularity for t in found.transitions] == found.circularities[expected].tolist()
    merit = [
        found.circularities[k] * d[k] if 0.05 * SIZE <= d[k] <= 0.7 * SIZE else 0 for k in expected
    ]
    assert found.chosen == int(np.argmax(merit)) != int(np.argmax(found.circularities[expected]))


@pytest.mark.parametrize("radius", [12, 30, 70])
def test_disc_on_a_slope(radius: int) -> None:
    truth = _disc(*CENTRE, radius)
    found = segment_lesion(_picture(truth), CENTRE)
    _check_outline(found)
    # the outline lies at the foot of the soft edge
    assert _dice(found.mask, truth) >= (0.85 if radius == 12 else 0.94)
    assert found.transitions[found.chosen].circularity > 0.9


def test_a_steep_slope_is_background() -> None:
    truth = _disc(*CENTRE, 30)
    picture = _picture(truth, slope=3)  # 768 grey levels from side to side, the lesion has 60
    _check_outline(found := segment_lesion(picture, CENTRE))
    assert _dice(found.mask, truth) >= 0.93
    flat = segment_lesion(picture, CENTRE, SegmentationSettings(background_degree=0))
    assert flat.fault != "" or _dice(flat.mask, truth) < 0.5


def test_spiculated_star() -> None:
    truth = _star()
    found = segment_lesion(_picture(truth), CENTRE)
    _check_outline(found)
    assert _dice(found.mask, truth) >= 0.9
    assert 0.6 < found.transitions[found.chosen].circularity < 0.9
    tips = truth & ~_disc(*CENTRE, 40)
    assert (found.mask & tips).sum() > 0.75 * tips.sum()


def test_leak_over_a_bridge_is_left_out() -> None:
    first = _disc(128, 75, 34)
    bridge = (np.abs(ROW - 128) <= 5) & (np.abs(COLUMN - 128) <= 30)
    second = _disc(128, 180, 34)
    picture = _picture(first | second) - 20 * gaussian_filter(
        (bridge & ~first & ~second).astype(float), 1.5
    )
    picture += 60 * gaussian_filter((bridge & ~first & ~second).astype(float), 1.5)
    found = segment_lesion(picture, (128, 75))
    _check_outline(found, (128, 75))
    assert _dice(found.mask, first) >= 0.93
    both = found.transitions[-1]
    assert found.chosen < len(found.transitions) - 1
    assert both.area > 1.8 * found.mask.sum()  # the later one holds both discs
    assert both.circularity < 0.7 < found.transitions[found.chosen].circularity


@pytest.mark.parametrize("seed", range(4))
def test_texture(seed: int) -> None:
    truth = _disc(*CENTRE, 40)
    found = segment_lesion(_picture(truth, noise=12, seed=seed), CENTRE)
    _check_outline(found)
    assert _dice(found.mask, truth) >= 0.9


def test_holes_are_filled() -> None:
    truth = _disc(*CENTRE, 40)
    found = segment_lesion(_picture(truth) - 80 * _disc(118, 140, 6), CENTRE)
    _check_outline(found)
    assert found.mask[118, 140]
    assert _dice(found.mask, truth) >= 0.95


def test_a_noisy_centre_does_not_decide() -> None:
    truth = _disc(*CENTRE, 40)
    for spot in (-40, 40):
        picture = _picture(truth)
        picture[CENTRE] += spot
        found = segment_lesion(picture, CENTRE)
        _check_outline(found)
        assert _dice(found.mask, truth) >= 0.95


def test_speckle_is_smoothed() -> None:
    truth = _disc(*CENTRE, 40)
    picture = _picture(truth) + np.random.default_rng(3).normal(0, 40, truth.shape)
    assert _dice(segment_lesion(picture, CENTRE).mask, truth) >= 0.95
    assert (
        _dice(segment_lesion(picture, CENTRE, SegmentationSettings(smoothing_sigma=0)).mask, truth)
        < 0.93
    )


def test_every_region_holds_the_seed() -> None:
    picture = _picture(_disc(*CENTRE, 40))
    picture[128, 120:] -= 200  # a dark line from the centre outwards, no hole
    found = segment_lesion(
        picture, CENTRE, SegmentationSettings(smoothing_sigma=0, seed_diameter=0.1)
    )
    _check_outline(found)
    assert found.mask[_disc(*CENTRE, 12.8)].all()
    assert not found.mask[128, 145:].any()


def test_grey_scale_does_not_matter() -> None:
    picture = np.round(_picture(_star(), noise=6)).astype(np.uint16)
    expected = segment_lesion(picture, CENTRE)
    for other in (
        picture.astype(np.float32),
        picture.astype(np.float64) * 64,
        picture.astype(np.float64) / 1024 - 3,
    ):
        found = segment_lesion(other, CENTRE)
        assert _dice(found.mask, expected.mask) > 0.999
    scale = (
        segment_lesion(picture.astype(np.float64) * 64, CENTRE).thresholds / expected.thresholds
    )[:-1]
    np.testing.assert_allclose(scale, 64, rtol=1e-6)
    byte = np.clip((picture.astype(float) - 350) * 0.9, 0, 255).astype(np.uint8)
    assert _dice(segment_lesion(byte, CENTRE).mask, expected.mask) > 0.97


def test_deterministic_and_the_picture_is_left_alone() -> None:
    picture = _picture(_star(), noise=6)
    before = picture.copy()
    first, second = segment_lesion(picture, CENTRE), segment_lesion(picture, CENTRE)
    np.testing.assert_array_equal(picture, before)
    assert first.mask.tobytes() == second.mask.tobytes()
    assert first.transitions == second.transitions


def test_lengths_are_fractions_of_the_side() -> None:
    truth = _star()
    picture = _picture(truth)
    twice = np.kron(picture, np.ones((2, 2)))
    small, large = segment_lesion(picture, CENTRE), segment_lesion(twice, (256.5, 256.5))
    assert _dice(large.mask[::2, ::2], small.mask) > 0.95


def test_not_square() -> None:
    truth = _disc(*CENTRE, 30)[60:]
    found = segment_lesion(_picture(_disc(*CENTRE, 30))[60:], (68, 128))
    _check_outline(found, (68, 128))
    assert _dice(found.mask, truth) >= 0.93
    # Fractions are of the shorter side: the diameter of 60 pixels is 0.31 of it, 0.23 of the longer
    # one.
    bound = SegmentationSettings(min_diameter=0.28)
    assert segment_lesion(_picture(_disc(*CENTRE, 30))[60:], (68, 128), bound).fault == ""


def test_dark_centre() -> None:
    _check_fault(
        found := segment_lesion(_picture(_disc(*CENTRE, 20), contrast=-60), CENTRE), DARK_CENTRE
    )
    assert found.thresholds.shape == found.areas.shape == found.circularities.shape == (0,)
    assert found.areas.dtype == np.int64
    assert found.transitions == ()


@pytest.mark.parametrize("picture", [np.full((SIZE, SIZE), 7, np.uint8), 3.7 * ROW - 0.3 * COLUMN])
def test_nothing_but_background(picture: np.ndarray) -> None:
    _check_fault(segment_lesion(picture, CENTRE), DARK_CENTRE)


def test_lesion_cut_by_the_border() -> None:
    _check_fault(segment_lesion(_picture(_disc(128, 4, 40)), (128, 10)), REACHES_BORDER)


def test_centre_on_the_border() -> None:
    _check_fault(segment_lesion(_picture(_disc(128, 0, 30)), (128, 0)), REACHES_BORDER)


def test_even_growth_has_no_transition() -> None:
    cone = -np.hypot(ROW - 128, COLUMN - 128)  # the diameter grows by the same at every threshold
    found = segment_lesion(cone, CENTRE)
    _check_fault(found, NO_TRANSITION)
    assert len(found.thresholds) == 65
    assert (np.diff(found.areas) > 0).all()


@pytest.mark.parametrize("bounds", [(0.4, 0.7), (0.01, 0.1)])
def test_size_out_of_bounds(bounds: tuple[float, float]) -> None:
    picture = _picture(_disc(*CENTRE, 30))  # 0.23 of the side
    found = segment_lesion(
        picture, CENTRE, SegmentationSettings(min_diameter=bounds[0], max_diameter=bounds[1])
    )
    _check_fault(found, SIZE_OUT_OF_BOUNDS)
    assert len(found.transitions) >= 1
    assert (
        segment_lesion(
            picture, CENTRE, SegmentationSettings(min_diameter=0.2, max_diameter=0.3)
        ).fault
        == ""
    )


def test_wrong_input_is_named() -> None:
    picture = _picture(_disc(*CENTRE, 30))
    with pytest.raises(ValueError, match=r"\(H, W\), not \(256, 256, 1\)"):
        segment_lesion(picture[..., None], CENTRE)
    with pytest.raises(ValueError, match=r"\(H, W\), not \(0, 5\)"):
        segment_lesion(np.zeros((0, 5)), (0, 0))
    for centre in ((-1, 5), (5, 255.5), (256, 3), (float("nan"), 3)):
        with pytest.raises(ValueError, match=r"centre .* is outside the picture"):
            segment_lesion(picture, centre)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="NaN or infinite"):
            segment_lesion(np.where(_disc(3, 3, 1), bad, picture), CENTRE)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smoothing_sigma": -1}, "must not be negative"),
        ({"background_degree": -1}, "must not be negative"),
        ({"seed_diameter": -0.1}, "must not be negative"),
        ({"min_diameter": 0.7}, "min_diameter 0.7 must be"),
        ({"window": 0}, "window 0 must be"),
        ({"window": 64}, "window 64 must be"),
        ({"jump": 1.0}, "jump 1 must be"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SegmentationSettings(), **settings)


@pytest.mark.real_data
def test_real_masses_agree_roughly_with_the_annotated_circles(real_data: Path) -> None:
    manifest = real_data / "datasets" / "mammography_roi" / "manifest.csv"
    if not manifest.is_file():
        pytest.skip(f"{manifest} does not exist")
    table = pd.read_csv(manifest).iloc[::8]
    row, column = np.ogrid[:512, :512]
    overlaps, faults = [], []
    for lesion in table.itertuples():
        # A window of 256 pixels, shown at twice its size.
        centre = (
            min(2.0 * (lesion.y - lesion.crop_y0), 511.0),
            min(2.0 * (lesion.x - lesion.crop_x0), 511.0),
        )
        found = segment_lesion(np.asarray(Image.open(manifest.parent / lesion.path)), centre)
        circle = np.hypot(row - centre[0], column - centre[1]) <= 2 * lesion.radius
        faults.append(found.fault)
        if not found.fault:
            overlaps.append(_dice(found.mask, circle))
    assert 0.05 < np.mean([fault != "" for fault in faults]) < 0.4
    assert np.median(overlaps) > 0.45
    # an overlap (Jaccard) of 0.3 is what the field counts as found
    assert np.mean(np.array(overlaps) > 0.46) > 0.5

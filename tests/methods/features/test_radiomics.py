"""Analytic features: PyRadiomics' own numbers, small lesions worked by hand, and the invariances
the formulas promise."""

from __future__ import annotations

import numpy as np
import pytest

from methods.features.radiomics import FEATURES, MIN_PIXELS, AnalyticFeature, analytic_features

NAMES = [feature.name for feature in FEATURES]


def _features(image: np.ndarray, mask: np.ndarray, pixel_mm: float = 1.0) -> dict[str, float]:
    return dict(zip(NAMES, analytic_features(image, mask, pixel_mm).tolist(), strict=True))


def _family(*families: str) -> list[str]:
    return [feature.name for feature in FEATURES if feature.family in families]


def _distance(size: int, cy: float, cx: float) -> np.ndarray:
    y, x = np.ogrid[:size, :size]
    return np.hypot(y - cy, x - cx)


def _lobed() -> tuple[np.ndarray, np.ndarray, float]:
    """Three lobes and a hole, uint8."""
    y, x = np.mgrid[:40, :48]
    hole = (y > 15) & (y < 19) & (x > 24) & (x < 29)
    mask = (np.hypot(y - 18, x - 22) < 11 + 3 * np.cos(3 * np.arctan2(y - 18, x - 22))) & ~hole
    return ((7 * y * y + 13 * x + 5 * x * y) % 97 + 60).astype(np.uint8), mask, 1.0


def _tilted() -> tuple[np.ndarray, np.ndarray, float]:
    """A tilted lozenge, uint16."""
    y, x = np.mgrid[:40, :48]
    mask = np.abs((y - 20) + (x - 24)) / 14 + np.abs((y - 20) - (x - 24)) / 7 < 1.5
    return (
        (40 * (y - 20) ** 2 + 25 * (x - 20) ** 2 + 600 * ((3 * y + 5 * x) % 7)).astype(np.uint16),
        mask,
        0.1,
    )


def _parts() -> tuple[np.ndarray, np.ndarray, float]:
    """Rectangles that touch at their corners and the image's edge, float with negative values."""
    y, x = np.mgrid[:40, :48]
    mask = ((y // 5 + x // 6) % 2 == 0) & (y < 20) & (x < 30)
    return np.sin(y / 3) * np.cos(x / 5) - 0.02 * x, mask, 0.25


# PyRadiomics 3.0.1 with force2D and binCount 32: the lobed, the tilted and the parted lesion.
PYRADIOMICS = {
    "original_shape2D_PixelSurface": (377, 2.11, 18.75),
    "original_shape2D_Perimeter": (97.5979797464, 7.11126983722, 52.0710678119),
    "original_shape2D_MaximumDiameter": (25.8069758011, 2.9, 8.27647267862),
    "original_shape2D_MajorAxisLength": (24.1744608087, 2.37363081012, 8.6554414484),
    "original_shape2D_MinorAxisLength": (23.8306870508, 1.19080203169, 5.74456264654),
    "original_shape2D_Elongation": (0.98577946534, 0.501679547894, 0.663693779316),
    "original_firstorder_Mean": (107.220159151, 3598.34123223, -0.30394382542),
    "original_firstorder_StandardDeviation": (28.1338561908, 1917.49549013, 0.509425894608),
    "original_firstorder_Skewness": (0.0559674680845, 0.598542733597, 0.153446691874),
    "original_firstorder_Kurtosis": (1.7880306292, 3.31993629037, 2.54224319922),
    "original_firstorder_Entropy": (4.9375346995, 4.51327194952, 4.67717726195),
    "original_firstorder_10Percentile": (70, 1240, -0.962193270332),
    "original_firstorder_Median": (107, 3465, -0.304644119973),
    "original_firstorder_90Percentile": (147, 6100, 0.425933882196),
    "original_firstorder_InterquartileRange": (49, 2572.5, 0.656290655231),
    "original_glcm_Contrast": (176.251263627, 38.7065330477, 5.01900687702),
    "original_glcm_Correlation": (-0.00648374960763, 0.476041906076, 0.943910312591),
    "original_glcm_JointEnergy": (0.00261759218707, 0.00818991024571, 0.00884588849418),
    "original_glcm_JointEntropy": (8.75499929892, 7.21106004463, 7.14975116844),
    "original_glcm_Idm": (0.0849113478035, 0.0921638574639, 0.379936791247),
    "original_glcm_MaximumProbability": (0.00771863051883, 0.0223990208078, 0.0236618122977),
    "original_glcm_SumAverage": (32.9915611175, 23.3545746634, 31.4170764563),
    "original_glcm_ClusterTendency": (174.019878248, 109.402869327, 173.81665187),
    "original_glcm_ClusterShade": (89.519333231, 1038.36285516, 370.505996299),
    "original_glcm_SumEntropy": (5.59674715626, 5.09786186902, 5.55250320154),
    "original_glcm_DifferenceAverage": (10.8964591073, 5.46981334149, 1.8358118932),
    "original_glcm_DifferenceVariance": (57.475585667, 7.77954967704, 1.40445907869),
    "original_glcm_DifferenceEntropy": (4.72319436534, 2.87893826925, 2.18312938681),
    "original_glcm_Imc1": (-0.224693405828, -0.386396705285, -0.468870683905),
    "original_shape2D_Sphericity": (0.705236496301, 0.721522348308, 0.292320629274),
}


def test_every_feature_is_documented_once() -> None:
    assert len(set(NAMES)) == len(NAMES) == 45
    assert {feature.family for feature in FEATURES} == {
        "size",
        "shape",
        "intensity",
        "texture",
        "margin",
    }
    for feature in FEATURES:
        assert feature.formula
        assert feature.unit
    pyradiomics = [feature.pyradiomics for feature in FEATURES if feature.pyradiomics]
    assert len(set(pyradiomics)) == len(pyradiomics)
    assert set(pyradiomics) == set(PYRADIOMICS) - {"original_shape2D_Sphericity"}


@pytest.mark.parametrize(
    "feature", [f for f in FEATURES if f.pyradiomics], ids=lambda feature: feature.name
)
def test_a_feature_of_pyradiomics_has_its_name_in_snake_case(feature: AnalyticFeature) -> None:
    assert feature.pyradiomics.split("_")[-1].lower() == feature.name.replace("_", "")


@pytest.mark.parametrize(
    ("column", "lesion"),
    enumerate([_lobed(), _tilted(), _parts()]),
    ids=["lobed", "tilted", "parts"],
)
def test_agrees_with_pyradiomics(column: int, lesion: tuple[np.ndarray, np.ndarray, float]) -> None:
    ours = _features(*lesion)
    for feature in FEATURES:
        if feature.pyradiomics:
            assert ours[feature.name] == pytest.approx(
                PYRADIOMICS[feature.pyradiomics][column], rel=1e-9
            ), feature.name
    assert ours["irregularity"] == pytest.approx(
        1 - PYRADIOMICS["original_shape2D_Sphericity"][column], rel=1e-9
    )


def test_shape_of_a_square_by_hand() -> None:
    mask = np.zeros((20, 20), bool)
    mask[8:12, 5:9] = True
    ours = _features(np.arange(400).reshape(20, 20).astype(np.uint16), mask, pixel_mm=0.5)
    # The outline cuts the corners: 12 pixel sides and 4 diagonals of sqrt(1/2), area 16 - 4/8.
    perimeter, area = 12 + 2 * np.sqrt(2), 15.5
    # distances of the outline's points (2, 1/2) and (2, 3/2) from the centre, 8 of each
    near, far = np.sqrt(4.25), 2.5
    expected = {
        "pixel_surface": 16 * 0.25,
        "effective_diameter": 2 * np.sqrt(16 / np.pi) * 0.5,
        "perimeter": perimeter * 0.5,
        "maximum_diameter": 5 * 0.5,
        "major_axis_length": 4 * np.sqrt(1.25) * 0.5,
        "minor_axis_length": 4 * np.sqrt(1.25) * 0.5,
        "circularity": 1.0,  # the corner pixel's distance^2 4.5 is below 16 / pi
        "irregularity": 1 - 2 * np.sqrt(np.pi * area) / perimeter,
        "elongation": 1.0,
        "eccentricity": 0.0,
        "solidity": 1.0,
        "convexity": 1.0,
        "radial_length_variation": (far - near) / (far + near),
    }
    assert list(expected) == _family("size", "shape")
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, rel=1e-12, abs=1e-12), name


def test_shape_of_a_line_by_hand() -> None:
    mask = np.zeros((9, 25), bool)
    mask[4, 3:19] = True
    ours = _features(np.arange(225).reshape(9, 25).astype(np.uint8), mask)
    assert (ours["elongation"], ours["eccentricity"], ours["minor_axis_length"]) == (0, 1, 0)
    assert ours["major_axis_length"] == pytest.approx(4 * np.sqrt((16**2 - 1) / 12))
    assert ours["maximum_diameter"] == pytest.approx(16)
    # 16 / pi = 2.26^2 holds the pixels 1/2 and 3/2 to either side of the middle.
    assert ours["circularity"] == pytest.approx(4 / 16)
    # Texture has one direction only: 15 steps of 1/15 of the range over 32 bins, 14 of two levels
    # and one of three.
    assert ours["contrast"] == pytest.approx((14 * 2**2 + 3**2) / 15)


def test_concave_shape_by_hand() -> None:
    # A U of 5 x 5 with a gap of 3 x 3 at the top: 16 pixels, of which the outline cuts 1/8 at each
    # of 6 corners and to which it adds 1/8 in each of the gap's 2 corners. The hull is the square
    # without 4/8.
    mask = np.zeros((15, 15), bool)
    mask[5:10, 5:10] = True
    mask[5:8, 6:9] = False
    ours = _features(np.arange(225).reshape(15, 15).astype(np.uint8), mask)
    assert ours["solidity"] == pytest.approx(15.5 / 24.5)
    # Straight pieces of the outline: 4 left, right and below, 2 on each side of the gap; 8 corners
    # of sqrt(1/2).
    perimeter = 18 + 4 * np.sqrt(2)
    assert ours["perimeter"] == pytest.approx(perimeter)
    assert ours["convexity"] == pytest.approx((16 + 2 * np.sqrt(2)) / perimeter)


def test_texture_of_stripes_by_hand() -> None:
    # Columns 10, 20, 10, 20: levels 1 and 32. Across and diagonally every pair differs, p(1, 32) =
    # p(32, 1) = 1/2; along the columns every pair is alike, p(1, 1) = p(32, 32) = 1/2.
    image = np.full((12, 12), 77, np.uint8)
    mask = np.zeros((12, 12), bool)
    mask[4:8, 4:8] = True
    image[4:8, 4:8] = [10, 20, 10, 20]
    ours = _features(image, mask)
    expected = {
        "contrast": 0.75 * 31**2,
        "correlation": 0.75 * -1 + 0.25,
        "joint_energy": 0.5,
        "joint_entropy": 1.0,
        "idm": 0.75 / (1 + 31**2) + 0.25,
        "maximum_probability": 0.5,
        "sum_average": 33.0,
        "cluster_tendency": 0.25 * 31**2,
        "cluster_shade": 0.0,
        "sum_entropy": 0.25,  # across, all sums are 33; along, half are 2 and half 64
        "difference_average": 0.75 * 31,
        "difference_variance": 0.0,
        "difference_entropy": 0.0,
        "imc1": -1.0,  # one level tells the other: H(p) = H(r) = 1 bit
    }
    assert list(expected) == _family("texture")
    for name, value in expected.items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_texture_and_moments_see_nothing_outside_the_mask() -> None:
    image, mask, _ = _lobed()
    other = np.where(mask, image, 255 - image // 2).astype(np.uint8)
    before, after = _features(image, mask), _features(other, mask)
    moments = [
        "mean",
        "standard_deviation",
        "skewness",
        "kurtosis",
        "entropy",
        "10_percentile",
        "median",
        "90_percentile",
    ]
    for name in [*moments, "interquartile_range", *_family("size", "shape", "texture")]:
        assert before[name] == after[name], name
    assert before["surround_contrast"] != after["surround_contrast"]


def test_contrast_to_a_ring_of_half_a_radius() -> None:
    distance = _distance(101, 50, 50)
    mask = distance < 20
    image = np.where(mask, 200, 120).astype(np.uint8)
    image[distance > 31.5] = 255  # beyond 3/2 of the effective radius 20 and a pixel's rounding
    ours = _features(image, mask)
    assert ours["surround_contrast"] == pytest.approx(80)
    assert ours["relative_surround_contrast"] == pytest.approx(80 / 320)
    image[(distance > 28) & (distance < 29)] = 255
    assert _features(image, mask)["surround_contrast"] < 79
    darker = _features(np.where(mask, -1.0, 3.0), mask)
    assert darker["surround_contrast"] == pytest.approx(-4)
    assert darker["relative_surround_contrast"] == pytest.approx(-1)


def test_margin_of_a_straight_step_by_hand() -> None:
    # The lesion is the left half; the image's edge is no margin. Four columns are within 2 pixels
    # of the outline, and the Sobel gradient is half the step in the inner two, 0 in the others.
    mask = np.zeros((40, 40), bool)
    mask[:, :20] = True
    ours = _features(np.where(mask, 200, 120).astype(np.uint8), mask, pixel_mm=0.1)
    assert ours["margin_gradient"] == pytest.approx(20 / 0.1)
    assert ours["margin_gradient_variation"] == pytest.approx(1)
    # Half an effective radius is 7.98 pixels: distances 1/2 .. 15/2 to either side, whose sum is 32
    # and sum of squares 170.
    assert ours["profile_slope"] == pytest.approx(2 * 40 * 32 / (2 * 170) / 0.1)


@pytest.mark.parametrize(("sign", "index"), [(-1.0, 1.0), (1.0, -1.0)])
def test_a_cone_has_radial_gradients_only(sign: float, index: float) -> None:
    distance = _distance(121, 60, 60)
    ours = _features(sign * 3 * distance, distance < 40, pixel_mm=0.5)
    assert ours["radial_gradient_index_margin"] == pytest.approx(index, abs=1e-6)
    assert ours["radial_gradient_index_lesion"] == pytest.approx(index, abs=1e-3)
    assert ours["margin_gradient"] == pytest.approx(6, rel=1e-3)
    assert ours["margin_gradient_variation"] < 1e-3
    assert ours["profile_slope"] == pytest.approx(6 * index, rel=0.02)
    # All weight in one bin: its Gaussian exp(-k^2 / 8) crosses 1/2 between the bins 2 and 3.
    second, third = np.exp(-4 / 8), np.exp(-9 / 8)
    width = 2 * 5 * (2 + (second - 0.5) / (second - third))
    assert ours["radial_gradient_fwhm_margin"] == pytest.approx(width, rel=1e-6)
    assert ours["radial_gradient_fwhm_lesion"] == pytest.approx(width, rel=1e-2)


def test_the_whole_lesion_ends_at_its_outline() -> None:
    distance = _distance(121, 60, 60)
    ours = _features(np.abs(distance - 34), distance < 32)  # rises again just outside
    assert ours["radial_gradient_index_lesion"] == pytest.approx(1, abs=1e-3)
    assert ours["radial_gradient_fwhm_lesion"] < 30


def test_two_peaks_count_from_the_first_to_the_last_crossing() -> None:
    # Spokes of a windmill: over the whole lesion the gradients are at +45 and -45 degrees from the
    # radius in equal parts.
    y, x = np.mgrid[:161, :161] - 80.0
    turn = np.degrees(np.arctan2(y, x)) % 90
    angle, radius = np.radians(np.where(turn < 45, turn, 90 - turn)), np.hypot(x, y)
    # f = exp(angle) / radius: slope 1 along the radius inwards, 1 across it.
    image = np.exp(angle) * 100 / np.maximum(radius, 4)
    ours = _features(image, radius < 60)
    second, third = np.exp(-4 / 8), np.exp(-9 / 8)
    one_peak = 2 * 5 * (2 + (second - 0.5) / (second - third))
    assert ours["radial_gradient_fwhm_margin"] == pytest.approx(90 + one_peak, rel=0.02)
    assert ours["radial_gradient_index_margin"] == pytest.approx(np.sqrt(0.5), rel=0.01)


def test_a_ramp_has_no_radial_direction() -> None:
    _, x = np.mgrid[:101, :101]
    ours = _features((2 * x).astype(np.uint8), _distance(101, 50, 50) < 25)
    assert ours["radial_gradient_index_margin"] == pytest.approx(0, abs=1e-12)
    assert ours["radial_gradient_index_lesion"] == pytest.approx(0, abs=1e-12)
    assert ours["radial_gradient_fwhm_margin"] == 360
    assert ours["margin_gradient"] == pytest.approx(2)
    assert ours["profile_slope"] == pytest.approx(0, abs=1e-12)
    assert ours["skewness"] == pytest.approx(0, abs=1e-12)


def test_a_star_is_told_from_a_disc() -> None:
    y, x = np.mgrid[:161, :161] - 80
    radius = np.hypot(y, x)

    def lesion(edge: np.ndarray | float) -> dict[str, float]:
        return _features(100 + np.clip((edge - radius + 4) * 12, 0, 96), radius < edge)

    disc, star = lesion(40.0), lesion(40 + 15 * np.cos(10 * np.arctan2(y, x)))
    assert disc["circularity"] > 0.99
    assert star["circularity"] < 0.9
    assert disc["irregularity"] < 0.06
    assert star["irregularity"] > 0.4
    assert disc["radial_gradient_fwhm_margin"] < 30
    assert star["radial_gradient_fwhm_margin"] > 100
    assert disc["radial_gradient_index_margin"] > 0.99
    assert star["radial_gradient_index_margin"] < 0.6
    assert disc["radial_length_variation"] < 0.01 < 0.1 < star["radial_length_variation"]
    assert disc["solidity"] > 0.98 > 0.8 > star["solidity"]
    assert disc["convexity"] > 0.94 > 0.7 > star["convexity"]


def test_sharper_edges_are_sharper() -> None:
    distance = _distance(121, 60, 60)
    sharp, soft = (
        _features(np.clip((30 - distance) * slope, -50, 50), distance < 30) for slope in (10, 4)
    )
    assert sharp["margin_gradient"] == pytest.approx(10, rel=0.02)
    assert soft["margin_gradient"] == pytest.approx(4, rel=0.02)
    assert sharp["profile_slope"] > soft["profile_slope"] > 0


def _scene() -> tuple[np.ndarray, np.ndarray]:
    """A lopsided lesion away from the edges on a textured ground, (96, 96) uint8."""
    y, x = np.mgrid[:96, :96]
    angle = np.arctan2(y - 45, x - 50)
    mask = np.hypot((y - 45) * 1.2, x - 50) < 16 + 3 * np.sin(angle) + 2 * np.cos(3 * angle)
    ground = 70 + 20 * np.sin(x / 5 + y / 9) + (7 * x * y + 3 * x) % 23
    return (ground + 60 * mask * np.exp(-((y - 43) ** 2 + (x - 47) ** 2) / 700)).astype(
        np.uint8
    ), mask


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_leave_every_feature(quarters: int) -> None:
    image, mask = _scene()
    turned = analytic_features(np.rot90(image, quarters), np.rot90(mask, quarters), 0.2)
    np.testing.assert_allclose(turned, analytic_features(image, mask, 0.2), rtol=1e-9, atol=1e-9)


def test_mirror_leaves_every_feature() -> None:
    image, mask = _scene()
    mirrored = analytic_features(image[:, ::-1], mask[:, ::-1], 0.2)
    np.testing.assert_allclose(mirrored, analytic_features(image, mask, 0.2), rtol=1e-9, atol=1e-9)


def test_translation_and_what_is_far_away_leave_the_bytes() -> None:
    image, mask = _scene()
    wide, wide_mask = np.full((150, 140), 200, np.uint8), np.zeros((150, 140), bool)
    wide[40:136, 7:103], wide_mask[40:136, 7:103] = image, mask
    assert analytic_features(wide, wide_mask).tobytes() == analytic_features(image, mask).tobytes()


def test_size_of_a_pixel_scales_lengths_and_areas() -> None:
    image, mask = _scene()
    once, thrice = _features(image, mask, 0.2), _features(image, mask, 0.6)
    powers = {"mm": 1, "mm^2": 2, "grey/mm": -1}
    for feature in FEATURES:
        expected = once[feature.name] * 3.0 ** powers.get(feature.unit, 0)
        assert thrice[feature.name] == pytest.approx(expected, rel=1e-12), feature.name


def test_gain_and_offset_of_the_grey_values() -> None:
    image, mask = _scene()
    before, after = _features(image, mask), _features(image.astype(np.uint16) * 4 + 1000, mask)
    moved = {"mean", "10_percentile", "median", "90_percentile"}
    for feature in FEATURES:
        if feature.name == "relative_surround_contrast":
            continue
        gain, offset = (
            (4.0 if feature.unit.startswith("grey") else 1.0),
            (1000.0 if feature.name in moved else 0.0),
        )
        assert after[feature.name] == pytest.approx(
            before[feature.name] * gain + offset, rel=1e-9, abs=1e-9
        ), feature.name
    gained = _features(image * 4.0, mask)
    assert gained["relative_surround_contrast"] == pytest.approx(
        before["relative_surround_contrast"], rel=1e-12
    )


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_integers_do_not_overflow(dtype: type) -> None:
    image, mask = _scene()
    assert (
        analytic_features(image, mask).tobytes()
        == analytic_features(image.astype(dtype), mask).tobytes()
    )


def test_same_bytes_again_and_the_inputs_stay() -> None:
    image, mask = _scene()
    image_before, mask_before = image.copy(), mask.copy()
    first = analytic_features(image, mask)
    assert first.dtype == np.float64
    assert first.shape == (len(FEATURES),)
    assert (
        first.tobytes()
        == analytic_features(np.asfortranarray(image), np.asfortranarray(mask)).tobytes()
    )
    np.testing.assert_array_equal(image, image_before)
    np.testing.assert_array_equal(mask, mask_before)


CONSTANT = {
    "standard_deviation": 0,
    "skewness": 0,
    "kurtosis": 0,
    "entropy": 0,
    "contrast": 0,
    "correlation": 1,
    "joint_energy": 1,
    "joint_entropy": 0,
    "idm": 1,
    "maximum_probability": 1,
    "sum_average": 34,  # of the middle level 17 alone
    "cluster_tendency": 0,
    "cluster_shade": 0,
    "sum_entropy": 0,
    "difference_average": 0,
    "difference_variance": 0,
    "difference_entropy": 0,
    "imc1": 0,
}


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 / 3, -7.0])
def test_a_constant_lesion_has_defined_values(value: float) -> None:
    mask = _distance(60, 29, 31) < 9
    image = np.where(mask, value, value + 5 + np.add.outer(np.arange(60), np.arange(60)))
    image[30, 31] += abs(value) * 1e-13  # rounding of an earlier step is no texture
    ours = _features(image, mask)
    for name, expected in CONSTANT.items():
        assert ours[name] == expected, name
    assert ours["mean"] == pytest.approx(value)
    assert ours["margin_gradient"] > 0


@pytest.mark.parametrize("value", [0.0, 0.1, 255.0])
def test_a_constant_picture_has_defined_values(value: float) -> None:
    ours = _features(np.full((60, 60), value), _distance(60, 29, 31) < 9)
    for name in (
        "surround_contrast",
        "relative_surround_contrast",
        "margin_gradient",
        "margin_gradient_variation",
        "profile_slope",
    ):
        assert ours[name] == pytest.approx(0, abs=1e-12), name
    assert (ours["radial_gradient_index_margin"], ours["radial_gradient_index_lesion"]) == (0, 0)
    assert (ours["radial_gradient_fwhm_margin"], ours["radial_gradient_fwhm_lesion"]) == (360, 360)


@pytest.mark.parametrize("scale", [2.0**-400, 2.0**300])
def test_extreme_grey_values_stay_finite(scale: float) -> None:
    image, mask = _scene()
    before, after = _features(image, mask), _features(image * scale, mask)
    for feature in FEATURES:
        gain = scale if feature.unit.startswith("grey") else 1.0
        assert after[feature.name] == pytest.approx(before[feature.name] * gain, rel=1e-9, abs=0), (
            feature.name
        )


def _masked(*pixels: tuple[slice, slice]) -> np.ndarray:
    mask = np.zeros((30, 30), bool)
    for where in pixels:
        mask[where] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "pixel_mm", "message"),
    [
        (_masked(), 1.0, "the mask is empty"),
        (_masked((slice(3, 6), slice(3, 8))), 1.0, f"15 pixels, at least {MIN_PIXELS}"),
        (np.ones((30, 30), bool), 1.0, "no surround is left"),
        (
            _masked((slice(0, 8, 2), slice(0, 8, 2))),
            1.0,
            "no two pixels of the mask are neighbours",
        ),
        (np.ones((30, 31), bool), 1.0, "of one shape"),
        (np.ones((30, 30), np.uint8), 1.0, "must be bool"),
        (_masked((slice(3, 9), slice(3, 9))), 0.0, "pixel_mm must be positive"),
        (_masked((slice(3, 9), slice(3, 9))), -0.1, "pixel_mm must be positive"),
        (_masked((slice(3, 9), slice(3, 9))), np.nan, "pixel_mm must be positive"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    mask: np.ndarray, pixel_mm: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        analytic_features(np.zeros((30, 30)), mask, pixel_mm)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e101])
@pytest.mark.parametrize("where", [(5, 5), (29, 29)])
def test_grey_values_that_are_no_numbers_are_refused(value: float, where: tuple[int, int]) -> None:
    image = np.ones((30, 30))
    image[where] = value
    with pytest.raises(ValueError, match="NaN, infinite or beyond 1e\\+100"):
        analytic_features(image, _masked((slice(3, 9), slice(3, 9))))


def test_colour_is_refused() -> None:
    with pytest.raises(ValueError, match="two-dimensional"):
        analytic_features(np.zeros((30, 30, 3)), np.ones((30, 30, 3), bool))


def test_the_smallest_lesion_is_measured() -> None:
    image = np.arange(900).reshape(30, 30)
    assert np.isfinite(
        analytic_features(image.astype(np.uint16), _masked((slice(0, 4), slice(0, 4))))
    ).all()

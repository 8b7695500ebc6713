"""Tests of :mod:`methods.imaging.deep` against values worked by hand and exact fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from methods.imaging import deep
from methods.imaging.deep import stretch_to_8_bits
from methods.imaging.image_format import UndecodableImageError

REAL_TYPES = ["i1", ">u2", "<i2", ">i2", "<u4", "<i4", "<u8", ">u8", ">i8", "<f2", ">f4", "<f8"]


@pytest.mark.parametrize("dtype", REAL_TYPES)
def test_the_range_of_an_image_becomes_0_to_255(dtype: str) -> None:
    values = np.array([[10, 30], [20, 110]]).astype(dtype)
    # 255 * 20 / 100 = 51; 255 * 10 / 100 = 25.5, which is rounded to the even number
    assert stretch_to_8_bits(values).tolist() == [[0, 51], [26, 255]]


@pytest.mark.parametrize("dtype", REAL_TYPES)
def test_white_is_zero_turns_the_range_round(dtype: str) -> None:
    values = np.array([[10, 30], [60, 110]]).astype(dtype)
    assert stretch_to_8_bits(values, white_is_zero=True).tolist() == [[255, 204], [128, 0]]


def test_colour_channels_share_one_range() -> None:
    values = np.array([[[0, 1000, 4000], [500, 2000, 4080]]], np.uint16)
    # 255 * 1000 / 4080 = 62.5, to even
    assert stretch_to_8_bits(values).tolist() == [[[0, 62, 250], [31, 125, 255]]]


@given(
    st.data(),
    st.sampled_from(["i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]),
    st.booleans(),
)
def test_any_values_become_the_nearest_levels(data: st.DataObject, dtype: str, white: bool) -> None:
    """Extremes of every type, compared with fractions, which know no overflow and no rounding."""
    elements = (
        st.floats(allow_nan=False, allow_infinity=False, width=8 * np.dtype(dtype).itemsize)  # type: ignore[arg-type]
        if dtype[0] == "f"
        else None
    )
    values = data.draw(
        hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=3), elements=elements)
    )
    levels = stretch_to_8_bits(values, white_is_zero=white)
    exact = [Fraction(value) for value in values.ravel().tolist()]
    low, high = min(exact), max(exact)
    for value, level in zip(exact, levels.ravel().tolist(), strict=True):
        if low == high:
            assert level == 0
            continue
        expected = 255 * (high - value if white else value - low) / (high - low)
        assert abs(level - expected) <= Fraction(1, 2) + Fraction(1, 10**9)


@pytest.mark.parametrize("values", [[[0, 255], [7, 7]], [[9, 9], [9, 9]]])
def test_8_bits_stay_as_they_are(values: list[list[int]]) -> None:
    levels = np.array(values, np.uint8)
    assert np.array_equal(stretch_to_8_bits(levels), levels)
    assert np.array_equal(stretch_to_8_bits(levels, white_is_zero=True), 255 - levels)


def test_bool_is_black_and_white() -> None:
    assert stretch_to_8_bits(np.array([[True, False]])).tolist() == [[255, 0]]


def test_not_a_number_is_black_and_constant_values_too() -> None:
    values = np.array([[np.nan, -1], [1, 3]], np.float32)
    assert stretch_to_8_bits(values).tolist() == [[0, 0], [128, 255]]
    assert stretch_to_8_bits(values, white_is_zero=True).tolist() == [[0, 255], [128, 0]]
    assert not stretch_to_8_bits(np.full((2, 2), 700, np.uint16)).any()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[1.0, np.inf]], "infinite"),
        ([[np.nan, np.nan]], "no pixel value is a number"),
        ([[1j, 2j]], "no real numbers"),
    ],
)
def test_what_cannot_be_grey_is_refused(values: list[list[complex]], reason: str) -> None:
    with pytest.raises(UndecodableImageError, match=reason):
        stretch_to_8_bits(np.array(values))


GREY = np.array([[0, 1000], [2000, 4080]], np.uint16)
LEVELS = [[0, 62], [125, 255]]


@pytest.mark.parametrize("opaque", [65535, 4095, 1])
def test_12_bits_in_16_look_the_same_in_grey_and_colour_with_and_without_alpha(
    opaque: int,
) -> None:
    colour = np.stack([GREY] * 3, axis=-1)
    alpha = np.full_like(GREY, opaque)
    assert stretch_to_8_bits(GREY).tolist() == LEVELS
    assert stretch_to_8_bits(GREY, alpha).tolist() == LEVELS
    for premultiplied in (False, True):
        levels = stretch_to_8_bits(colour, alpha, premultiplied=premultiplied)
        assert levels.tolist() == np.stack([np.array(LEVELS)] * 3, axis=-1).tolist()


@pytest.mark.parametrize(
    ("alpha", "bits"),
    [
        (np.array([[0, 13107], [65535, 32896]], np.uint16), None),
        (np.array([[0, 819], [4095, 2056]], np.uint16), 12),
        (np.array([[0, 0.2], [1, 32896 / 65535]], np.float32), None),
        (np.array([[np.nan, 51], [255, 128]], np.float32), None),
    ],
)
def test_transparency_lies_over_white(alpha: np.ndarray, bits: int | None) -> None:
    values = np.array([[60000, 10], [1030, 2050]], np.uint16)
    # the unseen 60000 sets no range: 10 -> 0, 1030 -> 127.5 -> 128, 2050 -> 255
    levels = stretch_to_8_bits(values, alpha, alpha_bits=bits)
    assert levels.tolist() == [[255, 204], [128, 255]]
    assert stretch_to_8_bits(np.full((2, 2), 55, np.uint8), alpha).tolist() == [
        [255, 215],
        [55, 155],
    ]


def test_associated_alpha_gives_the_same_as_unassociated() -> None:
    values = np.array([[1000, 1500, 2000, 4000]] * 2, np.uint16)
    alpha = np.array([[65535, 52428, 0, 65535]] * 2, np.uint16)
    multiplied = np.rint(values * (alpha / 65535)).astype(np.uint16)
    expected = stretch_to_8_bits(values, alpha)
    assert stretch_to_8_bits(multiplied, alpha, premultiplied=True).tolist() == expected.tolist()
    assert expected[0].tolist() == [0, 85, 255, 255]  # 255 - (255 - 42) * 0.8 = 84.6, 42.5 to even


def test_rounding_of_nearly_transparent_colours_sets_no_range() -> None:
    values = np.array([[1000, 4000, 1]], np.uint16)
    alpha = np.array([[65535, 65535, 8]], np.uint16)  # 1 of 8 would be 8192 of 65535
    assert stretch_to_8_bits(values, alpha, premultiplied=True).tolist() == [[0, 255, 255]]


@pytest.mark.parametrize(
    "alpha", [np.array([[-1, 5]]), np.array([[0.5, 1.5]]), np.array([[0.5, np.inf]])]
)
def test_an_impossible_opacity_is_refused(alpha: np.ndarray) -> None:
    with pytest.raises(UndecodableImageError, match="opacity"):
        stretch_to_8_bits(np.array([[1, 2]], np.uint16), alpha)


def test_the_blocks_of_the_arithmetic_cannot_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    values, alpha = rng.normal(size=(37, 11, 3)), rng.random((37, 11))
    whole = stretch_to_8_bits(values, alpha, premultiplied=True)
    monkeypatch.setattr(deep, "BLOCK_VALUES", 64)
    assert np.array_equal(stretch_to_8_bits(values, alpha, premultiplied=True), whole)

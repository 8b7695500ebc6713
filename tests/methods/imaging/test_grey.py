"""The luma of colours worked by hand, and in integers for many."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from methods.imaging.grey import luma, luma_uint8

COLOURS = np.array(
    [[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]]]], np.uint8
)


def test_luma_by_hand() -> None:
    grey = luma(COLOURS)
    assert grey.dtype == np.float32
    # 0.299 * 10 + 0.587 * 20 + 0.114 * 30 = 18.15
    np.testing.assert_allclose(grey, [[[0.299, 0.587, 0.114, 1, 18.15 / 255]]], rtol=1e-6)
    assert grey[0, 0, 3] == 1


def test_luma_in_bytes_by_hand() -> None:
    # 76.245, 149.685 and 29.07
    np.testing.assert_array_equal(luma_uint8(COLOURS), [[[76, 150, 29, 255, 18]]])
    assert luma_uint8(COLOURS).dtype == np.uint8


def test_a_grey_image_keeps_its_values() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(luma_uint8(np.repeat(values[..., None], 3, axis=3)), values)


def test_both_are_exact_sums_for_every_red_and_green() -> None:
    red, green = np.mgrid[:256, :256].astype(np.uint8)
    halves = 0
    for blue in (0, 1, 50, 100, 129, 255):
        images = np.stack([red, green, np.full_like(red, blue)], axis=2)[None]
        exact = images.astype(np.int64) @ np.array([299, 587, 114])
        whole, rest = np.divmod(exact, 1000)
        halves += int((rest == 500).sum())
        rounded = whole + ((rest > 500) | ((rest == 500) & (whole % 2 == 1)))
        np.testing.assert_array_equal(luma_uint8(images), rounded)
        np.testing.assert_array_equal(luma(images), exact.astype(np.float32) / np.float32(255_000))
    assert halves > 50, "sums that lie halfway between two grey values are among them"


@pytest.mark.parametrize(
    "images",
    [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 1), np.uint8), np.zeros((1, 4, 4, 3))],
)
@pytest.mark.parametrize("compute", [luma, luma_uint8])
def test_other_arrays_are_refused(
    images: np.ndarray, compute: Callable[[np.ndarray], np.ndarray]
) -> None:
    with pytest.raises(ValueError, match=r"\(n, H, W, 3\) uint8"):
        compute(images)

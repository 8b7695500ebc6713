"""Gradient grids: what leaves them as they are, and what only moves their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageOps

from methods.curation.gradient_grids import (
    SIDE,
    TURNS,
    changed,
    gradient_grids,
    resized,
    trimmed,
    turned,
    turned_grids,
)
from tests.methods.curation.pictures import SIZE, picture, square

SMALL = np.stack([resized(square(picture(seed)), SIDE) for seed in range(3)])
GRIDS = gradient_grids(SMALL)


@pytest.mark.parametrize("turn", TURNS)
def test_the_grid_of_a_turned_picture_is_the_grid_turned(turn: int) -> None:
    expected = gradient_grids(np.ascontiguousarray(turned(SMALL, turn)))
    np.testing.assert_allclose(turned_grids(GRIDS, turn), expected, atol=1e-4)
    if turn:
        assert np.abs(GRIDS - expected).max() > 0.03


def test_turns_are_eight_different_ones() -> None:
    pictures = {turned(SMALL[:1], turn).tobytes() for turn in TURNS}
    assert len(pictures) == 8


def test_an_inverted_picture_has_the_same_grid() -> None:
    np.testing.assert_allclose(gradient_grids(255 - SMALL), GRIDS, atol=1e-4)


def test_contrast_changes_little_and_another_picture_much() -> None:
    flat = GRIDS.reshape(3, -1)
    np.testing.assert_allclose(np.linalg.norm(flat, axis=1), 1, atol=1e-5)
    halved = gradient_grids(SMALL / 2 + 40).reshape(3, -1)
    assert (flat * halved).sum(1).min() > 0.99
    assert (flat @ flat.T)[~np.eye(3, dtype=bool)].max() < 0.98


def test_a_flat_picture_has_a_grid_of_zeros() -> None:
    assert not gradient_grids(np.full((1, SIDE, SIDE), 9, np.float32)).any()


def test_a_changed_picture_is_rotated_and_shifted() -> None:
    ramp = np.tile(np.arange(SIDE, dtype=np.float32), (SIDE, 1))
    forms = changed(ramp)
    assert [form.shape for form in forms] == [(SIDE, SIDE)] * 7
    np.testing.assert_array_equal(forms[0], ramp)
    middles = [float(form[SIDE // 2, SIDE // 2]) for form in forms[3:]]
    assert middles == [SIDE // 2 + 1, SIDE // 2 - 1] * 2
    rises = [float(form[24, 16] - form[8, 16]) for form in forms[1:3]]
    assert rises[0] == pytest.approx(-rises[1], abs=0.2)
    assert abs(rises[0]) == pytest.approx(16 * np.tan(np.radians(4)), abs=0.2)


def test_borders_within_each_other_are_removed() -> None:
    inner = square(picture(0))
    framed = np.asarray(ImageOps.expand(ImageOps.expand(picture(0), 8, 0), 10, 255))
    assert trimmed(inner).shape == (SIZE, SIZE)
    cut = trimmed(framed)
    assert cut.shape == (SIZE - 4, SIZE - 4)  # without what a resize would have blurred
    np.testing.assert_array_equal(cut, inner[2:-2, 2:-2])


def test_a_flat_picture_is_not_trimmed_to_nothing() -> None:
    assert trimmed(np.zeros((SIZE, SIZE), np.uint8)).shape == (SIZE, SIZE)
    dot = np.zeros((SIZE, SIZE), np.uint8)
    dot[100, 100] = 255
    assert min(trimmed(dot).shape) >= 1

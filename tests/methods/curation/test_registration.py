"""Registration: a known map is found, and only copies agree in detail."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageOps

from methods.curation.gradient_grids import Grey
from methods.curation.registration import MIN_AGREEMENT, Views, likeness, rough_maps, views_of
from tests.methods.curation.pictures import picture, square


def _agreed(first: Grey, second: Grey) -> tuple[float, float, int]:
    """Agreement, likeness and sign of two pictures."""
    views: Views = views_of([first, second])
    maps = rough_maps(views.coarse[:1], views.coarse[1])
    sign = int(maps.signs[0])
    alike = likeness(views.one(0), views.one(1), maps.moves[0], sign)
    return float(maps.agreement[0]), alike, sign


def test_a_picture_lies_over_itself() -> None:
    agreement, alike, sign = _agreed(square(picture(0)), square(picture(0)))
    assert (agreement, alike, sign) == (pytest.approx(1), pytest.approx(1), 1)


def test_an_inverted_picture_agrees_with_the_other_sign() -> None:
    inverted = square(ImageOps.invert(picture(0)))
    agreement, alike, sign = _agreed(square(picture(0)), inverted)
    assert (agreement, alike, sign) == (pytest.approx(1), pytest.approx(1, abs=1e-3), -1)


def test_a_crop_gives_its_map() -> None:
    """Of 10 % off the left and the top: a place p of the whole, in halves of a side from the
    centre, lies at (p - 0.1) / 0.9."""
    whole = square(picture(1))
    part = square(picture(1).crop((23, 23, 227, 227)))
    views = views_of([whole, part])
    moves = rough_maps(views.coarse[:1], views.coarse[1]).moves[0]
    place = np.array([0.3, -0.2, 1.0])
    expected = ((place[:2] - 0.1) / 0.9 - place[:2]) / 2
    np.testing.assert_allclose(place @ moves, expected, atol=0.02)
    assert _agreed(whole, part)[1] > 0.9


def test_another_picture_does_not_agree() -> None:
    others = [_agreed(square(picture(0)), square(picture(seed))) for seed in range(1, 9)]
    assert max(alike for _, alike, _ in others) < 0.6
    assert sum(agreement >= MIN_AGREEMENT for agreement, _, _ in others) <= 2


def test_nothing_is_said_of_flat_pictures() -> None:
    flat = np.full((227, 227), 90, np.uint8)
    assert _agreed(flat, flat)[:2] == (0, 0)
    dot = flat.copy()
    dot[100:110, 100:110] = 255
    assert _agreed(dot, dot)[1] == 0  # too few patches have contrast


def test_a_faint_picture_is_still_found() -> None:
    faint = [(square(picture(seed)) // 16 + 100).astype(np.uint8) for seed in (0, 1)]
    assert _agreed(faint[0], faint[0])[1] == pytest.approx(1)
    assert _agreed(faint[0], faint[1])[1] < 0.6

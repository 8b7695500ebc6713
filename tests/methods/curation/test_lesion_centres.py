"""Centres of lesions in pictures that are stored turned or mirrored."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from methods.curation.lesion_centres import AMBIGUOUS, CONVERTED, upright_centre
from methods.imaging.image_format import ImageFacts
from methods.imaging.orientation import turned_upright, upright_size

WIDTH, HEIGHT = 5, 3  # of the stored pixels


def facts(orientation: int, width: int = WIDTH, height: int = HEIGHT) -> ImageFacts:
    """Facts of a picture of these stored pixels."""
    size = upright_size(width, height, orientation)
    return ImageFacts(*size, "L", "JPEG", orientation=orientation)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_centre_outside_the_upright_picture_is_where_its_pixel_goes(orientation: int) -> None:
    for x, y in ((4, 0), (3, 1), (4, 2)):  # an upright picture of 3 columns ends before them
        stored = Image.new("L", (WIDTH, HEIGHT))
        stored.putpixel((x, y), 255)
        row, column = np.argwhere(np.asarray(turned_upright(stored, orientation)) == 255)[0]
        assert upright_centre((x, y), facts(orientation)) == ((column, row), CONVERTED)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [(5, (1.25, 3.5)), (6, (0.75, 3.5)), (7, (0.75, 0.5)), (8, (1.25, 0.5))],
)
def test_a_centre_between_pixels_keeps_its_place(
    orientation: int, expected: tuple[float, float]
) -> None:
    assert upright_centre((3.5, 1.25), facts(orientation)) == (expected, CONVERTED)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_centre_that_only_the_upright_picture_has_is_taken_as_it_is(orientation: int) -> None:
    assert upright_centre((1, 4), facts(orientation)) == ((1, 4), None)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_centre_that_both_have_is_named(orientation: int) -> None:
    assert upright_centre((0, 1.5), facts(orientation)) == ((0, 1.5), AMBIGUOUS)


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_the_middle_is_the_middle_either_way(orientation: int) -> None:
    assert upright_centre((1, 1), facts(orientation, 3, 3)) == ((1, 1), None)


def test_a_picture_that_is_stored_upright_needs_nothing() -> None:
    assert upright_centre((4, 2), facts(1)) == ((4, 2), None)
    assert upright_centre((2, 4), facts(1)) == ((2, 4), None)


def test_a_centre_outside_of_both_stays_for_the_lesions_to_name() -> None:
    assert upright_centre((9, 9), facts(6)) == ((9, 9), None)


def test_the_edge_of_the_last_pixel_is_inside() -> None:
    assert upright_centre((4.5, 2.5), facts(6)) == ((0.0, 4.5), CONVERTED)

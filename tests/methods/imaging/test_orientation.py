"""The eight orientations of EXIF, worked by hand."""

import numpy as np
import pytest
from PIL import Image

from methods.imaging.orientation import orientation_of, turned_upright, upright_size

UPRIGHT = {
    1: [[10, 20, 30], [40, 50, 60]],
    2: [[30, 20, 10], [60, 50, 40]],
    3: [[60, 50, 40], [30, 20, 10]],
    4: [[40, 50, 60], [10, 20, 30]],
    5: [[10, 40], [20, 50], [30, 60]],
    6: [[40, 10], [50, 20], [60, 30]],
    7: [[60, 30], [50, 20], [40, 10]],
    8: [[30, 60], [20, 50], [10, 40]],
}
"""The stored pixels 10 20 30 / 40 50 60 as each orientation shows them."""


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_stored_pixels_are_turned_upright(orientation: int) -> None:
    stored = Image.fromarray(np.array(UPRIGHT[1], np.uint8))
    upright = turned_upright(stored, orientation)
    assert np.asarray(upright).tolist() == UPRIGHT[orientation]
    assert upright_size(3, 2, orientation) == upright.size


@pytest.mark.parametrize(("stated", "taken"), [(6, 6), (0, 1), (9, 1), ("left", 1)])
def test_an_unknown_orientation_turns_nothing(stated: object, taken: int) -> None:
    image = Image.new("L", (2, 1))
    image.getexif()[0x0112] = stated
    assert orientation_of(image) == taken

"""The map keeps groups together and is the same every time."""

from __future__ import annotations

import numpy as np
import pytest

from methods.classifiers.neighbour_map import neighbour_map


def test_neighbours_stay_neighbours_and_the_map_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    group = np.arange(60) % 3
    rows = (rng.normal(0, 0.1, (60, 8)) + 3 * np.eye(8)[group]).astype(np.float32)
    places = neighbour_map(rows, 0)
    assert places.shape == (60, 2)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(60)
    assert (group[distance.argmin(axis=1)] == group).all()
    np.testing.assert_array_equal(places, neighbour_map(rows, 0))


def test_few_images() -> None:
    assert np.isfinite(neighbour_map(np.eye(4, dtype=np.float32), 0)).all()
    with pytest.raises(ValueError, match="at least four images"):
        neighbour_map(np.eye(3), 0)

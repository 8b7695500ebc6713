"""What the positions add is the score, worked by hand and against the decision of a fit."""

from __future__ import annotations

import numpy as np

from methods.classifiers.evidence_map import evidence_maps


def test_by_hand() -> None:
    rows = np.float32([[1, 2, 3, 4, 5, 6, 7, 8]])  # two channels of 2 x 2
    weights = np.zeros((8, 2), np.float32)
    weights[0, 1], weights[4, 1], weights[7, 1], weights[:, 0] = 10, -1, 1, 99
    (found,) = evidence_maps(rows, weights, np.array([1]), (2, 2, 2))
    assert found.tolist() == [[10 - 5, 0], [0, 8]]


def test_the_positions_add_up_to_the_score() -> None:
    rng = np.random.default_rng(0)
    rows = rng.random((5, 4 * 3 * 3), np.float32)
    weights = rng.normal(size=(36, 3)).astype(np.float32)
    columns = np.array([0, 1, 2, 1, 0])
    maps = evidence_maps(rows, weights, columns, (4, 3, 3))
    assert maps.shape == (5, 3, 3)
    expected = (rows @ weights)[np.arange(5), columns]
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), expected, rtol=1e-5)

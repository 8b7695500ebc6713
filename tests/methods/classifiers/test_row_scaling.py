"""Scaling of rows before the SVM: against scikit-learn, by hand, and blind to rows not fitted."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from methods.classifiers.row_scaling import fit_scaling
from methods.settings import RowScale


def test_standardised_columns_are_those_of_scikit_learn_whatever_the_blocks() -> None:
    rng = np.random.default_rng(0)
    training = 1000 + rng.normal(0, 3, (50, 4, 2)).astype(np.float32)
    training[:, 0, 0] = 7  # a constant column is left at 0
    other = 1000 + rng.normal(0, 3, (6, 4, 2)).astype(np.float32)
    theirs = StandardScaler().fit(training.reshape(50, -1).astype(np.float64))
    wanted = theirs.transform(other.reshape(6, -1))
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    for blocks in ([training], [training[:1], training[1:20], training[20:]]):
        scaled = fit_scaling("standardise", blocks)(other)
        assert scaled.dtype == np.float32
        np.testing.assert_allclose(scaled, wanted, atol=2e-4)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("l2", [0.8, -0.6]),
        ("sqrt", [4 / 5, -3 / 5]),
        ("none", [16.0, -9.0]),
        ("whiten", [16 / 337**0.5, -9 / 337**0.5]),
    ],
)
def test_one_row_by_hand(scale: RowScale, expected: list[float]) -> None:
    row = np.array([[8.0, -6.0]]) if scale == "l2" else np.array([[16.0, -9.0]])
    np.testing.assert_allclose(fit_scaling(scale, [])(row), [expected], rtol=1e-6)


def test_standardising_needs_training_rows() -> None:
    with pytest.raises(ValueError, match="no training rows"):
        fit_scaling("standardise", [])

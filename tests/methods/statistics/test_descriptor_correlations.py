"""Correlations of features with descriptors: against SciPy, and the reach of chance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from methods.statistics.descriptor_correlations import (
    standard_ranks,
    strongest_correlations,
    unit_means,
)


def test_images_of_a_patient_are_averaged() -> None:
    values = np.array([[1.0, 10.0], [3.0, 30.0], [5.0, 0.0]])
    assert unit_means(values, ["b", "b", "a"]).tolist() == [[5.0, 0.0], [2.0, 20.0]]


def test_products_of_ranks_are_spearmans_correlations() -> None:
    values = np.random.default_rng(0).integers(0, 5, (40, 3)).astype(np.float64)
    ranks = standard_ranks(values)
    np.testing.assert_allclose(ranks.T @ ranks, spearmanr(values).statistic)
    assert not standard_ranks(np.ones((4, 1))).any(), "a constant column goes with nothing"


def test_a_feature_that_goes_with_a_descriptor_is_found_and_stands_out() -> None:
    rng = np.random.default_rng(0)
    descriptors, features = rng.normal(size=(60, 3)), rng.normal(size=(60, 50))
    features[:, 7] = -np.exp(descriptors[:, 1] + 0.3 * rng.normal(size=60))
    found = strongest_correlations(descriptors, features, 0, permutations=99)
    assert found.feature[1] == 7
    assert found.rho[1] == pytest.approx(spearmanr(descriptors[:, 1], features[:, 7]).statistic)
    assert found.p_value[1] == 0.01, "1 of 100"
    assert found.p_value[0] > 0.05
    assert abs(found.rho[0]) > 0.25, "of fifty features one is this strong by chance"
    assert found.units == 60


def test_chance_alone_is_called_a_finding_in_five_of_a_hundred() -> None:
    """120 data sets without any relation: the smallest p of each is below .05 in 6 +- 2.4."""
    rng = np.random.default_rng(3)
    smallest = [
        strongest_correlations(
            rng.normal(size=(25, 4)), rng.normal(size=(25, 30)), number, permutations=99
        ).p_value.min()
        for number in range(120)
    ]
    assert 1 <= sum(p <= 0.05 for p in smallest) <= 13


def test_other_units_are_refused() -> None:
    with pytest.raises(ValueError, match="got 4 and 5"):
        strongest_correlations(np.zeros((4, 1)), np.zeros((5, 1)), 0)

"""Agreement of classifiers against scikit-learn and SciPy, and worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from methods.statistics.agreement import agreement, cohen_kappa, rank_correlation


def test_counts_and_kappa_of_a_table_worked_by_hand() -> None:
    a = np.array([0.9, 0.9, 0.9, 0.1, 0.1, 0.5])
    b = np.array([0.9, 0.9, 0.1, 0.1, 0.9, 0.2])
    positive = np.array([True, False, True, False, False, True])
    found = agreement(a, b, positive, list("abcdef"), 0)
    # A says 1 1 1 0 0 1, B says 1 1 0 0 1 0; truth 1 0 1 0 0 1
    assert (found.both_right, found.only_a, found.only_b, found.both_wrong) == (2, 3, 0, 1)
    # they agree on 3 of 6; by chance 4/6 * 3/6 + 2/6 * 3/6 = 1/2
    assert found.kappa == pytest.approx(0)


def test_figures_are_the_libraries() -> None:
    rng = np.random.default_rng(0)
    a = rng.random(90).round(1)
    b = ((a + rng.random(90)) / 2).round(1)
    positive = rng.random(90) < a
    found = agreement(a, b, positive, [f"patient {i // 3}" for i in range(90)], 0)
    assert found.kappa == pytest.approx(cohen_kappa_score(a >= 0.5, b >= 0.5))
    assert found.spearman == pytest.approx(spearmanr(a, b).statistic)
    within = [spearmanr(a[of], b[of]).statistic * of.sum() for of in (positive, ~positive)]
    assert found.within_classes == pytest.approx(sum(within) / 90)
    for value, interval in (
        (found.kappa, found.kappa_interval),
        (found.spearman, found.spearman_interval),
    ):
        assert interval is not None
        assert interval.groups == 30, "patients, not images"
        assert interval.low < value < interval.high


def test_what_cannot_be_said_is_not_a_number() -> None:
    certain = np.ones(9, np.bool_)
    assert np.isnan(cohen_kappa(certain, certain))
    assert np.isnan(rank_correlation(np.ones(9), np.arange(9.0)))
    assert cohen_kappa(certain, ~certain) == 0


def test_what_both_know_of_the_class_is_not_agreement_within_it() -> None:
    rng = np.random.default_rng(1)
    positive = np.arange(400) % 2 == 0
    a, b = (0.3 * positive + 0.7 * rng.random(400) for _ in range(2))
    found = agreement(a, b, positive, [str(i) for i in range(400)], 0)
    assert found.spearman > 0.2
    assert abs(found.within_classes) < 0.1

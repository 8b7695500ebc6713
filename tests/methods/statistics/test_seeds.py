"""Differences over seeds: by hand, against scipy, and on simulated seeds and patients."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from methods.statistics.seeds import seed_difference
from methods.statistics.significance import accuracy_interval


def test_without_seeds_or_groups_the_difference_is_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1, 80)) < [[[0.7]], [[0.5]]]
    ours = seed_difference(a, b, None)
    assert ours is not None
    theirs = stats.ttest_rel(a[0].astype(float), b[0].astype(float))
    assert ours.p_value == pytest.approx(theirs.pvalue)
    low, high = theirs.confidence_interval()
    assert (ours.low, ours.high) == pytest.approx((low, high))


def test_groups_of_equal_size_count_as_their_means() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 1, 90)) < 0.6
    ours = seed_difference(a, b, [f"p{i // 3}" for i in range(90)])
    assert ours is not None
    means = (a[0].astype(float) - b[0]).reshape(30, 3).mean(axis=1)
    assert ours.groups == 30
    assert ours.p_value == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_both_variances_are_added() -> None:
    """Two images that are always alike leave the variance over seeds alone, and its 1 degree."""
    a = np.array([[1.0, 1.0], [0.5, 0.5]])
    b = np.array([[0.0, 0.0]])
    ours = seed_difference(a, b, None)
    assert ours is not None
    error = 0.25  # SD of 1 and 0.5 over the root of 2
    assert ours.difference == 0.75
    assert ours.p_value == pytest.approx(2 * stats.t.sf(0.75 / error, 1))
    assert ours.smallest == pytest.approx((stats.t.ppf(0.975, 1) + stats.t.ppf(0.8, 1)) * error)
    assert ours.seeds == (2, 1)


def test_one_group_and_no_difference_at_all() -> None:
    same = np.ones((2, 3))
    assert seed_difference(same, same, ["p"] * 3) is None
    ours = seed_difference(same, same, None)
    assert ours is not None
    width = 1 - 0.025 ** (1 / 3)  # Clopper and Pearson, no hit in three trials
    assert (ours.difference, ours.p_value) == (0, 1)
    assert (ours.low, ours.high) == (pytest.approx(-width), pytest.approx(width))
    assert ours.smallest == 1, "three images show nothing"


def test_ten_groups_that_all_differ_in_the_same_way() -> None:
    ours = seed_difference(np.ones((2, 10)), np.zeros((1, 10)), None)
    assert ours is not None
    assert (ours.difference, ours.high) == (1, 1)
    assert ours.low == pytest.approx(0.025 ** (1 / 10))
    assert ours.p_value == pytest.approx(2 / 2**10), "the sign test"
    assert ours.smallest == pytest.approx(0.8)


@pytest.mark.parametrize("broken", [np.ones(3), np.ones((0, 3)), np.full((1, 3), 1.5)])
def test_what_is_no_share_is_refused(broken: NDArray[np.float64]) -> None:
    with pytest.raises(ValueError, match=r"needed|lie in"):
        seed_difference(broken, broken, None)


def _simulated(
    rng: np.random.Generator, seeds: int, patients: int, each: int, spread: float
) -> NDArray[np.float64]:
    """Right or wrong: images of a patient are alike, and each seed has a level of its own."""
    level = 1.0 + rng.normal(0, spread, (seeds, 1)) + np.repeat(rng.normal(0, 1, patients), each)
    return (rng.random((seeds, patients * each)) < 1 / (1 + np.exp(-level))).astype(np.float64)


def test_the_interval_holds_the_truth_and_a_test_finds_nothing_where_nothing_is() -> None:
    """300 simulations of 3 seeds and 40 patients of 5 images, between-seed SD 0.3 on the logit."""
    rng = np.random.default_rng(5)
    truth = _simulated(np.random.default_rng(6), 2000, 400, 1, 0.3).mean()
    groups = [f"p{i // 5}" for i in range(200)]
    held, found = 0, 0
    for _ in range(300):
        a = _simulated(rng, 3, 40, 5, 0.3)
        interval = accuracy_interval(a > 0, groups)
        assert interval is not None
        held += interval.low <= truth <= interval.high
        difference = seed_difference(a, _simulated(rng, 3, 40, 5, 0.3), groups)
        assert difference is not None
        found += difference.p_value < 0.05
    assert held / 300 >= 0.93
    assert found / 300 <= 0.06

"""Intervals and paired tests, against values worked by hand or taken from textbooks."""

from __future__ import annotations

import numpy as np
import pytest

from methods.statistics import significance
from methods.statistics.significance import (
    accuracy_interval,
    bonferroni,
    holm,
    mcnemar,
    mean_interval,
    paired_t,
)


def test_mcnemar_one_against_six() -> None:
    a = np.array([True] * 1 + [False] * 6 + [True] * 5 + [False] * 3)
    b = np.array([False] * 1 + [True] * 6 + [True] * 5 + [False] * 3)
    result = mcnemar(a, b)
    assert (result.n, result.only_a, result.only_b) == (15, 1, 6)
    assert result.p_value == pytest.approx(2 * (1 + 7) / 2**7)  # 0.125
    assert mcnemar(b, a).p_value == pytest.approx(0.125)
    assert (mcnemar(b, a).only_a, mcnemar(b, a).only_b) == (6, 1)


def test_mcnemar_without_disagreement_is_one() -> None:
    same = np.array([True, False, True])
    assert mcnemar(same, same).p_value == 1.0


@pytest.mark.parametrize(("n_a", "n_b"), [(3, 4), (0, 0)])
def test_mcnemar_refuses_other_images(n_a: int, n_b: int) -> None:
    with pytest.raises(ValueError, match="same images"):
        mcnemar(np.ones(n_a, bool), np.ones(n_b, bool))


def test_holm_textbook() -> None:
    # Four tests: 0.005*4 = 0.02, 0.01*3 = 0.03, 0.03*2 = 0.06, 0.04*1 = 0.04 -> held up to 0.06 by
    # the one before.
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02], rtol=1e-12)


def test_holm_is_capped_and_takes_one_or_none() -> None:
    np.testing.assert_array_equal(holm(np.array([0.6, 0.7])), [1.0, 1.0])
    np.testing.assert_array_equal(holm(np.array([0.03])), [0.03])
    assert holm(np.array([])).shape == (0,)


def test_all_right_gives_clopper_pearson() -> None:
    interval = accuracy_interval(np.ones(10, bool))
    assert interval.method == "Clopper-Pearson"
    assert interval.low == pytest.approx(0.025 ** (1 / 10))
    assert interval.low == pytest.approx(0.6915, abs=5e-5)
    assert interval.high == 1.0


def test_all_wrong_gives_clopper_pearson() -> None:
    interval = accuracy_interval(np.zeros(10, bool))
    assert (interval.low, interval.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_bootstrap_is_near_the_binomial_spread() -> None:
    correct = np.arange(400) % 4 != 0  # 75 %, standard error sqrt(.75 * .25 / 400) = 0.02165
    interval = accuracy_interval(correct, n_resamples=4000)
    assert interval.method == "bootstrap"
    assert interval.low == pytest.approx(0.75 - 1.96 * 0.02165, abs=0.004)
    assert interval.high == pytest.approx(0.75 + 1.96 * 0.02165, abs=0.004)


def test_confidence_widens_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = np.arange(100) % 3 != 0
    monkeypatch.setattr(significance, "CONFIDENCE", 0.99)
    wide = accuracy_interval(correct, n_resamples=2000)
    monkeypatch.setattr(significance, "CONFIDENCE", 0.8)
    narrow = accuracy_interval(correct, n_resamples=2000)
    assert wide.low < narrow.low < correct.mean() < narrow.high < wide.high


def test_grouped_bootstrap_is_wider_on_clustered_images() -> None:
    # 20 patients with 10 images each, all right or all wrong: the evidence is 20 draws, not 200.
    per_patient = np.arange(20) % 4 != 0
    correct = np.repeat(per_patient, 10)
    patients = [f"p{i}" for i in range(20) for _ in range(10)]
    plain = accuracy_interval(correct, n_resamples=2000)
    grouped = accuracy_interval(correct, patients, n_resamples=2000)
    assert grouped.method == "group bootstrap"
    ratio = (grouped.high - grouped.low) / (plain.high - plain.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.15)


def test_groups_are_weighed_by_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(significance, "CONFIDENCE", 0.2)
    # Two groups, 9 right and 1 wrong: a draw is 1.0, 0.0 or 0.9, never the mean of the groups 0.5.
    correct = np.array([True] * 9 + [False])
    interval = accuracy_interval(correct, ["a"] * 9 + ["b"], n_resamples=1000)
    assert (interval.low, interval.high) == (pytest.approx(0.9), pytest.approx(0.9))


def test_groups_need_not_be_neighbours() -> None:
    correct = np.repeat(np.arange(12) % 3 != 0, 4)
    groups = np.repeat([f"g{i:02}" for i in range(12)], 4)
    order = np.random.default_rng(1).permutation(len(correct))
    assert accuracy_interval(correct, list(groups), 500) == accuracy_interval(
        correct[order], list(groups[order]), 500
    )


def test_interval_is_a_function_of_the_seed() -> None:
    correct = np.arange(57) % 3 != 0
    first = accuracy_interval(correct, n_resamples=700, seed=5)
    assert first == accuracy_interval(correct, n_resamples=700, seed=5)
    assert any(accuracy_interval(correct, n_resamples=700, seed=s) != first for s in range(6, 10))


def test_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        accuracy_interval(np.empty(0, bool))


def test_mean_interval_by_hand() -> None:
    # Mean 0.5, standard deviation 0.1, t(0.975, 2) = 4.302653: half width 0.2484.
    interval = mean_interval(np.array([0.4, 0.5, 0.6]))
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert (interval.low, interval.high) == (
        pytest.approx(0.5 - half, abs=1e-6),
        pytest.approx(0.5 + half, abs=1e-6),
    )
    assert interval.method == "t"


def test_mean_interval_edges() -> None:
    single = mean_interval(np.array([0.7]))
    assert (single.low, single.high, single.method) == (0.7, 0.7, "single draw")
    clipped = mean_interval(np.array([0.0, 1.0]))
    assert (clipped.low, clipped.high) == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least one value"):
        mean_interval(np.empty(0))


def test_paired_t_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t = 2 sqrt(3); two degrees of
    # freedom: p = 1 - t / sqrt(t^2 + 2).
    a, b = np.array([0.3, 0.5, 0.4]), np.array([0.2, 0.3, 0.1])
    assert paired_t(a, b) == pytest.approx(1 - np.sqrt(12 / 14), rel=1e-9)
    assert paired_t(b, a) == pytest.approx(paired_t(a, b), rel=1e-12)


def test_paired_t_of_equal_folds_is_one() -> None:
    values = np.array([0.81, 0.79, 0.85])
    assert paired_t(values, values) == 1.0
    assert paired_t(values, values + 1e-16) == 1.0


def test_paired_t_of_a_constant_difference_is_the_sign_flip_test() -> None:
    # All 2^5 sign flips are equally likely; two of them (all plus, all minus) are as extreme as
    # what is seen.
    values = np.array([0.1, 0.7, 0.3, 0.61, 0.8])
    assert len(set(values + 0.1 - values)) > 1  # equal but for rounding
    assert paired_t(values + 0.1, values) == 2 / 32


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([0.5], [0.6], "two or more folds"),
        ([0.5, 0.6], [0.6], "two or more folds"),
        ([0.5, np.nan], [0.6, 0.7], "not finite"),
    ],
)
def test_paired_t_refuses(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_t(np.array(a), np.array(b))


def test_bonferroni_multiplies_and_caps() -> None:
    np.testing.assert_allclose(
        bonferroni(np.array([0.01, 0.5, 0.022])), [0.03, 1.0, 0.066], rtol=1e-12
    )
    assert bonferroni(np.array([])).shape == (0,)


def test_the_interval_of_shares_of_decisions() -> None:
    """Four images of four decisions each: shares of 1, 0.5, 0.75 and 0.75."""
    shares = np.array([1.0, 0.5, 0.75, 0.75])
    found = accuracy_interval(shares, None, 2000, 0)
    assert 0.5 <= found.low < shares.mean() < found.high <= 1
    assert accuracy_interval(np.ones(4), None, 100, 0).method == "Clopper-Pearson"

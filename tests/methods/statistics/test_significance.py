"""Intervals and paired tests, against values worked by hand, other implementations, simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from methods.statistics import significance
from methods.statistics.significance import (
    ONE_GROUP,
    accuracy_interval,
    bonferroni,
    counts_bootstrap,
    group_bootstrap,
    holm,
    mean_interval,
    paired_t,
    paired_test,
    rests_on_too_few,
    sign_flip_p,
)


def patients(sizes: list[int]) -> list[str]:
    """Group of each image: as many images of patient p0, p1, ... as ``sizes`` says."""
    return [f"p{k:03}" for k, size in enumerate(sizes) for _ in range(size)]


def test_one_against_six_of_single_images_is_mcnemars_exact_test() -> None:
    a = np.array([True] * 1 + [False] * 6 + [True] * 5 + [False] * 3)
    b = np.array([False] * 1 + [True] * 6 + [True] * 5 + [False] * 3)
    for groups in (None, patients([1] * 15)):
        result = paired_test(a, b, groups)
        assert (result.n, result.groups, result.only_a, result.only_b) == (15, 15, 1, 6)
        assert result.p_value == pytest.approx(2 * (1 + 7) / 2**7)  # 0.125
        assert result.method == "exact McNemar test"
        assert result.difference == pytest.approx(-5 / 15)
    back = paired_test(b, a)
    assert (back.only_a, back.only_b, back.p_value) == (6, 1, pytest.approx(0.125))
    assert (back.low, back.high) == (pytest.approx(-result.high), pytest.approx(-result.low))


def test_without_disagreement_the_p_value_is_one() -> None:
    same = np.array([True, False, True, True])
    for groups in (None, ["a", "a", "b", "c"]):
        result = paired_test(same, same, groups)
        assert (result.p_value, result.difference) == (1.0, 0.0)
        assert result.low < 0 < result.high  # no disagreement is not proof of equality


@pytest.mark.parametrize(("n_a", "n_b"), [(3, 4), (0, 0)])
def test_a_paired_test_refuses_other_images(n_a: int, n_b: int) -> None:
    with pytest.raises(ValueError, match="same images"):
        paired_test(np.ones(n_a, bool), np.ones(n_b, bool))
    with pytest.raises(ValueError, match="one group for each image: got 2 groups and 3 images"):
        paired_test(np.ones(3, bool), np.ones(3, bool), ["a", "b"])


@pytest.mark.parametrize("totals", [[3, -1, 2, 0, 5], [1, 1, 1, 1, 1], [4], [2, -2], [0, 0], []])
def test_the_sign_flip_test_against_all_signs(totals: list[int]) -> None:
    flips = np.array(list(itertools.product([-1, 1], repeat=len(totals))))
    sums = np.abs(flips @ np.array(totals, np.int64))
    seen = abs(sum(totals))
    expected = (sums > seen).mean() + (sums == seen).mean() / (2 if seen else 1)
    assert sign_flip_p(np.array(totals, np.int64)) == pytest.approx(expected)


def test_images_of_a_patient_count_once() -> None:
    # Six patients of ten images: the first is better on all ten of each, or on one image of each.
    a, b = np.ones(60, bool), np.zeros(60, bool)
    whole = paired_test(a, b, patients([10] * 6))
    assert whole.p_value == pytest.approx(2**-6)  # mid-p: half of 2 / 2^6
    assert whole.method == "sign-flip test of groups, mid-p"
    assert paired_test(a, np.arange(60) % 10 > 0, patients([10] * 6)).p_value == whole.p_value
    assert paired_test(a, b).p_value == pytest.approx(2 * 2**-60)


def test_one_patient_tells_no_difference() -> None:
    result = paired_test(np.ones(9, bool), np.arange(9) > 4, ["p"] * 9)
    assert (result.p_value, result.low, result.high, result.groups) == (1.0, None, None, 1)


def test_the_interval_of_a_difference_agrees_with_its_test() -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        sizes = rng.integers(1, 6, rng.integers(2, 40)).tolist()
        a, b = rng.random((2, sum(sizes))) < np.array([[0.9], [rng.uniform(0.5, 0.95)]])
        result = paired_test(a, b, patients(sizes))
        assert result.low is not None
        assert result.high is not None
        assert result.low <= result.difference <= result.high
        assert (result.low <= 0 <= result.high) == (result.p_value >= 0.05)


def test_the_detectable_difference_of_many_single_images() -> None:
    # 400 images, 100 of them discordant: (1.960 + 0.842) sqrt(100) / 400.
    a, b = np.arange(400) % 8 != 0, np.arange(400) % 8 != 1
    assert paired_test(a, b).detectable == pytest.approx(2.8016 * 10 / 400, rel=1e-4)


def _null(rng: np.random.Generator, groups: int, size: int, rho: float) -> tuple[np.ndarray, ...]:
    """Two equally good classifiers, right on 80 %, images of a patient correlated by ``rho``."""
    whole = rng.random((2, groups, 1)) < 0.8
    own = rng.random((2, groups, size)) < 0.8
    right = np.where(rng.random((2, groups, size)) < np.sqrt(rho), whole, own)
    return right[0].ravel(), right[1].ravel()


def test_type_1_error_of_correlated_images() -> None:
    rng, groups = np.random.default_rng(0), patients([10] * 30)
    pairs = [_null(rng, 30, 10, 0.3) for _ in range(600)]
    found = np.mean([paired_test(a, b, groups).p_value < 0.05 for a, b in pairs])
    ignored = np.mean([paired_test(a, b).p_value < 0.05 for a, b in pairs])
    assert 0.03 <= found <= 0.07
    assert ignored > 0.15  # what is found by counting images


def test_coverage_of_correlated_images() -> None:
    rng, groups = np.random.default_rng(1), patients([10] * 10)
    held = 0
    for _ in range(400):
        right = rng.random((10, 10)) < rng.beta(0.9, 0.1, (10, 1))
        interval = accuracy_interval(right.ravel(), groups)
        assert interval is not None
        held += interval.low <= 0.9 <= interval.high
    assert held / 400 >= 0.93


def test_holm_textbook() -> None:
    # Four tests: 0.005*4 = 0.02, 0.01*3 = 0.03, 0.03*2 = 0.06, 0.04*1 = 0.04 -> held up to 0.06 by
    # the one before.
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02], rtol=1e-12)


def test_holm_is_capped_and_takes_one_or_none() -> None:
    np.testing.assert_array_equal(holm(np.array([0.6, 0.7])), [1.0, 1.0])
    np.testing.assert_array_equal(holm(np.array([0.03])), [0.03])
    assert holm(np.array([])).shape == (0,)


def test_all_right_counts_images_without_groups() -> None:
    interval = accuracy_interval(np.ones(10, bool))
    assert interval is not None
    assert (interval.method, interval.groups, interval.too_few) == ("Clopper-Pearson", 10, False)
    assert interval.low == pytest.approx(0.025 ** (1 / 10))
    assert interval.low == pytest.approx(0.6915, abs=5e-5)
    assert interval.high == 1.0


def test_all_wrong_is_the_mirror_of_all_right() -> None:
    interval = accuracy_interval(np.zeros(10, bool))
    assert interval is not None
    assert (interval.low, interval.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_all_right_counts_patients() -> None:
    interval = accuracy_interval(np.ones(100, bool), ["a", "b"] * 50)
    assert interval is not None
    assert (interval.low, interval.high) == (pytest.approx(0.1581, abs=5e-5), 1.0)
    assert interval.described == "Clopper-Pearson on groups; too few patients to say"
    seeds = accuracy_interval(np.ones((5, 100), bool), ["a", "b"] * 50)
    assert seeds == interval


def test_one_patient_has_no_interval() -> None:
    for correct in (np.arange(12) < 8, np.ones(12, bool), np.ones((3, 12), bool)):
        interval = accuracy_interval(correct, ["p"] * 12)
        assert not interval.known
        assert np.isnan([interval.low, interval.high]).all()
        assert (interval.groups, interval.method) == (1, ONE_GROUP)


def test_independent_images_have_jeffreys_interval() -> None:
    correct = np.arange(400) % 4 != 0
    expected = stats.beta.ppf([0.025, 0.975], 300.5, 100.5)
    for groups in (None, patients([1] * 400)):
        interval = accuracy_interval(correct, groups)
        assert interval is not None
        assert (interval.low, interval.high) == pytest.approx(tuple(expected))
        assert interval.described == "Jeffreys"


def test_confidence_widens_the_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    correct, groups = np.arange(100) % 3 != 0, patients([5] * 20)
    monkeypatch.setattr(significance, "CONFIDENCE", 0.99)
    wide = accuracy_interval(correct, groups)
    monkeypatch.setattr(significance, "CONFIDENCE", 0.8)
    narrow = accuracy_interval(correct, groups)
    assert wide is not None
    assert narrow is not None
    assert wide.low < narrow.low < correct.mean() < narrow.high < wide.high


def test_copies_of_an_image_add_nothing() -> None:
    # 200 patients with 10 images each, all right or all wrong: the evidence is 200, not 2000.
    per_patient = np.arange(200) % 4 != 0
    one = accuracy_interval(per_patient)
    ten = accuracy_interval(np.repeat(per_patient, 10), patients([10] * 200))
    assert one is not None
    assert ten is not None
    assert ten.groups == 200
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high), abs=0.002)


def test_groups_need_not_be_neighbours() -> None:
    correct = np.repeat(np.arange(12) % 3 != 0, 4)
    groups = np.array(patients([4] * 12))
    order = np.random.default_rng(1).permutation(len(correct))
    assert accuracy_interval(correct, list(groups)) == accuracy_interval(
        correct[order], list(groups[order])
    )


def test_a_large_patient_leaves_little_to_count() -> None:
    correct = np.arange(120) % 4 != 0
    equal = accuracy_interval(correct, patients([6] * 20))
    unequal = accuracy_interval(correct, patients([82, *[2] * 19]))
    assert equal is not None
    assert unequal is not None
    assert unequal.high - unequal.low > 1.5 * (equal.high - equal.low)


def test_equal_seeds_say_no_more_than_one() -> None:
    correct, groups = np.random.default_rng(1).random(400) < 0.8, patients([4] * 100)
    one, five = (
        accuracy_interval(correct, groups),
        accuracy_interval(np.stack([correct] * 5), groups),
    )
    assert one is not None
    assert five is not None
    assert (five.low, five.high) == pytest.approx((one.low, one.high), rel=1e-9)
    assert five.method == "Jeffreys at the effective sample size, seeds and images"


def test_where_only_the_seeds_vary_the_interval_is_about_students() -> None:
    accuracies = 0.5 + 0.02 * stats.norm.ppf((np.arange(10) + 0.5) / 10)
    n = 1_000_000
    correct = np.arange(n) < np.round(accuracies[:, None] * n)
    rng = np.random.default_rng(0)
    interval = accuracy_interval(np.stack([row[rng.permutation(n)] for row in correct]))
    student = mean_interval(accuracies, 10)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((student.low, student.high), abs=0.001)


def test_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        accuracy_interval(np.empty(0, bool))


def test_mean_interval_by_hand() -> None:
    # Mean 0.5, standard deviation 0.1, t(0.975, 2) = 4.302653: half width 0.2484.
    interval = mean_interval(np.array([0.4, 0.5, 0.6]), 40)
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert (interval.low, interval.high) == (
        pytest.approx(0.5 - half, abs=1e-6),
        pytest.approx(0.5 + half, abs=1e-6),
    )
    assert (interval.method, interval.groups) == ("t", 40)


def test_mean_interval_edges() -> None:
    clipped = mean_interval(np.array([0.0, 1.0]), 9)
    assert (clipped.low, clipped.high) == (0.0, 1.0)
    assert rests_on_too_few(clipped.described)
    assert not rests_on_too_few(mean_interval(np.array([0.0, 1.0]), 10).described)
    assert not rests_on_too_few(None)
    with pytest.raises(ValueError, match="two figures, got 1"):
        mean_interval(np.array([0.7]), 9)


def test_the_group_bootstrap_of_a_mean_is_about_students() -> None:
    values = np.random.default_rng(2).normal(0.5, 0.1, 40)
    interval = group_bootstrap(lambda at: float(values[at].mean()), 40, None, 4000)
    student = mean_interval(values, 40)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((student.low, student.high), abs=0.004)
    assert (interval.method, interval.groups) == ("group bootstrap", 40)


def test_the_group_bootstrap_keeps_groups_whole() -> None:
    groups, drawn = ["b", "a", "b", "c"], []
    group_bootstrap(lambda at: drawn.append(at.tolist()) or 0.5, 4, groups, 50)
    assert drawn[0] == [0, 1, 2, 3]
    assert all(sorted(at).count(0) == at.count(2) for at in drawn)


def test_the_group_bootstrap_says_when_it_cannot() -> None:
    assert group_bootstrap(lambda at: 0.5, 4, ["p"] * 4) is None
    assert group_bootstrap(lambda at: float("nan"), 4, None, 20) is None
    perfect = group_bootstrap(lambda at: 1.0, 8, ["a", "b"] * 4, 20)
    assert perfect is not None
    assert (perfect.low, perfect.high) == (pytest.approx(0.025**0.5), 1.0)
    with pytest.raises(ValueError, match="at least one image"):
        group_bootstrap(lambda at: 0.5, 0, None)


def _right_share(counts: np.ndarray) -> np.ndarray:
    right: np.ndarray = counts[:, 0] / np.maximum(counts.sum(axis=1), 1)
    return right


@pytest.mark.parametrize("size", [1, 4])
def test_counted_groups_have_the_interval_of_groups_drawn_one_by_one(size: int) -> None:
    rng = np.random.default_rng(size)
    cells = rng.integers(0, 3, 60)
    groups = [f"p{i // size}" for i in range(60)]
    counted = counts_bootstrap(_right_share, cells, (4,), groups, 20_000, 0)
    drawn = group_bootstrap(lambda at: float((cells[at] == 0).mean()), 60, groups, 20_000)
    assert counted is not None
    assert drawn is not None
    assert (counted.low, counted.high) == pytest.approx(
        (drawn.low, drawn.high),
        abs=1.01 / 60,  # an image more or less
    )
    assert (counted.method, counted.groups) == (drawn.method, drawn.groups)


def test_counts_do_not_depend_on_how_many_resamples_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, groups = np.array([0, 1, 2, 0, 1, 0, 3, 3]), list("aabbccdd")
    whole = counts_bootstrap(_right_share, cells, (4,), groups, 100, 3)
    monkeypatch.setattr(significance, "_COUNTS_AT_ONCE", 1)
    assert counts_bootstrap(_right_share, cells, (4,), groups, 100, 3) == whole


def test_the_bootstrap_of_counts_says_when_it_cannot() -> None:
    cells = np.array([0, 1, 0, 1])
    assert counts_bootstrap(_right_share, cells, (2,), ["p"] * 4, 20, 0) is None
    assert (
        counts_bootstrap(lambda counts: np.full(len(counts), np.nan), cells, (2,), None, 20, 0)
        is None
    )
    perfect = counts_bootstrap(
        lambda counts: np.ones(len(counts)), cells, (2,), list("aabb"), 20, 0
    )
    assert perfect is not None
    assert (perfect.low, perfect.high) == (pytest.approx(0.025**0.5), 1.0)
    with pytest.raises(ValueError, match="at least one image"):
        counts_bootstrap(_right_share, cells[:0], (2,), None, 20, 0)


def test_paired_t_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t = 2 sqrt(3); two degrees of
    # freedom: p = 1 - t / sqrt(t^2 + 2).
    a, b = np.array([0.3, 0.5, 0.4]), np.array([0.2, 0.3, 0.1])
    assert paired_t(a, b) == pytest.approx(1 - np.sqrt(12 / 14), rel=1e-9)
    assert paired_t(b, a) == pytest.approx(paired_t(a, b), rel=1e-12)


def test_the_corrected_t_test_by_hand() -> None:
    # Differences 1, 2, 3 (tenths) over 3 folds, one test image for two of training: the variance
    # is 1/3 + 1/2 of that of the differences, so t = 2 / sqrt(5 / 6).
    a, b = np.array([0.3, 0.5, 0.4]), np.array([0.2, 0.3, 0.1])
    t = 2 / np.sqrt(5 / 6)
    assert paired_t(a, b, 1 / 2) == pytest.approx(1 - t / np.sqrt(t**2 + 2), rel=1e-9)
    assert paired_t(a, b, 1 / 2) > paired_t(a, b)


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
    """Shares vary less than right and wrong: four images of four decisions, and forty of them."""
    shares = np.array([1.0, 0.5, 0.75, 0.75])
    few, many = accuracy_interval(shares), accuracy_interval(np.tile(shares, 10))
    assert few is not None
    assert many is not None
    assert few.low < 0.75 < few.high
    # standard error sqrt(0.03125 * 40 / 39 / 40) = 0.0283, t(39) = 2.023
    assert (many.low, many.high) == pytest.approx((0.75 - 0.0573, 0.75 + 0.0573), abs=0.006)
    whole = accuracy_interval(np.ones(4))
    assert whole is not None
    assert whole.method == "Clopper-Pearson"

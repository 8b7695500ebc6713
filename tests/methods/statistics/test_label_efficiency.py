"""Draws of few labels counted by hand, labels needed read off by hand, and the sentence that
reports them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from methods.statistics.label_efficiency import (
    CurvePoint,
    Saving,
    curve_point,
    fraction_draw,
    label_budget_draw,
    label_saving,
    labels_needed,
    saving_sentence,
)
from methods.statistics.significance import accuracy_interval, mean_interval

# a: 40 rows of 10 patients; b: 10 rows of one patient and 10 patients of one row; c: 1 row of a
# patient who has a, too.
LABELS = np.array(["a"] * 40 + ["b"] * 20 + ["c"])
GROUPS = [f"a{i // 4}" for i in range(40)] + ["many"] * 10 + [f"one{i}" for i in range(10)] + ["a3"]


def _counts(drawn: np.ndarray) -> list[int]:
    return [int((LABELS[drawn] == name).sum()) for name in "abc"]


@pytest.mark.parametrize(
    ("fraction", "counts"),
    [
        (0.001, [1, 1, 1]),
        (0.11, [4, 2, 1]),
        (0.14, [6, 3, 1]),
        (0.24, [10, 5, 1]),
        (0.5, [20, 10, 1]),
        (1, [40, 20, 1]),
    ],
)
def test_each_class_gives_its_share(fraction: float, counts: list[int]) -> None:
    drawn = fraction_draw(LABELS, GROUPS, fraction, seed=3)
    assert drawn.dtype == np.int64
    assert (np.diff(drawn) > 0).all()
    assert _counts(drawn) == counts


def test_all_labels_are_all_rows() -> None:
    np.testing.assert_array_equal(fraction_draw(LABELS, GROUPS, 1, seed=0), np.arange(61))


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_share_is_a_subset(seed: int) -> None:
    draws = [
        set(fraction_draw(LABELS, GROUPS, f, seed).tolist())
        for f in (0.05, 0.1, 0.13, 0.4, 0.77, 1)
    ]
    assert all(few < more for few, more in pairwise(draws))


@pytest.mark.parametrize("seed", range(5))
def test_few_labels_are_few_patients(seed: int) -> None:
    # 10 of the 40 rows of a: two whole patients of 4 rows and half of a third.
    drawn = fraction_draw(LABELS, GROUPS, 0.25, seed)
    per_patient = Counter(GROUPS[i] for i in drawn if LABELS[i] == "a")
    assert sorted(per_patient.values()) == [2, 4, 4]


def test_the_large_patient_comes_as_one() -> None:
    # Of b, 10 of 20 rows. "many" fills all that is left once its turn comes: at place p of 11 after
    # p - 1 patients of one row it gives 11 - p rows, each number as likely as any other. Rows drawn
    # one by one would give about five each time.
    rows_of_many = [
        [GROUPS[40 + i] for i in fraction_draw(LABELS[40:60], GROUPS[40:60], 0.5, seed)].count(
            "many"
        )
        for seed in range(1100)
    ]
    # standard deviation 9.5
    np.testing.assert_allclose(np.bincount(rows_of_many, minlength=11), [100] * 11, atol=40)


def test_every_patient_and_every_row_comes_up_about_as_often() -> None:
    labels, groups = np.repeat(["x"], 12), [f"p{i // 3}" for i in range(12)]
    times = np.zeros(12)
    for seed in range(900):
        times[fraction_draw(labels, groups, 2 / 12, seed)] += 1  # two rows of one of four patients
    np.testing.assert_allclose(times, 150, atol=50)  # binomial, standard deviation 11.2


def test_a_draw_is_a_function_of_seed_and_class() -> None:
    first = fraction_draw(LABELS, GROUPS, 0.2, seed=5)
    np.random.default_rng(0).random(10)
    np.testing.assert_array_equal(fraction_draw(LABELS, GROUPS, 0.2, seed=5), first)
    assert any(
        not np.array_equal(fraction_draw(LABELS, GROUPS, 0.2, seed=s), first) for s in (6, 7)
    )
    # Without the other classes, the rows of b are the same ones.
    only_b = fraction_draw(LABELS[40:60], GROUPS[40:60], 0.2, seed=5) + 40
    np.testing.assert_array_equal(only_b, first[LABELS[first] == "b"])
    # Two classes are permuted apart: the draws of one do not tell those of the other.
    twins, patients = np.repeat(["x", "y"], 30), [f"p{i}" for i in range(30)] * 2
    drawn = fraction_draw(twins, patients, 0.3, seed=0)
    assert set(drawn[drawn < 30]) != set(drawn[drawn >= 30] - 30)


def test_the_order_of_rows_decides_only_within_the_group_that_is_cut() -> None:
    mixed = np.random.default_rng(2).permutation(61)
    for seed in range(5):
        there = fraction_draw(LABELS, GROUPS, 0.25, seed)
        moved = mixed[fraction_draw(LABELS[mixed], [GROUPS[i] for i in mixed], 0.25, seed)]
        assert Counter((LABELS[i], GROUPS[i]) for i in there) == Counter(
            (LABELS[i], GROUPS[i]) for i in moved
        )
        # Of class a, 40 rows in groups of 4, a share of a fifth takes two whole patients: the very
        # same rows.
        whole = [i for i in fraction_draw(LABELS, GROUPS, 0.2, seed) if LABELS[i] == "a"]
        moved_whole = mixed[fraction_draw(LABELS[mixed], [GROUPS[i] for i in mixed], 0.2, seed)]
        assert set(whole) == {i for i in moved_whole if LABELS[i] == "a"}


@pytest.mark.parametrize("fraction", [0, -0.1, 1.001, math.nan])
def test_a_share_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction of labels is above 0 and at most 1"):
        fraction_draw(LABELS, GROUPS, fraction, seed=0)
    with pytest.raises(ValueError, match="fraction of labels is above 0 and at most 1"):
        curve_point(fraction, 5, np.ones((1, 1), bool), None)


def test_a_draw_refuses_rows_it_cannot_place() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        fraction_draw(LABELS[:0], [], 0.5, seed=0)
    with pytest.raises(ValueError, match="each of the 61 rows needs a group, got 60 groups"):
        fraction_draw(LABELS, GROUPS[:60], 0.5, seed=0)
    with pytest.raises(ValueError, match="seed is at least 0, got -1"):
        fraction_draw(LABELS, GROUPS, 0.5, seed=-1)


IMAGES = 10_000


def _correct(*accuracies: float) -> np.ndarray:
    """(seeds, images): the first images right, as many as each seed's accuracy says."""
    return np.arange(IMAGES) < np.round(np.array(accuracies)[:, None] * IMAGES)


ONE_GROUP = ["patient"] * IMAGES
"""Resampling the one group gives the same test images again: all that varies then are the seeds."""


def test_point_by_hand() -> None:
    # Patient p has 1 image, q has 3. Right: seed 0 one of p and one of q, seed 1 two of q.
    correct = np.array([[True, True, False, False], [False, True, True, False]])
    point = curve_point(0.1, 40, correct, ["p", "q", "q", "q"])
    assert (point.fraction, point.labels, point.mean) == (0.1, 40, 0.5)
    assert (point.right.tolist(), point.sizes.tolist()) == ([[1, 1], [0, 2]], [1, 3])
    known = accuracy_interval(correct, ["p", "q", "q", "q"])
    assert known is not None
    assert (point.low, point.high) == (known.low, known.high)


def test_a_point_of_one_patient_has_no_interval() -> None:
    point = curve_point(0.1, 40, np.arange(8).reshape(2, 4) % 3 > 0, ["p"] * 4)
    assert (point.low, point.high) == (None, None)


@pytest.mark.parametrize("groups", [None, [f"p{i // 4}" for i in range(400)]])
def test_the_interval_of_one_seed_is_that_of_the_accuracy(groups: list[str] | None) -> None:
    # alike within a group of four
    correct = np.repeat(np.random.default_rng(1).random(100) < 0.8, 4)
    point = curve_point(0.1, 40, correct[None], groups)
    known = accuracy_interval(correct, groups)
    assert (point.low, point.high) == pytest.approx((known.low, known.high), abs=0.006)


def test_the_interval_of_equal_seeds_still_has_the_spread_of_the_test_images() -> None:
    # With all labels an SVM is the same for each seed: the interval must not shrink to nothing.
    correct = np.random.default_rng(1).random(400) < 0.8
    one = accuracy_interval(correct)
    point = curve_point(1, 40, np.stack([correct] * 5), None)
    assert point.low <= one.low + 0.005
    assert point.high >= one.high - 0.005


@pytest.mark.parametrize("right", [True, False])
def test_the_interval_of_a_point_without_any_spread_is_exact(right: bool) -> None:
    point = curve_point(0.1, 40, np.full((5, 100), right), None)
    rule_of_three = 1 - 0.025 ** (1 / 100)  # of Clopper and Pearson
    assert (point.low, point.high) == pytest.approx(
        (1 - rule_of_three, 1) if right else (0, rule_of_three)
    )


def test_a_point_refuses_nothing() -> None:
    for shape in ((0, 3), (3, 0), (3,)):
        with pytest.raises(ValueError, match="at least one seed and one test image"):
            curve_point(0.1, 40, np.ones(shape, bool), None)
    with pytest.raises(ValueError, match="at least 1 label, got 0"):
        curve_point(0.1, 0, np.ones((1, 1), bool), None)


def _curve(labels: list[int], *seeds: list[float]) -> list[CurvePoint]:
    return [
        curve_point(n / labels[-1], n, _correct(*values), ONE_GROUP)
        for n, values in zip(labels, zip(*seeds, strict=True), strict=True)
    ]


@pytest.mark.parametrize(
    ("target", "labels"),
    [
        (0.5, 10.0),
        (0.6, 100.0),
        (0.6 + 5e-10, 100.0),  # the same, but for the last bits
        (0.55, math.sqrt(10 * 100)),  # half way in accuracy is half way in the logarithm
        (0.525, 10 * 10**0.25),
        # the dip at 300 is passed over: 0.6 holds up to there, then 0.6 to 0.8
        (0.65, 300 * 10**0.25),
        (0.8, 3000.0),
        (0.1, 10.0),
        (0.801, math.inf),
    ],
)
def test_labels_needed_by_hand(target: float, labels: float) -> None:
    needed, at_most = labels_needed(
        np.array([10.0, 100, 300, 3000]), np.array([0.5, 0.6, 0.55, 0.8]), target
    )
    assert needed == pytest.approx(labels, rel=1e-12)
    assert at_most == (labels == 10)


def test_a_curve_has_an_order() -> None:
    points = _curve([10, 100], [0.5, 0.6])
    with pytest.raises(ValueError, match=r"in order of their labels, got \[100, 10\]"):
        label_saving(points[::-1], points, seed=0)
    with pytest.raises(ValueError, match="at least one point"):
        label_saving(points, [], seed=0)


STRONG = [[0.5 + s, 0.7 + s, 0.9] for s in (0, 0.01, 0.02, -0.01, -0.02)]
WEAK = [[0.4 + s, 0.5 + s, 0.7] for s in (0, 0.02, -0.02, 0.01, -0.01)]
BUDGETS = [10, 100, 1000]


def test_saving_by_hand() -> None:
    # The weaker is at 0.7 with all 1000 labels, the stronger with 100: ten times fewer.
    saving = label_saving(_curve(BUDGETS, *STRONG), _curve(BUDGETS, *WEAK), seed=0)
    assert (saving.target, saving.labels_a, saving.labels_b) == pytest.approx((0.7, 100, 1000))
    assert (saving.ratio, saving.seeds) == (pytest.approx(10), 5)
    assert not saving.at_most_a
    assert not saving.at_most_b
    # Were every drawn seed that of 0.68 at 100 labels, 0.7 would be 0.02 of 0.22 further on; with
    # 0.72, 0.02 of 0.2 before.
    assert 10 ** (1 - 0.02 / 0.22) <= saving.low < 9
    assert 11 < saving.high <= 10 ** (1 + 0.02 / 0.2)


def test_the_other_way_round_is_the_inverse() -> None:
    there = label_saving(_curve(BUDGETS, *STRONG), _curve(BUDGETS, *WEAK), seed=4)
    back = label_saving(_curve(BUDGETS, *WEAK), _curve(BUDGETS, *STRONG), seed=4)
    assert (back.labels_a, back.labels_b) == (there.labels_b, there.labels_a)
    assert (1 / back.ratio, 1 / back.high, 1 / back.low) == pytest.approx(
        (there.ratio, there.low, there.high)
    )


def test_seeds_are_drawn_together() -> None:
    # Each seed alone says 10 times, though the seeds differ widely: drawn apart, the ratio would
    # spread.
    strong = [[0.1 + s, 0.3 + s, 0.5 + s] for s in (0.0, 0.1, 0.2, 0.3, 0.4)]
    weak = [[0.0 + s, 0.1 + s, 0.3 + s] for s in (0.0, 0.1, 0.2, 0.3, 0.4)]
    saving = label_saving(_curve(BUDGETS, *strong), _curve(BUDGETS, *weak), seed=0, n_resamples=300)
    assert (saving.ratio, saving.low, saving.high) == pytest.approx((10, 10, 10))


def test_the_interval_is_as_wide_as_students() -> None:
    # A is at 0.3 with 10 ** (1.5 - s / 0.4) labels, B with 1000: the logarithm of the ratio is 1.5
    # + mean(s) / 0.4, so its interval is that of a mean. With 10 seeds the plain percentile
    # interval would be 0.82 times as wide.
    shifts = 0.02 * stats.norm.ppf((np.arange(10) + 0.5) / 10)
    a = _curve(BUDGETS, *[[0.1 + s, 0.5 + s, 0.9] for s in shifts])
    b = _curve(BUDGETS, *([[0.0, 0.1, 0.3]] * 10))
    saving = label_saving(a, b, seed=0, n_resamples=10_000)
    student = mean_interval(0.5 + shifts, 10)
    assert math.log10(saving.ratio) == pytest.approx(1.5)
    assert math.log10(saving.low) - 1.5 == pytest.approx((student.low - 0.5) / 0.4, rel=0.03)
    assert math.log10(saving.high) - 1.5 == pytest.approx((student.high - 0.5) / 0.4, rel=0.03)


def test_test_images_are_drawn_too() -> None:
    # Every seed says the same, so only the test images can vary: A has one image more than B with
    # 100 of 1000 labels, as B with all of them. Without that image (a third of the resamples) B is
    # there with 100 as well.
    few, some, more = np.arange(200) < 100, np.arange(200) < 160, np.arange(200) < 161

    def curve(*correct: np.ndarray) -> list[CurvePoint]:
        return [
            curve_point(n / 1000, n, np.stack([right] * 5), None)
            for n, right in zip(BUDGETS, correct, strict=True)
        ]

    saving = label_saving(curve(few, more, more), curve(few, some, more), seed=0)
    assert (saving.labels_a, saving.labels_b, saving.ratio) == (
        pytest.approx(100),
        pytest.approx(1000),
        pytest.approx(10),
    )
    assert saving.low == 1
    assert "not measurable" in saving_sentence(saving, "A", "B")


def test_test_images_of_a_group_are_drawn_together() -> None:
    # 50 images of one patient decide: by the image they would be there in every resample, by the
    # patient in two thirds.
    few, some, more = np.arange(200) < 50, np.arange(200) < 100, np.arange(200) < 150
    groups = [f"p{i}" for i in range(100)] + ["deciding"] * 50 + [f"p{i}" for i in range(150, 200)]

    def curve(groups: list[str] | None, *correct: np.ndarray) -> list[CurvePoint]:
        return [
            curve_point(n / 1000, n, np.stack([right] * 5), groups)
            for n, right in zip(BUDGETS, correct, strict=True)
        ]

    by_image = label_saving(curve(None, few, more, more), curve(None, few, some, more), seed=0)
    by_patient = label_saving(
        curve(groups, few, more, more), curve(groups, few, some, more), seed=0
    )
    assert (by_image.low, by_patient.low) == (pytest.approx(10), 1)


def test_a_target_already_reached_has_an_open_interval() -> None:
    low, high = [[0.8, 0.85, 0.9]] * 5, [[0.4, 0.6, 0.8]] * 5
    saving = label_saving(_curve(BUDGETS, *low), _curve(BUDGETS, *high), seed=0, n_resamples=50)
    assert (saving.labels_a, saving.labels_b, saving.at_most_a, saving.at_most_b) == (
        10,
        1000,
        True,
        False,
    )
    assert (saving.ratio, saving.low, saving.high) == (100, 100, math.inf)
    back = label_saving(_curve(BUDGETS, *high), _curve(BUDGETS, *low), seed=0, n_resamples=50)
    assert (back.at_most_a, back.at_most_b, back.ratio, back.low, back.high) == (
        False,
        True,
        0.01,
        0,
        0.01,
    )


def test_resamples_already_there_open_the_interval() -> None:
    # On the mean A is at 0.7 shortly after 10 labels; without its weak seed it would be there at
    # once.
    strong = [[0.72, 0.8, 0.9]] * 4 + [[0.6, 0.8, 0.9]]
    saving = label_saving(
        _curve(BUDGETS, *strong), _curve(BUDGETS, *([[0.4, 0.5, 0.7]] * 5)), seed=0
    )
    assert not saving.at_most_a
    assert saving.labels_a == pytest.approx(10 * 10 ** (0.004 / 0.104))
    assert math.isinf(saving.high)
    assert 1 < saving.low < saving.ratio
    back = label_saving(_curve(BUDGETS, *([[0.4, 0.5, 0.7]] * 5)), _curve(BUDGETS, *strong), seed=0)
    assert not back.at_most_b
    assert (back.low, back.high) == (0, pytest.approx(1 / saving.low))


def test_equal_methods_have_a_ratio_of_one_in_any_order_of_summing() -> None:
    # A mean that is added up in another order may differ in the last bit: the plateau is reached at
    # 100 labels by either.
    up, down = [0.1, 0.2, 0.3, 0.0, 0.0], [0.3, 0.2, 0.1, 0.0, 0.0]
    rising = [[0.0, u, d] for u, d in zip(down, up, strict=True)]
    saving = label_saving(
        _curve(BUDGETS, *rising), _curve(BUDGETS, *rising), seed=0, n_resamples=20
    )
    assert (saving.labels_a, saving.ratio, saving.low, saving.high) == (pytest.approx(100), 1, 1, 1)


def test_fewer_than_five_seeds_give_no_interval() -> None:
    for n in (1, 4):
        saving = label_saving(_curve(BUDGETS, *STRONG[:n]), _curve(BUDGETS, *WEAK[:n]), seed=0)
        assert (saving.low, saving.high, saving.seeds) == (0, math.inf, n)
        assert saving.ratio > 5


def test_saving_is_a_function_of_its_seed() -> None:
    rng = np.random.default_rng(0)
    a, b = (_curve(BUDGETS, *(np.sort(rng.random((7, 3)), axis=1)).tolist()) for _ in range(2))
    first = label_saving(a, b, seed=1, n_resamples=200)
    assert label_saving(a, b, seed=1, n_resamples=200) == first
    assert any(label_saving(a, b, seed=s, n_resamples=200) != first for s in (2, 3, 4))


def test_saving_refuses_curves_that_do_not_compare() -> None:
    a, b = _curve(BUDGETS, *STRONG), _curve(BUDGETS, *WEAK)
    with pytest.raises(ValueError, match=r"ends with all labels, got fractions 1.0 and 0.1"):
        label_saving(a, b[:-1], seed=0)
    with pytest.raises(ValueError, match="all labels of the same rows, got 1000 and 900"):
        label_saving(a, _curve([10, 900], *[row[:2] for row in WEAK]), seed=0)
    with pytest.raises(ValueError, match=r"same seeds, got \[5, 5, 5, 4, 4, 4\] of them"):
        label_saving(a, _curve(BUDGETS, *WEAK[:4]), seed=0)
    with pytest.raises(ValueError, match=r"same seeds, got \[5, 5, 5, 4, 5, 5\] of them"):
        label_saving(a, [replace(b[0], right=b[0].right[:4]), *b[1:]], seed=0)
    with pytest.raises(ValueError, match="same test images in the same groups"):
        label_saving(
            a,
            [*b[:2], curve_point(1, 1000, _correct(*[0.7] * 5), None)],
            seed=0,
        )
    with pytest.raises(ValueError, match="at least 1 resample, got 0"):
        label_saving(a, b, seed=0, n_resamples=0)


FEWER = Saving(0.612, 96.3, 210.4, False, False, 2.1848, 1.43, 3.12, 5)


@pytest.mark.parametrize(
    ("saving", "sentence"),
    [
        (
            FEWER,
            "With the CAE, 96 labels reach what the fine-tuned network needs 210 for "
            "(61.2 % accuracy; 2.2 times fewer, 95 % interval 1.4 to 3.1).",
        ),
        (
            Saving(0.8, 1234.5, 123450, False, False, 100, 9.97, 1500, 5),
            "With the CAE, 1,234 labels reach what the fine-tuned network needs 123,450 for "
            "(80.0 % accuracy; 100 times fewer, 95 % interval 10 to 1,500).",
        ),
        (
            Saving(0.612, 20, 210, True, False, 10.5, 6.2, math.inf, 5),
            "With the CAE, at most 20 labels reach what the fine-tuned network needs 210 for "
            "(61.2 % accuracy; at least 10 times fewer, 95 % interval from 6.2 up).",
        ),
        (
            replace(FEWER, low=1.02),
            "With the CAE, 96 labels reach what the fine-tuned network needs 210 for "
            "(61.2 % accuracy; 2.2 times fewer, 95 % interval 1.02 to 3.1).",
        ),
        (
            Saving(0.612, 210, 96, False, False, 96 / 210, 0.25, 0.5, 5),
            "To reach 61.2 % accuracy, the CAE needs more labels than the fine-tuned network: 210 "
            "against 96 (2.2 times as many, 95 % interval 2.0 to 4.0).",
        ),
        (
            Saving(0.612, 210, 20, False, True, 20 / 210, 0, 0.2, 5),
            "To reach 61.2 % accuracy, the CAE needs more labels than the fine-tuned network: 210 "
            "against at most 20 (at least 10 times as many, 95 % interval from 5.0 up).",
        ),
        (
            Saving(0.612, 100, 110, False, False, 1.1, 0.734, 1.64, 7),
            "To reach 61.2 % accuracy, the CAE needs 100 labels and the fine-tuned network 110: "
            "with 7 seeds a difference is not measurable (the fine-tuned network needs 1.1 times "
            "the labels, 95 % interval 0.73 to 1.6).",
        ),
        (
            Saving(0.612, 20, 30, True, False, 1.5, 0.9, math.inf, 5),
            "To reach 61.2 % accuracy, the CAE needs at most 20 labels and the fine-tuned network "
            "30: with 5 seeds a difference is not measurable (the fine-tuned network needs at "
            "least 1.5 times the labels, 95 % interval from 0.90 up).",
        ),
        (
            Saving(0.612, 30, 20, False, True, 20 / 30, 0, 1.3, 5),
            "To reach 61.2 % accuracy, the CAE needs 30 labels and the fine-tuned network at most "
            "20: with 5 seeds a difference is not measurable (the fine-tuned network needs at most "
            "0.67 times the labels, 95 % interval up to 1.3).",
        ),
        (
            Saving(0.612, 100, 110, False, False, 1.1, 0, math.inf, 5),
            "To reach 61.2 % accuracy, the CAE needs 100 labels and the fine-tuned network 110: "
            "with 5 seeds a difference is not measurable (the fine-tuned network needs 1.1 times "
            "the labels, 95 % interval without limits).",
        ),
        (
            Saving(0.612, 20, 20, True, True, 1, 0, math.inf, 5),
            "To reach 61.2 % accuracy, the CAE needs at most 20 labels and the fine-tuned network "
            "at most 20: both are there with the fewest labels tried, so a difference is not "
            "measurable.",
        ),
        (
            Saving(0.612, 100, 210, False, False, 2.1, 0, math.inf, 1),
            "To reach 61.2 % accuracy, the CAE needs 100 labels and the fine-tuned network 210: "
            "with 1 seed a difference is not measurable (the fine-tuned network needs 2.1 times "
            "the labels, an interval takes 5 seeds).",
        ),
        (
            replace(FEWER, low=1.0),
            "To reach 61.2 % accuracy, the CAE needs 96 labels and the fine-tuned network 210: "
            "with 5 seeds a difference is not measurable (the fine-tuned network needs 2.2 times "
            "the labels, 95 % interval 1.00 to 3.1).",
        ),
    ],
)
def test_the_sentence_says_what_was_found(saving: Saving, sentence: str) -> None:
    assert saving_sentence(saving, "the CAE", "the fine-tuned network") == sentence


BUDGET_LABELS = np.array(
    ["b", "a", "c", "a", "b", "a", "b", "a", "b", "a", "c", "b"]
)  # a 5, b 5, c 2


BUDGET_GROUPS = [f"p{i}" for i in range(len(BUDGET_LABELS))]


@pytest.mark.parametrize(
    ("per_class", "counts"), [(1, [1, 1, 1]), (2, [2, 2, 2]), (3, [3, 3, 2]), (9, [5, 5, 2])]
)
def test_budget_counts(per_class: int, counts: list[int]) -> None:
    drawn = label_budget_draw(BUDGET_LABELS, BUDGET_GROUPS, per_class, seed=0)
    assert drawn.dtype == np.int64
    assert [int((BUDGET_LABELS[drawn] == name).sum()) for name in "abc"] == counts
    assert (np.diff(drawn) > 0).all()  # sorted, each once


def test_budget_is_a_function_of_its_arguments() -> None:
    labels, groups = np.repeat(["a", "b"], 200), [f"p{i}" for i in range(400)]
    first = label_budget_draw(labels, groups, 20, seed=3)
    np.testing.assert_array_equal(first, label_budget_draw(labels, groups, 20, seed=3))
    assert not np.array_equal(first, label_budget_draw(labels, groups, 20, seed=4))
    assert set(first) < set(label_budget_draw(labels, groups, 30, seed=3))
    np.testing.assert_array_equal(first, fraction_draw(labels, groups, 0.1, seed=3))
    with pytest.raises(ValueError, match="at least 1 label a class, got 0"):
        label_budget_draw(labels, groups, 0, seed=3)


def test_a_budget_of_few_labels_is_one_of_few_patients() -> None:
    # 20 patients a class with 10 images each: 15 labels a class are two patients of it.
    labels, groups = np.repeat(["a", "b"], 200), [f"p{i // 10}" for i in range(400)]
    drawn = label_budget_draw(labels, groups, 15, seed=1)
    sizes = np.unique([groups[i] for i in drawn], return_counts=True)[1]
    assert sorted(sizes.tolist()) == [5, 5, 10, 10]


def test_budget_draws_every_row_about_as_often() -> None:
    labels, groups = np.repeat(["a", "b"], 5), [f"p{i}" for i in range(10)]
    times = np.zeros(10)
    for seed in range(1000):
        times[label_budget_draw(labels, groups, 2, seed)] += 1
    np.testing.assert_allclose(times, 400, atol=70)  # binomial, standard deviation 15.5

"""How many labels a method needs.

Draws of labelled rows, accuracy over their number, and the labels saved against another method.

Ahn et al. 2019 learn features without labels because labels of medical images are rare (section 1),
but report one size of training set only. This study is ours: the methods are trained with growing
shares of the labels, over several seeds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from methods.statistics.significance import CONFIDENCE, accuracy_interval, group_codes

RESAMPLES = 10_000
SAME_ACCURACY = 1e-9
"""Largest difference of two mean accuracies that counts as rounding.

Means of the same accuracies added in another order differ by less; one image of any test set makes
more.
"""
MIN_SEEDS = 5
"""Fewest seeds from which a difference is claimed.

The chance that five draws all lean the same way without a difference, 2 / 2**5, is the first near 5
%.
"""


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """Accuracy of a method at one number of labels.

    Attributes:
        fraction: share of the training labels used, above 0, at most 1.
        labels: labelled training images drawn.
        right: (seeds, groups) test images of each group that are classified correctly, a row a
            seed, in the order of the seeds.
        sizes: (groups,) test images of each group.
        mean: accuracy over the seeds, a share of 1.
        low: end of its 95 % interval over the draws of labels and the test images; None where all
            test images are of one group.
        high: its other end.
    """

    fraction: float
    labels: int
    right: NDArray[np.float64]
    sizes: NDArray[np.float64]
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Saving:
    """Numbers of labels that methods A and B need for the same accuracy.

    Attributes:
        target: the accuracy, a share of 1.
        labels_a: labels A needs.
        labels_b: labels B needs.
        at_most_a: A is there with the fewest labels tried, so ``labels_a`` is an upper limit.
        at_most_b: the same of B.
        ratio: ``labels_b / labels_a``, above 1 where A needs fewer.
        low: lower end of the 95 % interval of the ratio; 0 where the draws give no lower limit.
        high: its upper end; infinite where the draws give no upper limit.
        seeds: draws the interval rests on.
    """

    target: float
    labels_a: float
    labels_b: float
    at_most_a: bool
    at_most_b: bool
    ratio: float
    low: float
    high: float
    seeds: int


def fraction_draw(
    labels: NDArray[np.str_], groups: Sequence[str], fraction: float, seed: int
) -> NDArray[np.int64]:
    """Draw the training rows that are labelled when only a share of them is.

    Of each class ``max(1, round(fraction * size))`` rows (a half is rounded to even). The groups of
    a class are taken whole in an order drawn from (seed, class): images of a patient are alike, so
    few labels must mean few patients. Of the last group as many rows are taken as the count still
    asks for. A group may hold several classes; each class takes its own rows of it.

    For one seed the draw of a smaller share is a subset of that of a larger one. How many rows of
    which class and group are drawn does not depend on the order of the rows; which rows of the one
    group that is cut does.

    Args:
        labels: (n,) class of each training row, n at least 1.
        groups: (n,) group of each row; one of its own for a row without a group.
        fraction: share of the labels, above 0, at most 1 (every row).
        seed: at least 0.

    Returns:
        (m,) int64 positions, ascending.

    Raises:
        ValueError: no rows, more or fewer groups than rows, or a fraction or seed out of range.
    """
    names, group_of = _checked(labels, groups, seed)
    if not 0 < fraction <= 1:
        raise ValueError(f"the fraction of labels is above 0 and at most 1, got {fraction}")
    return _drawn(
        names, group_of, {name: max(1, round(fraction * n)) for name, n in _sizes(names)}, seed
    )


def label_budget_draw(
    labels: NDArray[np.str_], groups: Sequence[str], per_class: int, seed: int
) -> NDArray[np.int64]:
    """Draw ``per_class`` training rows of each class, and all of a class that has fewer.

    The groups of a class are taken whole as in :func:`fraction_draw`, so a budget of few labels is
    one of few patients, and the draw of a smaller budget is a subset of that of a larger one. It
    depends on nothing but the arguments: every method is fitted on the same rows.

    Args:
        labels: (n,) class of each training row.
        groups: (n,) group of each row; one of its own for a row without a group.
        per_class: labelled rows a class, at least 1.
        seed: at least 0, another for each draw.

    Returns:
        (m,) int64 positions, ascending.

    Raises:
        ValueError: as :func:`fraction_draw`, or a budget below 1.
    """
    names, group_of = _checked(labels, groups, seed)
    if per_class < 1:
        raise ValueError(f"a budget has at least 1 label a class, got {per_class}")
    return _drawn(names, group_of, {name: min(per_class, n) for name, n in _sizes(names)}, seed)


def _checked(
    labels: NDArray[np.str_], groups: Sequence[str], seed: int
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Labels and groups of the same rows as arrays; see :func:`fraction_draw`."""
    names, group_of = np.asarray(labels, np.str_), np.asarray(groups, np.str_)
    if not len(names):
        raise ValueError("a draw of labels needs at least one row")
    if len(group_of) != len(names):
        raise ValueError(f"each of the {len(names)} rows needs a group, got {len(group_of)} groups")
    if seed < 0:
        raise ValueError(f"the seed is at least 0, got {seed}")
    return names, group_of


def _sizes(names: NDArray[np.str_]) -> list[tuple[str, int]]:
    """Each class and its number of rows."""
    found, counts = np.unique(names, return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def _drawn(
    names: NDArray[np.str_], group_of: NDArray[np.str_], wanted: Mapping[str, int], seed: int
) -> NDArray[np.int64]:
    """Positions (m,) of ``wanted`` rows of each class, whole groups in an order drawn for it."""
    drawn = []
    for name, count in wanted.items():
        rows = np.flatnonzero(names == name)
        rng = np.random.default_rng([seed, *name.encode()])
        there, codes = np.unique(group_of[rows], return_inverse=True)
        turn = rng.permutation(len(there))[codes]
        order = np.lexsort((rng.permutation(len(rows)), turn))
        drawn.append(rows[order[:count]])
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def _resamples(
    seeds: int, groups: int, seed: int, n: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Resample seeds with replacement and groups of test images independently.

    Accuracies vary with either; such a bootstrap is on the safe side (Owen 2007, "The pigeonhole
    bootstrap").
    """
    rng = np.random.default_rng(seed)
    for _ in range(n):
        drawn = rng.integers(0, seeds, seeds)
        yield (
            drawn,
            np.bincount(rng.integers(0, groups, groups), minlength=groups).astype(np.float64),
        )


def _limits_of(
    lower: NDArray[np.float64], upper: NDArray[np.float64], seeds: int
) -> tuple[float, float]:
    """Percentiles of the resamples for a 95 % interval.

    Seeds are few, so from two of them on the levels are widened as Student's t asks (Hesterberg
    2015, "What teachers should know about the bootstrap", expanded percentile interval). Not
    interpolated: between a number and infinity there is nothing.
    """
    tail = (1 - CONFIDENCE) / 2
    if seeds > 1:
        tail = float(stats.norm.cdf(stats.t.ppf(tail, seeds - 1) * math.sqrt(seeds / (seeds - 1))))
    last = len(lower) - 1
    return float(np.sort(lower)[math.floor(tail * last)]), float(
        np.sort(upper)[math.ceil((1 - tail) * last)]
    )


def curve_point(
    fraction: float,
    labels: int,
    correct: NDArray[np.bool_],
    groups: Sequence[str] | None,
) -> CurvePoint:
    """Compute the mean accuracy over seeds at one number of labels, with its interval.

    The interval of :func:`methods.statistics.significance.accuracy_interval` holds the spread of
    the seeds and that of the test images (of their groups where given).

    Args:
        fraction: share of the training labels used, above 0, at most 1.
        labels: labelled training images drawn, at least 1.
        correct: (seeds, n) whether each test image is classified correctly, a row a seed.
        groups: (n,) group of each test image, or None.

    Raises:
        ValueError: no seed, no test image, or a fraction or number of labels out of range.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"the fraction of labels is above 0 and at most 1, got {fraction}")
    if labels < 1:
        raise ValueError(f"a point of the curve has at least 1 label, got {labels}")
    if correct.ndim != 2 or not correct.size:
        raise ValueError(
            "a point of the curve needs at least one seed and one test image, got shape "
            f"{correct.shape}"
        )
    codes = group_codes(correct.shape[1], groups)
    sizes = np.bincount(codes).astype(np.float64)
    right = np.array([np.bincount(codes, weights=row) for row in correct], np.float64)
    interval = accuracy_interval(correct, groups)
    return CurvePoint(
        fraction=fraction,
        labels=labels,
        right=right,
        sizes=sizes,
        mean=float(correct.mean()),
        low=interval.low if interval.known else None,
        high=interval.high if interval.known else None,
    )


def labels_needed(
    labels: NDArray[np.float64], means: NDArray[np.float64], target: float
) -> tuple[float, bool]:
    """Return the number of labels at which a curve first reaches an accuracy.

    The curve is the running maximum of the means, and linear in accuracy over the logarithm of the
    labels between points.

    Args:
        labels: (points,) numbers of labels, ascending.
        means: (points,) accuracy at each.
        target: accuracy, a share of 1.

    Returns:
        number of labels, rarely whole, infinite where the curve never reaches the target; and
        whether it is there already at the first point, so that at most that many are needed.
    """
    best = np.maximum.accumulate(means)
    reached = np.flatnonzero(best >= target - SAME_ACCURACY)
    if not len(reached):
        return math.inf, False
    after = int(reached[0])
    if after == 0:
        return float(labels[0]), True
    share = min((target - best[after - 1]) / (best[after] - best[after - 1]), 1.0)
    return float(labels[after - 1] * (labels[after] / labels[after - 1]) ** share), False


def _labels_of(points: Sequence[CurvePoint]) -> NDArray[np.float64]:
    labels = np.array([point.labels for point in points], np.float64)
    if not len(labels):
        raise ValueError("a curve needs at least one point")
    if (np.diff(labels) < 0).any():
        raise ValueError(
            "the points of a curve are in order of their labels, got "
            f"{[point.labels for point in points]}"
        )
    return labels


def _check_curves(
    curve_a: Sequence[CurvePoint], curve_b: Sequence[CurvePoint], n_resamples: int
) -> None:
    """Refuse two curves that cannot be compared; see :func:`label_saving`."""
    if curve_a[-1].fraction != 1 or curve_b[-1].fraction != 1:
        raise ValueError(
            f"a curve ends with all labels, got fractions {curve_a[-1].fraction} and "
            f"{curve_b[-1].fraction}"
        )
    if curve_a[-1].labels != curve_b[-1].labels:
        raise ValueError(
            f"both curves end with all labels of the same rows, got {curve_a[-1].labels} and "
            f"{curve_b[-1].labels}"
        )
    seed_counts = [len(point.right) for point in (*curve_a, *curve_b)]
    if len(set(seed_counts)) > 1:
        raise ValueError(
            f"every point of both curves needs the same seeds, got {seed_counts} of them"
        )
    sizes = curve_a[0].sizes
    if any(not np.array_equal(point.sizes, sizes) for point in (*curve_a, *curve_b)):
        raise ValueError("every point of both curves needs the same test images in the same groups")
    if n_resamples < 1:
        raise ValueError(f"a bootstrap needs at least 1 resample, got {n_resamples}")


def label_saving(
    curve_a: Sequence[CurvePoint],
    curve_b: Sequence[CurvePoint],
    seed: int,
    n_resamples: int = RESAMPLES,
) -> Saving:
    """Compute how many times fewer labels method A needs than B for the same accuracy.

    The target is the lower of the two mean accuracies with all labels. The interval is a percentile
    bootstrap over the seeds (the draws of labels, and the trainings) and over the groups of test
    images, both drawn together for the two curves: one seed gave both the same labelled rows, and
    both were scored on the same images.

    Each resample finds its own target, as the study did, so that both curves reach it in every
    resample and none has to be left out. A curve that is at the target with the fewest labels tried
    needs that many or any number fewer: in the interval this counts as an infinite ratio at the
    upper end (A), or as 0 at the lower end (B). Fewer than 5 seeds give no interval (0 to
    infinity).

    Args:
        curve_a: points in order of their labels, the last with all labels; the same seeds and test
            images throughout.
        curve_b: the same of the other method; its numbers of labels may be others, except the last.
        seed: of the resampling.
        n_resamples: bootstrap resamples, at least 1.

    Raises:
        ValueError: a curve is empty or out of order, does not end with all labels, the two end with
            different numbers of labels, seeds or test images differ, or no resample is asked for.
    """
    labels_a, labels_b = _labels_of(curve_a), _labels_of(curve_b)
    _check_curves(curve_a, curve_b, n_resamples)
    sizes, seeds = curve_a[0].sizes, len(curve_a[0].right)
    right_a, right_b = (np.stack([point.right for point in curve]) for curve in (curve_a, curve_b))

    def needs(
        drawn: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> tuple[float, tuple[float, bool], tuple[float, bool]]:
        means_a, means_b = (
            (right @ weights)[:, drawn].mean(axis=1) / (sizes @ weights)
            for right in (right_a, right_b)
        )
        target = float(min(means_a[-1], means_b[-1]))
        return (
            target,
            labels_needed(labels_a, means_a, target),
            labels_needed(labels_b, means_b, target),
        )

    target, (need_a, at_most_a), (need_b, at_most_b) = needs(np.arange(seeds), np.ones(len(sizes)))
    ratio = need_b / need_a
    if seeds < MIN_SEEDS:
        return Saving(target, need_a, need_b, at_most_a, at_most_b, ratio, 0.0, math.inf, seeds)
    lower, upper = np.empty(n_resamples), np.empty(n_resamples)
    for i, (drawn, weights) in enumerate(_resamples(seeds, len(sizes), seed, n_resamples)):
        _, (a, first_a), (b, first_b) = needs(drawn, weights)
        lower[i], upper[i] = 0.0 if first_b else b / a, math.inf if first_a else b / a
    low, high = _limits_of(lower, upper, seeds)
    low, high = min(ratio, low), max(ratio, high)
    return Saving(target, need_a, need_b, at_most_a, at_most_b, ratio, low, high, seeds)


def _factor(value: float) -> str:
    decimals = 0 if value >= 9.95 else 1 if value >= 1.05 else 2
    return f"{value:,.{decimals}f}"


def _limits(low: float, high: float) -> str:
    if low > 0 and math.isfinite(high):
        return f"95 % interval {_factor(low)} to {_factor(high)}"
    if low > 0:
        return f"95 % interval from {_factor(low)} up"
    if math.isfinite(high):
        return f"95 % interval up to {_factor(high)}"
    return "95 % interval without limits"


def saving_sentence(saving: Saving, name_a: str, name_b: str) -> str:
    """Say the saving in words, for either direction and for none that the seeds can show.

    Args:
        saving: of :func:`label_saving`.
        name_a: of method A as it stands within a sentence, "the CAE".
        name_b: of method B.
    """
    accuracy = f"{100 * saving.target:.1f} % accuracy"
    need_a = f"{'at most ' if saving.at_most_a else ''}{saving.labels_a:,.0f}"
    need_b = f"{'at most ' if saving.at_most_b else ''}{saving.labels_b:,.0f}"
    both = f"To reach {accuracy}, {name_a} needs {need_a} labels and {name_b} {need_b}: "
    if saving.at_most_a and saving.at_most_b:
        return (
            f"{both}both are there with the fewest labels tried, so a difference is not measurable."
        )
    if saving.low > 1:
        least = "at least " if saving.at_most_a else ""
        return (
            f"With {name_a}, {need_a} labels reach what {name_b} needs {need_b} for "
            f"({accuracy}; {least}{_factor(saving.ratio)} times fewer, "
            f"{_limits(saving.low, saving.high)})."
        )
    if saving.high < 1:
        least = "at least " if saving.at_most_b else ""
        limits = _limits(1 / saving.high, 1 / saving.low if saving.low else math.inf)
        return (
            f"To reach {accuracy}, {name_a} needs more labels than {name_b}: {need_a} against "
            f"{need_b} "
            f"({least}{_factor(1 / saving.ratio)} times as many, {limits})."
        )
    bound = "at least " if saving.at_most_a else "at most " if saving.at_most_b else ""
    limits = (
        _limits(saving.low, saving.high)
        if saving.seeds >= MIN_SEEDS
        else f"an interval takes {MIN_SEEDS} seeds"
    )
    return (
        f"{both}with {saving.seeds} seed{'' if saving.seeds == 1 else 's'} a difference is not "
        "measurable "
        f"({name_b} needs {bound}{_factor(saving.ratio)} times the labels, {limits})."
    )

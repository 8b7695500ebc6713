"""Intervals and paired tests for classifiers scored on the same images.

The group (patient) is the unit everywhere: images of a patient are alike, so they say less than as
many images of other patients. What the intervals and tests hold was simulated: docs/statistics.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

CONFIDENCE = 0.95
"""Level of every confidence interval."""
POWER = 0.8
"""Probability with which a test finds the smallest detectable difference."""
MIN_GROUPS = 10
"""Fewest groups whose interval is not marked as resting on too few; coverage is not held below."""
TOO_FEW = "too few patients to say"
"""What an interval of fewer groups than MIN_GROUPS is marked with."""
ONE_GROUP = "no interval from one patient"
"""What stands in the place of the method where all images are of one group."""
MIN_DISCORDANT = 8
"""Discordant groups on one side that a test needs in most samples: 7.9 expected ones give 80 %."""
_COUNTS_AT_ONCE = 1 << 22
"""Maximum number of counts of resamples in memory at a time (32 MB of int64)."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Confidence interval and the method that gave it.

    Attributes:
        low: lower end; NaN where no interval can be given.
        high: upper end, likewise.
        method: name of the method that was really used.
        groups: independent groups (patients; images where there are no groups) behind it.
    """

    low: float
    high: float
    method: str
    groups: int

    @property
    def known(self) -> bool:
        """Whether it has ends: the images of one group say nothing of others."""
        return not np.isnan(self.low)

    @property
    def too_few(self) -> bool:
        """Whether it rests on fewer groups than an interval can rest on."""
        return self.groups < MIN_GROUPS

    @property
    def described(self) -> str:
        """The method, and where the groups are too few, that they are."""
        return f"{self.method}; {TOO_FEW}" if self.too_few else self.method


def rests_on_too_few(described: str | None) -> bool:
    """Whether :attr:`Interval.described`, as a table has it, says that the groups are too few."""
    return described is not None and described.endswith(f"; {TOO_FEW}")


@dataclass(frozen=True)
class PairedTest:
    """Test of the difference of two classifiers' accuracies on the same n images.

    Attributes:
        n: images.
        groups: groups of images that were taken as independent.
        only_a: images only the first classifies correctly.
        only_b: images only the second classifies correctly.
        difference: accuracy of the first less that of the second, a share of 1.
        low: lower end of its 95 % interval; None where there is one group.
        high: upper end, likewise. The interval holds 0 just where ``p_value`` is at least 0.05.
        p_value: two-sided.
        detectable: smallest true difference that the test finds with 80 % power at these counts.
        method: name of the test that was really used.
    """

    n: int
    groups: int
    only_a: int
    only_b: int
    difference: float
    low: float | None
    high: float | None
    p_value: float
    detectable: float
    method: str


def group_codes(n: int, groups: Sequence[str] | None) -> NDArray[np.int64]:
    """Number of the group of each of n images, (n,) int64; each its own where None is given.

    Raises:
        ValueError: more or fewer groups than images.
    """
    if groups is None:
        return np.arange(n, dtype=np.int64)
    if len(groups) != n:
        raise ValueError(f"one group for each image: got {len(groups)} groups and {n} images")
    return np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)


def _tail() -> float:
    return (1 - CONFIDENCE) / 2


def never_seen_width(groups: int) -> float:
    """Upper end of Clopper and Pearson's interval where no group of so many has a hit."""
    return float(1 - _tail() ** (1 / groups))


def effective_groups(sizes: Float64) -> float:
    """Groups of equal size that would weigh as much as groups of these ``sizes`` (Kish 1965)."""
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def accuracy_interval(
    correct: NDArray[np.bool_] | NDArray[np.floating], groups: Sequence[str] | None = None
) -> Interval:
    """Compute the confidence interval of an accuracy, or of any other share of images.

    Jeffreys' interval at the effective sample size: the number of independent images that would
    have the variance that the groups have, times (z / t)^2 of Student's t for the groups (Korn and
    Graubard 1998; Franco et al. 2019). Few groups say little of their own variance, so one group
    that is all right and one that is all wrong, of the root mean square of the sizes, count in it.
    With a row for each seed the variance of the seeds is added, and the degrees of freedom are
    those of Satterthwaite 1946. Where every image is right, or none, it is the interval of Clopper
    and Pearson 1934 for as many trials as there are groups.

    Args:
        correct: (n,) whether each image is classified correctly, or the share of its decisions that
            is right; or (seeds, n), a row for each of several trainings or draws.
        groups: (n,) group of each image, or None.

    Returns:
        The interval; without ends where all images are of one group, which says nothing of others.

    Raises:
        ValueError: no image, or more or fewer groups than images.
    """
    table = np.atleast_2d(correct)
    if not table.size:
        raise ValueError("an accuracy needs at least one image")
    seeds, n = table.shape
    codes = group_codes(n, groups)
    sizes: Float64 = np.bincount(codes).astype(np.float64)
    right: Float64 = np.bincount(codes, weights=table.mean(axis=0)).astype(np.float64)
    count, share = len(sizes), float(table.mean())
    if count == 1:
        return Interval(np.nan, np.nan, ONE_GROUP, count)
    if (table == 1).all() or (table == 0).all():
        width = never_seen_width(count)
        name = "Clopper-Pearson" if count == n else "Clopper-Pearson on groups"
        return Interval(max(share - width, 0.0), min(share + width, 1.0), name, count)
    if seeds == 1 and count == n and table.dtype == np.bool_:
        return Interval(*_jeffreys(share, n), "Jeffreys", count)
    effective, freedom = _effective_size(table, sizes, right)
    shrunk = effective * (stats.norm.ppf(_tail()) / special.stdtrit(freedom, _tail())) ** 2
    name = "Jeffreys at the effective sample size"
    return Interval(
        *_jeffreys(share, float(shrunk)), f"{name}, seeds and images" if seeds > 1 else name, count
    )


def _jeffreys(share: float, n: float) -> tuple[float, float]:
    """Jeffreys' interval of a share of ``n`` images, whole or not (Brown et al. 2001)."""
    a, b = share * n + 0.5, (1 - share) * n + 0.5
    low, high = special.betaincinv(a, b, _tail()), special.betaincinv(a, b, 1 - _tail())
    return min(float(low), share), max(float(high), share)


def _effective_size(
    table: NDArray[np.bool_] | NDArray[np.floating], sizes: Float64, right: Float64
) -> tuple[float, float]:
    """Number of independent images with the variance of these, and its degrees of freedom."""
    seeds, n = table.shape
    whole = table.dtype == np.bool_ or seeds > 1
    size = float(np.sqrt((sizes**2).mean())) if whole else 0.0
    units, total = len(sizes) + (2 if whole else 0), n + 2 * size
    share = (right.sum() + size) / total
    squares = ((right - share * sizes) ** 2).sum() + size**2 * (share**2 + (1 - share) ** 2)
    of_groups = units / (units - 1) * squares / (share * (1 - share) * total * n)
    if whole:
        of_groups = max(of_groups, 1 / (n * seeds))
    elif squares == 0:
        of_groups = 1 / len(sizes)
    freedom = max(effective_groups(sizes) - 1, 1.0)
    if seeds == 1:
        return 1 / of_groups, freedom
    of_seeds = table.mean(axis=1).var(ddof=1) / seeds / (share * (1 - share))
    both = of_groups + of_seeds
    return 1 / both, both**2 / (of_groups**2 / freedom + of_seeds**2 / (seeds - 1))


def mean_interval(values: Float64, groups: int) -> Interval:
    """Student's t interval of the mean of independent figures, clipped to 0..1.

    It holds the spread of the figures alone. Accuracies of several seeds on the same test images
    are no such figures: see :func:`accuracy_interval`.

    Args:
        values: the figures.
        groups: independent groups (patients) of images behind each of them.

    Raises:
        ValueError: fewer than two figures, of which none has a spread.
    """
    if len(values) < 2:
        raise ValueError(f"the interval of a mean needs two figures, got {len(values)}")
    mean, freedom = float(values.mean()), len(values) - 1
    half = -float(special.stdtrit(freedom, _tail()) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(max(mean - half, 0.0), min(mean + half, 1.0), "t", groups)


def group_bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    groups: Sequence[str] | None,
    n_resamples: int = 1_000,
    seed: int = 0,
) -> Interval | None:
    """Compute the confidence interval of a figure that is no share of images, such as macro F1.

    A percentile bootstrap over groups, with levels widened as Student's t for the groups asks
    (Hesterberg 2015, expanded percentile interval). Where the figure is the same in every resample,
    it is known to within what Clopper and Pearson's interval for as many trials as groups says.

    Args:
        statistic: from positions (m,) of drawn images, some of them several times, to the figure;
            NaN where they have none (a class is missing).
        n: images.
        groups: (n,) group of each image, or None.
        n_resamples: resamples of the groups.
        seed: of the resampling.

    Returns:
        The interval; None where all images are of one group, the figure itself is NaN, or more than
        half of the resamples have no figure.

    Raises:
        ValueError: no image, or more or fewer groups than images.
    """
    if not n:
        raise ValueError("a bootstrap needs at least one image")
    codes = group_codes(n, groups)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    count, value = len(members), statistic(np.arange(n, dtype=np.int64))
    if count == 1 or np.isnan(value):
        return None
    rng = np.random.default_rng(seed)
    figures = np.array(
        [
            statistic(np.concatenate([members[g] for g in rng.integers(0, count, count)]))
            for _ in range(n_resamples)
        ]
    )
    return _expanded_percentiles(value, figures, count)


def counts_bootstrap(
    figure: Callable[[NDArray[np.int64]], Float64],
    cells: NDArray[np.int64],
    shape: tuple[int, ...],
    groups: Sequence[str] | None,
    n_resamples: int,
    seed: int,
) -> Interval | None:
    """Compute the interval of :func:`group_bootstrap` for a figure of how many images lie where.

    Such are the figures of a confusion matrix. Groups whose images lie in the same cells are drawn
    together, as a multinomial number of them, which has the same distribution as drawing one group
    after the other and takes a hundredth of the time.

    Args:
        figure: from (m, *shape) numbers of images, m resamples, to the (m,) figures; NaN where
            there is none.
        cells: (n,) cell of each image, its place in a table of this shape, row after row.
        shape: of the table, such as (L, L) of a confusion matrix.
        groups: (n,) group of each image, or None.
        n_resamples: resamples of the groups.
        seed: of the resampling.

    Returns:
        As :func:`group_bootstrap`.

    Raises:
        ValueError: no image, or more or fewer groups than images.
    """
    n, n_cells = len(cells), math.prod(shape)
    if not n:
        raise ValueError("a bootstrap needs at least one image")
    codes = group_codes(n, groups)
    used, column = np.unique(cells, return_inverse=True)
    of_groups = np.zeros((int(codes.max()) + 1, len(used)), np.int64)
    np.add.at(of_groups, (codes, column), 1)

    def figures_of(counts: NDArray[np.floating]) -> Float64:
        everywhere = np.zeros((len(counts), n_cells), np.int64)
        everywhere[:, used] = counts
        return figure(everywhere.reshape(-1, *shape))

    count, value = len(of_groups), float(figures_of(of_groups.sum(axis=0)[np.newaxis])[0])
    if count == 1 or np.isnan(value):
        return None
    kinds, times = np.unique(of_groups, axis=0, return_counts=True)
    rng, at_once = np.random.default_rng(seed), max(_COUNTS_AT_ONCE // max(len(kinds), n_cells), 1)
    figures = np.concatenate(
        [
            # whole numbers below 2^53: the product is exact
            figures_of(
                rng.multinomial(count, times / count, min(at_once, n_resamples - done)).astype(
                    np.float64
                )
                @ kinds.astype(np.float64)
            )
            for done in range(0, n_resamples, at_once)
        ]
    )
    return _expanded_percentiles(value, figures, count)


def _expanded_percentiles(value: float, figures: Float64, count: int) -> Interval | None:
    """Interval of a figure from its resamples, (n_resamples,), of ``count`` groups."""
    known = figures[~np.isnan(figures)]
    if 2 * len(known) < len(figures):
        return None
    if np.ptp(known) == 0:
        width = never_seen_width(count)
        return Interval(value - width, min(value + width, 1.0), "Clopper-Pearson on groups", count)
    t = special.stdtrit(count - 1, _tail()) * np.sqrt(count / (count - 1))
    tail = float(stats.norm.cdf(t))
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(min(float(low), value), max(float(high), value), "group bootstrap", count)


def paired_test(
    correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_], groups: Sequence[str] | None = None
) -> PairedTest:
    """Test whether two classifiers differ in accuracy on the same images.

    Where each group has one image: the exact McNemar test, a binomial test on the images that only
    one of the two gets right. Else the sign-flip test of the differences of the groups: where the
    two are equally good, each group's difference of right images has either sign with the same
    probability. Its distribution is computed exactly; half of the probability of what is seen
    counts (mid-p, Lancaster 1961), as otherwise the test of few differing groups is conservative.

    Args:
        correct_a: (n,) whether the first classifies each image correctly.
        correct_b: (n,) the same of the second.
        groups: (n,) group of each image, or None.

    Raises:
        ValueError: the two differ in length, or are empty, or groups are of other images.
    """
    n = len(correct_a)
    if n != len(correct_b) or not n:
        raise ValueError(
            f"two classifiers are compared on the same images, got {n} and {len(correct_b)}"
        )
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    codes = group_codes(n, groups)
    sizes = np.bincount(codes).astype(np.float64)
    totals = np.rint(
        np.bincount(codes, weights=correct_a.astype(np.float64) - correct_b.astype(np.float64))
    ).astype(np.int64)
    independent = len(sizes) == n
    if len(sizes) == 1:
        p_value = 1.0
    elif independent:
        p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    else:
        p_value = sign_flip_p(totals)
    low, high = difference_interval(totals, sizes, p_value)
    return PairedTest(
        n=n,
        groups=len(sizes),
        only_a=only_a,
        only_b=only_b,
        difference=(only_a - only_b) / n,
        low=low,
        high=high,
        p_value=p_value,
        detectable=_detectable(totals, sizes),
        method="exact McNemar test" if independent else "sign-flip test of groups, mid-p",
    )


def sign_flip_p(totals: NDArray[np.int64]) -> float:
    """Two-sided mid-p value of the sign-flip test of whole numbers, one a group.

    Under the null hypothesis each number has either sign with probability 1/2, so their sum has the
    distribution that is built here number by number. Adding and halving are the same on every
    processor.

    Args:
        totals: (groups,) difference of each group.
    """
    chances = np.ones(1)
    for step in np.sort(np.abs(totals[totals != 0])).tolist():
        wider = np.zeros(len(chances) + 2 * step)
        wider[: len(chances)] = chances / 2
        wider[2 * step :] += chances / 2
        chances = wider
    middle, seen = len(chances) // 2, abs(int(totals.sum()))
    if seen == 0:
        return 1.0
    return min(1.0, float(2 * chances[middle + seen :].sum() - chances[middle + seen]))


def _typical_square(totals: NDArray[np.int64], sizes: Float64) -> float:
    """Square of a discordant group's difference, (k mean + one group all discordant) / (k + 1)."""
    return float(((totals**2).sum() + (sizes**2).mean()) / (np.count_nonzero(totals) + 1))


def difference_interval(
    totals: NDArray[np.int64], sizes: Float64, p_value: float
) -> tuple[float, float] | tuple[None, None]:
    """Interval of a difference of accuracies that agrees with its test about 0.

    Student's t for the groups, and their variance with two more discordant groups, one on each side
    (Bonett and Price 2012, here for groups). Where it and the test disagree about 0, the end next
    to 0 is that of the test-based interval (Miettinen 1976).

    Args:
        totals: (groups,) right images of the first classifier less those of the second.
        sizes: (groups,) images.
        p_value: of the test of the difference.

    Returns:
        The two ends, between -1 and 1; None where there is one group.
    """
    count, n = len(sizes), float(sizes.sum())
    if count == 1:
        return None, None
    difference = float(totals.sum()) / n
    squares = count / (count - 1) * ((totals - difference * sizes) ** 2).sum()
    spread = np.sqrt(squares + 2 * _typical_square(totals, sizes)) / n
    half = -float(special.stdtrit(max(effective_groups(sizes) - 1, 1.0), _tail()) * spread)
    low, high = difference - half, difference + half
    if (low <= 0 <= high) != (p_value >= 1 - CONFIDENCE) and difference:
        ratio = stats.norm.ppf(_tail()) / stats.norm.ppf(p_value / 2)
        low, high = (
            (difference * (1 - ratio), high) if difference > 0 else (low, difference * (1 - ratio))
        )
    return max(low, -1.0), min(high, 1.0)


def _detectable(totals: NDArray[np.int64], sizes: Float64) -> float:
    """Smallest true difference that the test finds with the probability POWER, at most 1.

    (z of the level + z of the power) times the standard error without a difference; a test needs
    MIN_DISCORDANT discordant groups on one side to find anything.
    """
    square = max(
        float((totals**2).sum()), min(MIN_DISCORDANT, len(sizes)) * _typical_square(totals, sizes)
    )
    factor = float(stats.norm.ppf(POWER) - stats.norm.ppf(_tail()))
    return min(1.0, factor * float(np.sqrt(square)) / float(sizes.sum()))


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values, (m,), in the order given (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values), np.float64)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def paired_t(
    values_a: NDArray[np.float64], values_b: NDArray[np.float64], test_ratio: float = 0.0
) -> float:
    """Two-sided p value of the paired t test of two classifiers over the same k folds.

    See Huynh et al. 2016, section 2.6. The training sets of folds overlap, so the test finds a
    difference more often than its level says. With ``test_ratio`` it is the corrected resampled t
    test: the variance of the mean is (1 / k + ratio) of that of the differences, and not 1 / k of
    it (Nadeau and Bengio 2003, section 3).

    Folds that all agree give 1. Where every fold has the same difference to rounding, t is
    infinite; the exact sign-flip test then gives 2^(1 - k), the smallest p value that k differences
    of one sign allow.

    Args:
        values_a: (k,) figure of one classifier, one value a fold.
        values_b: (k,) of the other.
        test_ratio: test images over training images of a fold; 0 for the test without correction.

    Raises:
        ValueError: the lengths differ, there are fewer than two folds, or a value is not finite.
    """
    if values_a.shape != values_b.shape or values_a.ndim != 1 or len(values_a) < 2:
        raise ValueError(
            f"a paired test needs the same two or more folds, got {values_a.shape} and "
            f"{values_b.shape}"
        )
    if not (np.isfinite(values_a).all() and np.isfinite(values_b).all()):
        raise ValueError("a value of a fold is not finite")
    differences = values_a - values_b
    rounding = 1e-12 * max(np.abs(values_a).max(), np.abs(values_b).max())
    if np.ptp(differences) <= rounding:
        return 1.0 if np.abs(differences).max() <= rounding else 2.0 ** (1 - len(differences))
    k = len(differences)
    t = differences.mean() / (differences.std(ddof=1) * np.sqrt(1 / k + test_ratio))
    return float(2 * stats.t.sf(abs(t), k - 1))


def bonferroni(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bonferroni's adjusted p values min(1, m p), (m,), in the order given.

    See Huynh et al. 2016, section 2.6.
    """
    return np.minimum(len(p_values) * p_values, 1.0)

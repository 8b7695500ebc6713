"""Intervals and paired tests for classifiers scored on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES_AT_ONCE = 500
"""Number of bootstrap resamples held in memory at once."""
CONFIDENCE = 0.95
"""Level of every confidence interval."""


@dataclass(frozen=True)
class Interval:
    """Confidence interval and the method that gave it."""

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class McNemar:
    """McNemar's test of two classifiers on the same n images.

    Attributes:
        n: images.
        only_a: images only the first classifies correctly.
        only_b: images only the second classifies correctly.
        p_value: exact, two-sided.
    """

    n: int
    only_a: int
    only_b: int
    p_value: float


def accuracy_interval(
    correct: NDArray[np.bool_] | NDArray[np.floating],
    groups: Sequence[str] | None = None,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Compute the confidence interval of an accuracy.

    A percentile bootstrap over groups where they are given (the images of a patient go together),
    else over images.

    Where every image is right, or none, the bootstrap has no spread and the exact Clopper-Pearson
    interval is given.

    Args:
        correct: (n,) whether each image is classified correctly, or the share of its decisions that
            is right.
        groups: (n,) group of each image, or None.
        n_resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        ValueError: no image.
    """
    n = len(correct)
    if not n:
        raise ValueError("an accuracy needs at least one image")
    hits = float(correct.sum())
    if hits in (0, n):
        exact = stats.binomtest(int(hits), n).proportion_ci(CONFIDENCE, method="exact")
        return Interval(float(exact.low), float(exact.high), "Clopper-Pearson")
    codes = (
        np.arange(n) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    hits_of = np.bincount(codes, weights=correct.astype(np.float64))
    size_of = np.bincount(codes).astype(np.float64)
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, n_resamples, RESAMPLES_AT_ONCE):
        drawn = rng.integers(
            0, len(size_of), (min(RESAMPLES_AT_ONCE, n_resamples - start), len(size_of))
        )
        means.append(hits_of[drawn].sum(axis=1) / size_of[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    accuracy = hits / n
    return Interval(
        min(float(low), accuracy),
        max(float(high), accuracy),
        "bootstrap" if groups is None else "group bootstrap",
    )


def mean_interval(values: NDArray[np.float64]) -> Interval:
    """Student's t interval of the mean of repeated draws, clipped to 0..1.

    A single value is its own interval.

    Raises:
        ValueError: no value.
    """
    if not len(values):
        raise ValueError("a mean needs at least one value")
    mean = float(values.mean())
    if len(values) == 1:
        return Interval(mean, mean, "single draw")
    half = float(
        stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
        * values.std(ddof=1)
        / np.sqrt(len(values))
    )
    return Interval(max(mean - half, 0.0), min(mean + half, 1.0), "t")


def mcnemar(correct_a: NDArray[np.bool_], correct_b: NDArray[np.bool_]) -> McNemar:
    """Exact McNemar test of two classifiers on the same images.

    A binomial test on the images that only one of them gets right.

    Raises:
        ValueError: the two differ in length, or are empty.
    """
    if len(correct_a) != len(correct_b) or not len(correct_a):
        raise ValueError(
            f"two classifiers are compared on the same images, got {len(correct_a)} and "
            f"{len(correct_b)}"
        )
    only_a = int((correct_a & ~correct_b).sum())
    only_b = int((correct_b & ~correct_a).sum())
    p_value = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(len(correct_a), only_a, only_b, p_value)


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down adjusted p values, (m,), in the order given (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values), np.float64)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def paired_t(values_a: NDArray[np.float64], values_b: NDArray[np.float64]) -> float:
    """Two-sided p value of the paired t test of two classifiers over the same k folds.

    See Huynh et al. 2016, section 2.6.

    The training sets of folds overlap, so the test finds a difference more often than its level
    says (Nadeau and Bengio 2003).

    Folds that all agree give 1. Where every fold has the same difference to rounding, t is
    infinite; the exact sign-flip test then gives 2^(1 - k), the smallest p value that k differences
    of one sign allow.

    Args:
        values_a: (k,) figure of one classifier, one value a fold.
        values_b: (k,) of the other.

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
    return float(stats.ttest_rel(values_a, values_b).pvalue)


def bonferroni(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bonferroni's adjusted p values min(1, m p), (m,), in the order given.

    See Huynh et al. 2016, section 2.6.
    """
    return np.minimum(len(p_values) * p_values, 1.0)

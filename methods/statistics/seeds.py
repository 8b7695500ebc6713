"""Differences of accuracies where a method was fitted with several seeds.

A figure from one seed shows how it varies over test images only; another seed gives another figure.
Both kinds of variance are in the intervals here, as in that of an accuracy
(:func:`methods.statistics.significance.accuracy_interval`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from methods.statistics.significance import (
    CONFIDENCE,
    MIN_DISCORDANT,
    POWER,
    group_codes,
    never_seen_width,
)

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class SeedDifference:
    """Mean difference of two methods' accuracies, in shares (-1 to 1).

    Attributes:
        difference: of the first method minus the second.
        low: lower bound of the 95 % confidence interval.
        high: upper bound.
        p_value: two-sided, of no difference.
        smallest: smallest true difference that a test at the 5 % level finds with a probability of
            80 %.
        groups: independent groups of test images.
        seeds: seeds of the first and of the second method.
    """

    difference: float
    low: float
    high: float
    p_value: float
    smallest: float
    groups: int
    seeds: tuple[int, int]


def _checked(right: Float64) -> Float64:
    """Return (seeds, n) float64.

    Raises:
        ValueError: no seed, no image, or a value outside 0..1.
    """
    right = np.asarray(right, np.float64)
    if right.ndim != 2 or not right.size:
        raise ValueError(f"one row a seed and one column an image are needed, got {right.shape}")
    if not ((right >= 0) & (right <= 1)).all():
        raise ValueError("shares lie in 0..1")
    return right


def _group_variance(values: Float64, codes: NDArray[np.int64]) -> tuple[float, int]:
    """Variance of the mean of ``values`` (n,) over groups of images, and the number of groups.

    The ratio estimator of a mean over clusters (Cochran 1977, section 2.11): residuals are summed
    within each group first, with the correction G / (G - 1).
    """
    residuals = np.bincount(codes, weights=values - values.mean())
    n_groups = len(residuals)
    if n_groups < 2:
        return float("nan"), n_groups
    return float((residuals**2).sum() * n_groups / (n_groups - 1) / len(values) ** 2), n_groups


def _seed_variance(right: Float64) -> tuple[float, int]:
    """Variance of the mean over seeds that other seeds would bring, and its degrees of freedom."""
    if len(right) < 2:
        return 0.0, 0
    return float(right.mean(axis=1).var(ddof=1)) / len(right), len(right) - 1


def _freedom_and_error(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Degrees of freedom and standard error of a sum of independent variances.

    Satterthwaite 1946: each part has a variance and its degrees of freedom.
    """
    total = sum(variance for variance, _ in parts)
    if not total > 0:
        return float("inf"), 0.0
    spread = sum(variance**2 / df for variance, df in parts if df)
    return (total**2 / spread if spread else float("inf")), float(np.sqrt(total))


def seed_difference(
    right_a: Float64, right_b: Float64, groups: Sequence[str] | None
) -> SeedDifference | None:
    """Compare two methods on the same test images, each fitted with one or more seeds.

    The variance of the difference is that over groups of test images, of the difference of both
    methods' means over seeds, plus that over seeds, of each method. A Student interval with the
    degrees of freedom of Satterthwaite (1946).

    Args:
        right_a: (seeds, n) of the first method, share of the draws of labels from which each
            test image is right, a row a seed.
        right_b: (seeds, n) of the second method; a method without seeds has one row.
        groups: (n,) group of each test image, or None.

    Returns:
        None where there is one group of images.

    Raises:
        ValueError: images that differ in number.
    """
    right_a, right_b = _checked(right_a), _checked(right_b)
    if right_a.shape[1] != right_b.shape[1]:
        raise ValueError(
            f"both methods need the same images, got {right_a.shape[1]} and {right_b.shape[1]}"
        )
    paired = right_a.mean(axis=0) - right_b.mean(axis=0)
    variance, n_groups = _group_variance(paired, group_codes(len(paired), groups))
    if n_groups < 2:
        return None
    df, error = _freedom_and_error(
        [(variance, n_groups - 1), _seed_variance(right_a), _seed_variance(right_b)]
    )
    difference = float(paired.mean())
    if not error:
        return _not_seen_to_vary(difference, n_groups, (len(right_a), len(right_b)))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, df))
    reach = quantile * error
    return SeedDifference(
        difference=difference,
        low=max(difference - reach, -1.0),
        high=min(difference + reach, 1.0),
        p_value=float(2 * stats.t.sf(abs(difference) / error, df)),
        smallest=float((quantile + stats.t.ppf(POWER, df)) * error),
        groups=n_groups,
        seeds=(len(right_a), len(right_b)),
    )


def _not_seen_to_vary(difference: float, n_groups: int, seeds: tuple[int, int]) -> SeedDifference:
    """The difference where it is the same in every group and seed, mostly 0.

    It is then known to within what Clopper and Pearson's interval of no hit in as many trials as
    groups says, as of :func:`methods.statistics.significance.group_bootstrap`. The p value is that
    of the sign test.
    """
    width = never_seen_width(n_groups)
    return SeedDifference(
        difference=difference,
        low=max(difference - width, -1.0),
        high=min(difference + width, 1.0),
        p_value=min(2 * 0.5**n_groups, 1.0) if difference else 1.0,
        smallest=min(MIN_DISCORDANT / n_groups, 1.0),
        groups=n_groups,
        seeds=seeds,
    )

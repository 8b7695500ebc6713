"""Agreement of two classifiers of two classes on the same images.

Huynh et al. 2016, section 4, leave the "classifier agreement rates" to future work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from methods.statistics.significance import Interval, group_bootstrap

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]
Int64 = NDArray[np.int64]

THRESHOLD = 0.5
"""Probability from which on an image is called positive."""


@dataclass(frozen=True)
class Agreement:
    """How far two classifiers agree.

    Attributes:
        both_right: images that both classify correctly, called positive from THRESHOLD on.
        only_a: images that only the first classifies correctly.
        only_b: images that only the second classifies correctly.
        both_wrong: images that neither classifies correctly.
        kappa: Cohen's kappa of the two decisions; NaN where both give one class to all images.
        kappa_interval: 95 %, by bootstrap over groups; None where there is none.
        spearman: rank correlation of the probabilities; NaN where one is constant.
        spearman_interval: as that of kappa.
        within_classes: rank correlation within each class, averaged by its images. Two good
            classifiers correlate over both classes because both know the class; this is what they
            share beyond it.
    """

    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    kappa: float
    kappa_interval: Interval | None
    spearman: float
    spearman_interval: Interval | None
    within_classes: float


def cohen_kappa(a: Bools, b: Bools) -> float:
    """Compute Cohen's kappa (1960) of two decisions (n,); NaN where chance alone is certain."""
    observed, share_a, share_b = (a == b).mean(), a.mean(), b.mean()
    expected = share_a * share_b + (1 - share_a) * (1 - share_b)
    return float((observed - expected) / (1 - expected)) if expected < 1 else float("nan")


def rank_correlation(a: Float64, b: Float64) -> float:
    """Compute Spearman's rank correlation of two columns (n,); NaN where one is constant."""
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (a, b)]
    norm = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / norm) if norm else float("nan")


def agreement(
    a: Float64, b: Float64, positive: Bools, groups: Sequence[str], seed: int
) -> Agreement:
    """Measure how far the probabilities of two classifiers agree.

    Args:
        a: (n,) probability of the positive class by the first classifier.
        b: (n,) that by the second.
        positive: (n,) class of each image.
        groups: (n,) patient of each image, for the intervals.
        seed: of the bootstrap.
    """
    said_a, said_b = a >= THRESHOLD, b >= THRESHOLD
    right_a, right_b = said_a == positive, said_b == positive
    within = [
        (int(of.sum()), rank_correlation(a[of], b[of])) for of in (positive, ~positive) if of.any()
    ]
    n = len(a)

    def kappa_of(drawn: Int64) -> float:
        return cohen_kappa(said_a[drawn], said_b[drawn])

    def correlation_of(drawn: Int64) -> float:
        return rank_correlation(a[drawn], b[drawn])

    return Agreement(
        both_right=int((right_a & right_b).sum()),
        only_a=int((right_a & ~right_b).sum()),
        only_b=int((~right_a & right_b).sum()),
        both_wrong=int((~right_a & ~right_b).sum()),
        kappa=cohen_kappa(said_a, said_b),
        kappa_interval=group_bootstrap(kappa_of, n, groups, seed=seed),
        spearman=rank_correlation(a, b),
        spearman_interval=group_bootstrap(correlation_of, n, groups, seed=seed),
        within_classes=sum(count * value for count, value in within) / n,
    )

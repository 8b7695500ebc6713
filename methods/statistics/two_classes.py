"""Two classes at a threshold: which one is positive, where to cut, and what a decision is worth.

Everything that is chosen (the threshold) comes from out-of-fold scores of training images;
everything that is reported can be of any images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Estimate, NetBenefit, OperatingPoint
from methods.statistics.estimates import estimate, of_counts, share, share_among
from methods.statistics.macro_auc import macro_auc
from methods.statistics.metrics import balanced_accuracy, matthews

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

NEGATIVE_WORDS = frozenset(
    {"benign", "control", "controls", "healthy", "negative", "no", "normal", "not", "without"}
)
"""Words whose presence in the name of one of two classes makes it the negative one."""
DECISION_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Threshold probabilities of a decision curve."""


def positive_class(classes: Sequence[str]) -> int:
    """Which of two classes is the positive one: 0 or 1.

    The one without a word of :data:`NEGATIVE_WORDS` in its name where the other has one, else the
    second in the order of the names.

    Args:
        classes: two names, sorted.
    """
    negative = [bool(NEGATIVE_WORDS & set(re.findall(r"[^\W\d_]+", c.lower()))) for c in classes]
    return 0 if negative == [False, True] else 1


def choose_threshold(lead: Float64, positive: Bool) -> float:
    """The threshold of the largest balanced accuracy (Youden's index), from out-of-fold scores.

    Args:
        lead: (n,) score of the positive class less that of the negative one.
        positive: (n,) bool, both values in it.

    Returns:
        a value midway between two scores that are there, of equally good ones the one nearest to 0;
        ``lead >= threshold`` is called positive.
    """
    order = np.argsort(lead, kind="stable")
    cuts = np.unique(lead)
    middles = np.concatenate([[-np.inf], (cuts[:-1] + cuts[1:]) / 2, [np.inf]])
    below = np.searchsorted(lead[order], middles, "left")
    positives_below = np.concatenate([[0], np.cumsum(positive[order])])[below]
    negatives_below = below - positives_below
    balanced = (1 - positives_below / positive.sum() + negatives_below / (~positive).sum()) / 2
    best = np.flatnonzero(balanced >= balanced.max() - 1e-12)
    nearest = middles[best[np.argmin(np.abs(middles[best]))]]
    return float(nearest) if np.isfinite(nearest) else 0.0


def operating_point(
    lead: Float64,
    positive: Bool,
    threshold: float,
    groups: Sequence[str] | None,
    n_resamples: int,
    seed: int,
) -> OperatingPoint:
    """The figures of two classes at one threshold.

    Args:
        lead: (n,) score of the positive class less that of the negative one.
        positive: (n,) bool, both values in it.
        threshold: ``lead >= threshold`` is called positive.
        groups: (n,) group (patient) of each image, or None.
        n_resamples: bootstrap resamples behind the intervals of what is no share.
        seed: of the bootstrap.
    """
    called = lead >= threshold
    cells = 2 * positive.astype(np.int64) + called

    def of_matrix(figure: Callable[[NDArray[np.int64]], Float64]) -> Estimate | None:
        return of_counts(figure, cells, (2, 2), groups, n_resamples, seed)

    return OperatingPoint(
        threshold=threshold,
        accuracy=share(called == positive, groups),
        sensitivity=share_among(called, positive, groups),
        specificity=share_among(~called, ~positive, groups),
        ppv=share_among(positive, called, groups),
        npv=share_among(~positive, ~called, groups),
        balanced_accuracy=of_matrix(balanced_accuracy),
        mcc=of_matrix(matthews),
    )


def auc_estimate(lead: Float64, positive: Bool, groups: Sequence[str] | None) -> Estimate | None:
    """The area under the ROC curve; None where a class is missing, without an interval where rare.

    Args:
        lead: (n,) score of the positive class less that of the negative one.
        positive: (n,) bool.
        groups: (n,) group (patient) of each image, or None.
    """
    found = macro_auc(lead[:, np.newaxis], positive[:, np.newaxis], groups)
    return None if found is None else estimate(*found, len(lead), groups)


def decision_curve(probability: Float64, positive: Bool) -> tuple[NetBenefit, ...]:
    """Net benefit at each of :data:`DECISION_THRESHOLDS` (Vickers and Elkin 2006).

    True positives less false positives weighted by the odds of the threshold, a share of all
    images; the same where every image is called positive.

    Args:
        probability: (n,) calibrated probability of the positive class.
        positive: (n,) bool.
    """
    prevalence = float(positive.mean())
    curve = []
    for threshold in DECISION_THRESHOLDS:
        odds, called = threshold / (1 - threshold), probability >= threshold
        hits, alarms = float((called & positive).mean()), float((called & ~positive).mean())
        curve.append(
            NetBenefit(
                threshold=threshold,
                model=hits - odds * alarms,
                treat_all=prevalence - odds * (1 - prevalence),
            )
        )
    return tuple(curve)

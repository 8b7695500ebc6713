"""ROC and precision-recall curves of each class against the others, with bands over groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Estimate
from methods.statistics.roc import empirical_roc
from methods.statistics.significance import group_codes
from methods.statistics.two_classes import auc_estimate, positive_class

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

CLASSES = 6
"""Maximum number of classes with curves: those with the most images."""
RESAMPLES = 200
"""Number of bootstrap resamples of the groups behind a band."""
GRID = np.linspace(0, 1, 101)
"""Rates at which the bands are given."""


@dataclass(frozen=True)
class Band:
    """A curve with the range in which 95 % of the resampled curves lie at each rate.

    Attributes:
        x: (k,) rates of the curve.
        y: (k,) its values.
        low: (101,) lower end of the band at :data:`GRID`; None where it cannot be given.
        high: (101,) its upper end.
    """

    x: Float64
    y: Float64
    low: Float64 | None
    high: Float64 | None


@dataclass(frozen=True)
class ClassCurves:
    """The curves of one class against the others.

    Attributes:
        label: the class.
        images: images of the class.
        others: images of the other classes.
        roc: true-positive rate over false-positive rate.
        auc: area under ``roc`` with its interval; None where it cannot be given.
        precision: precision over recall.
        average_precision: sum over the thresholds of precision times the gain in recall.
    """

    label: str
    images: int
    others: int
    roc: Band
    auc: Estimate | None
    precision: Band
    average_precision: float


def class_curves(
    classes: NDArray[np.str_],
    scores: NDArray[np.floating],
    labels: NDArray[np.str_],
    groups: Sequence[str] | None,
    seed: int,
) -> list[ClassCurves]:
    """Curves of each class that some images have and others lack, the most frequent first.

    Of two classes the positive one has curves; of more than :data:`CLASSES` the most frequent. The
    bands are percentiles of a bootstrap over groups, at each rate on its own.

    Args:
        classes: (K,) sorted, the columns of the scores.
        scores: (n, K), larger where a class is more likely.
        labels: (n,) class of each image.
        groups: (n,) group (patient) of each image, or None.
        seed: of the resampling.
    """
    of_two = positive_class(classes.tolist()) if len(classes) == 2 else None
    columns = list(range(len(classes))) if of_two is None else [of_two]
    counts = [int((labels == label).sum()) for label in classes]
    both = [k for k in columns if 0 < counts[k] < len(labels)]
    shown = sorted(both, key=lambda k: (-counts[k], k))[:CLASSES]
    weights = _weights(len(labels), groups, seed) if shown else np.zeros((0, 0))
    return [
        _curves_of(str(classes[k]), _lead(scores, k, of_two), labels == classes[k], groups, weights)
        for k in shown
    ]


def _lead(scores: NDArray[np.floating], k: int, of_two: int | None) -> Float64:
    """Score of class k, of two classes less that of the other."""
    column = scores[:, k].astype(np.float64)
    return column if of_two is None else column - scores[:, 1 - k]


def _weights(n: int, groups: Sequence[str] | None, seed: int) -> Float64:
    """How often each image is in each resample of the groups, (RESAMPLES, n)."""
    codes = group_codes(n, groups)
    count = int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    return drawn[:, codes].astype(np.float64)


def _curves_of(
    label: str, lead: Float64, positive: Bool, groups: Sequence[str] | None, weights: Float64
) -> ClassCurves:
    """The curves of one class."""
    order = np.argsort(-lead, kind="stable")
    last_of_score = np.append(np.flatnonzero(np.diff(lead[order])), len(lead) - 1)

    def passed(of: Float64) -> tuple[Float64, Float64]:
        """Weights (..., k) of positives and of negatives at or above each score."""
        ordered = of[..., order]
        hits = np.cumsum(ordered * positive[order], axis=-1)[..., last_of_score]
        false = np.cumsum(ordered * ~positive[order], axis=-1)[..., last_of_score]
        return hits, false

    hits, false = passed(np.ones(len(lead)))
    recall, precision = hits / hits[-1], hits / (hits + false)
    drawn = [
        (h, f)
        for h, f in zip(*passed(weights), strict=True)
        if h[-1] > 0 and f[-1] > 0  # a resample of one class has no curve
    ]
    n_groups = len(np.unique(group_codes(len(lead), groups)))
    enough = n_groups > 1 and len(drawn) > RESAMPLES / 2
    roc_band = _range([_tpr_at_grid(h, f) for h, f in drawn]) if enough else (None, None)
    precision_band = _range([_precision_at_grid(h, f) for h, f in drawn]) if enough else (None,) * 2
    return ClassCurves(
        label=label,
        images=int(positive.sum()),
        others=int((~positive).sum()),
        roc=Band(*empirical_roc(lead, positive), *roc_band),
        auc=auc_estimate(lead, positive, groups),
        precision=Band(recall, precision, *precision_band),
        average_precision=float((np.diff(recall, prepend=0) * precision).sum()),
    )


def _tpr_at_grid(hits: Float64, false: Float64) -> Float64:
    """True-positive rate at each false-positive rate of GRID, the larger where the curve rises."""
    fpr = np.concatenate([[0.0], false / false[-1]])
    tpr = np.concatenate([[0.0], hits / hits[-1]])
    return tpr[np.searchsorted(fpr, GRID, side="right") - 1]


def _precision_at_grid(hits: Float64, false: Float64) -> Float64:
    """Precision at the first threshold that reaches each recall of GRID."""
    there = hits + false > 0
    recall, precision = hits[there] / hits[-1], hits[there] / (hits + false)[there]
    at = np.searchsorted(recall, GRID - 1e-12)
    return precision[np.minimum(at, len(precision) - 1)]


def _range(curves: Sequence[Float64]) -> tuple[Float64, Float64]:
    """The range of 95 % of curves (m, 101) at each rate."""
    low, high = np.percentile(np.stack(curves), (2.5, 97.5), axis=0)
    return low, high

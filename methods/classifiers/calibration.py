"""Probabilities of a classifier, and a threshold for images unlike those of the training.

Both are fitted on scores of training images from classifiers that did not see them, so these are
like the scores of new images. Nothing here sees a test image, and the folds never part a group
(patient, lesion).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from data_contracts.records.assessment import CalibrationFigures
from methods.classifiers.linear_svm import fit_path
from methods.curation.folds import grouped_folds
from methods.statistics.calibration_figures import calibration_figures

Float64 = NDArray[np.float64]

FOLDS = 5
"""Number of grouped folds that give the scores."""
UNLIKE_PERCENTILE = 1.0
"""Percentile of the training images' cosines below which an image is unlike all of them."""
DOUBT = 0.25
"""Share of the doubt 1 / (n + 2) that the targets of the temperature leave, a deviation from Platt.

With all of it, stated probabilities of separable images lie 0.04 to 0.11 below their accuracy, with
none of it images near the boundary are stated 0.1 to 0.26 too high (4 to 40 groups, simulated as in
``tests/methods/classifiers/test_calibration.py``)."""
_LOG_TEMPERATURE = (np.log(1e-3), np.log(1e2))
"""Bounds of the search for the logarithm of the temperature."""


@dataclass(frozen=True)
class OutOfFold:
    """Scores and cosines of each training image from the folds that it is not in.

    Attributes:
        classes: (K,) sorted class labels.
        scores: (n, K) float64; a class that a fold did not learn has the lowest score of its row.
        nearest: (n,) float64 largest cosine to an image of another fold.
        usable: (n,) bool, whether the image's own class was learned from the other folds.
        n_groups: groups that have a usable image.
    """

    classes: NDArray[np.str_]
    scores: Float64
    nearest: Float64
    usable: NDArray[np.bool_]
    n_groups: int


def out_of_fold(
    gram: NDArray[np.floating],
    labels: NDArray[np.str_],
    groups: Sequence[str],
    c: float,
    tolerance: float,
    seed: int,
) -> OutOfFold | None:
    """Score every training image by a classifier that did not see its group.

    Args:
        gram: as in :func:`out_of_fold_path`.
        labels: as in :func:`out_of_fold_path`.
        groups: as in :func:`out_of_fold_path`.
        c: of the SVM.
        tolerance: of the SVM.
        seed: of the folds.

    Returns:
        None where :func:`out_of_fold_path` returns it.
    """
    path = out_of_fold_path(gram, labels, groups, (c,), tolerance, seed)
    return None if path is None else path[0]


def out_of_fold_path(
    gram: NDArray[np.floating],
    labels: NDArray[np.str_],
    groups: Sequence[str],
    grid: Sequence[float],
    tolerance: float,
    seed: int,
) -> tuple[OutOfFold, ...] | None:
    """Score every training image for each C of a grid by classifiers that did not see its group.

    The folds are the same for every C, and each fold goes through the grid once.

    Args:
        gram: (n, n) inner products of the training rows; ``nearest`` are cosines where the rows
            have unit length.
        labels: (n,) class of each row.
        groups: (n,) group of each row.
        grid: values of C, in ascending order.
        tolerance: of the SVM.
        seed: of the folds.

    Returns:
        None where no folds can be made: fewer than two groups, or a fold whose other folds have one
        class only.
    """
    classes, codes = np.unique(labels, return_inverse=True)
    _, group_codes = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    n, n_folds = (
        len(labels),
        min(FOLDS, int(group_codes.max(initial=-1)) + 1, int(np.bincount(codes).max(initial=0))),
    )
    if n_folds < 2:
        return None
    scores = np.zeros((len(grid), n, len(classes)))
    nearest, usable = np.zeros(n), np.zeros(n, np.bool_)
    fold = grouped_folds(codes, group_codes, n_folds, seed)
    for number in range(n_folds):
        fitted, left_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(np.unique(codes[fitted])) < 2:
            return None
        rows = np.asarray(gram[np.ix_(left_out, fitted)], np.float64)
        nearest[left_out] = rows.max(axis=1)
        usable[left_out] = np.isin(codes[left_out], codes[fitted])
        fits = fit_path(gram[np.ix_(fitted, fitted)], labels[fitted], grid, tolerance)
        for of_c, fit in zip(scores, fits, strict=True):
            decision = fit.decision(rows)
            of_c[left_out] = decision.min(axis=1, keepdims=True)
            of_c[np.ix_(left_out, np.searchsorted(classes, fit.classes))] = decision
    n_groups = len(np.unique(group_codes[usable]))
    return tuple(OutOfFold(classes, of_c, nearest, usable, n_groups) for of_c in scores)


@dataclass(frozen=True)
class Calibration:
    """How the scores of a classifier are read.

    Attributes:
        temperature: divisor of the scores before the softmax.
        highest: largest probability that is stated.
        unlike_below: cosine to the nearest training image below which an image is called unlike
            all of them.
    """

    temperature: float
    highest: float
    unlike_below: float

    def probabilities(self, scores: Float64) -> Float64:
        """Probability of each class, (n, K) float64, of scores (n, K)."""
        return probabilities(scores, self.temperature, self.highest)


UNCALIBRATED = Calibration(temperature=1.0, highest=1.0, unlike_below=-1.0)
"""Readings where no folds can be made: the scores as they are, and no image is unlike."""


def highest_probability(n_groups: int) -> float:
    """Compute the largest probability that ``n_groups`` groups can support, (n + 1) / (n + 2).

    Laplace's rule of succession: where n of n independent predictions were right and nothing else
    is known of how often they are, the next one is right with this probability. Images of a group
    are not independent, so groups count.
    """
    return (n_groups + 1) / (n_groups + 2)


def target_probability(n_groups: int) -> float:
    """Probability of an image's own class to which the temperature is fitted."""
    return 1 - DOUBT * (1 - highest_probability(n_groups))


def calibrate(seen: OutOfFold | None, labels: NDArray[np.str_]) -> Calibration | None:
    """Fit the temperature and the threshold to scores of training images.

    No probability exceeds :func:`highest_probability`. The temperature is fitted to targets short
    of 1, so that it stays finite where every image is right, and images near the boundary keep
    less than the highest probability.

    Args:
        seen: from :func:`out_of_fold`.
        labels: (n,) class of each training image.

    Returns:
        None where no folds could be made, or no class is learned from the other folds.
    """
    if seen is None or not seen.usable.any():
        return None
    codes = np.searchsorted(seen.classes, labels[seen.usable])
    highest = highest_probability(seen.n_groups)
    return Calibration(
        temperature=fit_temperature(
            seen.scores[seen.usable], codes, target_probability(seen.n_groups)
        ),
        highest=highest,
        unlike_below=unlike_threshold(seen.nearest),
    )


def fit_temperature(scores: Float64, codes: NDArray[np.integer], target: float = 1.0) -> float:
    """Find the temperature T with the largest likelihood of softmax(scores / T).

    Guo et al. 2017, "On Calibration of Modern Neural Networks". Where all images are right, that
    likelihood grows without end as T falls. A ``target`` below 1 gives the class of an image that
    probability and the other classes equal parts of the rest, as Platt 1999 ("Probabilistic outputs
    for support vector machines", section 2.2) does with (n + 1) / (n + 2) of n images of a class.

    Args:
        scores: (n, K) of images that the classifier did not see.
        codes: (n,) column of each image's class.
        target: probability of an image's own class that is fitted to, 1 / K to 1.
    """
    wanted = np.full(scores.shape, (1 - target) / (scores.shape[1] - 1))
    wanted[np.arange(len(codes)), codes] = target

    def loss(log_temperature: float) -> float:
        return -float(
            (log_softmax(scores / np.exp(log_temperature), axis=1) * wanted).sum(axis=1).mean()
        )

    return float(
        np.exp(
            minimize_scalar(
                loss, bounds=_LOG_TEMPERATURE, method="bounded", options={"xatol": 1e-6}
            ).x
        )
    )


def probabilities(scores: Float64, temperature: float, highest: float = 1.0) -> Float64:
    """Compute softmax(scores / temperature), (n, K) float64, with no probability above ``highest``.

    What a class has above it goes to the others in proportion to theirs, in equal parts where they
    have none.

    Args:
        scores: (n, K).
        temperature: divisor of the scores.
        highest: largest probability, 1 / 2 to 1.
    """
    likely: Float64 = np.exp(log_softmax(scores / temperature, axis=1))
    rows = np.flatnonzero(likely.max(axis=1) > highest)
    if not len(rows):
        return likely
    above = likely[rows]
    best = (np.arange(len(rows)), above.argmax(axis=1))
    above[best] = 0.0
    rest = above.sum(axis=1, keepdims=True)
    equal = 1 / (scores.shape[1] - 1)
    shares = np.divide(above, rest, out=np.full_like(above, equal), where=rest > 0)
    shares *= 1 - highest
    shares[best] = highest
    likely[rows] = shares
    return likely


def class_columns(classes: NDArray[np.str_], labels: NDArray[np.str_]) -> NDArray[np.int64]:
    """Column of the class of each image, (n,) int64; -1 for a class that was never learned.

    Args:
        classes: (K,) sorted.
        labels: (n,).
    """
    column = np.minimum(np.searchsorted(classes, labels), len(classes) - 1)
    columns: NDArray[np.int64] = np.where(classes[column] == labels, column, -1)
    return columns


def unlike_threshold(nearest: Float64) -> float:
    """Compute the cosine to the nearest training image below which an image is unlike them all.

    Args:
        nearest: (n,) of the training images, each to those of other folds; one in a hundred of them
            is below.
    """
    return float(np.percentile(nearest, UNLIKE_PERCENTILE))


def out_of_fold_calibration(
    seen: OutOfFold, labels: NDArray[np.str_], groups: Sequence[str] | None, seed: int = 0
) -> CalibrationFigures:
    """Calibration on the training images whose class was learned without their own group.

    Args:
        seen: their scores; at least one is usable.
        labels: (n,) class of each.
        groups: (n,) group of each, or None.
        seed: as for :func:`calibration_figures`.
    """
    usable = np.flatnonzero(seen.usable)
    codes = class_columns(seen.classes, labels[usable])
    highest = highest_probability(seen.n_groups)
    temperature = fit_temperature(seen.scores[usable], codes, target_probability(seen.n_groups))
    return calibration_figures(
        probabilities(seen.scores[usable], temperature, highest),
        codes,
        None if groups is None else [groups[i] for i in usable.tolist()],
        seed=seed,
    )

"""One-vs-all SVMs for images of several labels, and a decision threshold for each label.

As in Lyndon et al. 2015 (section 3.2) every label has a classifier of its own against all other
images; here it is the SVM of :mod:`methods.classifiers.linear_svm`. Its own cut at 0 favours "no"
for rare labels, so :func:`fit_thresholds` takes the cut of the largest F1 on scores of training
images that the classifier had not seen (:func:`out_of_fold_scores`). A label is predicted where
``score >= threshold``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.arrays import check_label_matrices
from methods.classifiers.linear_svm import Blocks, SvmFit, fit_primal_targets, fit_targets
from methods.curation.folds import grouped_folds

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class OneVsAllFit:
    """One SVM for each label.

    Attributes:
        coefficients: (n, L) float64 dual coefficients from :func:`fit_one_vs_all`, or (d, L)
            weights from :func:`fit_one_vs_all_primal`.
        intercept: (L,) float64.
        learned: (L,) whether training images with and without the label were there. Where not, the
            score of every image is 1 (all had it) or -1 (none had it), which is the solution of the
            same problem.
        converged: (L,) whether the solver reached the tolerance.
    """

    coefficients: Float64
    intercept: Float64
    learned: Bool
    converged: Bool

    def decision(self, rows: NDArray[np.floating]) -> Float64:
        """Compute scores, (m, L) float64.

        Args:
            rows: (m, n) Gram rows against the training rows after :func:`fit_one_vs_all`; (m, d)
                features after :func:`fit_one_vs_all_primal`.
        """
        scores: Float64 = rows @ self.coefficients + self.intercept
        return scores


def _check_scores(scores: NDArray[np.floating], truth: Bool) -> None:
    """Refuse scores or a truth that do not fit together."""
    if scores.shape != truth.shape:
        raise ValueError(
            f"scores of the same images and labels are needed, got {scores.shape} for labels of "
            f"{truth.shape}"
        )


def fit_one_vs_all(
    gram: NDArray[np.floating], truth: Bool, c: float, tolerance: float
) -> OneVsAllFit:
    """Fit every label against all images without it.

    Args:
        gram: (n, n) ``X X'`` of the training rows.
        truth: (n, L) bool labels of the rows.
        c: weight of the loss, as in :func:`methods.classifiers.linear_svm.fit_gram`.
        tolerance: as in :func:`methods.classifiers.linear_svm.fit_gram`.

    Raises:
        ValueError: labels that are not a boolean matrix, or a Gram matrix of other rows.
    """
    check_label_matrices(truth=truth)
    n = len(truth)
    if gram.shape != (n, n):
        raise ValueError(f"labels of {n} images need a Gram matrix of {n} x {n}, got {gram.shape}")
    return _of_all_labels(
        truth, n, lambda targets, names: fit_targets(gram, targets, names, c, tolerance)
    )


def fit_one_vs_all_primal(
    blocks: Blocks, truth: Bool, n_features: int, c: float, tolerance: float
) -> OneVsAllFit:
    """Fit every label against all images without it, over streamed rows.

    Args:
        blocks: as in :func:`methods.classifiers.linear_svm.fit_primal`.
        truth: (n, L) bool labels of the rows.
        n_features: length of a row.
        c: weight of the loss, as in :func:`methods.classifiers.linear_svm.fit_gram`.
        tolerance: as in :func:`methods.classifiers.linear_svm.fit_primal`.

    Raises:
        ValueError: labels that are not a boolean matrix.
    """
    check_label_matrices(truth=truth)
    return _of_all_labels(
        truth,
        n_features,
        lambda targets, names: fit_primal_targets(blocks, targets, names, n_features, c, tolerance),
    )


def _of_all_labels(
    truth: Bool, n_coefficients: int, fit_columns: Callable[[Float64, NDArray[np.str_]], SvmFit]
) -> OneVsAllFit:
    """Fit the labels that some images have and others lack; the others need no SVM."""
    n_labels = truth.shape[1]
    learned: Bool = np.not_equal(truth.any(axis=0), truth.all(axis=0))
    coefficients = np.zeros((n_coefficients, n_labels))
    intercept = np.where(truth.all(axis=0), 1.0, -1.0)
    converged = np.ones(n_labels, np.bool_)
    fitted = np.flatnonzero(learned)
    if len(fitted):
        fit = fit_columns(np.where(truth[:, fitted], 1.0, -1.0), fitted.astype(np.str_))
        coefficients[:, fitted], intercept[fitted] = fit.coefficients, fit.intercept
        converged[fitted] = fit.class_converged
    return OneVsAllFit(coefficients, intercept, learned, converged)


@dataclass(frozen=True)
class LeftOut:
    """What is known of each training image from the folds that it is not in.

    Attributes:
        scores: (n, L) float64, without NaN; infinite where a fold learned nothing of a label.
        nearest: (n,) float64 largest inner product with an image of another fold.
    """

    scores: Float64
    nearest: Float64


def out_of_fold_scores(
    gram: NDArray[np.floating],
    truth: Bool,
    groups: Sequence[str] | NDArray[np.str_],
    c: float,
    tolerance: float,
    seed: int,
    n_folds: int = 5,
) -> LeftOut:
    """Score every training image by classifiers that did not see its group.

    The folds keep groups whole and are stratified by label set; sets of fewer than ``n_folds``
    images share a stratum. A fold whose other folds have no image with a label, or none without it,
    learns nothing about it: its images score -inf, or inf. All images with the label (or without
    it) then lie in this one fold, nothing is known about it elsewhere, and :func:`fit_thresholds`
    answers with inf (or with the lowest score).

    Args:
        gram: (n, n) ``X X'`` of the training rows.
        truth: (n, L) bool labels of the rows.
        groups: (n,) group of each row.
        c: of the SVMs.
        tolerance: of the SVMs.
        seed: of the folds.
        n_folds: folds, at least 2; where there are fewer groups, as many as groups.

    Raises:
        ValueError: fewer than two groups or folds, labels that are not a boolean matrix, or rows
            that differ in number.
    """
    check_label_matrices(truth=truth)
    n = len(truth)
    if gram.shape != (n, n) or len(groups) != n:
        raise ValueError(
            f"labels of {n} images need as many groups and Gram rows, got {len(groups)} and "
            f"{gram.shape}"
        )
    group_names, group_codes = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    n_folds = min(n_folds, len(group_names))
    if n_folds < 2:
        raise ValueError(
            f"out-of-fold scores need at least two groups and two folds, got {len(group_names)} "
            "groups"
        )
    _, sets, sizes = np.unique(truth, axis=0, return_inverse=True, return_counts=True)
    strata = np.where(sizes[sets] < n_folds, len(sizes), sets)
    fold = grouped_folds(strata, group_codes, n_folds, seed)
    scores, nearest = np.empty(truth.shape), np.empty(n)
    for number in range(n_folds):
        fitted, left_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        fit = fit_one_vs_all(gram[np.ix_(fitted, fitted)], truth[fitted], c, tolerance)
        rows = gram[np.ix_(left_out, fitted)]
        nearest[left_out] = rows.max(axis=1)
        decision = fit.decision(rows)
        scores[left_out] = np.where(fit.learned, decision, np.copysign(np.inf, decision))
    return LeftOut(scores, nearest)


def fit_thresholds(scores: Float64, truth: Bool) -> Float64:
    """Find the threshold of each label with the largest F1.

    A label is predicted where ``score >= threshold``.

    The candidates are the lowest score and the midpoints between neighbouring different
    ones. Of equally good thresholds the highest is taken, which gives the label to the fewest
    images. A label without a positive image gets inf (never predict), one without a negative -inf
    (always predict). A score of -inf is predicted by no finite threshold, one of inf by every; a
    label whose positives all score -inf gets inf.

    Args:
        scores: (n, L) of training images that the classifiers had not seen, without NaN.
        truth: (n, L) bool.

    Returns:
        (L,) float64.

    Raises:
        ValueError: shapes that differ, labels that are not boolean, or a score that is not a
            number.
    """
    check_label_matrices(truth=truth)
    _check_scores(scores, truth)
    if np.isnan(scores).any():
        raise ValueError(
            f"scores of label {int(np.isnan(scores).any(axis=0).argmax())} are not all numbers"
        )
    return np.array([_best_threshold(scores[:, k], truth[:, k]) for k in range(truth.shape[1])])


def _best_threshold(scores: Float64, truth: Bool) -> float:
    """Find the threshold of one label with the largest F1."""
    if truth.all():
        return -np.inf
    levels, which = np.unique(scores, return_inverse=True)
    predicted = np.bincount(which)[::-1].cumsum()[::-1]  # images that score at least this level
    hits = np.bincount(which, weights=truth)[::-1].cumsum()[::-1]
    f1 = np.where(np.isneginf(levels), 0.0, 2 * hits / (predicted + truth.sum()))
    best = len(f1) - 1 - int(f1[::-1].argmax())
    if f1[best] == 0:
        return np.inf
    if best == 0:
        return float(levels[0])
    below, above = float(levels[best - 1]), float(levels[best])
    middle = below / 2 + above / 2
    # neighbouring floats have no number between them; nor has -inf
    return middle if middle > below else above

"""How good one classifier is: on test images, and on training images that it did not see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Assessment, NetBenefit, TwoClassFigures
from methods.classifiers.calibration import (
    Calibration,
    OutOfFold,
    calibrate,
    class_columns,
    out_of_fold_calibration,
)
from methods.statistics.calibration_figures import calibration_figures
from methods.statistics.estimates import share
from methods.statistics.two_classes import (
    auc_estimate,
    choose_threshold,
    decision_curve,
    operating_point,
    positive_class,
)

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class ScoredImages:
    """Images with the scores of a classifier that did not see them.

    Attributes:
        labels: (n,) true class of each.
        scores: (n, K), a column for each class of the classifier.
        groups: (n,) group (patient) of each, or None.
    """

    labels: NDArray[np.str_]
    scores: Float64
    groups: list[str] | None

    def of(self, positions: NDArray[np.intp]) -> ScoredImages:
        """The images at some positions."""
        groups = None if self.groups is None else [self.groups[i] for i in positions.tolist()]
        return ScoredImages(self.labels[positions], self.scores[positions], groups)


def assess(
    classes: NDArray[np.str_],
    test: ScoredImages,
    seen: OutOfFold | None,
    train: tuple[NDArray[np.str_], list[str] | None],
    n_resamples: int,
    seed: int,
) -> Assessment:
    """Measure a classifier on its test images and out of fold.

    The temperature of the probabilities and the threshold of two classes are chosen on the
    out-of-fold scores alone.

    Args:
        classes: (K,) sorted, the columns of the scores.
        test: the test images.
        seen: out-of-fold scores of the training images; None where there are none.
        train: labels (m,) and groups (m,) or None of the training images.
        n_resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    codes = class_columns(classes, test.labels)
    accuracy = share(test.scores.argmax(axis=1) == codes, test.groups)
    left_out = None
    if seen is not None and seen.usable.any():
        left_out = ScoredImages(train[0], seen.scores, train[1])
        left_out = left_out.of(np.flatnonzero(seen.usable))
    read_by = calibrate(seen, train[0])
    if seen is None or left_out is None or read_by is None:
        two = _two_classes(classes, test, None, None, n_resamples, seed)
        return Assessment(
            accuracy=accuracy,
            accuracy_out_of_fold=None,
            calibration=None,
            calibration_out_of_fold=None,
            two_classes=two,
        )
    likely = read_by.probabilities(test.scores)
    of_training = share(seen.scores.argmax(axis=1) == class_columns(classes, train[0]), train[1])
    return Assessment(
        accuracy=accuracy,
        accuracy_out_of_fold=of_training,
        calibration=calibration_figures(likely, codes, test.groups, seed=seed),
        calibration_out_of_fold=out_of_fold_calibration(seen, *train, seed=seed),
        two_classes=_two_classes(classes, test, left_out, read_by, n_resamples, seed),
    )


def stated_probabilities(
    classes: NDArray[np.str_],
    scores: Float64,
    seen: OutOfFold | None,
    train_labels: NDArray[np.str_],
    test_labels: NDArray[np.str_],
) -> dict[str, tuple[Float64, NDArray[np.bool_]]]:
    """Probability of the predicted class of each image, and whether it is right.

    Args:
        classes: (K,) sorted, the columns of the scores.
        scores: (n, K) of the test images.
        seen: out-of-fold scores of the training images; None where there are none.
        train_labels: (m,).
        test_labels: (n,).

    Returns:
        Both for the training images that are usable out of fold and for the test images, by their
        name; empty where there are no out-of-fold scores.
    """
    read_by = calibrate(seen, train_labels)
    if seen is None or read_by is None:
        return {}
    columns = class_columns(classes, train_labels[seen.usable])
    sets = {
        "training images, out of fold": (seen.scores[seen.usable], columns),
        "test images": (scores, class_columns(classes, test_labels)),
    }
    stated = {}
    for name, (of_images, codes) in sets.items():
        likely = read_by.probabilities(of_images)
        stated[name] = likely.max(axis=1), likely.argmax(axis=1) == codes
    return stated


def _two_classes(
    classes: NDArray[np.str_],
    test: ScoredImages,
    left_out: ScoredImages | None,
    read_by: Calibration | None,
    n_resamples: int,
    seed: int,
) -> TwoClassFigures | None:
    """The figures of two classes; None for more, or where a test image is of neither."""
    if len(classes) != 2 or not np.isin(test.labels, classes).all():
        return None
    k = positive_class(classes.tolist())
    lead, positive = test.scores[:, k] - test.scores[:, 1 - k], test.labels == classes[k]
    chosen, auc_left_out = None, None
    decisions: tuple[NetBenefit, ...] = ()
    if left_out is not None and read_by is not None:
        known = left_out.labels == classes[k]
        lead_left_out = left_out.scores[:, k] - left_out.scores[:, 1 - k]
        auc_left_out = auc_estimate(lead_left_out, known, left_out.groups)
        decisions = decision_curve(read_by.probabilities(test.scores)[:, k], positive)
        if known.any() and not known.all():
            threshold = choose_threshold(lead_left_out, known)
            chosen = operating_point(lead, positive, threshold, test.groups, n_resamples, seed)
    return TwoClassFigures(
        positive=str(classes[k]),
        auc=auc_estimate(lead, positive, test.groups),
        auc_out_of_fold=auc_left_out,
        largest_score=operating_point(lead, positive, 0.0, test.groups, n_resamples, seed),
        chosen=chosen,
        decisions=decisions,
    )

"""How the scores of one SVM a label are read, and what the probabilities are worth.

Each label is read on its own: a threshold says whether an image is given it, a temperature how
likely it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Assessment, CalibrationFigures
from methods.classifiers.calibration import (
    fit_temperature,
    highest_probability,
    probabilities,
    target_probability,
    unlike_threshold,
)
from methods.classifiers.one_vs_all import LeftOut, fit_thresholds
from methods.statistics.calibration_figures import calibration_figures
from methods.statistics.estimates import share

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledImages:
    """Images with the probability that each label is theirs.

    Attributes:
        truth: (n, L) whether each image has each label.
        likely: (n, L) stated probability; NaN where none is known.
        groups: (n,) group (patient) of each image, or None.
    """

    truth: Bool
    likely: Float64
    groups: Sequence[str] | None


@dataclass(frozen=True)
class LabelCalibration:
    """How the scores of one SVM a label are read.

    Attributes:
        thresholds: (L,) score from which on a label is given; inf where it never is, -inf where it
            always is.
        temperatures: (L,) divisor of the scores; NaN for a label that no score parts.
        highest: (L,) largest probability that is stated of having a label, and of lacking it.
        unlike_below: as of :class:`methods.classifiers.calibration.Calibration`.
    """

    thresholds: Float64
    temperatures: Float64
    highest: Float64
    unlike_below: float

    def given(self, scores: Float64) -> Bool:
        """Whether each image is given each label, (n, L) bool, of scores (n, L)."""
        return np.asarray(scores >= self.thresholds, np.bool_)

    def given_from(self, k: int) -> float:
        """Probability from which on label ``k`` is given: 0 where it always is, inf where never."""
        threshold = self.thresholds[k : k + 1]
        if not np.isfinite(threshold[0]):
            return 0.0 if threshold[0] < 0 else np.inf
        scores = np.full((1, len(self.thresholds)), threshold[0])
        return float(self.probabilities(scores)[0, k])

    def probabilities(self, scores: Float64) -> Float64:
        """Probability that each label is an image's, (n, L) float64, of scores (n, L).

        NaN for a label without a temperature, and where a score is infinite.
        """
        likely = np.full(scores.shape, np.nan)
        for k in np.flatnonzero(~np.isnan(self.temperatures)):
            known = np.isfinite(scores[:, k])
            likely[known, k] = probabilities(
                _two_classes(scores[known, k]), float(self.temperatures[k]), float(self.highest[k])
            )[:, 1]
        return likely


def uncalibrated_labels(n_labels: int) -> LabelCalibration:
    """Readings where nothing is known of new images: the SVMs' own cut, and no image is unlike."""
    return LabelCalibration(np.zeros(n_labels), np.ones(n_labels), np.ones(n_labels), -1.0)


def _two_classes(scores: Float64) -> Float64:
    """Scores (n, 2) of lacking a label and of having it."""
    return np.column_stack([-scores, scores])


def calibrate_labels(
    left_out: LeftOut, known: Bool, groups: Sequence[str] | NDArray[np.str_]
) -> LabelCalibration:
    """Fit the threshold and the temperature of each label to scores of training images.

    Having the label and lacking it are two classes with the scores s and -s, so their softmax at a
    temperature is that of :func:`methods.classifiers.calibration.fit_temperature`. Its target and
    the largest probability follow from the groups whose images have a finite score, as those of one
    label an image do.

    Args:
        left_out: from :func:`methods.classifiers.one_vs_all.out_of_fold_scores`.
        known: (m, L) whether each training image has each label.
        groups: (m,) group of each training image.
    """
    names = np.asarray(groups, np.str_)
    temperatures, highest = np.full(known.shape[1], np.nan), np.ones(known.shape[1])
    for k in range(known.shape[1]):
        usable = np.isfinite(left_out.scores[:, k])
        truth = known[usable, k]
        if truth.any() and not truth.all():
            n_groups = len(np.unique(names[usable]))
            highest[k] = highest_probability(n_groups)
            temperatures[k] = fit_temperature(
                _two_classes(left_out.scores[usable, k]),
                truth.astype(np.int64),
                target_probability(n_groups),
            )
    thresholds = fit_thresholds(left_out.scores, known)
    return LabelCalibration(thresholds, temperatures, highest, unlike_threshold(left_out.nearest))


def assess_labels(
    labels: Sequence[str],
    predicted: Bool,
    test: LabelledImages,
    left_out: LabelledImages | None,
    seed: int,
) -> dict[str, Assessment]:
    """Measure the decisions and the probabilities of each label.

    Args:
        labels: (L,) names.
        predicted: (n, L) whether each test image is given each label.
        test: the test images.
        left_out: training images, each scored without its group; None where there are no such
            scores.
        seed: of the calibration error by chance.
    """
    return {
        label: Assessment(
            accuracy=share(predicted[:, k] == test.truth[:, k], test.groups),
            accuracy_out_of_fold=None,
            calibration=_calibration(test, k, seed),
            calibration_out_of_fold=None if left_out is None else _calibration(left_out, k, seed),
            two_classes=None,
        )
        for k, label in enumerate(labels)
    }


def _calibration(images: LabelledImages, k: int, seed: int) -> CalibrationFigures | None:
    """Return the calibration of one label; None where no probability is known."""
    stated = np.flatnonzero(~np.isnan(images.likely[:, k]))
    if not len(stated):
        return None
    groups = None if images.groups is None else [images.groups[i] for i in stated.tolist()]
    p = images.likely[stated, k]
    codes = images.truth[stated, k].astype(np.int64)
    return calibration_figures(np.column_stack([1 - p, p]), codes, groups, seed)


def stated_decisions(images: LabelledImages) -> tuple[Float64, Bool]:
    """Return of every label decision at 0.5 its stated probability, and whether it is right."""
    stated = ~np.isnan(images.likely)
    p, truth = images.likely[stated], images.truth[stated]
    return np.maximum(p, 1 - p), (p >= 0.5) == truth


def calibration_of_decisions(images: LabelledImages, seed: int) -> CalibrationFigures | None:
    """Calibration of the decisions on all labels together; None where no probability is known.

    An image without a group is a group of its own: its labels are not independent.

    Args:
        images: with their probabilities.
        seed: of the calibration error by chance.
    """
    rows, columns = np.nonzero(~np.isnan(images.likely))
    if not len(rows):
        return None
    groups = images.groups or [str(i) for i in range(len(images.truth))]
    p = images.likely[rows, columns]
    return calibration_figures(
        np.column_stack([1 - p, p]),
        images.truth[rows, columns].astype(np.int64),
        [groups[i] for i in rows.tolist()],
        seed,
    )

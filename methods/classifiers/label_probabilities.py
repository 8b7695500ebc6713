"""Probabilities of several labels an image, each label on its own, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Assessment, CalibrationFigures
from methods.classifiers.calibration import fit_temperature, probabilities
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


def calibrated(scores: Float64, out_of_fold: Float64, known: Bool) -> tuple[Float64, Float64]:
    """Turn the scores of one SVM a label into probabilities, by a temperature for each label.

    Having the label and lacking it are two classes with the scores s and -s, so their softmax at a
    temperature is that of :func:`methods.classifiers.calibration.fit_temperature`.

    Args:
        scores: (n, L) of test images.
        out_of_fold: (m, L) of training images, each from SVMs without its group; infinite where
            the label was not learned.
        known: (m, L) whether each training image has each label.

    Returns:
        (n, L) and (m, L) probabilities; NaN for a label that no score parts, and where a score is
        infinite.
    """
    likely, left_out = np.full(scores.shape, np.nan), np.full(out_of_fold.shape, np.nan)
    for k in range(known.shape[1]):
        usable = np.isfinite(out_of_fold[:, k])
        truth = known[usable, k]
        if truth.any() and not truth.all():
            seen, test = (
                np.column_stack([-of, of]) for of in (out_of_fold[usable, k], scores[:, k])
            )
            temperature = fit_temperature(seen, truth.astype(np.int64))
            left_out[usable, k] = probabilities(seen, temperature)[:, 1]
            likely[:, k] = probabilities(test, temperature)[:, 1]
    return likely, left_out


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

"""Prediction for images without labels: scores, probabilities and nearest training images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.classifiers.calibration import Calibration
from methods.classifiers.label_probabilities import LabelCalibration
from methods.curation.manifest_rows import sets_in_words

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class LinearClassifier:
    """A fitted one-vs-all SVM with its calibration.

    Attributes:
        classes: (K,) classes, or labels of which an image may have several.
        weights: (d, K) float32.
        intercept: (K,) float32.
        calibration: how the scores are read: an image has the best class, or each label from its
            threshold on.
    """

    classes: NDArray[np.str_]
    weights: Float32
    intercept: Float32
    calibration: Calibration | LabelCalibration

    def scores(self, rows: Float32) -> Float64:
        """Scores (m, K) float64 of normalised rows (m, d)."""
        scores: Float64 = (rows @ self.weights + self.intercept).astype(np.float64)
        return scores


@dataclass(frozen=True)
class RunnerUp:
    """The second most probable class of m images.

    Attributes:
        label: (m,) the class.
        probability: (m,) of it.
    """

    label: NDArray[np.str_]
    probability: Float64


@dataclass(frozen=True)
class Answer:
    """What is said of m images.

    Attributes:
        label: (m,) most probable class; of several labels all that are given, as "a|b".
        probability: (m,) of that class; of several labels that of the least sure decision on one of
            them to be right.
        margin: (m,) best score minus second best; of several labels the smallest distance of a
            score from its threshold.
        runner_up: the second class; None with several labels.
        likely: (m, L) probability of each of several labels, NaN where none is known; None with one
            label an image.
    """

    label: NDArray[np.str_]
    probability: Float64
    margin: Float64
    runner_up: RunnerUp | None
    likely: Float64 | None


@dataclass(frozen=True)
class Predicted:
    """Predictions for m images.

    Attributes:
        answer: what is said of them.
        neighbours: (m, k) positions of the nearest training rows, nearest first.
        similarities: (m, k) their cosines.
        out_of_distribution: (m,) bool.
    """

    answer: Answer
    neighbours: NDArray[np.int64]
    similarities: Float64
    out_of_distribution: NDArray[np.bool_]


def weights_of(coefficients: Float64, blocks: Iterable[Float32]) -> Float32:
    """Compute the weights (d, K) of a fit on the Gram matrix: ``X' coefficients``.

    Args:
        coefficients: (n, K) dual coefficients.
        blocks: the n training rows in order, each block (m, d), normalised.
    """
    total: Float64 | None = None
    row = 0
    for block in blocks:
        part = block.T.astype(np.float64) @ coefficients[row : row + len(block)]
        total = part if total is None else total + part
        row += len(block)
    if total is None:
        raise ValueError("no training rows")
    return total.astype(np.float32)


def nearest_rows(
    rows: Float32, blocks: Iterator[Float32], k: int
) -> tuple[NDArray[np.int64], Float64]:
    """Find the k nearest of the rows that ``blocks`` gives, by cosine; of ties the earlier row.

    Args:
        rows: (m, d) normalised.
        blocks: the training rows in order, each block (b, d), normalised.
        k: how many; fewer where there are fewer rows.

    Returns:
        positions and cosines, both (m, k), nearest first.
    """
    positions, cosines, start = (
        np.empty((len(rows), 0), np.int64),
        np.empty((len(rows), 0), np.float64),
        0,
    )
    for block in blocks:
        cosines = np.concatenate([cosines, (rows @ block.T).astype(np.float64)], axis=1)
        here = np.broadcast_to(np.arange(start, start + len(block)), (len(rows), len(block)))
        positions = np.concatenate([positions, here], axis=1)
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        positions, cosines = (
            np.take_along_axis(positions, best, 1),
            np.take_along_axis(cosines, best, 1),
        )
        start += len(block)
    return positions, cosines


def predict(
    classifier: LinearClassifier, rows: Float32, training: Iterator[Float32], k: int
) -> Predicted:
    """Predict normalised rows.

    Args:
        classifier: with at least two classes, or labels of which one has a probability.
        rows: (m, d) float32, normalised.
        training: blocks of the normalised training rows, in order.
        k: number of nearest training rows.
    """
    neighbours, cosines = nearest_rows(rows, training, k)
    return Predicted(
        answer=_answer(classifier, classifier.scores(rows)),
        neighbours=neighbours,
        similarities=cosines,
        out_of_distribution=cosines[:, 0] < classifier.calibration.unlike_below,
    )


def _answer(classifier: LinearClassifier, scores: Float64) -> Answer:
    """What the scores (m, K) say by the calibration of the classifier."""
    if isinstance(classifier.calibration, LabelCalibration):
        return _given_labels(classifier.classes, scores, classifier.calibration)
    likely = classifier.calibration.probabilities(scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    best, second = np.take_along_axis(scores, order, 1).T
    first_probability, second_probability = np.take_along_axis(likely, order, 1).T
    return Answer(
        label=classifier.classes[order[:, 0]],
        probability=first_probability,
        margin=best - second,
        runner_up=RunnerUp(classifier.classes[order[:, 1]], second_probability),
        likely=None,
    )


def _given_labels(labels: NDArray[np.str_], scores: Float64, read_by: LabelCalibration) -> Answer:
    """What the scores (m, L) say of images with several labels."""
    given, likely = read_by.given(scores), read_by.probabilities(scores)
    right = np.where(given, likely, 1 - likely)
    distance = np.abs(scores - read_by.thresholds)
    return Answer(
        label=sets_in_words(labels.tolist(), given),
        probability=np.nanmin(right, axis=1),
        margin=np.where(np.isfinite(distance), distance, np.inf).min(axis=1),
        runner_up=None,
        likely=likely,
    )

"""Prediction for images without labels: scores, probabilities and nearest training images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.classifiers.calibration import Calibration

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class LinearClassifier:
    """A fitted one-vs-all SVM with its calibration.

    Attributes:
        classes: (K,) class labels.
        weights: (d, K) float32.
        intercept: (K,) float32.
        calibration: how the scores are read.
    """

    classes: NDArray[np.str_]
    weights: Float32
    intercept: Float32
    calibration: Calibration


@dataclass(frozen=True)
class Predicted:
    """Predictions for m images.

    Attributes:
        label: (m,) most probable class.
        probability: (m,) of that class.
        margin: (m,) best score minus second best.
        runner_up: (m,) second class.
        runner_up_probability: (m,).
        neighbours: (m, k) positions of the nearest training rows, nearest first.
        similarities: (m, k) their cosines.
        out_of_distribution: (m,) bool.
    """

    label: NDArray[np.str_]
    probability: Float64
    margin: Float64
    runner_up: NDArray[np.str_]
    runner_up_probability: Float64
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
        classifier: with at least two classes.
        rows: (m, d) float32, normalised.
        training: blocks of the normalised training rows, in order.
        k: number of nearest training rows.
    """
    scores = (rows @ classifier.weights + classifier.intercept).astype(np.float64)
    likely = classifier.calibration.probabilities(scores)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :2]
    best, second = np.take_along_axis(scores, order, 1).T
    first_probability, second_probability = np.take_along_axis(likely, order, 1).T
    neighbours, cosines = nearest_rows(rows, training, k)
    return Predicted(
        label=classifier.classes[order[:, 0]],
        probability=first_probability,
        margin=best - second,
        runner_up=classifier.classes[order[:, 1]],
        runner_up_probability=second_probability,
        neighbours=neighbours,
        similarities=cosines,
        out_of_distribution=cosines[:, 0] < classifier.calibration.unlike_below,
    )

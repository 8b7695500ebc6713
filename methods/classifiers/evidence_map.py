"""Where in an image a linear classifier on maps of features finds what speaks for a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def evidence_maps(
    rows: Float32, weights: Float32, columns: NDArray[np.integer], shape: tuple[int, int, int]
) -> Float32:
    """Sum what the features of each position add to the score of one class, (m, H, W) float32.

    The score of a linear classifier is the sum of weight times feature, so that the sum over the
    channels at a position is exactly what the position adds; all positions and the intercept give
    the score. It is HiResCAM (Draelos and Carin 2020), which for the last maps of a network equals
    Grad-CAM up to the average that Grad-CAM takes of the gradient.

    Args:
        rows: (m, C * H * W) features, as the classifier takes them.
        weights: (C * H * W, K) of the classifier.
        columns: (m,) column of the class that is asked of each image.
        shape: C, H and W.
    """
    parts = rows * weights.T[columns]
    maps: Float32 = parts.reshape(len(rows), *shape).sum(axis=1, dtype=np.float32)
    return maps

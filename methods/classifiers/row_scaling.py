"""Scaling of feature rows before the linear SVM, fitted on training rows only.

Ahn et al. 2019 do not state theirs. The strength of a given C depends on it: rows of non-negative
features of unit length are much alike, standardised ones are not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.arrays import Float32, l2_normalise
from methods.settings import RowScale

Float64 = NDArray[np.float64]

WHITENED_ROWS = 256
"""Maximum number of principal components that "whiten" keeps; also at most half as many as there
are training rows, as the last ones are noise that whitening would raise to the size of the
first."""


@dataclass(frozen=True)
class RowScaling:
    """A scaling with what it needs of the training rows.

    Attributes:
        scale: "l2" makes rows of unit length; "standardise" gives each column a mean of 0 and a
            standard deviation of 1 over the training rows, then unit length; "sqrt" takes the
            square root of each magnitude and keeps its sign, then unit length (Arandjelovic and
            Zisserman 2012); "whiten" is unit length here, and principal components of the Gram
            matrix follow (:mod:`methods.classifiers.gram_pca`); "none" leaves rows as they are.
        mean: (d,) float64 of each column; empty where it is not needed.
        deviation: (d,) float64, 1 where a column is constant; empty where it is not needed.
    """

    scale: RowScale
    mean: Float64
    deviation: Float64

    def __call__(self, rows: NDArray[np.floating]) -> Float32:
        """Scale rows, (n, ...) -> (n, d) float32."""
        flat = rows.reshape(len(rows), -1).astype(np.float32)
        if self.scale == "none":
            return flat
        if self.scale == "standardise":
            flat = ((flat - self.mean) / self.deviation).astype(np.float32)
        elif self.scale == "sqrt":
            flat = np.sign(flat) * np.sqrt(np.abs(flat))
        return l2_normalise(flat)


def fit_scaling(scale: RowScale, training: Iterable[NDArray[np.floating]]) -> RowScaling:
    """Fit a scaling on blocks of training rows, (m, ...) each, which are read once.

    Raises:
        ValueError: "standardise" without a training row.
    """
    if scale != "standardise":
        return RowScaling(scale, np.empty(0), np.empty(0))
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for block in training:
        rows = block.reshape(len(block), -1).astype(np.float64)
        # Chan, Golub and LeVeque 1979: means and sums of squared deviations of two parts
        of_block = rows.mean(axis=0)
        shift, total = of_block - mean, count + len(rows)
        squares = (
            squares + ((rows - of_block) ** 2).sum(axis=0) + shift**2 * count * len(rows) / total
        )
        mean, count = mean + shift * len(rows) / total, total
    if not count:
        raise ValueError("no training rows to standardise by")
    deviation = np.sqrt(squares / count)
    return RowScaling(scale, mean, np.where(deviation > 0, deviation, 1.0))

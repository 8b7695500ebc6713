"""Principal components from the Gram matrix, for rows with far more numbers than rows.

With the centred rows X of the training side and X X' = V diag(l) V', the scores of the training
rows are V sqrt(l), and those of another centred row x are (X x)' V / sqrt(l) (Jolliffe 2002,
section 3.5; Schoelkopf et al. 1998 for the centring). Neither needs the rows themselves. VLAD rows
have up to 131,072 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

Float32 = NDArray[np.float32]

RELATIVE_TOLERANCE = 1e-5
"""Largest eigenvalue, as a share of the first, that counts as zero. The rounding of a float32 Gram
matrix is about a hundredth of it."""


@dataclass(frozen=True)
class GramPca:
    """Principal components of training rows.

    Attributes:
        scores: (n, n_components) float32 of every row, the component of the largest variance
            first. The sign of a component is such that the training score of the largest magnitude
            is positive.
        explained: share of the variance of the training rows that the components hold, 0..1.
    """

    scores: Float32
    explained: float


def gram_pca(
    gram: NDArray[np.floating], train: NDArray[np.integer], n_components: int, whiten: bool
) -> GramPca:
    """Compute the scores of all rows on the principal components of the training rows.

    The scores of the training rows do not depend on any other row. Computed in float64.

    Args:
        gram: (n, n) ``X X'`` of all rows, not centred.
        train: (m,) positions of the training rows, each once.
        n_components: at most m - 1.
        whiten: divide each component by its standard deviation over the training rows (divisor m -
            1).

    Raises:
        ValueError: the Gram matrix is not square or not finite, a position is out of range or
            repeated, less than one component, or more than the training rows span. An eigenvalue
            counts as zero up to the larger of :data:`RELATIVE_TOLERANCE` times the first and what
            rounding to float32 makes of the squared lengths of the rows.
    """
    n, m = len(gram), len(train)
    if gram.shape != (n, n):
        raise ValueError(f"a Gram matrix is square, got {gram.shape}")
    if not np.isfinite(gram).all():
        raise ValueError(
            "principal components need a finite Gram matrix, some value is NaN or infinite"
        )
    if len(np.unique(train)) < m or (m and (train.min() < 0 or train.max() >= n)):
        raise ValueError(f"training positions are from 0 to {n - 1}, each once")
    if n_components < 1:
        raise ValueError(f"at least one component is needed, got {n_components}")
    if n_components > m - 1:
        raise ValueError(
            f"{n_components} components asked for, but {m} training rows span at most "
            f"{max(m - 1, 0)} dimensions"
        )
    others = np.setdiff1d(np.arange(n), train)
    inner = gram[np.ix_(train, train)].astype(np.float64)
    rounding = float(np.finfo(np.float32).eps * np.trace(inner))
    column_means = inner.mean(axis=0)
    inner += column_means.mean() - column_means - column_means[:, None]
    total = float(np.trace(inner))
    values, vectors = (
        a[..., ::-1]
        for a in eigh(inner, subset_by_index=(m - n_components, m - 1), overwrite_a=True)
    )
    rank = int((values > max(RELATIVE_TOLERANCE * values[0], rounding)).sum())
    if rank < n_components:
        raise ValueError(
            f"{n_components} components asked for, but the training rows span only {rank} "
            "dimensions"
        )
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(n_components)])
    lengths = np.sqrt(values)
    # The other terms of the centring are the same along a row, and every vector sums to zero.
    outer = gram[np.ix_(others, train)].astype(np.float64) - column_means
    scores = np.empty((n, n_components))
    scores[train] = vectors * lengths
    scores[others] = outer @ (vectors / lengths)
    if whiten:
        scores *= np.sqrt(m - 1) / lengths
    return GramPca(scores.astype(np.float32), float(values.sum()) / total)

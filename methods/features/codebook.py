"""Codebook of local descriptors by k-means, the vector quantiser of VLAD (Jegou et al. 2010; Farhat
and Sicre, section 6.3).

k-means++ (Arthur and Vassilvitskii 2007) gives the start, with scikit-learn's draws, and Lloyd's
algorithm goes on from it until the centroids rest, by scikit-learn's rules. Both are in blocks and
in float32; descriptors that the bounds of Hamerly (2010) show to stay in their cell are left out of
an iteration, which changes nothing of its result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from methods.arrays import finite_float32
from methods.features.descriptors import in_threads, scores

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

ROWS_AT_ONCE = 1024
"""Descriptors that a thread works on at a time."""
ROWS_TO_START = 8192
"""The same for k-means++, which does little with each."""
ROUNDING = 4e-6
"""Of a squared distance by products in float32, as a part of the squares it is made of; more than
any seen with 512 numbers."""


@dataclass(frozen=True)
class Codebook:
    """Result of a fit.

    Attributes:
        centroids: (k, d) float32, in the order in which k-means++ drew their starts.
        iterations: of Lloyd's algorithm, the one after which the centroids rested included.
        converged: whether it came to rest in fewer than ``max_iterations`` iterations.
        inertia: mean squared Euclidean distance of a descriptor to its nearest centroid.
    """

    centroids: Float32
    iterations: int
    converged: bool
    inertia: float


def _mean_and_variance(rows: Float32) -> tuple[Float32, float]:
    """Mean descriptor, (d,), and the variance of one of their numbers, on average."""
    n_rows, n_features = rows.shape
    starts = range(0, n_rows, ROWS_AT_ONCE)
    mean, squares = np.zeros(n_features), np.zeros(n_features)
    for total in in_threads(
        lambda first: rows[first : first + ROWS_AT_ONCE].sum(axis=0, dtype=np.float64), starts
    ):
        mean += total / n_rows
    for total in in_threads(
        lambda first: np.square(rows[first : first + ROWS_AT_ONCE] - mean).sum(axis=0), starts
    ):
        squares += total / n_rows
    return mean.astype(np.float32), float(squares.mean())


def _start(centred: Float32, n_clusters: int, seed: int) -> NDArray[np.int64]:
    """Positions of the rows drawn by k-means++, of several candidates for each the one that leaves
    the smallest sum of distances.

    scikit-learn's ``kmeans_plusplus`` with its candidates and random numbers. At 10^6 rows of 512
    float32 numbers it converts all of them anew for every centroid, and given float64 it needs 4 GB
    more.
    """
    rng, candidates, n_rows = np.random.RandomState(seed), 2 + int(np.log(n_clusters)), len(centred)
    norms = np.vecdot(centred, centred)
    drawn = np.empty(n_clusters, np.int64)
    closest = np.full(n_rows, np.inf, np.float32)
    tried = rng.choice(n_rows, 1, p=np.full(n_rows, 1 / n_rows))

    def nearer(first: int) -> Float32:
        """Squared distances to the nearest of the rows drawn and each of those tried, (tried,
        rows).
        """
        some = slice(first, first + ROWS_TO_START)
        both = norms[tried, None] + norms[some]
        squared = both - np.float32(2) * (centred[tried] @ centred[some].T)
        # Less may be rounding, which would have a row drawn a second time: those by their
        # differences.
        one, other = np.nonzero(squared < np.float32(ROUNDING) * both)
        apart = centred[tried[one]] - centred[some][other]
        squared[one, other] = np.vecdot(apart, apart)
        nearest: Float32 = np.minimum(squared, closest[some])
        return nearest

    for i in range(n_clusters):
        squared = np.concatenate(list(in_threads(nearer, range(0, n_rows, ROWS_TO_START))), axis=1)
        best = squared.sum(axis=1, dtype=np.float64).argmin()
        drawn[i], closest = tried[best], squared[best]
        cumulative = closest.cumsum(dtype=np.float64)
        tried = np.searchsorted(cumulative, rng.uniform(size=candidates) * cumulative[-1]).clip(
            max=n_rows - 1
        )
    return drawn


def _squared_distances(rows: Float32, centroids: Float32, cells: NDArray[np.int64]) -> Float32:
    """Of each row to the centroid of its cell, (n,)."""

    def work(first: int) -> Float32:
        residuals = (
            rows[first : first + ROWS_AT_ONCE] - centroids[cells[first : first + ROWS_AT_ONCE]]
        )
        squared: Float32 = np.vecdot(residuals, residuals)
        return squared

    return np.concatenate(list(in_threads(work, range(0, len(rows), ROWS_AT_ONCE))))


class _Cells:
    """The centroid nearest to each row, from one iteration to the next.

    Attributes:
        nearest: (n,) int64.
        upper: no less than a row's distance to that centroid, (n,) float32.
        lower: no more than its distance to any other.
    """

    def __init__(self, centred: Float32) -> None:
        self.centred, self.norms = centred, np.vecdot(centred, centred)
        self.nearest = np.zeros(len(centred), np.int64)
        self.upper, self.lower = (
            np.full(len(centred), np.inf, np.float32),
            np.zeros(len(centred), np.float32),
        )

    def update(self, centroids: Float32, shifts: Float32) -> NDArray[np.int64]:
        """Cells of these centroids, (k, d), which have moved so far since the last call, (k,)."""
        self.upper += shifts[self.nearest]
        self.lower -= shifts.max()
        open_rows = np.flatnonzero(self.upper >= self.lower)
        largest = np.vecdot(centroids, centroids).max()

        def work(first: int) -> None:
            some = open_rows[first : first + ROWS_AT_ONCE]
            near, each = scores(self.centred[some], centroids), np.arange(len(some))
            self.nearest[some] = best = near.argmax(axis=1)
            first_score = near[each, best]
            near[each, best] = -np.inf
            norms = self.norms[some]
            # of both sides, so that no row left out could have changed
            rounding = np.float32(ROUNDING) * (norms + largest)
            self.upper[some] = np.sqrt(np.maximum(norms - 2 * first_score, 0) + rounding)
            self.lower[some] = np.sqrt(np.maximum(norms - 2 * near.max(axis=1) - rounding, 0))

        for _ in in_threads(work, range(0, len(open_rows), ROWS_AT_ONCE)):
            pass
        return self.nearest


def _means(rows: Float32, centroids: Float32, cells: NDArray[np.int64]) -> Float32:
    """The mean of the rows of each cell, summed in float64.

    A centroid without any moves to the row farthest from its own centroid, which leaves the cell it
    was in: scikit-learn's rule.
    """
    n_clusters = len(centroids)

    def work(first: int) -> Float64:
        block, cell = rows[first : first + ROWS_AT_ONCE], cells[first : first + ROWS_AT_ONCE]
        members = csc_array(
            (np.ones(len(block)), cell, np.arange(len(block) + 1)), shape=(n_clusters, len(block))
        )
        return np.asarray(members @ block.astype(np.float64))

    sums, counts = np.zeros(centroids.shape), np.bincount(cells, minlength=n_clusters)
    for block_sums in in_threads(work, range(0, len(rows), ROWS_AT_ONCE)):
        sums += block_sums
    empty = np.flatnonzero(counts == 0)
    if len(empty):
        farthest = np.argsort(-_squared_distances(rows, centroids, cells), kind="stable")[
            : len(empty)
        ]
        np.subtract.at(sums, cells[farthest], rows[farthest])
        np.subtract.at(counts, cells[farthest], 1)
        sums[empty], counts[empty] = rows[farthest], 1
    means: Float32 = np.where(
        counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids
    ).astype(np.float32)
    return means


def fit_codebook(
    descriptors: NDArray[np.floating],
    n_clusters: int,
    seed: int,
    max_iterations: int = 300,
    tolerance: float = 1e-4,
) -> Codebook:
    """Fit k-means to local descriptors of training images.

    A cluster that gets empty is moved to the descriptor farthest from its own centroid,
    scikit-learn's rule. Equal descriptors (after a ReLU and a max pool every black border gives the
    same) do no harm as long as there are enough different ones. A cell of equal descriptors has
    them exactly as its centroid, so their residuals are zero and not rounding that a normalisation
    would blow up.

    Args:
        descriptors: (n, d); computed in float32.
        n_clusters: k.
        seed: of k-means++; from 0 to 2**32 - 1.
        max_iterations: hitting it leaves ``converged`` False.
        tolerance: the centroids rest once their squared shifts add up to no more than this times
            the mean variance of a number of the descriptors, scikit-learn's rule and default; 0
            waits until nothing changes.

    Raises:
        ValueError: the descriptors are not a matrix, fewer descriptors or fewer different ones than
            clusters, a value that is not finite or too large to be squared, or less than one cluster or
            iteration.
    """
    if descriptors.ndim != 2:
        raise ValueError(
            f"a codebook is fitted to descriptors (n, d), got an array of shape {descriptors.shape}"
        )
    rows = finite_float32(descriptors, "k-means needs finite descriptors")
    if n_clusters < 1 or max_iterations < 1:
        raise ValueError(
            f"k-means needs at least one cluster and one iteration, got {n_clusters} and {max_iterations}"
        )
    if len(rows) < n_clusters:
        raise ValueError(
            f"{n_clusters} clusters need at least as many descriptors, got n_samples = {len(rows)}"
        )
    mean, variance = _mean_and_variance(rows)
    centred = rows - mean  # distances by matrix products lose digits far from the origin
    centroids = rows[_start(centred, n_clusters, seed)]
    # All starts different means enough different descriptors; counting those takes a sort of them
    # all.
    if (
        len(np.unique(centroids, axis=0)) < n_clusters
        and (distinct := len(np.unique(rows, axis=0))) < n_clusters
    ):
        raise ValueError(
            f"{n_clusters} clusters need as many different descriptors, got {distinct} among {len(rows)}"
        )
    iterations, cells, shifts = 0, _Cells(centred), np.zeros(n_clusters, np.float32)
    resting = False
    while not resting and iterations < max_iterations:
        moved = _means(rows, centroids, cells.update(centroids - mean, shifts))
        squares = np.square(moved - centroids, dtype=np.float64).sum(axis=1)
        resting = bool(squares.sum() <= tolerance * variance)
        centroids, shifts = moved, np.sqrt(squares).astype(np.float32)
        iterations += 1
    squared = _squared_distances(rows, centroids, cells.update(centroids - mean, shifts))
    return Codebook(
        centroids=centroids,
        iterations=iterations,
        converged=iterations < max_iterations,
        inertia=float(squared.mean(dtype=np.float64)),
    )

"""Codebook of local descriptors by k-means, the vector quantiser of VLAD.

Jegou et al. 2010; Farhat and Sicre, section 6.3.

scikit-learn's Lloyd algorithm from one k-means++ start (Arthur and Vassilvitskii 2007), followed by
one pass in float64 for the means. It runs on one thread: with several, the order of the sums, and
so the last digits of the centroids, would depend on their number.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from methods.arrays import finite_float32
from methods.settings import KMEANS_ITERATIONS

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Codebook:
    """Result of a fit.

    Attributes:
        centroids: (k, d) float32, in the order in which k-means++ drew their starts.
        iterations: of Lloyd's algorithm.
        converged: whether the centroids came to rest in fewer than ``max_iterations`` iterations.
        inertia: mean squared Euclidean distance of a descriptor to the centroid of its cell.
    """

    centroids: Float32
    iterations: int
    converged: bool
    inertia: float


def _means_of_cells(
    rows: Float32, cells: NDArray[np.integer], centroids: Float32
) -> tuple[Float32, float]:
    """Compute the mean of each cell in float64 and the mean squared distance to these means.

    Args:
        rows: (n, d).
        cells: (n,) cell of each row, 0..k - 1.
        centroids: (k, d), kept for cells without rows.

    Returns:
        (k, d) float32 means, and the mean over the rows of the squared distance.
    """
    means, total = centroids.copy(), 0.0
    for cell in np.unique(cells):
        members = rows[cells == cell]
        means[cell] = members.mean(axis=0, dtype=np.float64)
        members -= means[cell]
        total += float(np.vecdot(members, members).sum(dtype=np.float64))
    return means, total / len(rows)


def fit_codebook(
    descriptors: NDArray[np.floating],
    n_clusters: int,
    seed: int,
    max_iterations: int = KMEANS_ITERATIONS,
    tolerance: float = 1e-4,
) -> Codebook:
    """Fit k-means to local descriptors of training images.

    Equal descriptors (after a ReLU and a max pool every black border gives the same) do no harm as
    long as there are enough different ones. A cell of equal descriptors has them exactly as its
    centroid, so their residuals are zero and not rounding that a normalisation would blow up.
    Memory grows by twice the descriptors as float32.

    Args:
        descriptors: (n, d); computed in float32.
        n_clusters: k.
        seed: of k-means++; from 0 to 2**32 - 1.
        max_iterations: hitting it leaves ``converged`` False.
        tolerance: the centroids rest once their squared shifts add up to no more than this times
            the mean variance of a number of the descriptors; 0 waits until nothing changes.

    Raises:
        ValueError: the descriptors are not a matrix, fewer descriptors or fewer different ones than
            clusters, a value that is not finite or too large to be squared, or less than one
            cluster or iteration.
    """
    if descriptors.ndim != 2:
        raise ValueError(
            f"a codebook is fitted to descriptors (n, d), got an array of shape {descriptors.shape}"
        )
    if n_clusters < 1 or max_iterations < 1:
        raise ValueError(
            f"k-means needs at least one cluster and one iteration, got {n_clusters} and "
            f"{max_iterations}"
        )
    if len(descriptors) < n_clusters:
        raise ValueError(
            f"{n_clusters} clusters need at least as many descriptors, got n_samples = "
            f"{len(descriptors)}"
        )
    rows = finite_float32(descriptors, "k-means needs finite descriptors")
    kmeans = KMeans(n_clusters, n_init=1, max_iter=max_iterations, tol=tolerance, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal descriptors: checked below
        kmeans.fit(rows)
    cells = kmeans.labels_
    if (
        len(np.unique(cells)) < n_clusters
        and (distinct := len(np.unique(rows, axis=0))) < n_clusters
    ):
        raise ValueError(
            f"{n_clusters} clusters need as many different descriptors, got {distinct} among "
            f"{len(rows)}"
        )
    centroids, inertia = _means_of_cells(rows, cells, kmeans.cluster_centers_)
    return Codebook(
        centroids=centroids,
        iterations=kmeans.n_iter_,
        converged=kmeans.n_iter_ < max_iterations,
        inertia=inertia,
    )

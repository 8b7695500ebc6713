"""Codebook of local descriptors by k-means, the vector quantiser of VLAD (Jegou et al. 2010; Farhat and Sicre, section 6.3).

k-means++ (Arthur and Vassilvitskii 2007) gives the start, Lloyd's algorithm goes on from it until the centroids rest, either
in faiss or in scikit-learn. As both make the same iterations from the same start they give the same codebook up to rounding
(which may send a descriptor exactly between two centroids to either). Mini-batch k-means could not: its result hangs on the
batches that a library draws.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin, pairwise_distances_argmin_min
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Float32 = NDArray[np.float32]

ROWS_AT_ONCE = 16_384
"""Descriptors held in float64 at a time while the cells are averaged."""


@dataclass(frozen=True)
class Codebook:
    """Result of a fit.

    Attributes:
        centroids: (k, d) float32, in the order in which k-means++ drew their starts.
        iterations: of Lloyd's algorithm, the one after which the centroids rested included.
        converged: whether it came to rest in fewer than ``max_iterations`` iterations.
        inertia: mean squared Euclidean distance of a descriptor to its nearest centroid.
        library: that ran the iterations.
    """

    centroids: Float32
    iterations: int
    converged: bool
    inertia: float
    library: Literal["faiss", "scikit-learn"]


def _faiss() -> Any | None:
    try:
        return importlib.import_module("faiss")
    except ImportError:
        return None


def _lloyd_scikit_learn(descriptors: Float32, start: Float32, max_iterations: int, tolerance: float) -> tuple[Float32, int]:
    """Centroids and iterations. On one thread: with more, the order of the sums would follow the threads' timing."""
    kmeans = KMeans(len(start), init=start, n_init=1, max_iter=max_iterations, tol=tolerance, algorithm="lloyd")
    with threadpool_limits(1, user_api="openmp"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of an empty cluster, where max_iterations cut the fit short
        kmeans.fit(descriptors)
    return kmeans.cluster_centers_, int(kmeans.n_iter_)


def _lloyd_faiss(faiss: Any, descriptors: Float32, start: Float32, max_iterations: int, tolerance: float) -> tuple[Float32, int]:
    """Centroids and iterations. One iteration a call: faiss itself does not look whether anything still changes."""
    (n_clusters, n_features), n_descriptors = start.shape, len(descriptors)
    if n_descriptors == n_clusters:  # faiss would return the descriptors in their own order
        return _lloyd_scikit_learn(descriptors, start, max_iterations, tolerance)
    mean = descriptors.mean(axis=0)  # distances by matrix products lose digits far from the origin
    centred, centroids = descriptors - mean, start - mean
    enough = tolerance * float(centred.var(axis=0, dtype=np.float64).mean())
    kmeans = faiss.Kmeans(
        n_features, n_clusters, niter=1, min_points_per_centroid=1, max_points_per_centroid=n_descriptors, spherical=False
    )
    for iteration in range(1, max_iterations + 1):
        kmeans.train(centred, init_centroids=centroids)
        moved = kmeans.centroids
        if kmeans.iteration_stats[0]["nsplit"]:
            moved, _ = _lloyd_scikit_learn(centred, centroids, 1, tolerance)
        shift = float(np.square(moved - centroids, dtype=np.float64).sum())
        centroids = moved
        if shift <= enough:
            return centroids + mean, iteration
    return centroids + mean, max_iterations


def _cell_means(descriptors: Float32, centroids: Float32) -> Float32:
    """Mean of the descriptors nearest to each centroid, taken in float64; a centroid without any stays where it is."""
    n_clusters = len(centroids)
    cells = pairwise_distances_argmin(descriptors, centroids)
    sums = np.zeros(centroids.shape)
    for first in range(0, len(descriptors), ROWS_AT_ONCE):
        block = descriptors[first : first + ROWS_AT_ONCE].astype(np.float64)
        cell, columns = cells[first : first + ROWS_AT_ONCE], np.arange(len(block) + 1)
        members = csc_array((np.ones(len(block)), cell, columns), shape=(n_clusters, len(block)))
        sums += np.asarray(members @ block)
    counts = np.bincount(cells, minlength=n_clusters)[:, None]
    means: Float32 = np.where(counts > 0, sums / np.maximum(counts, 1), centroids).astype(np.float32)
    return means


def fit_codebook(
    descriptors: NDArray[np.floating],
    n_clusters: int,
    seed: int,
    max_iterations: int = 300,
    library: Literal["auto", "faiss", "scikit-learn"] = "auto",
    tolerance: float = 1e-4,
) -> Codebook:
    """Fit k-means to local descriptors of training images.

    A cluster that gets empty is moved to the descriptor farthest from its own centroid, scikit-learn's rule; where faiss would
    split a large cluster at random instead, scikit-learn makes that one iteration. Equal descriptors (after a ReLU and a max
    pool every black border gives the same) do no harm as long as there are enough different ones.

    The centroids returned are the means of their cells, summed in float64 after the last iteration: a cell of equal descriptors
    has them exactly as its centroid, so their residuals are zero and not rounding that a normalisation would blow up.

    Args:
        descriptors: (n, d); computed in float32.
        n_clusters: k.
        seed: of k-means++; from 0 to 2**32 - 1.
        max_iterations: hitting it leaves ``converged`` False.
        library: "auto" is faiss where it is installed. scikit-learn runs on one thread, faiss on all of them.
        tolerance: the centroids rest once their squared shifts add up to no more than this times the mean variance of a number
            of the descriptors, scikit-learn's rule and default; 0 waits until nothing changes.

    Raises:
        ValueError: the descriptors are not a matrix, fewer descriptors or fewer different ones than clusters, a value that is
            not finite, less than one cluster or iteration, or faiss is asked for and not installed.
    """
    rows = np.ascontiguousarray(descriptors, np.float32)
    if rows.ndim != 2:
        raise ValueError(f"a codebook is fitted to descriptors (n, d), got an array of shape {rows.shape}")
    if n_clusters < 1 or max_iterations < 1:
        raise ValueError(f"k-means needs at least one cluster and one iteration, got {n_clusters} and {max_iterations}")
    if len(rows) < n_clusters:
        raise ValueError(f"{n_clusters} clusters need at least as many descriptors, got n_samples = {len(rows)}")
    if not np.isfinite(rows).all():
        raise ValueError("k-means needs finite descriptors, some value is NaN or infinite")
    faiss = _faiss() if library != "scikit-learn" else None
    if library == "faiss" and faiss is None:
        raise ValueError("faiss is not installed: pip install 'medfeat[faiss]'")
    # In float64: given float32, scikit-learn converts it anew for every centroid, which takes eleven times as long.
    drawn = kmeans_plusplus(rows.astype(np.float64), n_clusters, random_state=seed)[1]
    start = rows[drawn]
    # All starts different means enough different descriptors; counting those takes a sort of them all.
    if len(np.unique(start, axis=0)) < n_clusters and (distinct := len(np.unique(rows, axis=0))) < n_clusters:
        raise ValueError(f"{n_clusters} clusters need as many different descriptors, got {distinct} among {len(rows)}")
    if faiss is None:
        centroids, iterations = _lloyd_scikit_learn(rows, start, max_iterations, tolerance)
    else:
        centroids, iterations = _lloyd_faiss(faiss, rows, start, max_iterations, tolerance)
    means = _cell_means(rows, centroids)
    distances = pairwise_distances_argmin_min(rows, means)[1]
    return Codebook(
        centroids=means,
        iterations=iterations,
        converged=iterations < max_iterations,
        inertia=float(np.mean(distances.astype(np.float64) ** 2)),
        library="scikit-learn" if faiss is None else "faiss",
    )

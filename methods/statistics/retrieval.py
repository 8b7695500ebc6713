"""Retrieval and clustering by features: how near images of the same labels lie to each other.

The task behind Lyndon et al. 2015 is the clustering of medical images; the paper scores labels
alone. Each test image is a query, and the other test images are ranked by the cosine of their
features. Images of the query's own group (patient) are no candidates: they are alike for another
reason than their labels. Nothing is fitted, and no training image takes part. Intervals are over
the groups of the queries, taken as independent although queries share their candidates.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

from methods.statistics.significance import group_codes

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

CUTOFFS = (1, 5, 10)
"""Numbers of nearest images whose precision is measured."""
CLUSTERED_COMPONENTS = 64
"""Maximum number of principal components of the features that k-means sees."""
MAX_IMAGES = 8_000
"""Maximum number of images that are ranked for each other: half a gigabyte of cosines."""
CLUSTERINGS = 10
"""Number of starts of k-means, of which the best is taken."""


@dataclass(frozen=True)
class Neighbours:
    """How the features of n test images lie to each other.

    Attributes:
        average_precision: (n,) of each query; NaN where no image of another group is relevant.
        precision: (n,) of each query, by the number of nearest images; NaN as above, and where
            there are fewer candidates.
        clusters: (n,) cluster of each image.
        label_sets: (n,) number of the label set of each image.
    """

    average_precision: Float64
    precision: dict[int, Float64]
    clusters: NDArray[np.int64]
    label_sets: NDArray[np.int64]

    @property
    def n_clusters(self) -> int:
        """Number of clusters that were asked for: as many as there are label sets."""
        return int(self.label_sets.max()) + 1

    @property
    def cells(self) -> NDArray[np.int64]:
        """Label set and cluster of each image as one number below ``n_clusters`` squared, (n,)."""
        return self.label_sets * self.n_clusters + self.clusters


def neighbours(
    gram: NDArray[np.floating], truth: Bool, groups: Sequence[str] | None, seed: int
) -> Neighbours:
    """Rank the images for each other, and cluster them.

    An image is relevant for a query if they share a label, or if neither has one: with one label an
    image, if it is of the same class. Equal similarities rank in the order of the images. There are
    as many clusters as there are different label sets; k-means (Lloyd's, k-means++ starts) works on
    the principal components of the features, scaled to unit length.

    Args:
        gram: (n, n) inner products of the features of the test images.
        truth: (n, L) whether each image has each label.
        groups: (n,) group of each image, or None.
        seed: of k-means.

    Raises:
        ValueError: no image, or shapes that do not fit.
    """
    n = len(truth)
    if not n or gram.shape != (n, n):
        raise ValueError(f"a Gram matrix of {n} images is needed, got {gram.shape}")
    codes = group_codes(n, groups)
    cosine = _cosine(gram)
    kinds = np.column_stack([truth, ~truth.any(axis=1)])  # no label is a kind of its own
    average = np.full(n, np.nan)
    precision = {k: np.full(n, np.nan) for k in CUTOFFS}
    for i in range(n):
        others = np.flatnonzero(codes != codes[i])
        relevant = np.asarray(kinds[others][:, kinds[i]].any(axis=1))
        if not relevant.any():
            continue
        hits = relevant[np.argsort(-cosine[i, others], kind="stable")]
        ranks = np.flatnonzero(hits) + 1
        average[i] = (np.arange(1, len(ranks) + 1) / ranks).mean()
        for k in CUTOFFS:
            if len(hits) >= k:
                precision[k][i] = hits[:k].mean()
    label_sets = np.unique(truth, axis=0, return_inverse=True)[1].reshape(n).astype(np.int64)
    return Neighbours(average, precision, _clusters(cosine, label_sets, seed), label_sets)


def _cosine(gram: NDArray[np.floating]) -> Float64:
    """Return the cosines of the rows behind a Gram matrix; of a row of zeros they are 0."""
    lengths = np.sqrt(np.diag(gram).astype(np.float64))
    lengths[lengths == 0] = 1
    cosine: Float64 = gram / lengths / lengths[:, None]
    return cosine


def _clusters(cosine: Float64, label_sets: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the cluster of each image, (n,), as many clusters as label sets."""
    from sklearn.cluster import KMeans  # a second to import
    from sklearn.decomposition import KernelPCA
    from sklearn.exceptions import ConvergenceWarning

    n, n_clusters = len(cosine), len(np.unique(label_sets))
    if n_clusters == 1:
        return np.zeros(n, np.int64)
    components = KernelPCA(
        min(CLUSTERED_COMPONENTS, n - 1),
        kernel="precomputed",
        eigen_solver="randomized",
        random_state=seed,
    ).fit_transform(cosine)
    k_means = KMeans(n_clusters, n_init=CLUSTERINGS, random_state=seed)
    with warnings.catch_warnings():
        # fewer different features than label sets: that there are fewer clusters is the answer
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters: NDArray[np.int64] = k_means.fit_predict(components).astype(np.int64)
    return clusters


def normalised_information(counts: NDArray[np.int64]) -> Float64:
    """Compute the normalised mutual information of two partitions of the same images, (...).

    It is divided by the mean of the two entropies, as by default in scikit-learn, whose function
    takes no resamples at once.

    Args:
        counts: (..., label sets, clusters) number of images of each set in each cluster; not all 0.

    Returns:
        0 to 1; NaN where the images have one label set alone, of which nothing can be known.
    """
    shares = counts / counts.sum(axis=(-2, -1), keepdims=True)
    of_sets, of_clusters = (entr(shares.sum(axis=axis)).sum(axis=-1) for axis in (-1, -2))
    shared = of_sets + of_clusters - entr(shares).sum(axis=(-2, -1))
    there = of_sets > 0
    found: Float64 = np.divide(
        2 * shared, of_sets + of_clusters, out=np.full(there.shape, np.nan), where=there
    )
    return found.clip(0, 1)

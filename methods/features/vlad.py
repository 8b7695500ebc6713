"""Vectors of locally aggregated descriptors, VLAD.

Jegou et al. 2010; Farhat and Sicre, section 6.3.
"""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from methods.arrays import finite_float32, l2_normalise
from methods.features.codebook import fit_codebook

Float32 = NDArray[np.float32]

DESCRIPTORS_AT_ONCE = 1024
"""Descriptors compared with the centroids at a time; bounds the memory of their distances."""
FINITE = "VLAD needs finite descriptors and centroids"
"""Beginning of the error message for values that are not finite."""


def _nearest(rows: Float32, centres: Float32) -> NDArray[np.int64]:
    """Find the centre nearest to each row, (n, d) and (k, d) -> (n,)."""
    half_norms = np.vecdot(centres, centres) / np.float32(2)
    nearest = np.empty(len(rows), np.int64)
    for start in range(0, len(rows), DESCRIPTORS_AT_ONCE):
        block = slice(start, start + DESCRIPTORS_AT_ONCE)
        # |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2): the bracket is largest for the nearest
        nearest[block] = (rows[block] @ centres.T - half_norms).argmax(axis=1)
    return nearest


def assign(descriptors: NDArray[np.floating], centroids: NDArray[np.floating]) -> NDArray[np.int64]:
    """Find the centroid nearest to each descriptor in Euclidean distance, of ties the first.

    Args:
        descriptors: (n, d); computed in float32.
        centroids: (k, d).

    Returns:
        (n,) int64.

    Raises:
        ValueError: a value is not finite or too large to be squared.
    """
    rows, centres = finite_float32(descriptors, FINITE), finite_float32(centroids, FINITE)
    with threadpool_limits(1, user_api="blas"):  # the same bytes on any number of cores
        return _nearest(rows, centres)


def encode(
    descriptors: NDArray[np.floating],
    centroids: NDArray[np.floating],
    *,
    intra_normalisation: bool = False,
    signed_sqrt: bool = False,
) -> Float32:
    """Encode each image as one row of summed residuals.

    For every centroid c_i the residuals x_j - c_i of the descriptors nearest to it are summed.

    The steps, in this order; the paper has the first and the last:

    1. v_i = sum over the descriptors of cell i of (x_j - c_i), cell after cell.
    2. Signed square root of every number (Jegou et al. 2012), where asked for.
    3. Each cell's d numbers to unit Euclidean length (Arandjelovic and Zisserman 2013), where asked
      for; a zero cell stays zero.
    4. The row to unit Euclidean length; a zero row stays zero.

    Args:
        descriptors: (N, L, d), L descriptors of each of N images; computed in float32.
        centroids: (k, d).
        intra_normalisation: step 3.
        signed_sqrt: step 2.

    Returns:
        (N, k * d) float32.

    Raises:
        ValueError: shapes that do not fit together, no descriptor, or a value that is not finite
            or too large to be squared.
    """
    centres = finite_float32(centroids, FINITE)
    if descriptors.ndim != 3 or centres.ndim != 2 or descriptors.shape[2] != centres.shape[1]:
        raise ValueError(
            f"descriptors (N, L, d) and centroids (k, d) do not fit: {descriptors.shape} and "
            f"{centres.shape}"
        )
    n_images, per_image, _ = descriptors.shape
    if not per_image or not len(centres):
        raise ValueError(
            f"an image has at least one descriptor and a codebook one centroid, got {per_image} "
            f"and {len(centres)}"
        )
    encoded = np.zeros((n_images, *centres.shape), np.float32)
    with threadpool_limits(1, user_api="blas"):  # the same bytes on any number of cores
        for cells, image in zip(encoded, descriptors, strict=True):
            rows = finite_float32(image, FINITE)
            nearest = _nearest(rows, centres)
            order = nearest.argsort(kind="stable")
            filled, starts = np.unique(nearest[order], return_index=True)
            # Residuals before sums: the sum of equal descriptors less a multiple of their centroid
            # would leave rounding in a cell that must be zero.
            residuals = rows[order] - centres[nearest[order]]
            sums = np.add.reduceat(residuals, starts, axis=0)
            if signed_sqrt:
                sums = np.copysign(np.sqrt(np.abs(sums)), sums)
            if intra_normalisation:
                sums = l2_normalise(sums)
            cells[filled] = sums / (np.linalg.norm(sums) or np.float32(1))
    return encoded.reshape(n_images, -1)


class VLAD(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # no types of their own
    """Codebook and encoding as a scikit-learn transformer.

    Args:
        n_clusters: k, centroids of the codebook.
        intra_normalisation: as in :func:`encode`.
        signed_sqrt: as in :func:`encode`.
        max_iterations: of k-means; hitting it is a ConvergenceWarning.
        random_state: of k-means++; an integer is the seed of ``fit_codebook``, a RandomState or
            None draws one.

    Attributes:
        centroids_: (k, d) float32.
        n_iter_: iterations of k-means.
        n_features_in_: d, numbers of one descriptor.
    """

    def __init__(
        self,
        n_clusters: int = 64,
        intra_normalisation: bool = False,
        signed_sqrt: bool = False,
        max_iterations: int = 100,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.intra_normalisation = intra_normalisation
        self.signed_sqrt = signed_sqrt
        self.max_iterations = max_iterations
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return int(self.centroids_.size)

    def _images(self, x: ArrayLike, reset: bool) -> NDArray[np.floating]:
        """Return checked descriptors, (N, L, d).

        ``reset`` sets ``n_features_in_``, else it is compared.
        """
        shape = np.shape(x) if getattr(x, "ndim", 2) == 3 else None
        flat = np.reshape(x, (-1, shape[2])) if shape else x
        checked: NDArray[np.floating] = validate_data(
            self, flat, reset=reset, dtype=[np.float32, np.float16]
        )
        return checked.reshape(shape) if shape else checked[:, None, :]

    def fit(self, X: ArrayLike, y: Any = None) -> Self:  # noqa: N803
        """Fit the codebook to all descriptors of the training images.

        Args:
            X: (N, L, d), or (N, d) for one descriptor an image.
            y: ignored.

        Raises:
            ValueError: as :func:`methods.features.codebook.fit_codebook`.
        """
        images = self._images(X, reset=True)
        given = self.random_state
        seed = (
            int(given) if isinstance(given, Integral) else check_random_state(given).randint(2**31)
        )
        book = fit_codebook(
            images.reshape(-1, images.shape[2]), self.n_clusters, seed, self.max_iterations
        )
        if not book.converged:
            message = (
                f"k-means did not come to rest in fewer than {self.max_iterations} iterations; "
                "raise max_iterations"
            )
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        self.centroids_, self.n_iter_ = book.centroids, book.iterations
        return self

    def transform(self, X: ArrayLike) -> Float32:  # noqa: N803
        """Encode images as VLAD rows, (N, k * d) float32.

        Args:
            X: as in :meth:`fit`; L may differ.

        Raises:
            ValueError: another number of features than in the fit, or a value that is not finite.
            NotFittedError: called before :meth:`fit`.
        """
        check_is_fitted(self)
        return encode(
            self._images(X, reset=False),
            self.centroids_,
            intra_normalisation=self.intra_normalisation,
            signed_sqrt=self.signed_sqrt,
        )

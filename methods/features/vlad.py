"""Vectors of locally aggregated descriptors, VLAD (Jegou et al. 2010; Farhat and Sicre, section
6.3).
"""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from methods.arrays import finite_float32
from methods.classifiers.linear_svm import l2_normalise
from methods.features.codebook import fit_codebook
from methods.features.descriptors import in_threads, scores

Float32 = NDArray[np.float32]

DESCRIPTORS_AT_ONCE = 1024
"""Descriptors worked on at a time, so that they and their products with the centroids stay near the
processor."""
FINITE = "VLAD needs finite descriptors and centroids"


def assign(descriptors: NDArray[np.floating], centroids: NDArray[np.floating]) -> NDArray[np.int64]:
    """The centroid nearest to each descriptor in Euclidean distance, of equally near ones that of
    the lowest index.

    Args:
        descriptors: (n, d); computed in float32.
        centroids: (k, d).

    Returns:
        (n,) int64.

    Raises:
        ValueError: a value is not finite or too large to be squared.
    """
    centres = finite_float32(centroids, FINITE)
    found = [np.empty(0, np.int64)]
    for first in range(0, len(descriptors), DESCRIPTORS_AT_ONCE):
        block = finite_float32(descriptors[first : first + DESCRIPTORS_AT_ONCE], FINITE)
        found.append(scores(block, centres).argmax(axis=1))
    return np.concatenate(found)


def encode(
    descriptors: NDArray[np.floating],
    centroids: NDArray[np.floating],
    *,
    intra_normalisation: bool = False,
    signed_sqrt: bool = False,
) -> Float32:
    """One row for each image: for every centroid the sum of the residuals x_j - c_i of the
    descriptors nearest to it.

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
            f"descriptors (N, L, d) and centroids (k, d) do not fit: {descriptors.shape} and {centres.shape}"
        )
    n_images, per_image, n_features = descriptors.shape
    if not per_image or not len(centres):
        raise ValueError(
            f"an image has at least one descriptor and a codebook one centroid, got {per_image} and {len(centres)}"
        )
    encoded = np.zeros((n_images, centres.size), np.float32)
    cells = encoded.reshape(-1, n_features)
    images_at_once = max(1, DESCRIPTORS_AT_ONCE // per_image)

    def fill(first: int) -> None:
        some = descriptors[first : first + images_at_once].reshape(-1, n_features)
        n_rows = len(some)
        rows = np.concatenate([finite_float32(some, FINITE), centres])
        nearest = scores(rows[:n_rows], centres).argmax(axis=1)
        order = np.lexsort((nearest, np.arange(n_rows) // per_image))
        cell = nearest[order] + (first + np.arange(n_rows) // per_image) * len(centres)
        starts = np.flatnonzero(np.diff(cell, prepend=-1))
        # Each cell is + x - c + x - c ..., number by number: a sum of equal descriptors less a
        # multiple of their centroid would leave rounding in it. As one sparse product with the
        # centroids below the descriptors no residual is ever stored, and cells without a descriptor
        # are not touched, four fifths of a row of 256 centroids where an image has 49 descriptors.
        pairs = np.stack([order, n_rows + nearest[order]], axis=1).ravel()
        signs = np.tile(np.array([1, -1], np.float32), n_rows)
        sums = (
            csr_array(
                (signs, pairs, np.append(2 * starts, 2 * n_rows)), shape=(len(starts), len(rows))
            )
            @ rows
        )
        if signed_sqrt:
            sums = np.copysign(np.sqrt(np.abs(sums)), sums)
        if intra_normalisation:
            sums = l2_normalise(sums)
        image = order[starts] // per_image
        norms = np.sqrt(np.bincount(image, np.vecdot(sums, sums))).astype(np.float32)
        cells[cell[starts]] = sums / np.where(norms > 0, norms, np.float32(1))[image, None]

    for _ in in_threads(fill, range(0, n_images, images_at_once)):
        pass
    return encoded


class VLAD(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # no types of their own
    """:func:`methods.features.codebook.fit_codebook` and :func:`encode` as a scikit-learn
    transformer.

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
        """Checked descriptors, (N, L, d); ``reset`` sets ``n_features_in_``, else it is
        compared.
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
            message = f"k-means did not come to rest in fewer than {self.max_iterations} iterations; raise max_iterations"
            warnings.warn(message, ConvergenceWarning, stacklevel=2)
        self.centroids_, self.n_iter_ = book.centroids, book.iterations
        return self

    def transform(self, X: ArrayLike) -> Float32:  # noqa: N803
        """VLAD rows, (N, k * d) float32.

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

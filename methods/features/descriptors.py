"""Local descriptors: the columns of a network's last maps, one for each place.

Farhat and Sicre, section 6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from methods.arrays import finite_float32, l2_normalise

Float32 = NDArray[np.float32]

DESCRIPTORS_AT_ONCE = 8192
"""Descriptors whose products are summed at a time; bounds the memory of their float64 copies."""


def as_descriptors(maps: NDArray[np.floating]) -> Float32:
    """Rearrange maps (n, C, h, w) as descriptors (n, h * w, C) float32, places row by row.

    Raises:
        ValueError: not maps.
    """
    if maps.ndim != 4:
        raise ValueError(
            f"local descriptors are taken from maps (n, C, h, w), got shape {maps.shape}"
        )
    n, channels = maps.shape[:2]
    columns = maps.reshape(n, channels, -1).transpose(0, 2, 1)
    return np.ascontiguousarray(columns, np.float32)


def average(descriptors: NDArray[np.floating]) -> Float32:
    """Average the descriptors of each image, (n, L, C) -> (n, C) float32.

    Section 6.2, "average pooling".
    """
    means: Float32 = descriptors.mean(axis=1, dtype=np.float64).astype(np.float32)
    return means


def sample_descriptors(
    read: Callable[[NDArray[np.int64]], NDArray[np.floating]],
    n_images: int,
    n_places: int,
    n_descriptors: int,
    images_at_once: int,
    seed: int,
) -> Float32:
    """Draw descriptors at random places, no place twice, equally many of each image.

    Args:
        read: gives descriptors by the positions of images, (m, n_places, C).
        n_images: number of images.
        n_places: descriptors of an image.
        n_descriptors: number to draw; where the images have fewer, all of them.
        images_at_once: images whose descriptors are in memory at a time.
        seed: of the places.

    Returns:
        (min(n_descriptors, n_images * n_places), C) float32, in the order of the images, then of
        the places.

    Raises:
        ValueError: no image, or no descriptor asked for.
    """
    if n_images < 1 or n_descriptors < 1:
        raise ValueError(f"{n_descriptors} descriptors cannot be drawn from {n_images} images")
    total = min(n_descriptors, n_images * n_places)
    bounds = np.arange(n_images + 1, dtype=np.int64) * total // n_images
    rng = np.random.default_rng(seed)
    places = [
        np.sort(rng.choice(n_places, stop - start, replace=False))
        for start, stop in pairwise(bounds)
    ]
    visited = np.flatnonzero(np.diff(bounds))
    drawn = []
    for first in range(0, len(visited), images_at_once):
        block = visited[first : first + images_at_once]
        descriptors = read(block)
        drawn += [descriptors[i, places[image]] for i, image in enumerate(block)]
    return np.concatenate(drawn).astype(np.float32, copy=False)


WHITENING_FLOOR = 0.01
"""Share of the largest variance that whitening adds to each one (VLFeat's recognition demo)."""


@dataclass(frozen=True)
class LocalTransform:
    """What is done to every local descriptor before the codebook and before the encoding.

    Unit length and principal components of local descriptors: Chatfield et al. 2011; VLFeat's
    recognition demo.

    Attributes:
        unit_length: scale each descriptor to unit Euclidean length first; a zero one stays zero.
        mean: (d,) float32, subtracted; None where there are no principal components.
        projection: (d, m) float32, multiplied with; None likewise.
    """

    unit_length: bool = False
    mean: Float32 | None = None
    projection: Float32 | None = None

    def __call__(self, descriptors: NDArray[np.floating]) -> Float32:
        """Transform descriptors, (..., d) -> (..., m) float32, where m is d without projection."""
        rows = np.asarray(descriptors, np.float32)
        if self.unit_length:
            flat = rows.reshape(-1, rows.shape[-1])
            rows = l2_normalise(flat).reshape(rows.shape)
        if self.mean is None or self.projection is None:
            return rows
        with threadpool_limits(1, user_api="blas"):  # the same bytes on any number of cores
            # In float64: equal descriptors must stay equal wherever they stand in a product, or
            # their residuals are rounding that a normalisation blows up.
            projected = (rows.astype(np.float64) - self.mean) @ self.projection.astype(np.float64)
        return np.asarray(projected, np.float32)


def fit_local_transform(
    sample: NDArray[np.floating], unit_length: bool, components: int | None, whiten: bool
) -> LocalTransform:
    """Fit the transformation to local descriptors of training images.

    Args:
        sample: (n, d) descriptors.
        unit_length: see :class:`LocalTransform`.
        components: m, principal components that take the place of the d numbers; all d where there
            are fewer; None for no projection.
        whiten: divide each component by the square root of its variance plus
            :data:`WHITENING_FLOOR` of the largest.

    Raises:
        ValueError: a value is not finite, or all descriptors are equal.
    """
    rows = finite_float32(sample, "local descriptors must be finite")
    if components is None:
        return LocalTransform(unit_length)
    with threadpool_limits(1, user_api="blas"):  # the same bytes on any number of cores
        rows = LocalTransform(unit_length)(rows)
        mean = rows.mean(axis=0, dtype=np.float64)
        covariance = np.zeros((rows.shape[1], rows.shape[1]))
        for start in range(0, len(rows), DESCRIPTORS_AT_ONCE):
            centred = rows[start : start + DESCRIPTORS_AT_ONCE].astype(np.float64) - mean
            covariance += centred.T @ centred
        eigenvalues, eigenvectors = np.linalg.eigh(covariance / len(rows))
    order = np.argsort(-eigenvalues, kind="stable")[:components]
    variances, axes = np.maximum(eigenvalues[order], 0), np.asarray(eigenvectors[:, order])
    if not variances[0] > 0:
        raise ValueError("all local descriptors are equal")
    # of the two directions of an axis the one whose largest number is positive
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    if whiten:
        axes = axes / np.sqrt(variances + WHITENING_FLOOR * variances[0])
    projection = np.ascontiguousarray(axes, np.float32)
    return LocalTransform(unit_length, mean.astype(np.float32), projection)

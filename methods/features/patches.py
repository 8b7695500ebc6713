"""Image patches, their whitening and spatial pooling, shared by the unsupervised baselines.

Ahn et al. 2019, Table 2 names sparse coding, independent component analysis and a stacked sparse
auto-encoder without saying how they were set up. Here all three see whitened patches of the grey
image and pool over a spatial pyramid (Lazebnik et al. 2006; Yang et al. 2009, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from methods.imaging.grey import luma
from methods.settings import WHITENED_COMPONENTS

Float32 = NDArray[np.float32]

IMAGES_AT_ONCE = 256
"""Images that are held in memory at a time while patches are drawn."""


def _windows(pictures: Float32, size: int) -> Float32:
    """View every patch of every picture, (n, H - size + 1, W - size + 1, size, size)."""
    height, width = pictures.shape[1:]
    if min(height, width) < size:
        raise ValueError(
            f"a picture of {height} x {width} pixels holds no patch of {size} x {size}"
        )
    windows: Float32 = sliding_window_view(pictures, (size, size), axis=(1, 2))
    return windows


def grid_patches(pictures: Float32, size: int, stride: int) -> Float32:
    """Cut patches on a regular grid from the upper left corner.

    Returns (n, gh, gw, size * size) float32, pixels row by row.

    Args:
        pictures: (n, H, W) float32.
        size: side of a patch, pixels.
        stride: pixels between neighbouring patches; gh = (H - size) // stride + 1. A rest at the
            right and lower edge that is smaller than the stride is not covered.

    Raises:
        ValueError: a picture is smaller than a patch.
    """
    windows = _windows(pictures, size)[:, ::stride, ::stride]
    return windows.reshape(*windows.shape[:3], size * size)


def sample_patches(
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    n_images: int,
    n_patches: int,
    size: int,
    seed: int,
) -> Float32:
    """Draw grey patches at random places, equally many of each image.

    Images are visited in order, at most :data:`IMAGES_AT_ONCE` at a time; an image that gives no
    patch is not read. The places are a function of (n_images, n_patches, seed) and the images'
    height and width.

    Args:
        read: gives images by position, (m, H, W, 3) uint8.
        n_images: number of images.
        n_patches: number of patches; the images give floor or ceil of n_patches / n_images each.
        size: side of a patch, pixels.
        seed: of the places.

    Returns:
        (n_patches, size * size) float32 in 0..1, in the order of the images.

    Raises:
        ValueError: no image, or an image is smaller than a patch.
    """
    if not n_images:
        raise ValueError("patches are drawn from at least one image")
    image_of = np.arange(n_patches, dtype=np.int64) * n_images // n_patches
    places = np.random.default_rng(seed).random((n_patches, 2))
    visited = np.unique(image_of)
    patches = np.empty((n_patches, size * size), np.float32)
    for start in range(0, len(visited), IMAGES_AT_ONCE):
        block = visited[start : start + IMAGES_AT_ONCE]
        windows = _windows(luma(read(block)), size)
        first, stop = np.searchsorted(image_of, [block[0], block[-1] + 1])
        rows, columns = (places[first:stop] * windows.shape[1:3]).astype(np.int64).T
        drawn = windows[np.searchsorted(block, image_of[first:stop]), rows, columns]
        patches[first:stop] = drawn.reshape(-1, size * size)
    return patches


@dataclass(frozen=True)
class Whitening:
    """Affine map to uncorrelated coordinates of (nearly) unit variance.

    The coordinates of the largest variance come first.

    Attributes:
        mean: (d,) float32 mean patch.
        matrix: (d, k) float32, column j is eigenvector j over sqrt(eigenvalue j + epsilon), the
            sign such that the entry of the largest magnitude is positive.
    """

    mean: Float32
    matrix: Float32

    def apply(self, patches: NDArray[np.floating]) -> Float32:
        """Whiten patches, (..., d) -> (..., k) float32."""
        white: Float32 = np.matmul(
            np.asarray(patches, np.float32) - self.mean, self.matrix, dtype=np.float32
        )
        return white


def fit_whitening(
    patches: NDArray[np.floating], components: int = WHITENED_COMPONENTS, epsilon: float = 1e-4
) -> Whitening:
    """Fit a whitening by principal components.

    Args:
        patches: (n, d), n at least 2.
        components: coordinates kept, at most; fewer where the covariance has a lower rank.
        epsilon: added to every eigenvalue, in squared units of the patches. It stands for the
            variance of noise and so is absolute: a share of the largest eigenvalue would follow the
            spread of brightness between images. The default is noise of 1 % of the grey range. With
            0 the covariance of the whitened patches is the identity.

    Raises:
        ValueError: fewer than two patches, a value that is not finite, or patches that are all
            equal.
    """
    if len(patches) < 2:
        raise ValueError(f"whitening needs at least two patches, got {len(patches)}")
    if not np.isfinite(patches).all():
        raise ValueError("whitening needs finite patches, some value is NaN or infinite")
    if (patches == patches[0]).all():
        raise ValueError("whitening needs patches that differ, all of them are equal")
    covariance = np.cov(patches, rowvar=False, dtype=np.float64)
    eigenvalues, eigenvectors = (a[..., ::-1] for a in np.linalg.eigh(np.atleast_2d(covariance)))
    rank = int((eigenvalues > eigenvalues[0] * len(eigenvalues) * np.finfo(np.float64).eps).sum())
    kept = min(components, rank)
    matrix = eigenvectors[:, :kept] / np.sqrt(eigenvalues[:kept] + epsilon)
    largest = matrix[np.abs(matrix).argmax(axis=0), np.arange(kept)]
    return Whitening(
        mean=patches.mean(axis=0, dtype=np.float64).astype(np.float32),
        matrix=(matrix * np.sign(largest)).astype(np.float32),
    )


def spatial_pyramid(
    responses: NDArray[np.floating],
    levels: tuple[int, ...] = (1, 2, 4),
    pool: Literal["max", "mean"] = "max",
) -> NDArray[np.floating]:
    """Pool responses over the cells of grids of l x l for each level l.

    Yang et al. 2009, section 3.2: max.

    Cell i of l along a side of g positions covers those from i * g // l up to (i + 1) * g // l, so
    every position lies in one cell of each level.

    Args:
        responses: (n, gh, gw, K).
        levels: cells on a side, level by level.
        pool: "max" (of the values, so pass magnitudes) or "mean".

    Returns:
        (n, sum of l * l, K), dtype of the responses; the cells of a level row by row, the levels in
        the order given.

    Raises:
        ValueError: a level has more cells on a side than there are positions.
    """
    height, width = responses.shape[1:3]
    if max(levels) > min(height, width):
        raise ValueError(
            f"a grid of {height} x {width} positions cannot be cut into {max(levels)} x "
            f"{max(levels)} cells"
        )
    reduce = np.max if pool == "max" else np.mean
    cells = [
        reduce(
            responses[
                :,
                i * height // side : (i + 1) * height // side,
                j * width // side : (j + 1) * width // side,
            ],
            axis=(1, 2),
        )
        for side in levels
        for i in range(side)
        for j in range(side)
    ]
    return np.stack(cells, axis=1)

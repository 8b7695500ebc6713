"""Patches, whitening and pooling, on pictures small enough to work by hand and against
scikit-learn's PCA."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from methods.features import patches as method
from methods.features.patches import (
    fit_whitening,
    grid_patches,
    sample_patches,
    spatial_pyramid,
)

PICTURE = np.arange(16, dtype=np.float32).reshape(1, 4, 4)


def _correlated(n: int = 400, d: int = 6, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(n, d)) * [3, 2, 1, 0.5, 0.2, 0.1] @ rng.normal(size=(d, d)) + 5
    ).astype(np.float32)


def _numbered(positions: np.ndarray) -> np.ndarray:
    """Images of 5 x 6 pixels; every pixel of image i is grey level i."""
    return np.broadcast_to(positions[:, None, None, None], (len(positions), 5, 6, 3)).astype(
        np.uint8
    )


# Grid


def test_grid_patches_of_a_4x4_picture() -> None:
    grid = grid_patches(PICTURE, 2, 2)
    assert grid.dtype == np.float32
    np.testing.assert_array_equal(
        grid, [[[[0, 1, 4, 5], [2, 3, 6, 7]], [[8, 9, 12, 13], [10, 11, 14, 15]]]]
    )
    np.testing.assert_array_equal(
        grid_patches(PICTURE, 3, 1)[0, 1, 0], [4, 5, 6, 8, 9, 10, 12, 13, 14]
    )


def test_grid_of_a_picture_that_is_not_square() -> None:
    # (7 - 2) // 3 + 1 = 2 rows, (5 - 2) // 3 + 1 = 2 columns; the last row of pixels is not
    # covered.
    picture = np.arange(35, dtype=np.float32).reshape(1, 7, 5)
    grid = grid_patches(picture, 2, 3)
    assert grid.shape == (1, 2, 2, 4)
    np.testing.assert_array_equal(grid[0, 1, 1], [18, 19, 23, 24])
    assert grid_patches(np.zeros((2, 227, 227), np.float32), 16, 4).shape == (2, 53, 53, 256)


def test_a_picture_smaller_than_a_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="4 x 4 pixels holds no patch of 5 x 5"):
        grid_patches(PICTURE, 5, 1)
    with pytest.raises(ValueError, match="5 x 6 pixels holds no patch of 6 x 6"):
        sample_patches(_numbered, 3, 3, 6, 0)


# Sample


@pytest.mark.parametrize(("n_images", "n_patches"), [(3, 10), (7, 7), (10, 4), (1, 5)])
def test_sample_is_spread_evenly(n_images: int, n_patches: int) -> None:
    sampled = sample_patches(_numbered, n_images, n_patches, 2, 0)
    assert (sampled.shape, sampled.dtype) == ((n_patches, 4), np.float32)
    counts = np.bincount(np.round(sampled[:, 0] * 255).astype(int), minlength=n_images)
    assert counts.sum() == n_patches
    assert counts.min() >= n_patches // n_images
    assert counts.max() <= -(-n_patches // n_images)
    assert (np.diff(sampled[:, 0]) >= 0).all()


def test_sample_reaches_every_place_and_no_other() -> None:
    def read(positions: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.arange(20).reshape(4, 5, 1), (len(positions), 4, 5, 3)).astype(
            np.uint8
        )

    sampled = np.round(sample_patches(read, 2, 600, 2, 1) * 255).astype(int)
    corners, counts = np.unique(sampled[:, 0], return_counts=True)
    assert corners.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13]
    np.testing.assert_array_equal(sampled - sampled[:, :1], np.broadcast_to([0, 1, 5, 6], (600, 4)))
    # 600 draws of 12 places: mean 50, standard deviation 6.8.
    assert (abs(counts - 50) < 5 * 6.8).all()


def test_sample_is_a_function_of_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3)).astype(np.uint8)
    seen: list[int] = []

    def read(positions: np.ndarray) -> np.ndarray:
        seen.append(len(positions))
        return images[positions]

    first = sample_patches(read, 11, 40, 3, 7)
    monkeypatch.setattr(method, "IMAGES_AT_ONCE", 4)
    np.testing.assert_array_equal(sample_patches(read, 11, 40, 3, 7), first)
    assert seen == [11, 4, 4, 3]
    assert (sample_patches(read, 11, 40, 3, 8) != first).any()


def test_images_without_a_patch_are_not_read() -> None:
    read: list[int] = []
    sample_patches(
        lambda positions: (read.extend(positions.tolist()), _numbered(positions))[1], 10, 4, 2, 0
    )
    assert read == [0, 2, 5, 7]


def test_sample_of_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one image"):
        sample_patches(_numbered, 0, 4, 2, 0)


# Whitening


def test_whitened_covariance_is_the_identity() -> None:
    rows = _correlated()
    white = fit_whitening(rows, epsilon=0).apply(rows)
    assert white.dtype == np.float32
    np.testing.assert_allclose(np.cov(white, rowvar=False), np.eye(6), atol=1e-4)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-4)


def test_whitening_is_sklearns_pca_up_to_sign() -> None:
    rows = _correlated()
    white = fit_whitening(rows, components=4, epsilon=0).apply(rows)
    reference = PCA(4, whiten=True).fit_transform(rows.astype(np.float64))
    np.testing.assert_allclose(np.abs(white), np.abs(reference), atol=2e-4)


def test_epsilon_is_added_to_the_eigenvalues() -> None:
    # Variances 4 and 1 along the axes: with epsilon 5 the standard deviations become 2 / 3 and 1 /
    # sqrt(6).
    rows = np.array([[2, 1], [-2, 1], [2, -1], [-2, -1]], np.float32) * np.sqrt(np.float32(0.75))
    whitening = fit_whitening(rows, epsilon=5)
    np.testing.assert_allclose(whitening.matrix, [[1 / 3, 0], [0, 1 / np.sqrt(6)]], atol=1e-6)
    np.testing.assert_allclose(
        np.cov(whitening.apply(rows), rowvar=False), np.diag([4 / 9, 1 / 6]), atol=1e-6
    )


def test_signs_are_fixed() -> None:
    rows = _correlated()
    matrix, mirrored = fit_whitening(rows).matrix, fit_whitening(-rows).matrix
    assert (matrix[np.abs(matrix).argmax(axis=0), range(6)] > 0).all()
    np.testing.assert_allclose(mirrored, matrix, rtol=1e-4, atol=1e-5)


def test_components_are_capped_at_the_rank() -> None:
    rng = np.random.default_rng(0)
    exact = rng.integers(-9, 9, (50, 3)) @ rng.integers(-9, 9, (3, 8)).astype(np.float32)
    assert fit_whitening(exact, epsilon=0).matrix.shape == (8, 3)
    assert fit_whitening(exact, components=2).matrix.shape == (8, 2)
    assert fit_whitening(rng.normal(size=(4, 8)), epsilon=0).matrix.shape == (8, 3)


def test_apply_keeps_the_grid() -> None:
    rows = _correlated(60)
    whitening = fit_whitening(rows)
    grid = whitening.apply(rows.reshape(3, 4, 5, 6))
    assert grid.shape == (3, 4, 5, 6)
    np.testing.assert_allclose(grid.reshape(60, 6), whitening.apply(rows), atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((1, 4)), "at least two"),
        (np.full((30, 4), 0.1, np.float32), "all of them are equal"),
        (np.array([[1.0, np.nan], [0, 1]]), "finite"),
    ],
)
def test_whitening_of_nothing_is_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_whitening(rows)


# Pyramid


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 5), (4, 9)])
def test_pyramid_equals_a_loop(pool: str, height: int, width: int) -> None:
    """Reference: every position is put into its cell, the last one whose lower bound is not above
    it."""
    responses = np.random.default_rng(0).random((2, height, width, 3)).astype(np.float32)
    expected = []
    for level in (1, 2, 4):
        cells: dict[tuple[int, int], list[np.ndarray]] = {
            (i, j): [] for i in range(level) for j in range(level)
        }
        for y in range(height):
            for x in range(width):
                i = max(k for k in range(level) if k * height // level <= y)
                j = max(k for k in range(level) if k * width // level <= x)
                cells[i, j].append(responses[:, y, x])
        expected += [
            np.max(c, axis=0) if pool == "max" else np.mean(c, axis=0) for c in cells.values()
        ]
    pooled = spatial_pyramid(responses, pool=pool)
    assert (pooled.shape, pooled.dtype) == ((2, 21, 3), np.float32)
    np.testing.assert_allclose(pooled, np.stack(expected, axis=1), rtol=1e-6)


def test_pyramid_by_hand() -> None:
    pooled = spatial_pyramid(PICTURE[..., None], levels=(1, 2))
    np.testing.assert_array_equal(pooled[0, :, 0], [15, 5, 7, 13, 15])
    np.testing.assert_array_equal(
        spatial_pyramid(PICTURE[..., None], (2,), "mean")[0, :, 0], [2.5, 4.5, 10.5, 12.5]
    )


def test_pyramid_of_too_few_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="3 x 5 positions cannot be cut into 4 x 4"):
        spatial_pyramid(np.zeros((1, 3, 5, 2), np.float32))

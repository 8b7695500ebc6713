"""The codebook: cells solved by hand, Lloyd's algorithm as a plain loop, and float64 means."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans, kmeans_plusplus
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from methods.features import codebook
from methods.features.codebook import Codebook, fit_codebook


def _relu_clouds(n: int = 600, d: int = 6, seed: int = 0) -> np.ndarray:
    """Overlapping clouds cut at zero, every fifth descriptor exactly zero, as after a ReLU."""
    rng = np.random.default_rng(seed)
    clouds = rng.normal(1, 1, (10, d))[rng.integers(0, 10, n)] + 0.6 * rng.normal(0, 1, (n, d))
    rows = np.maximum(clouds, 0).astype(np.float32)
    rows[::5] = 0
    return rows


def _lloyd(rows: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, int, float]:
    rows, centroids, before, iterations = rows.astype(np.float64), start.astype(np.float64), None, 0
    while True:
        iterations += 1
        squared = ((rows[:, None] - centroids[None]) ** 2).sum(axis=2)
        cells = squared.argmin(axis=1)
        if before is not None and (cells == before).all():
            return centroids, iterations, float(squared.min(axis=1).mean())
        centroids, before = (
            np.stack([rows[cells == k].mean(axis=0) for k in range(len(start))]),
            cells,
        )


def _same(a: Codebook, b: Codebook) -> bool:
    return a.centroids.tobytes() == b.centroids.tobytes() and (a.iterations, a.inertia) == (
        b.iterations,
        b.inertia,
    )


@pytest.mark.parametrize("seed", range(3))
def test_two_clumps_by_hand(seed: int) -> None:
    book = fit_codebook(np.array([[0.0], [1002.0], [2.0], [1000.0]]), 2, seed)
    assert sorted(book.centroids.ravel().tolist()) == [1.0, 1001.0]
    assert book.centroids.dtype == np.float32
    assert book.inertia == pytest.approx(1.0, rel=1e-6)
    assert book.converged


@pytest.mark.parametrize("shift", [0.0, 3000.0])
def test_agrees_with_a_plain_loop(shift: float) -> None:
    rows = _relu_clouds() + np.float32(shift)
    start, _ = kmeans_plusplus(rows.astype(np.float64), 8, random_state=3)
    centroids, iterations, inertia = _lloyd(rows, start)
    book = fit_codebook(rows, 8, 3, tolerance=0)
    assert iterations > 4
    assert book.iterations == iterations
    np.testing.assert_allclose(book.centroids, centroids, rtol=1e-6, atol=1e-6)
    assert book.inertia == pytest.approx(inertia, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
def test_a_centroid_is_the_float64_mean_of_its_cell(seed: int, tolerance: float) -> None:
    rows = _relu_clouds(3000, 12, seed)
    theirs = KMeans(20, n_init=1, tol=tolerance, random_state=seed).fit(rows.astype(np.float64))
    means = np.stack([rows[theirs.labels_ == k].mean(axis=0, dtype=np.float64) for k in range(20)])
    squared = np.square(rows - means[theirs.labels_]).sum(axis=1)
    ours = fit_codebook(rows, 20, seed, tolerance=tolerance)
    assert ours.converged
    assert ours.iterations == theirs.n_iter_
    np.testing.assert_array_equal(ours.centroids, means.astype(np.float32))
    assert ours.inertia == pytest.approx(squared.mean(), rel=1e-6)


def test_threads_change_no_byte() -> None:
    rows = _relu_clouds(9000, 12)
    books = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            books.append(fit_codebook(rows, 20, 0))
    assert _same(books[0], books[1])
    assert _same(books[0], books[2])


def test_equal_descriptors_are_exactly_their_centroid() -> None:
    # 0.1 has no exact float32, so a float32 sum of thousands of it is off, and so is one less the
    # mean of all descriptors.
    border = np.full((3001, 4), 0.1, np.float32)
    book = fit_codebook(np.concatenate([border, _relu_clouds(200, 4) + 50]), 3, 0)
    assert (book.centroids == border[0]).all(axis=1).sum() == 1


def test_a_cell_without_rows_keeps_its_centroid() -> None:
    rows = np.array([[0.0, 1.0], [2.0, 1.0], [9.0, 9.0]], np.float32)
    centroids = np.array([[5.0, 5.0], [7.0, 7.0], [8.0, 8.0]], np.float32)
    means, distance = codebook._means_of_cells(rows, np.array([0, 0, 2]), centroids)
    assert means.tolist() == [[1, 1], [7, 7], [9, 9]]
    assert distance == pytest.approx(2 / 3)


def test_many_equal_descriptors_and_just_enough_different_ones() -> None:
    different = np.array([[0, 0], [0, 1], [5, 0.1], [7, 7]], np.float32)
    book = fit_codebook(np.repeat(different, [500, 1, 40, 3], axis=0), 4, 1)
    assert {tuple(c) for c in book.centroids} == {tuple(c) for c in different}
    assert book.converged
    assert book.inertia == pytest.approx(0, abs=1e-9)
    with pytest.raises(
        ValueError, match="5 clusters need as many different descriptors, got 4 among 544"
    ):
        fit_codebook(np.repeat(different, [500, 1, 40, 3], axis=0), 5, 1)


def test_as_many_clusters_as_descriptors_keep_the_order_of_the_start() -> None:
    rows = np.random.default_rng(0).normal(0, 1, (6, 3)).astype(np.float32)
    start, _ = kmeans_plusplus(rows.astype(np.float64), 6, random_state=2)
    assert (start != rows).any()
    np.testing.assert_array_equal(fit_codebook(rows, 6, 2).centroids, start)


def test_one_cluster_is_the_mean() -> None:
    rows = _relu_clouds()
    book = fit_codebook(rows, 1, 0)
    np.testing.assert_allclose(book.centroids[0], rows.astype(np.float64).mean(axis=0), rtol=1e-6)
    assert book.inertia == pytest.approx(rows.astype(np.float64).var(axis=0).sum(), rel=1e-6)


def test_same_seed_same_bytes_whatever_the_global_state() -> None:
    rows = _relu_clouds()
    np.random.seed(1)  # noqa: NPY002
    first = fit_codebook(rows, 8, 5)
    np.random.seed(2)  # noqa: NPY002
    assert _same(first, fit_codebook(rows, 8, 5))
    assert not _same(first, fit_codebook(rows, 8, 6))


def test_float16_is_computed_in_float32() -> None:
    rows = (_relu_clouds() * 300).astype(np.float16)  # squares beyond 65504, the largest float16
    assert _same(fit_codebook(rows, 5, 0), fit_codebook(rows.astype(np.float32), 5, 0))


def test_too_few_iterations_are_flagged() -> None:
    rows = _relu_clouds()
    short = fit_codebook(rows, 8, 3, max_iterations=2)
    assert not short.converged
    assert short.iterations == 2
    assert short.inertia > fit_codebook(rows, 8, 3).inertia


@pytest.mark.parametrize(
    ("rows", "n_clusters", "max_iterations", "message"),
    [
        (np.eye(3), 4, 9, "4 clusters need at least as many descriptors, got n_samples = 3"),
        (np.ones((5, 2)), 2, 9, "2 clusters need as many different descriptors, got 1 among 5"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), 1, 9, "finite"),
        (np.array([[0.0, 1.0], [np.inf, 0.0]]), 1, 9, "finite"),
        (np.array([[0.0, 1.0], [1e300, 0.0]]), 1, 9, "finite"),
        (np.array([[0.0, 1.0], [0.0, 1e30]]), 1, 9, "finite"),
        (np.eye(3), 0, 9, "at least one cluster and one iteration, got 0 and 9"),
        (np.eye(3), 1, 0, "at least one cluster and one iteration, got 1 and 0"),
        (np.ones((2, 3, 4)), 1, 9, r"descriptors \(n, d\), got an array of shape \(2, 3, 4\)"),
    ],
)
def test_refusals(rows: np.ndarray, n_clusters: int, max_iterations: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit_codebook(rows, n_clusters, 0, max_iterations)


def test_fine_structure_far_from_the_rest_is_found() -> None:
    rng = np.random.default_rng(0)
    centres = np.concatenate([rng.normal(0, 1, (8, 16)), rng.normal(0, 1, (8, 16)) + 2000])
    rows = (np.repeat(centres, 40, axis=0) + rng.normal(0, 0.05, (640, 16))).astype(np.float32)
    book = fit_codebook(rows, 16, seed=0, tolerance=0)
    assert book.inertia < 0.1

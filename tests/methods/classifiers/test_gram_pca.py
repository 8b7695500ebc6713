"""Principal components from a Gram matrix against those of the rows themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from methods.classifiers.gram_pca import gram_pca


def _rows(n: int = 40, d: int = 300, offset: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(0)
    spectrum = np.linspace(1, 0.1, d)
    return (
        rng.normal(0, 1, (n, d)) * spectrum / np.sqrt(d) + offset * rng.normal(0, 1, d) / np.sqrt(d)
    ).astype(np.float32)


TRAIN = np.array([7, 0, 31, 12, 25, 3, 38, 19, 20, 5, 11, 28])
TEST = np.setdiff1d(np.arange(40), TRAIN)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("n_components", [1, 4, 11])
def test_agrees_with_components_of_the_rows(n_components: int, whiten: bool) -> None:
    rows = _rows()
    pca = PCA(n_components, svd_solver="full", whiten=whiten).fit(rows[TRAIN].astype(np.float64))
    expected = pca.transform(rows.astype(np.float64))
    fit = gram_pca(rows @ rows.T, TRAIN, n_components, whiten)
    signs = np.sign((fit.scores * expected).sum(axis=0))
    np.testing.assert_allclose(fit.scores, expected * signs, atol=2e-5 * np.abs(expected).max())
    assert fit.scores.dtype == np.float32
    assert fit.explained == pytest.approx(pca.explained_variance_ratio_.sum(), rel=1e-5)


def test_three_points_on_a_line_by_hand() -> None:
    # Training rows 1, 2 and 6 with mean 3: scores -2, -1, 3, the largest positive; another row at 0
    # scores -3.
    rows = np.array([[1], [0], [2], [6]], np.float32)
    fit = gram_pca(rows @ rows.T, np.array([0, 2, 3]), 1, whiten=False)
    np.testing.assert_allclose(fit.scores, [[-2], [-3], [-1], [3]], rtol=1e-6)
    assert fit.explained == pytest.approx(1)
    # Variance (4 + 1 + 9) / 2 = 7.
    white = gram_pca(rows @ rows.T, np.array([0, 2, 3]), 1, whiten=True)
    np.testing.assert_allclose(white.scores.ravel(), np.array([-2, -3, -1, 3]) / 7**0.5, rtol=1e-6)


def test_the_largest_training_score_is_positive() -> None:
    rows = _rows()
    rows[TEST] *= -50  # larger, and so of no account
    training = gram_pca(rows @ rows.T, TRAIN, 11, whiten=False).scores[TRAIN]
    assert (training[np.abs(training).argmax(axis=0), np.arange(11)] > 0).all()


def test_test_rows_do_not_reach_the_training_rows() -> None:
    rows = _rows()
    fit = gram_pca(rows @ rows.T, TRAIN, 6, whiten=True)
    rows[TEST] = 100 * rows[TEST][::-1] - 3
    other = gram_pca(rows @ rows.T, TRAIN, 6, whiten=True)
    alone = gram_pca(rows[TRAIN] @ rows[TRAIN].T, np.arange(len(TRAIN)), 6, whiten=True)
    assert other.scores[TRAIN].tobytes() == fit.scores[TRAIN].tobytes()
    assert other.explained == fit.explained
    assert (other.scores[TEST] != fit.scores[TEST]).all()
    np.testing.assert_allclose(alone.scores, fit.scores[TRAIN], atol=1e-4)


def test_a_test_row_equal_to_a_training_row_has_its_scores() -> None:
    rows = _rows()
    rows[TEST[0]] = rows[TRAIN[3]]
    scores = gram_pca(rows @ rows.T, TRAIN, 8, whiten=True).scores
    np.testing.assert_allclose(scores[TEST[0]], scores[TRAIN[3]], atol=1e-4)


def test_whitened_training_scores_have_unit_variance() -> None:
    rows = _rows()
    scores = gram_pca(rows @ rows.T, TRAIN, 11, whiten=True).scores[TRAIN].astype(np.float64)
    np.testing.assert_allclose(np.cov(scores, rowvar=False), np.eye(11), atol=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
# far from the origin, rounding is more than 1e-5 of the first
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_more_components_than_the_training_rows_span(scale: float, offset: float) -> None:
    rng = np.random.default_rng(1)
    rows = (scale * (rng.normal(0, 1, (30, 3)) @ rng.normal(0, 1, (3, 200)) + offset)).astype(
        np.float32
    )
    # of the test side: they span more, and do not count
    rows[20:] = scale * rng.normal(0, 1, (10, 200))
    gram = rows @ rows.T
    assert np.isfinite(gram_pca(gram, np.arange(20), 3, whiten=True).scores).all()
    with pytest.raises(
        ValueError, match="4 components asked for, but the training rows span only 3 dimensions"
    ):
        gram_pca(gram, np.arange(20), 4, whiten=True)


def test_an_eigenvalue_just_under_the_tolerance_is_refused() -> None:
    # Training rows +-1 along one axis and +-s along another: eigenvalues 2 and 2 s^2.
    for s, refused in ((0.003, True), (0.004, False)):  # s^2 = 0.9e-5 and 1.6e-5
        rows = np.array([[1, 0], [-1, 0], [0, s], [0, -s]])
        if refused:
            with pytest.raises(ValueError, match="span only 1 dimensions"):
                gram_pca(rows @ rows.T, np.arange(4), 2, whiten=False)
        else:
            np.testing.assert_allclose(
                np.abs(gram_pca(rows @ rows.T, np.arange(4), 2, whiten=False).scores), np.abs(rows)
            )


@pytest.mark.parametrize(
    ("gram", "train", "n_components", "message"),
    [
        (np.ones((3, 2)), [0, 1], 1, r"square, got \(3, 2\)"),
        (np.full((3, 3), np.nan), [0, 1], 1, "finite"),
        (np.eye(3), [0, 0, 1], 1, "from 0 to 2, each once"),
        (np.eye(3), [0, 3], 1, "from 0 to 2, each once"),
        (np.eye(3), [-1, 1], 1, "from 0 to 2, each once"),
        (np.eye(3), [0, 1], 0, "at least one component is needed, got 0"),
        (
            np.eye(3),
            [0, 1],
            2,
            "2 components asked for, but 2 training rows span at most 1 dimensions",
        ),
        (np.eye(3), [], 1, "1 components asked for, but 0 training rows span at most 0 dimensions"),
        (np.ones((3, 3)), [0, 1, 2], 1, "span only 0 dimensions"),
        (np.zeros((3, 3)), [0, 1, 2], 1, "span only 0 dimensions"),
    ],
)
def test_refusals(gram: np.ndarray, train: list[int], n_components: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gram_pca(gram, np.array(train, np.int64), n_components, whiten=False)

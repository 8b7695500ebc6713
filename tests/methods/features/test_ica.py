"""Independent component analysis: sources mixed by hand come back, as do the components of
scikit-learn's own whitening."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import FastICA

from methods.features.ica import encode, fit_ica
from methods.features.patches import fit_whitening

MIXING = np.array(
    [[1.0, 0.5, 0.2, 0.3], [0.3, 1.0, 0.4, -0.6], [-0.5, 0.2, 1.0, 0.1], [0.2, -0.3, 0.5, 1.0]]
)


def _sources(n: int = 4000) -> np.ndarray:
    """Four independent sources of unit variance: two heavy-tailed, one flat, one of two values."""
    rng = np.random.default_rng(0)
    columns = [
        rng.laplace(size=n),
        rng.standard_t(6, n),
        rng.uniform(-1, 1, n),
        rng.choice([-1.0, 1.0], n),
    ]
    return np.stack([(c - c.mean()) / c.std() for c in columns], axis=1)


def _white(rows: np.ndarray) -> np.ndarray:
    return fit_whitening(rows, epsilon=0).apply(rows)


def test_mixed_sources_are_recovered() -> None:
    """Reference: the sources themselves, matched by the permutation of the largest absolute
    correlations."""
    sources = _sources()
    white = _white(sources @ MIXING)
    fit = fit_ica(white, 4, seed=0)
    assert fit.converged
    assert fit.unmixing.dtype == np.float32
    np.testing.assert_allclose(fit.unmixing @ fit.unmixing.T, np.eye(4), atol=1e-5)
    responses = white @ fit.unmixing.T
    correlation = np.abs(np.corrcoef(sources.T, responses.T)[:4, 4:])
    assert correlation[linear_sum_assignment(-correlation)].min() > 0.99
    mixed = np.abs(np.corrcoef(sources.T, white.T)[:4, 4:])
    assert mixed[linear_sum_assignment(-mixed)].min() < 0.95  # whitening alone does not do it


def test_equals_sklearn_with_its_own_whitening() -> None:
    """Reference: FastICA(whiten="unit-variance") on the rows before whitening, up to sign and
    order."""
    rows = _sources() @ MIXING
    white = _white(rows)
    fit = fit_ica(white, 4, seed=1, tolerance=1e-6)
    reference = FastICA(
        whiten="unit-variance", random_state=2, tol=1e-6, max_iter=500
    ).fit_transform(rows)
    correlation = np.abs(np.corrcoef(reference.T, (white @ fit.unmixing.T).T)[:4, 4:])
    np.testing.assert_allclose(correlation[linear_sum_assignment(-correlation)], 1, atol=1e-4)
    assert len(set(correlation.argmax(axis=1))) == 4


def test_fewer_components_take_the_first_coordinates() -> None:
    white = _white(_sources() @ MIXING)
    fit = fit_ica(white, 3, seed=0)
    assert fit.unmixing.shape == (3, 4)
    np.testing.assert_array_equal(fit.unmixing[:, 3], 0)
    np.testing.assert_array_equal(fit.unmixing[:, :3], fit_ica(white[:, :3], 3, seed=0).unmixing)


def test_a_fit_that_did_not_converge_says_so() -> None:
    white = _white(_sources() @ MIXING)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = fit_ica(white, 4, seed=0, max_iterations=2, tolerance=1e-8)
    assert (fit.converged, fit.iterations) == (False, 2)
    assert not caught
    # Convergence in the very last iteration allowed is convergence.
    needed = fit_ica(white, 4, seed=0).iterations
    assert fit_ica(white, 4, seed=0, max_iterations=needed).converged
    assert not fit_ica(white, 4, seed=0, max_iterations=needed - 1).converged


def test_fit_is_a_function_of_its_arguments() -> None:
    white = _white(_sources(500) @ MIXING)
    before = white.copy()
    first = fit_ica(white, 4, seed=3)
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    np.testing.assert_array_equal(fit_ica(white, 4, seed=3).unmixing, first.unmixing)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.testing.assert_array_equal(white, before)
    assert (fit_ica(white, 4, seed=4).unmixing != first.unmixing).any()


def test_responses_by_hand() -> None:
    responses = encode(
        np.array([[1.0, 2.0], [-3.0, 1.0]]), np.array([[1, -1], [0, 2], [3, 1]], np.float32)
    )
    assert responses.dtype == np.float32
    np.testing.assert_array_equal(responses, [[1, 4, 5], [4, 2, 8]])


@pytest.mark.parametrize(("n", "k"), [(3, 10), (10, 3)])
def test_too_many_components_are_refused(n: int, k: int) -> None:
    with pytest.raises(
        ValueError, match=f"4 components need as many patches and coordinates, got {n} and {k}"
    ):
        fit_ica(np.zeros((n, k)), 4, seed=0)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_ica(np.full((9, 3), np.inf), 3, seed=0)

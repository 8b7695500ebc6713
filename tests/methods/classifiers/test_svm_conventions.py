"""The linear SVM as ScSPM and LIBLINEAR fit it, against their own formulas and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.svm import LinearSVC

from methods.classifiers.linear_svm import fit_gram
from methods.classifiers.svm_conventions import fit_by_convention
from methods.settings import SvmConvention


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training rows of three classes off the origin, their labels, and rows to score."""
    rng = np.random.default_rng(5)
    codes = np.arange(90) % 3
    train = rng.normal(size=(90, 12)) + np.eye(12)[codes] * 2 + 0.7
    return train, np.array(["a", "b", "c"])[codes], rng.normal(size=(25, 12)) + 0.7


def test_liblinear_is_scikit_learns_linear_svc(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    train, labels, new = rows
    fit = fit_by_convention("liblinear", train @ train.T, labels, 0.7, 1e-7)
    peer = LinearSVC(C=0.7, tol=1e-10, max_iter=200_000).fit(train, labels)
    assert fit.converged
    assert fit.classes.tolist() == peer.classes_.tolist()
    np.testing.assert_allclose(
        fit.decision(new @ train.T), peer.decision_function(new), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("penalty", [0.1, 1.0])
def test_scspm_stops_after_30_iterations_of_l_bfgs_on_the_rows_themselves(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], penalty: float
) -> None:
    train, labels, new = rows
    fit = fit_by_convention("scspm", train @ train.T, labels, penalty, 0.0)
    assert fit.iterations.tolist() == [30, 30, 30]
    for k, name in enumerate(fit.classes):
        y = np.where(labels == name, 1.0, -1.0)

        def evaluate(point: np.ndarray, y: np.ndarray = y) -> tuple[float, np.ndarray]:
            slack = np.maximum(0, 1 - y * (train @ point[:-1] + point[-1]))
            value = 0.5 * point[:-1] @ point[:-1] + slack @ slack / (2 * penalty)
            inner = -slack * y / penalty
            return value, np.append(point[:-1] + train.T @ inner, inner.sum())

        options = {"maxiter": 30, "maxcor": 10, "ftol": 0, "gtol": 0}
        plain = minimize(evaluate, np.zeros(13), jac=True, method="L-BFGS-B", options=options)
        np.testing.assert_allclose(fit.objective[k], plain.fun, rtol=1e-6)
        np.testing.assert_allclose(
            fit.decision(new @ train.T)[:, k],
            new @ plain.x[:-1] + plain.x[-1],
            rtol=0,
            atol=2e-3,
        )


def test_lambda_of_scspm_is_one_over_twice_c(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    train, labels, _ = rows
    gram = train @ train.T
    own, exact = fit_by_convention("scspm", gram, labels, 0.1, 0.0), fit_gram(gram, labels, 5.0)
    # thirty iterations leave the objective above the optimum, and within a few per cent of it here
    assert (own.objective >= exact.objective * (1 - 1e-9)).all()
    assert (own.objective <= exact.objective * 1.05).all()


def test_exact_is_the_default_solver(rows: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    train, labels, _ = rows
    gram = train @ train.T
    own, plain = fit_by_convention("exact", gram, labels, 1.0, 1e-6), fit_gram(gram, labels)
    np.testing.assert_array_equal(own.coefficients, plain.coefficients)


def test_repeated_rows_leave_a_rank_that_is_not_full(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    train, labels, new = rows
    twice, names = np.concatenate([train, train]), np.concatenate([labels, labels])
    fit = fit_by_convention("liblinear", twice @ twice.T, names, 0.35, 1e-7)
    once = fit_by_convention("liblinear", train @ train.T, labels, 0.7, 1e-7)
    np.testing.assert_allclose(
        fit.decision(new @ twice.T), once.decision(new @ train.T), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("convention", ["exact", "scspm", "liblinear"])
def test_one_class_is_refused(convention: SvmConvention) -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        fit_by_convention(convention, np.eye(3), ["a", "a", "a"], 1.0, 1e-6)

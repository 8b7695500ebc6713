"""The squared-hinge SVM: cases solved by hand, and three independent solvers of the same
problem."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.svm import LinearSVC

from methods.arrays import l2_normalise
from methods.classifiers.linear_svm import (
    SvmFit,
    fit_gram,
    fit_primal,
    fit_targets,
)


def _clouds(
    n: int, d: int, k: int = 3, seed: int = 0, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """n rows of unit length of k overlapping classes of unequal size."""
    rng = np.random.default_rng(seed)
    codes = np.minimum(rng.integers(0, k + 1, n), k - 1)
    codes[:k] = np.arange(k)
    rows = rng.normal(0, 1, (k, d))[codes] + spread * rng.normal(0, 1, (n, d)) + 0.3
    return l2_normalise(rows).astype(np.float64), np.array([f"c{code}" for code in codes])


def _weights(fit: SvmFit, rows: np.ndarray) -> np.ndarray:
    return rows.T @ fit.coefficients


def _objective(w: np.ndarray, b: float, rows: np.ndarray, y: np.ndarray, c: float) -> float:
    return float(0.5 * w @ w + c * (np.maximum(0, 1 - y * (rows @ w + b)) ** 2).sum())


def _plain(gram: np.ndarray, y: np.ndarray, c: float) -> tuple[np.ndarray, float, float]:
    """Newton's method on the active set, one class, one Cholesky a step: scores, b and
    objective."""
    beta, bias, value = np.zeros(len(y)), 0.0, np.inf
    for _ in range(200):
        active = np.flatnonzero(y * (gram @ beta + bias) < 1)
        solved = np.linalg.solve(
            gram[np.ix_(active, active)] + np.eye(len(active)) / (2 * c),
            np.stack([y[active], active >= 0]).T,
        )
        target, goal = np.zeros(len(y)), solved[:, 0].sum() / solved[:, 1].sum()
        target[active] = solved[:, 0] - goal * solved[:, 1]
        for step in 0.5 ** np.arange(20):
            new, new_bias = beta + step * (target - beta), bias + step * (goal - bias)
            trial = (
                0.5 * new @ gram @ new
                + c * (np.maximum(0, 1 - y * (gram @ new + new_bias)) ** 2).sum()
            )
            if trial < value:
                break
        if trial >= value * (1 - 1e-15):
            break
        beta, bias, value = new, new_bias, trial
    return gram @ beta + bias, bias, value


# Up to 500 active rows every step is exact; the rows of 900 and 1,200 take conjugate gradients in
# their first steps.
@pytest.mark.parametrize(
    ("n", "d", "k", "repeats"),
    [(60, 8, 3, 1), (900, 40, 2, 1), (1200, 60, 4, 1), (300, 40, 3, 4), (900, 1500, 3, 1)],
)
@pytest.mark.parametrize("c", [1e-6, 0.01, 1.0, 20.0])
def test_agrees_with_one_plain_solution_a_class(
    n: int, d: int, k: int, repeats: int, c: float
) -> None:
    rows, labels = _clouds(n, d, k, spread=1.5)
    labels[k : n // 2] = "c0"  # unequal classes, and many images without what their label says
    rows, labels = np.repeat(rows, repeats, axis=0), np.repeat(labels, repeats)
    gram = rows @ rows.T
    fit = fit_gram(gram, labels, c=c)
    assert fit.converged
    assert (fit.gradient_norm <= 1e-6).all()
    assert (np.abs(fit.duality_gap) <= 1e-6).all()
    for column, name in enumerate(fit.classes):
        scores, bias, value = _plain(gram, np.where(labels == name, 1.0, -1.0), c)
        assert fit.objective[column] == pytest.approx(value, rel=1e-6)
        np.testing.assert_allclose(fit.decision(gram)[:, column], scores, atol=2e-3)
        assert fit.intercept[column] == pytest.approx(bias, abs=2e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "d"), [(120, 10), (900, 40), (900, 1500)])
def test_a_huge_c_ends_and_says_whether_it_converged(n: int, d: int, dtype: type) -> None:
    rows, labels = _clouds(n // 3, d, 3, spread=1.5)
    many, labels = np.repeat(rows, 3, axis=0).astype(dtype), np.repeat(labels, 3)
    fit = fit_gram(many @ many.T, labels, c=1e6)
    assert np.isfinite(fit.coefficients).all()
    assert np.isfinite(fit.objective).all()
    if fit.converged:
        assert np.abs(fit.duality_gap).max() <= 1e-6


@pytest.mark.parametrize("c", [1e2, 1e3, 1e4])
def test_a_large_c_converges_where_the_rows_can_be_told_apart(c: float) -> None:
    rng = np.random.default_rng(0)
    rows = l2_normalise(np.maximum(rng.normal(0.3, 1, (300, 500)), 0))
    labels = np.array(["a", "b", "c"])[rng.integers(0, 3, 300)]
    fit = fit_gram(rows @ rows.T, labels, c=c, tolerance=1e-5)
    assert fit.converged
    assert fit.iterations.max() < 35
    assert np.abs(fit.duality_gap).max() < 1e-5


def test_the_same_bytes_again() -> None:
    rows, labels = _clouds(900, 40, spread=1.5)
    once, again = (fit_gram(rows @ rows.T, labels) for _ in range(2))
    np.testing.assert_array_equal(once.coefficients, again.coefficients)
    np.testing.assert_array_equal(once.intercept, again.intercept)


def test_targets_that_overlap() -> None:
    rows, _ = _clouds(80, 6)
    targets = np.where(np.random.default_rng(1).random((80, 3)) < 0.4, 1.0, -1.0)
    fit = fit_targets(rows @ rows.T, targets, np.array(["a", "b", "c"]))
    assert fit.classes.tolist() == ["a", "b", "c"]
    assert fit.converged
    for k in range(3):
        alone = fit_gram(rows @ rows.T, np.where(targets[:, k] > 0, "with", "other"))
        np.testing.assert_allclose(
            fit.decision(rows @ rows.T)[:, k], alone.decision(rows @ rows.T)[:, 1], atol=1e-9
        )


@pytest.mark.parametrize("c", [0.1, 1.0, 50.0])
def test_two_points_by_hand(c: float) -> None:
    # x = +-1 with labels +-1: b = 0 by symmetry; minimise w^2/2 + 2 C (1 - w)^2: w = 4C / (1 + 4C),
    # value 2C / (1 + 4C).
    x = np.array([[1.0], [-1.0]])
    fit = fit_gram(x @ x.T, ["yes", "no"], c=c)
    assert fit.classes.tolist() == ["no", "yes"]
    assert _weights(fit, x)[0] == pytest.approx(
        [-4 * c / (1 + 4 * c), 4 * c / (1 + 4 * c)], rel=1e-9
    )
    np.testing.assert_allclose(fit.intercept, 0, atol=1e-12)
    assert fit.objective == pytest.approx([2 * c / (1 + 4 * c)] * 2, rel=1e-9)
    assert fit.converged


@pytest.mark.parametrize("shift", [0.0, 3.0, -20.0])
def test_the_bias_is_free(shift: float) -> None:
    # Moving both points moves b = -w * shift and costs nothing: a penalised bias would change the
    # objective.
    x = np.array([[1.0 + shift], [-1.0 + shift]])
    fit = fit_gram(x @ x.T, ["yes", "no"])
    assert _weights(fit, x)[0, 1] == pytest.approx(0.8, rel=1e-8)
    assert fit.intercept[1] == pytest.approx(-0.8 * shift, abs=1e-6)
    assert fit.objective[1] == pytest.approx(0.4, rel=1e-8)


def test_unequal_classes_by_hand() -> None:
    # No feature at all: only b, minimise 3 (1 - b)^2 + 1 (1 + b)^2: b = (3 - 1) / 4, value 3/4 +
    # 9/4.
    fit = fit_gram(np.zeros((4, 4)), ["yes", "yes", "yes", "no"])
    assert fit.intercept == pytest.approx([-0.5, 0.5])
    assert fit.objective == pytest.approx([3.0, 3.0])
    assert fit.predict(np.zeros((1, 4))).tolist() == ["yes"]


@pytest.mark.parametrize(
    ("n", "d", "c"), [(60, 5, 1.0), (25, 80, 1.0), (80, 4, 0.05), (40, 10, 20.0)]
)
def test_agrees_with_scikit_learn(n: int, d: int, c: float) -> None:
    rows, labels = _clouds(n, d)
    fit = fit_gram(rows @ rows.T, labels, c=c, tolerance=1e-9)
    # liblinear penalises (b / scaling)^2, next to nothing here.
    other = LinearSVC(
        C=c, loss="squared_hinge", tol=1e-12, intercept_scaling=1000.0, max_iter=20_000, dual=False
    )
    other.fit(rows, labels)
    np.testing.assert_allclose(_weights(fit, rows).T, other.coef_, atol=2e-4)
    np.testing.assert_allclose(fit.intercept, other.intercept_, atol=2e-4)
    np.testing.assert_array_equal(fit.predict(rows @ rows.T), other.predict(rows))
    for k, name in enumerate(fit.classes):
        y = np.where(labels == name, 1.0, -1.0)
        theirs = _objective(other.coef_[k], other.intercept_[k], rows, y, c)
        assert fit.objective[k] <= theirs * (1 + 1e-9)
        assert fit.objective[k] == pytest.approx(theirs, rel=1e-5)


def test_agrees_with_a_general_minimiser() -> None:
    rows, labels = _clouds(12, 3, k=2)
    fit = fit_gram(rows @ rows.T, labels, c=0.7)
    y = np.where(labels == fit.classes[1], 1.0, -1.0)
    best = minimize(
        lambda p: _objective(p[:3], p[3], rows, y, 0.7),
        np.zeros(4),
        method="BFGS",
        options={"gtol": 1e-6},
    )
    np.testing.assert_allclose(_weights(fit, rows)[:, 1], best.x[:3], atol=1e-4)
    assert fit.intercept[1] == pytest.approx(best.x[3], abs=1e-4)
    assert fit.objective[1] == pytest.approx(best.fun, rel=1e-8)
    assert fit.objective[1] == pytest.approx(
        _objective(_weights(fit, rows)[:, 1], fit.intercept[1], rows, y, 0.7), rel=1e-12
    )


@pytest.mark.parametrize(("n", "d", "k"), [(70, 6, 3), (20, 50, 3), (50, 6, 2)])
def test_primal_and_gram_agree(n: int, d: int, k: int) -> None:
    rows, labels = _clouds(n, d, k)

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, n, 16):
            yield rows[start : start + 16]

    gram = fit_gram(rows @ rows.T, labels)
    primal = fit_primal(blocks, labels, d, tolerance=1e-6)
    assert gram.converged
    assert primal.converged
    np.testing.assert_array_equal(primal.classes, gram.classes)
    np.testing.assert_allclose(primal.objective, gram.objective, rtol=1e-4)
    np.testing.assert_allclose(primal.coefficients, _weights(gram, rows), atol=1e-4)
    np.testing.assert_array_equal(primal.predict(rows), gram.predict(rows @ rows.T))
    assert primal.coefficients.shape == (d, k)
    assert np.isnan(primal.duality_gap).all()
    assert (primal.iterations > 0).all()


def test_primal_flags_too_few_iterations() -> None:
    rows, labels = _clouds(60, 8)
    fit = fit_primal(lambda: [rows], labels, 8, tolerance=1e-8, max_iterations=2)
    assert not fit.converged
    assert fit.iterations.max() <= 2


@pytest.mark.parametrize(("n", "d"), [(60, 5), (20, 200)])
def test_optimality_is_certified(n: int, d: int) -> None:
    rows, labels = _clouds(n, d)
    fit = fit_gram(rows @ rows.T, labels)
    assert fit.converged
    assert (np.abs(fit.duality_gap) < 1e-9).all()
    assert (fit.gradient_norm <= 1e-6).all()
    # Recomputed from the definition, in the weights.
    for k, name in enumerate(fit.classes):
        y = np.where(labels == name, 1.0, -1.0)
        w = _weights(fit, rows)[:, k]
        slack = np.maximum(0, 1 - y * (rows @ w + fit.intercept[k])) * y
        np.testing.assert_allclose(w, 2 * rows.T @ slack, atol=1e-7)
        assert slack.sum() == pytest.approx(0, abs=1e-7)


def test_too_few_steps_are_flagged_and_have_a_gap() -> None:
    rows, labels = _clouds(60, 5)
    fit = fit_gram(rows @ rows.T, labels, c=100.0, max_iterations=1)
    assert not fit.converged
    assert fit.iterations.tolist() == [1, 1, 1]
    assert fit.gradient_norm.max() > 1e-6
    assert fit_gram(rows @ rows.T, labels, c=100.0).converged


def test_repeated_rows_equal_a_heavier_loss() -> None:
    rows, labels = _clouds(30, 4)
    twice = np.concatenate([rows, rows])
    doubled = fit_gram(twice @ twice.T, np.concatenate([labels, labels]), c=1.0)
    heavier = fit_gram(rows @ rows.T, labels, c=2.0)
    assert doubled.converged
    np.testing.assert_allclose(_weights(doubled, twice), _weights(heavier, rows), atol=1e-8)
    np.testing.assert_allclose(doubled.objective, heavier.objective, rtol=1e-9)


def test_repeated_rows_of_a_float32_gram() -> None:
    rows, labels = _clouds(15, 300)
    many = np.repeat(rows.astype(np.float32), 12, axis=0)
    fit = fit_gram(many @ many.T, np.repeat(labels, 12))
    assert fit.converged
    np.testing.assert_array_equal(fit.predict(many @ many.T), np.repeat(labels, 12))


def test_the_same_image_in_both_classes() -> None:
    gram = np.ones((2, 2))  # no weight helps: b = 0, both points at slack 1
    fit = fit_gram(gram, ["a", "b"])
    assert fit.converged
    np.testing.assert_allclose(fit.decision(gram), 0, atol=1e-12)
    assert fit.objective == pytest.approx([2.0, 2.0])


def test_two_classes_are_mirror_columns() -> None:
    rows, labels = _clouds(40, 5, k=2)
    for fit, given in (
        (fit_gram(rows @ rows.T, labels), rows @ rows.T),
        (fit_primal(lambda: [rows], labels, 5), rows),
    ):
        decision = fit.decision(given)
        assert decision.shape == (40, 2)
        np.testing.assert_array_equal(decision[:, 0], -decision[:, 1])
        assert fit.objective[0] == fit.objective[1]
        assert ((decision[:, 1] > 0) == (fit.predict(given) == fit.classes[1])).all()
        assert (fit.predict(given) == labels).mean() > 0.8


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        fit_gram(np.eye(3), ["a", "a", "a"])
    with pytest.raises(ValueError, match="at least two classes"):
        fit_primal(lambda: [np.eye(3)], ["a", "a", "a"], 3)


def test_order_of_rows_does_not_matter() -> None:
    rows, labels = _clouds(50, 6)
    order = np.random.default_rng(3).permutation(50)
    straight = fit_gram(rows @ rows.T, labels)
    mixed = fit_gram(rows[order] @ rows[order].T, labels[order])
    np.testing.assert_allclose(_weights(mixed, rows[order]), _weights(straight, rows), atol=1e-9)
    np.testing.assert_allclose(mixed.intercept, straight.intercept, atol=1e-9)


def test_an_all_zero_row_is_harmless() -> None:
    rows, labels = _clouds(30, 5)
    rows[4] = 0
    assert not l2_normalise(rows)[4].any()
    fit = fit_gram(rows @ rows.T, labels)
    assert fit.converged
    np.testing.assert_allclose(fit.decision(rows @ rows.T)[4], fit.intercept)
    assert np.isfinite(fit.decision(rows @ rows.T)).all()

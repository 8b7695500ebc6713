"""Benchmark of the linear SVM against scikit-learn's LinearSVC and SciPy's L-BFGS.

It has 30 classes and 3,000 x 18,432 features.

    .venv/bin/python -m benchmarks.svm [--json FILE]

The features are synthetic, with what matters to a solver made like the codes of a trained
auto-encoder: not negative and a quarter zeros (liblinear skips those: with four fifths of zeros it
takes a quarter of the time), variances that fall as 1 / i, a common mean, noise of each number, and
classes that overlap: a third of all (row, class) pairs are support vectors.

All three minimise the sum over the classes of ``1/2 |w|^2 + sum max(0, 1 - y (w.x + b))^2`` with a
free bias b, and that very sum is evaluated at each solution: the notes give its excess over the
dual bound of our own solution.

* Ours: the Gram matrix (from rows not yet of unit length) and the fit, to the default tolerance.
* L-BFGS: SciPy's, all classes at once, matrix products in float32, from rows of unit length. It
  stops at the first iteration within ``EXCESS`` of the optimum, which it is told: no tolerance
  could stop it sooner.
* LinearSVC: liblinear penalises the bias, as a weight of one more feature that is
  ``intercept_scaling`` everywhere. With scaling 2 and tol 0.03 it stops near the same excess; tol
  0.1 takes a tenth less time and leaves 7e-4, scaling 3 took twice the time. It uses one thread,
  all it can.

LinearSVC runs in three rounds, without one that does not count. Takes six minutes on two cores.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.optimize import minimize
from sklearn.svm import LinearSVC

from benchmarks.measure import Row, against, from_pairs, main, seconds
from methods.arrays import gram_matrix, l2_normalise
from methods.classifiers.linear_svm import SvmFit, fit_gram

ROWS, WIDTH, CLASSES, LATENT = 3000, 18_432, 30, 400
ROWS_AT_ONCE = 2**30 // (8 * WIDTH)
EXCESS = 1e-4
SCALING, TOL = 2.0, 0.03


@cache
def data() -> tuple[np.ndarray, np.ndarray]:
    """Return (ROWS, WIDTH) float32 features and (ROWS,) labels, seeded."""
    rng = np.random.default_rng(0)
    codes = rng.permutation(ROWS) % CLASSES
    scale = np.arange(1, LATENT + 1) ** -0.5
    centres = 0.28 * rng.standard_normal((CLASSES, LATENT)) * scale
    hidden = (centres[codes] + rng.standard_normal((ROWS, LATENT)) * scale).astype(np.float32)
    features = hidden @ rng.standard_normal((LATENT, WIDTH), np.float32)
    features /= features.std()
    features += rng.standard_normal(features.shape, np.float32)
    return np.maximum(features + 0.7 * features.std(), 0), np.array(
        [f"class {code:02}" for code in codes]
    )


def ours() -> SvmFit:
    """Compute the Gram matrix and fit."""
    features, labels = data()
    return fit_gram(
        gram_matrix(lambda start, stop: features[start:stop], ROWS, ROWS_AT_ONCE), labels
    )


@cache
def problem() -> tuple[np.ndarray, np.ndarray, float, str]:
    """Return rows of unit length, (n, K) targets, a lower bound of the objective and a note.

    The note describes our solution.
    """
    features, labels = data()
    rows, fit = l2_normalise(features), ours()
    y = np.where(labels[:, None] == fit.classes, np.float32(1), np.float32(-1))
    bound = float((fit.objective * (1 - fit.duality_gap)).sum())
    weights = rows.T @ fit.coefficients.astype(np.float32)
    said = (
        f"excess {excess(weights, fit.intercept, rows, y, bound):.0e}, largest duality gap "
        f"{fit.duality_gap.max():.0e}"
    )
    return rows, y, bound, said


def excess(
    weights: np.ndarray, bias: np.ndarray, rows: np.ndarray, y: np.ndarray, bound: float
) -> float:
    """Return how far the objective of (d, K) weights exceeds the bound, relative to it."""
    slack = np.maximum(0, 1 - y * (np.asarray(rows @ weights, np.float64) + bias))
    return float((0.5 * np.square(weights, dtype=np.float64).sum() + (slack**2).sum()) / bound - 1)


def l_bfgs() -> tuple[np.ndarray, np.ndarray]:
    """Return (d, K) weights and (K,) biases as soon as they are within EXCESS."""
    rows, y, bound, _ = problem()
    shape = (WIDTH + 1, CLASSES)

    def value_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameters = flat.astype(np.float32).reshape(shape)
        weights = parameters[:-1]
        residual = np.maximum(0, 1 - y * (rows @ weights + parameters[-1])) * y
        gradient = np.empty(shape)
        np.subtract(weights, rows.T @ (2 * residual), out=gradient[:-1])
        gradient[-1] = -2 * residual.sum(axis=0)
        return 0.5 * float(np.vdot(weights, weights)) + float(
            np.vdot(residual, residual)
        ), gradient.ravel()

    def stop_when_there(intermediate_result: object) -> None:
        if getattr(intermediate_result, "fun", np.inf) <= bound * (1 + EXCESS):
            raise StopIteration

    found = minimize(
        value_and_gradient,
        np.zeros(shape[0] * shape[1]),
        jac=True,
        method="L-BFGS-B",
        callback=stop_when_there,
        options={"maxiter": 1000, "maxfun": 2000, "ftol": 0.0, "gtol": 0.0},
    )
    parameters: np.ndarray = found.x.reshape(shape)
    return parameters[:-1], parameters[-1]


def linear_svc() -> LinearSVC:
    """Fit LinearSVC with a bias that is hardly penalised."""
    rows, labels = problem()[0], data()[1]
    return LinearSVC(
        C=1.0, tol=TOL, intercept_scaling=SCALING, max_iter=10_000, random_state=0
    ).fit(rows, labels)


def against_l_bfgs(rounds: int = 5) -> Row:
    """Return the row of L-BFGS."""
    rows, y, bound, said = problem()
    theirs = excess(*l_bfgs(), rows, y, bound)
    note = f"ours: {said}; L-BFGS: excess {theirs:.0e}"
    return against(
        "linear SVM, 3,000 x 18,432, 30 classes",
        ours,
        "SciPy L-BFGS-B",
        l_bfgs,
        4.0,
        rounds=rounds,
        note=note,
    )


def against_linear_svc(rounds: int = 3) -> Row:
    """Return the row of LinearSVC."""
    rows, y, bound, said = problem()
    fits: list[LinearSVC] = []
    pairs = [(seconds(ours), seconds(lambda: fits.append(linear_svc()))) for _ in range(rounds)]
    theirs = excess(fits[-1].coef_.T, fits[-1].intercept_, rows, y, bound)
    note = (
        f"ours: {said}; LinearSVC (tol {TOL:g}, intercept_scaling {SCALING:g}): excess {theirs:.0e}"
    )
    return from_pairs(
        "linear SVM, 3,000 x 18,432, 30 classes", "scikit-learn LinearSVC", pairs, 8.0, note=note
    )


def rows() -> list[Row]:
    """Return the rows of both peers."""
    return [against_linear_svc(), against_l_bfgs()]


if __name__ == "__main__":
    main(rows)

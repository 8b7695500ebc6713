"""Linear one-vs-all SVM with the squared hinge loss (Yang et al. 2009; Ahn et al. 2019, section 3).

For each class the convex problem ::

    min over w, b   1/2 ||w||^2 + C * sum_i max(0, 1 - y_i (w.x_i + b))^2,     y_i in {-1, +1}

is solved to a gradient tolerance; the bias is free (not penalised). Two solvers of the same problem live here:

* :func:`fit_gram` works on the Gram matrix ``X X'``. Newton's method on the active set (Chapelle 2007, "Training a
  support vector machine in the primal") needs one Cholesky factorisation a step of a matrix that the loss itself makes
  positive definite, so repeated images do no harm. One Gram matrix serves every label budget.
* :func:`fit_primal` is the paper's L-BFGS, streaming over blocks of rows; memory does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Blocks = Callable[[], Iterable[NDArray[np.floating]]]

MAX_GRAM_ROWS = 20_000
"""Above this a float32 Gram matrix would pass 1.6 GB: :func:`fit_primal` takes over."""


@dataclass(frozen=True)
class SvmFit:
    """Result of a fit; one column for each class.

    Attributes:
        classes: (K,) sorted class labels.
        coefficients: (n, K) float64 dual coefficients (``w_k = X' coefficients[:, k]``) from :func:`fit_gram`, or
            (d, K) float64 weights from :func:`fit_primal`.
        intercept: (K,) float64.
        objective: (K,) float64 value reached.
        gradient_norm: (K,) float64 Euclidean norm of the gradient over that at w = 0, b = 0.
        duality_gap: (K,) float64 (objective - dual value) / objective, or NaN where the dual point is not known.
        iterations: (K,) int Newton steps, or L-BFGS iterations.
        converged: whether every class reached the tolerance.
    """

    classes: NDArray[np.str_]
    coefficients: Float64
    intercept: Float64
    objective: Float64
    gradient_norm: Float64
    duality_gap: Float64
    iterations: NDArray[np.int64]
    converged: bool

    def decision(self, rows: NDArray[np.floating]) -> Float64:
        """One-vs-all scores, (m, K) float64.

        Args:
            rows: (m, n) Gram rows against the training rows after :func:`fit_gram`; (m, d) features after
                :func:`fit_primal`.
        """
        scores: Float64 = rows @ self.coefficients + self.intercept
        return scores

    def predict(self, rows: NDArray[np.floating]) -> NDArray[np.str_]:
        """The class of the largest score, (m,)."""
        predicted: NDArray[np.str_] = self.classes[np.argmax(self.decision(rows), axis=1)]
        return predicted


def l2_normalise(features: NDArray[np.floating]) -> Float32:
    """Rows scaled to unit Euclidean length, (n, d) float32; an all-zero row stays zero."""
    flat = features.reshape(len(features), -1).astype(np.float32)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    unit: Float32 = (flat / np.where(norms > 0, norms, np.float32(1))).astype(np.float32, copy=False)
    return unit


def gram_matrix(read: Callable[[int, int], NDArray[np.floating]], n_rows: int, rows_at_once: int) -> Float32:
    """``X X'`` of L2-normalised rows, (n_rows, n_rows) float32.

    Args:
        read: ``read(start, stop)`` gives rows start..stop as (stop - start, ...) numbers.
        n_rows: number of rows.
        rows_at_once: rows held in memory at a time (two such blocks are held where n_rows is larger).
    """
    starts = range(0, n_rows, rows_at_once)
    gram = np.empty((n_rows, n_rows), np.float32)
    for i in starts:
        left = l2_normalise(read(i, min(i + rows_at_once, n_rows)))
        rows = slice(i, i + len(left))
        gram[rows, rows] = left @ left.T
        for j in range(i + rows_at_once, n_rows, rows_at_once):
            right = l2_normalise(read(j, min(j + rows_at_once, n_rows)))
            columns = slice(j, j + len(right))
            gram[rows, columns] = left @ right.T
            gram[columns, rows] = gram[rows, columns].T
    return gram


def _one_vs_all(labels: Sequence[str] | NDArray[np.str_]) -> tuple[NDArray[np.str_], Float64]:
    """Sorted classes and (n, K) targets in {-1, +1}; two classes need one column (the other is its mirror)."""
    classes, codes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"an SVM needs at least two classes, got {classes.tolist()}")
    columns = [1] if len(classes) == 2 else range(len(classes))
    return classes, np.stack([np.where(codes == k, 1.0, -1.0) for k in columns], axis=1)


def _mirror_two_classes(classes: NDArray[np.str_], values: Float64, sign: float) -> Float64:
    return np.concatenate([sign * values, values], axis=-1) if len(classes) == 2 else values


def _newton(gram: Float64, y: Float64, c: float, tolerance: float, max_iterations: int) -> tuple[Float64, float, list[float]]:
    """One binary problem in the coordinates w = X' beta. Returns beta (n,), b and the measures of the end point."""
    n = len(y)
    beta, bias = np.zeros(n), 0.0
    product = np.zeros(n)  # gram @ beta

    def state(product: Float64, beta: Float64, bias: float) -> tuple[float, Float64, Float64]:
        residual = np.maximum(0.0, 1.0 - y * (product + bias)) * y
        return 0.5 * float(beta @ product) + c * float(residual @ residual), residual, beta - 2 * c * residual

    def gradient(delta: Float64, residual: Float64) -> float:
        return float(np.sqrt(max(float(delta @ (gram @ delta)), 0.0) + (2 * c * residual.sum()) ** 2))

    objective, residual, delta = state(product, beta, bias)
    scale = gradient(delta, residual) or 1.0
    norm, iteration = scale, 0
    while norm > tolerance * scale and iteration < max_iterations:
        iteration += 1
        active = np.flatnonzero(residual)
        factor = cho_factor(gram[np.ix_(active, active)] + np.eye(len(active)) / (2 * c), overwrite_a=True, check_finite=False)
        solved = cho_solve(factor, np.stack([y[active], np.ones(len(active))], axis=1), check_finite=False)
        new_bias = float(solved[:, 0].sum() / solved[:, 1].sum())
        new_beta = np.zeros(n)
        new_beta[active] = solved[:, 0] - new_bias * solved[:, 1]
        new_product = gram[:, active] @ new_beta[active]
        step = 1.0
        while True:
            trial = (product + step * (new_product - product), beta + step * (new_beta - beta), bias + step * (new_bias - bias))
            value, residual, delta = state(*trial)
            if value <= objective + 1e-12 * abs(objective) or step < 1e-6:
                break
            step /= 2
        (product, beta, bias), objective = trial, value
        norm = gradient(delta, residual)
    alpha = np.maximum(2 * c * residual * y, 0.0)
    signed = alpha * y
    dual = float(alpha.sum() - 0.5 * signed @ (gram @ signed) - (alpha @ alpha) / (4 * c))
    return beta, bias, [objective, norm / scale, (objective - dual) / max(objective, 1e-300), float(iteration)]


def fit_gram(
    gram: NDArray[np.floating],
    labels: Sequence[str] | NDArray[np.str_],
    c: float = 1.0,
    tolerance: float = 1e-6,
    max_iterations: int = 50,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> SvmFit:
    """Fit every class from the Gram matrix of the training rows.

    Args:
        gram: (n, n) ``X X'`` of the training rows.
        labels: (n,) class of each row, at least two different ones.
        c: weight of the loss (the paper's regularisation parameter 1; see the module's formula).
        tolerance: stop when the gradient's norm is below this times its norm at zero.
        max_iterations: Newton steps a class; hitting it leaves ``converged`` False.
        progress: wraps the iteration over classes, for a progress bar.

    Raises:
        ValueError: fewer than two classes.
    """
    classes, targets = _one_vs_all(labels)
    kernel = np.asarray(gram, np.float64)
    betas, biases, measures = [], [], []
    for column in progress(range(targets.shape[1])):
        beta, bias, measure = _newton(kernel, targets[:, column], c, tolerance, max_iterations)
        betas.append(beta)
        biases.append(bias)
        measures.append(measure)
    objective, norm, gap, steps = (_mirror_two_classes(classes, row, 1.0) for row in np.array(measures).T)
    return SvmFit(
        classes=classes,
        coefficients=_mirror_two_classes(classes, np.stack(betas, axis=1), -1.0),
        intercept=_mirror_two_classes(classes, np.array(biases), -1.0),
        objective=objective,
        gradient_norm=norm,
        duality_gap=gap,
        iterations=steps.astype(np.int64),
        converged=bool((norm <= tolerance).all()),
    )


def fit_primal(
    blocks: Blocks,
    labels: Sequence[str] | NDArray[np.str_],
    n_features: int,
    c: float = 1.0,
    tolerance: float = 1e-4,
    max_iterations: int = 1000,
) -> SvmFit:
    """Fit every class jointly with L-BFGS over streamed rows (the paper's optimiser).

    Args:
        blocks: gives a fresh iterator over the training rows in order, each block (m, d), already normalised.
        labels: (n,) class of each row.
        n_features: d.
        c: as in :func:`fit_gram`.
        tolerance: stop when the joint gradient's norm is below this times its norm at zero.
        max_iterations: L-BFGS iterations.

    Raises:
        ValueError: fewer than two classes.
    """
    classes, targets = _one_vs_all(labels)
    n_problems = targets.shape[1]
    last: dict[str, Float64] = {}

    def value_and_gradient(flat: Float64) -> tuple[float, Float64]:
        parameters = flat.reshape(n_features + 1, n_problems)
        weights, bias = parameters[:-1], parameters[-1]
        losses = 0.5 * (weights**2).sum(axis=0)
        gradient = np.concatenate([weights, np.zeros((1, n_problems))])
        row = 0
        for block in blocks():
            y = targets[row : row + len(block)]
            residual = np.maximum(0.0, 1.0 - y * (block @ weights + bias)) * y
            losses = losses + c * (residual**2).sum(axis=0)
            gradient[:-1] -= 2 * c * (block.T @ residual)
            gradient[-1] -= 2 * c * residual.sum(axis=0)
            row += len(block)
        last["objective"], last["norm"] = losses, np.linalg.norm(gradient, axis=0)
        return float(losses.sum()), gradient.ravel()

    start = np.zeros((n_features + 1) * n_problems)
    value_and_gradient(start)
    scale = np.maximum(last["norm"], 1e-300)
    limit = tolerance * float(np.linalg.norm(scale))

    def stop_when_flat(intermediate_result: object) -> None:
        if float(np.linalg.norm(last["norm"])) <= limit:
            raise StopIteration

    result = minimize(
        value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=stop_when_flat,
        options={"maxiter": max_iterations, "maxcor": 10, "ftol": 0.0, "gtol": 0.0, "maxfun": 20 * max_iterations},
    )
    value_and_gradient(result.x)
    parameters = result.x.reshape(n_features + 1, n_problems)
    norm = last["norm"] / scale
    steps = np.full(n_problems, result.nit, np.float64)
    return SvmFit(
        classes=classes,
        coefficients=_mirror_two_classes(classes, parameters[:-1], -1.0),
        intercept=_mirror_two_classes(classes, parameters[-1], -1.0),
        objective=_mirror_two_classes(classes, last["objective"], 1.0),
        gradient_norm=_mirror_two_classes(classes, norm, 1.0),
        duality_gap=np.full(len(classes), np.nan),
        iterations=_mirror_two_classes(classes, steps, 1.0).astype(np.int64),
        converged=bool(np.linalg.norm(last["norm"]) <= limit),
    )

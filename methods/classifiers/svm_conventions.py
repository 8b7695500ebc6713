"""The linear SVM as two well-known programs fit it, where a paper's words allow more than one.

Ahn et al. 2019 state a "learning rate of 0.1" and a "regularization parameter of 1" and cite Yang
et al. 2009 (ScSPM). Three readings are offered, all of the squared hinge, one class against all:

* "exact": ``1/2 ||w||^2 + C sum loss``, the bias free, to a tolerance
  (:func:`methods.classifiers.linear_svm.fit_gram`);
* "scspm": ``lambda ||w||^2 + sum loss``, the bias free, at most 30 iterations of L-BFGS from zero,
  as ScSPM's program; the number that is set is lambda, so ``C = 1 / (2 lambda)``;
* "liblinear": ``1/2 (||w||^2 + b^2) + C sum loss``, the bias penalised, to a tolerance, as
  LIBLINEAR and scikit-learn's LinearSVC with an intercept scaling of 1.

The last two run L-BFGS on the rows of a factor Z of the Gram matrix, ``Z Z' = X X'``: L-BFGS knows
its variables by inner products only, so its steps are those that it would take on X.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize

from methods.classifiers.linear_svm import SvmFit, fit_gram
from methods.settings import SvmConvention

Float64 = NDArray[np.float64]

SCSPM_ITERATIONS = 30
"""Maximum number of L-BFGS iterations of ScSPM's program for each class."""
MAX_ITERATIONS = 2_000
"""Maximum number of L-BFGS iterations for each class where it runs to a tolerance."""
MEMORY = 10
"""Number of past steps that L-BFGS remembers, as in ScSPM's program."""
RANK_TOLERANCE = 1e-10
"""Eigenvalue of the Gram matrix, relative to the largest, below which a direction is left out."""


@dataclass(frozen=True)
class _ClassFit:
    """One class against all others: weights on the factor's rows, and how the solver ended."""

    weights: Float64
    bias: float
    objective: float
    gradient_norm: float
    iterations: int


def c_of(convention: SvmConvention, value: float) -> float:
    """Weight C of the loss beside 1/2 ||w||^2, where ``value`` is the number that was set."""
    return 1 / (2 * value) if convention == "scspm" else value


def fit_by_convention(
    convention: SvmConvention,
    gram: NDArray[np.floating],
    labels: Sequence[str] | NDArray[np.str_],
    c: float,
    tolerance: float,
) -> SvmFit:
    """Fit every class from the Gram matrix of the training rows, by one of three conventions.

    Args:
        convention: see the module.
        gram: (n, n) ``X X'`` of the training rows.
        labels: (n,) class of each row, at least two different ones.
        c: C, or lambda of "scspm"; above 0.
        tolerance: of the gradient's norm relative to its norm at zero; "scspm" stops after its
            iterations all the same.

    Returns:
        The fit. Its objective is that of the convention, in the form that begins with 1/2 ||w||^2;
        its duality gap is NaN for the last two.

    Raises:
        ValueError: fewer than two classes.
    """
    if convention == "exact":
        return fit_gram(gram, labels, c, tolerance)
    names, codes = np.unique(np.asarray(labels, np.str_), return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"an SVM needs at least two classes, got {names.tolist()}")
    factor, to_dual = _factor(np.asarray(gram, np.float64))
    penalised = convention == "liblinear"
    weight = c_of(convention, c)
    most = MAX_ITERATIONS if penalised else SCSPM_ITERATIONS
    fits = [
        _fit_class(factor, np.where(codes == k, 1.0, -1.0), weight, penalised, (most, tolerance))
        for k in range(len(names))
    ]
    weights = np.stack([fit.weights for fit in fits], axis=1)
    norms = np.array([fit.gradient_norm for fit in fits])
    return SvmFit(
        classes=names,
        coefficients=to_dual @ weights,
        intercept=np.array([fit.bias for fit in fits]),
        objective=np.array([fit.objective for fit in fits]),
        gradient_norm=norms,
        duality_gap=np.full(len(names), np.nan),
        iterations=np.array([fit.iterations for fit in fits], np.int64),
        class_converged=norms <= tolerance if penalised else np.ones(len(names), np.bool_),
    )


def _factor(gram: Float64) -> tuple[Float64, Float64]:
    """Rows Z (n, r) with ``Z Z' = gram``, and (n, r) that turns weights on Z to dual ones."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > RANK_TOLERANCE * max(float(values[-1]), np.finfo(np.float64).tiny)
    roots = np.sqrt(values[kept])
    return vectors[:, kept] * roots, vectors[:, kept] / roots


def _fit_class(
    rows: Float64, y: Float64, c: float, penalised: bool, stop: tuple[int, float]
) -> _ClassFit:
    """Fit one class by L-BFGS from zero, to so many iterations or a relative gradient norm."""
    most, tolerance = stop

    def evaluate(point: Float64) -> tuple[float, Float64]:
        weights, bias = point[:-1], point[-1]
        residual = np.maximum(0.0, 1.0 - y * (rows @ weights + bias)) * y
        slope = -2 * c * residual.sum() + (bias if penalised else 0.0)
        gradient = np.append(weights - 2 * c * (rows.T @ residual), slope)
        size = weights @ weights + (bias * bias if penalised else 0.0)
        return float(0.5 * size + c * (residual @ residual)), gradient

    start = np.zeros(rows.shape[1] + 1)
    at_zero = float(np.linalg.norm(evaluate(start)[1])) or 1.0

    def stop_when_flat(intermediate_result: OptimizeResult[Any]) -> None:
        if float(np.linalg.norm(evaluate(intermediate_result.x)[1])) <= tolerance * at_zero:
            raise StopIteration

    result = minimize(
        evaluate,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=stop_when_flat,
        options={
            "maxiter": most,
            "maxcor": MEMORY,
            "ftol": 0.0,
            "gtol": 0.0,
            "maxfun": 20 * most,
        },
    )
    value, gradient = evaluate(result.x)
    norm = float(np.linalg.norm(gradient)) / at_zero
    return _ClassFit(result.x[:-1], float(result.x[-1]), value, norm, int(result.nit))

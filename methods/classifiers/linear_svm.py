"""Linear one-vs-all SVM with the squared hinge loss (Yang et al. 2009; Ahn et al. 2019, section 3).

For each class the convex problem ::

    min over w, b   1/2 ||w||^2 + C * sum_i max(0, 1 - y_i (w.x_i + b))^2,     y_i in {-1, +1}

is solved to a gradient tolerance; the bias is free (not penalised). Two solvers of the same problem
live here:

* :func:`fit_gram` works on the Gram matrix ``X X'``. Newton's method on the active set (Chapelle
  2007, "Training a support vector machine in the primal", sections 2.4 and 4) takes all classes a
  step at a time. A small active set is solved by Cholesky; the larger ones by conjugate gradients,
  all classes in one matrix product. The loss itself makes every one of these systems positive
  definite, so repeated images do no harm. One Gram matrix serves every label budget.
* :func:`fit_primal` is the paper's L-BFGS, streaming over blocks of rows; memory does not grow with
  the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dposv
from scipy.optimize import minimize

from methods.settings import SVM_C

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Blocks = Callable[[], Iterable[NDArray[np.floating]]]
"""Function that gives a fresh iterator over blocks (m, d) of rows."""

MAX_GRAM_ROWS = 20_000
"""Maximum rows of a Gram matrix (1.6 GB of float32); with more, :func:`fit_primal` is used."""

_CG_STEPS = 60
"""Maximum conjugate gradient steps of one Newton step; a class that needs more is solved by
Cholesky from then on."""


@dataclass(frozen=True)
class SvmFit:
    """Result of a fit; one column for each class.

    Attributes:
        classes: (K,) sorted class labels, or the names given to :func:`fit_targets` or
            :func:`fit_primal_targets`.
        coefficients: (n, K) float64 dual coefficients (``w_k = X' coefficients[:, k]``) from
            :func:`fit_gram`, or (d, K) float64 weights from :func:`fit_primal`.
        intercept: (K,) float64.
        objective: (K,) float64 value reached.
        gradient_norm: (K,) float64 Euclidean norm of the gradient over that at w = 0, b = 0.
        duality_gap: (K,) float64 (objective - dual value) / objective, or NaN where the dual point
            is not known.
        iterations: (K,) int Newton steps, or L-BFGS iterations.
        class_converged: (K,) bool; from :func:`fit_gram`, whether both the gradient norm and the
            magnitude of the duality gap are within the tolerance; from :func:`fit_primal`, whether
            the joint gradient norm is, the same for every class.
    """

    classes: NDArray[np.str_]
    coefficients: Float64
    intercept: Float64
    objective: Float64
    gradient_norm: Float64
    duality_gap: Float64
    iterations: NDArray[np.int64]
    class_converged: NDArray[np.bool_]

    @property
    def converged(self) -> bool:
        """Whether every class reached the tolerance."""
        return bool(self.class_converged.all())

    def decision(self, rows: NDArray[np.floating]) -> Float64:
        """Compute one-vs-all scores, (m, K) float64.

        Args:
            rows: (m, n) Gram rows against the training rows after :func:`fit_gram`; (m, d) features
                after :func:`fit_primal`.
        """
        scores: Float64 = rows @ self.coefficients + self.intercept
        return scores

    def predict(self, rows: NDArray[np.floating]) -> NDArray[np.str_]:
        """Return the class of the largest score, (m,)."""
        predicted: NDArray[np.str_] = self.classes[np.argmax(self.decision(rows), axis=1)]
        return predicted


def _one_vs_all(labels: Sequence[str] | NDArray[np.str_]) -> tuple[NDArray[np.str_], Float64]:
    """Return the sorted classes and (n, K) targets in {-1, +1}.

    Two classes need one column, as the other is its mirror.
    """
    classes, codes = np.unique(np.asarray(labels, dtype=np.str_), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"an SVM needs at least two classes, got {classes.tolist()}")
    columns = [1] if len(classes) == 2 else range(len(classes))
    return classes, np.stack([np.where(codes == k, 1.0, -1.0) for k in columns], axis=1)


def _mirror_two_classes(classes: NDArray[np.str_], values: Float64, sign: float) -> Float64:
    """Put the mirrored column of the first of two classes before that of the second."""
    return np.concatenate([sign * values, values], axis=-1) if len(classes) == 2 else values


def _dots(left: NDArray[np.floating], right: NDArray[np.floating]) -> Float64:
    """Compute the inner products of the columns, (K,) float64."""
    products: Float64 = np.einsum("nk,nk->k", left, right).astype(np.float64)
    return products


def _steps_along(
    linear: Float64, quadratic: Float64, slack: Float64, change: Float64, c: float
) -> Float64:
    """Find the step length t that minimises the objective along each direction, (K,).

    The objective is ``linear t + quadratic t^2 / 2 + c sum_i max(0, slack_i + t change_i)^2``.

    Newton's method on the derivative, which is piecewise linear, within the bracket known so far.
    """
    t = np.ones_like(linear)
    low, high = np.full_like(linear, -np.inf), np.full_like(linear, np.inf)
    for _ in range(50):
        left = np.maximum(0.0, slack + t * change)
        slope = linear + t * quadratic + 2 * c * _dots(left, change)
        curvature = quadratic + 2 * c * _dots(np.where(left > 0, change, 0.0), change)
        low, high = np.where(slope < 0, t, low), np.where(slope > 0, t, high)
        # a bracket open at both ends has no middle and does not need one
        with np.errstate(invalid="ignore"):
            middle = (low + high) / 2
        step = -slope / np.where(curvature > 0, curvature, np.inf)
        inside = (t + step > low) & (t + step < high)
        moved = np.where(inside, t + step, np.where(np.isfinite(middle), middle, t))
        flat = np.abs(moved - t) <= 1e-14 * np.abs(t)
        t = moved
        if flat.all():
            break
    return t


def _truncated(
    gram: Float32,
    delta: Float64,
    slope: Float64,
    product: Float64,
    active: NDArray[np.bool_],
    c: float,
    reach: Float64,
) -> tuple[Float32, Float32, NDArray[np.bool_]]:
    """Compute Newton directions of several problems by conjugate gradients in (w, b).

    A step of all of them is one product with the Gram matrix.

    In float32, which halves the seconds: only the direction is rounded, never the gradient that the
    outer loop judges.

    Args:
        gram: (n, n) float32.
        delta: (n, m), the gradient in w is ``X' delta``.
        slope: (m,), the gradient in b.
        product: (n, m) ``gram @ delta``.
        active: (n, m) rows with a loss.
        c: weight of the loss.
        reach: (m,) factor by which the residual is to fall.

    Returns:
        Directions (n, m) and (m,), and whether the residual fell so far within the steps allowed.
    """
    size = np.sqrt(np.maximum(_dots(delta, product), 0.0) + slope**2)
    size[size == 0] = 1.0
    rest, rest_b, image = (
        (-values / size).astype(np.float32) for values in (delta, slope, product)
    )
    weight = active * np.float32(2 * c)
    moved, moved_b = np.zeros_like(rest), np.zeros_like(rest_b)
    way, way_b, way_image = rest.copy(), rest_b.copy(), image.copy()
    scratch = np.empty_like(rest)  # 360 KB arrays made anew cost 0.3 ms each
    square = _dots(rest, image) + rest_b.astype(np.float64) ** 2
    limit = square * reach**2
    for _ in range(_CG_STEPS):
        np.add(way_image, way_b, out=scratch)
        scratch *= weight
        turned_b = scratch.sum(axis=0)
        scratch += way  # (I + 2 c X_A X_A') way
        curvature = _dots(scratch, way_image) + turned_b.astype(np.float64) * way_b
        # A column that is done, or that float32 cannot tell from singular, stands still.
        going = (square > limit) & (curvature > 0)
        if not going.any():
            break
        factor = np.where(going, square / np.where(going, curvature, 1.0), 0.0).astype(np.float32)
        scratch *= factor
        rest -= scratch
        rest_b -= factor * turned_b
        moved += np.multiply(factor, way, out=scratch)
        moved_b += factor * way_b
        np.matmul(gram, rest, out=image)
        left = _dots(rest, image) + rest_b.astype(np.float64) ** 2
        ratio = np.where(going, left / np.where(going, square, 1.0), 0.0).astype(np.float32)
        way *= ratio
        way += rest
        way_b = rest_b + ratio * way_b
        way_image *= ratio
        way_image += image
        square = left
    length = size.astype(np.float32)
    return moved * length, moved_b * length, square <= limit


def _solved(
    kernel: Float64, y: Float64, bias: float, active: NDArray[np.bool_], c: float
) -> tuple[Float64, float] | None:
    """Solve one problem as if its active rows stayed active.

    Returns beta (n,) and b, or None where rounding left no positive definite matrix.
    """
    rows = np.flatnonzero(active)
    if not len(rows):
        return np.zeros(len(y)), bias
    # its own transpose, and in the order in which LAPACK needs no copy
    block = kernel[np.ix_(rows, rows)].T
    block.flat[:: len(rows) + 1] += 1 / (2 * c)
    sides = np.ones((len(rows), 2), order="F")
    sides[:, 0] = y[rows]
    # LAPACK itself: for a few dozen rows what SciPy puts around it takes three times as long
    _, solved, info = dposv(block, sides, overwrite_a=True, overwrite_b=True)
    if info or not solved[:, 1].sum() > 0:
        return None
    bias = float(solved[:, 0].sum() / solved[:, 1].sum())
    beta = np.zeros(len(y))
    beta[rows] = solved[:, 0] - bias * solved[:, 1]
    return beta, bias


def _converged(gradient_norm: Float64, duality_gap: Float64, tolerance: float) -> NDArray[np.bool_]:
    """Apply the two conditions of :attr:`SvmFit.class_converged`, (K,)."""
    return np.asarray((gradient_norm <= tolerance) & (np.abs(duality_gap) <= tolerance))


@dataclass(frozen=True)
class _Gradient:
    """Gradient of some problems at their current points; columns are problems.

    Attributes:
        residual: (n, m) max(0, 1 - y (w.x + b)) y.
        delta: (n, m); the gradient in w is ``X' delta``.
        slope: (m,) the gradient in b.
        product: (n, m) ``gram @ delta``.
    """

    residual: Float64
    delta: Float64
    slope: Float64
    product: Float64

    def of(self, problems: NDArray[np.bool_]) -> _Gradient:
        """Keep some of the problems."""
        return _Gradient(
            self.residual[:, problems],
            self.delta[:, problems],
            self.slope[problems],
            self.product[:, problems],
        )


class _Newton:
    """Newton's method on several binary problems with the same training rows.

    Args:
        gram: (n, n) ``X X'`` of the training rows.
        targets: (n, K) of -1 and +1, both in every column.

    Attributes:
        c: weight of the loss, see :meth:`minimise`.
        beta: (n, K) dual coefficients, w = X' beta.
        product: (n, K) ``gram @ beta``.
        bias: (K,).
        objective: (K,) value at the current point.
        gradient_norm: (K,) norm of the gradient over that at w = 0, b = 0.
        duality_gap: (K,) relative.
        steps: (K,) Newton steps taken.
        exact: (K,) whether the problem is solved by Cholesky from now on.
    """

    def __init__(self, gram: NDArray[np.floating], targets: NDArray[np.floating]) -> None:
        self.y, self.c = np.asarray(targets, np.float64), SVM_C
        self.kernel, self.single = np.asarray(gram, np.float64), np.asarray(gram, np.float32)
        n, k = self.y.shape
        self.beta, self.product = np.zeros((n, k)), np.zeros((n, k))
        self.bias = self.y.mean(axis=0)  # the best b at w = 0
        in_w = np.maximum(_dots(self.y, self.kernel @ self.y), 0.0)
        self.unit_scale = 2 * np.sqrt(in_w + self.y.sum(axis=0) ** 2)
        self.scale, self.objective = np.ones(k), np.full(k, np.inf)
        self.gradient_norm, self.duality_gap = np.zeros(k), np.zeros(k)
        self.steps, self.exact = np.zeros(k, np.int64), np.zeros(k, np.bool_)
        # Up to here a Cholesky factorisation costs less than some 15 steps of conjugate gradients
        # (3,000 rows: 710 active ones).
        self.few_rows = max(500.0, (40.0 * n * n) ** (1 / 3))

    def minimise(self, c: float, tolerance: float, max_iterations: int) -> None:
        """Solve every problem for one weight of the loss, from the current point on."""
        self.c, self.scale = c, c * self.unit_scale
        self.scale[self.scale == 0] = 1.0
        self.objective[:], self.steps[:], self.exact[:] = np.inf, 0, False
        todo = np.arange(len(self.bias))
        while len(todo):
            gradient, stuck = self.evaluate(todo)
            done = _converged(self.gradient_norm[todo], self.duality_gap[todo], tolerance)
            going = ~done & (self.steps[todo] < max_iterations) & ~stuck
            todo, gradient = todo[going], gradient.of(going)
            if len(todo):
                self.step(todo, gradient)

    def fit(self, names: NDArray[np.str_], tolerance: float) -> SvmFit:
        """Return the current point as a fit, whose classes are ``names``."""
        return SvmFit(
            classes=names,
            coefficients=self.beta.copy(),
            intercept=self.bias.copy(),
            objective=self.objective.copy(),
            gradient_norm=self.gradient_norm.copy(),
            duality_gap=self.duality_gap.copy(),
            iterations=self.steps.copy(),
            class_converged=_converged(self.gradient_norm, self.duality_gap, tolerance),
        )

    def evaluate(self, todo: NDArray[np.int64]) -> tuple[_Gradient, NDArray[np.bool_]]:
        """Compute the gradient, objective and duality gap of some problems, (m,) positions.

        Returns:
            The gradient, and whether each problem can descend no further: an exact solution did not
            descend because the rounding of the Gram matrix forbids more.
        """
        margin = self.y[:, todo] * (self.product[:, todo] + self.bias[todo])
        residual = np.maximum(0.0, 1.0 - margin) * self.y[:, todo]
        delta, slope = (
            self.beta[:, todo] - 2 * self.c * residual,
            -2 * self.c * residual.sum(axis=0),
        )
        pushed = self.kernel @ delta
        norm = np.sqrt(np.maximum(_dots(delta, pushed), 0.0) + slope**2)
        self.gradient_norm[todo] = norm / self.scale[todo]
        squares = self.c * _dots(residual, residual)
        value = 0.5 * _dots(self.beta[:, todo], self.product[:, todo]) + squares
        # The dual point is alpha = 2 c residual y, and gram @ (alpha y) = product - pushed.
        dual = (
            2 * self.c * np.abs(residual).sum(axis=0)
            - self.c * _dots(residual, self.product[:, todo] - pushed)
            - squares
        )
        self.duality_gap[todo] = (value - dual) / np.maximum(value, np.finfo(np.float32).tiny)
        no_descent = value >= self.objective[todo]
        stuck = self.exact[todo] & no_descent
        self.exact[todo] |= no_descent
        self.objective[todo] = value
        return _Gradient(residual, delta, slope, pushed), stuck

    def _directions(
        self, todo: NDArray[np.int64], at: _Gradient
    ) -> tuple[Float64, Float64, NDArray[np.bool_]]:
        """Compute Newton directions in beta (n, m) and b (m,), and which of them are not exact."""
        active = at.residual != 0
        way, way_b = np.zeros_like(at.delta), np.zeros_like(at.slope)
        truncated = np.ones(len(todo), np.bool_)
        for j in np.flatnonzero(self.exact[todo] | (active.sum(axis=0) <= self.few_rows)):
            k = todo[j]
            solution = _solved(self.kernel, self.y[:, k], self.bias[k], active[:, j], self.c)
            if solution is not None:
                way[:, j], way_b[j] = solution[0] - self.beta[:, k], solution[1] - self.bias[k]
                truncated[j] = False
        if truncated.any():
            t = np.flatnonzero(truncated)
            reach = np.clip(np.sqrt(self.gradient_norm[todo[t]]), 1e-5, 0.03)
            way[:, t], way_b[t], reached = _truncated(
                self.single,
                at.delta[:, t],
                at.slope[t],
                at.product[:, t],
                active[:, t],
                self.c,
                reach,
            )
            self.exact[todo[t]] |= ~reached
        return way, way_b, truncated

    def step(self, todo: NDArray[np.int64], at: _Gradient) -> None:
        """Take one Newton step with a line search in some problems, (m,) positions."""
        self.steps[todo] += 1
        way, way_b, truncated = self._directions(todo, at)
        image = self.kernel @ way
        signs = self.y[:, todo]
        slack = 1.0 - signs * (self.product[:, todo] + self.bias[todo])
        change = -signs * (image + way_b)
        linear, quadratic = _dots(self.beta[:, todo], image), _dots(way, image)
        hinge = np.maximum(0.0, slack + change)
        gain = self.c * (_dots(hinge, hinge) - _dots(at.residual, at.residual))
        # An exact step is taken in full where that descends: once the active set is right it ends
        # at the minimum.
        length, part = np.ones(len(todo)), truncated | ~(linear + quadratic / 2 + gain < 0)
        if part.any():
            length[part] = _steps_along(
                linear[part], quadratic[part], slack[:, part], change[:, part], self.c
            )
        self.beta[:, todo] += length * way
        self.product[:, todo] += length * image
        self.bias[todo] += length * way_b
        # b once more by itself where w is not exact: without a sum of alpha y of 0 there is no dual
        # value.
        if truncated.any():
            t = np.flatnonzero(truncated)
            zero = np.zeros(len(t))
            slack = 1.0 - signs[:, t] * (self.product[:, todo[t]] + self.bias[todo[t]])
            self.bias[todo[t]] += _steps_along(zero, zero, slack, -signs[:, t], self.c)


def fit_targets(
    gram: NDArray[np.floating],
    targets: NDArray[np.floating],
    names: NDArray[np.str_],
    c: float = SVM_C,
    tolerance: float = 1e-6,
    max_iterations: int = 50,
) -> SvmFit:
    """Fit binary problems that share their training rows, together.

    Args:
        gram: as in :func:`fit_gram`.
        targets: (n, K) of -1 and +1, both in every column.
        names: (K,) of the columns; the ``classes`` of the result.
        c: as in :func:`fit_gram`.
        tolerance: as in :func:`fit_gram`.
        max_iterations: as in :func:`fit_gram`.
    """
    newton = _Newton(gram, targets)
    newton.minimise(c, tolerance, max_iterations)
    return newton.fit(names, tolerance)


def fit_gram(
    gram: NDArray[np.floating],
    labels: Sequence[str] | NDArray[np.str_],
    c: float = SVM_C,
    tolerance: float = 1e-6,
    max_iterations: int = 50,
) -> SvmFit:
    """Fit every class from the Gram matrix of the training rows.

    Args:
        gram: (n, n) ``X X'`` of the training rows.
        labels: (n,) class of each row, at least two different ones.
        c: weight of the loss (the paper's regularisation parameter 1; see the module's formula).
        tolerance: stop when the gradient's norm is below this times its norm at zero, and the
            relative duality gap below this: the norm at zero grows with c, and for a large c is no
            measure by itself.
        max_iterations: Newton steps a class; hitting it leaves ``converged`` False.

    Raises:
        ValueError: fewer than two classes.
    """
    classes, targets = _one_vs_all(labels)
    fit = fit_targets(gram, targets, classes[-targets.shape[1] :], c, tolerance, max_iterations)
    return _of_all_classes(fit, classes)


def fit_path(
    gram: NDArray[np.floating],
    labels: Sequence[str] | NDArray[np.str_],
    grid: Sequence[float],
    tolerance: float = 1e-6,
    max_iterations: int = 50,
) -> Iterator[SvmFit]:
    """Fit every class for each weight of the loss, each fit from the solution of the one before.

    Args:
        gram: as in :func:`fit_gram`.
        labels: as in :func:`fit_gram`.
        grid: weights of the loss; cheapest in ascending order.
        tolerance: as in :func:`fit_gram`.
        max_iterations: as in :func:`fit_gram`.

    Yields:
        The fit of each weight, in the order of ``grid``.

    Raises:
        ValueError: fewer than two classes.
    """
    classes, targets = _one_vs_all(labels)
    newton = _Newton(gram, targets)
    for c in grid:
        newton.minimise(c, tolerance, max_iterations)
        yield _of_all_classes(newton.fit(classes[-targets.shape[1] :], tolerance), classes)


def _of_all_classes(fit: SvmFit, classes: NDArray[np.str_]) -> SvmFit:
    """Give the first of two classes its mirrored column; leave more classes as they are."""
    return replace(
        fit,
        classes=classes,
        coefficients=_mirror_two_classes(classes, fit.coefficients, -1.0),
        intercept=_mirror_two_classes(classes, fit.intercept, -1.0),
        objective=_mirror_two_classes(classes, fit.objective, 1.0),
        gradient_norm=_mirror_two_classes(classes, fit.gradient_norm, 1.0),
        duality_gap=_mirror_two_classes(classes, fit.duality_gap, 1.0),
        iterations=np.resize(fit.iterations, len(classes)),
        class_converged=np.resize(fit.class_converged, len(classes)),
    )


class _JointProblem:
    """Objective and gradient of all classes at once, summed over streamed rows.

    Args:
        blocks: as in :func:`fit_primal`.
        targets: (n, K) of -1 and +1.
        c: weight of the loss.

    Attributes:
        objective: (K,) values at the point evaluated last.
        gradient_norm: (K,) norms of the gradient there.
    """

    def __init__(self, blocks: Blocks, targets: Float64, c: float) -> None:
        self.blocks, self.targets, self.c = blocks, targets, c
        self.objective = self.gradient_norm = np.zeros(targets.shape[1])

    def evaluate(self, flat: Float64) -> tuple[float, Float64]:
        """Compute the sum of the objectives and its gradient at ((d + 1) K,) weights and biases."""
        parameters = flat.reshape(-1, self.targets.shape[1])
        weights, bias = parameters[:-1], parameters[-1]
        losses = 0.5 * (weights**2).sum(axis=0)
        gradient = np.concatenate([weights, np.zeros((1, len(bias)))])
        row = 0
        for block in self.blocks():
            y = self.targets[row : row + len(block)]
            residual = np.maximum(0.0, 1.0 - y * (block @ weights + bias)) * y
            losses = losses + self.c * (residual**2).sum(axis=0)
            gradient[:-1] -= 2 * self.c * (block.T @ residual)
            gradient[-1] -= 2 * self.c * residual.sum(axis=0)
            row += len(block)
        self.objective, self.gradient_norm = losses, np.linalg.norm(gradient, axis=0)
        return float(losses.sum()), gradient.ravel()


def fit_primal(
    blocks: Blocks,
    labels: Sequence[str] | NDArray[np.str_],
    n_features: int,
    c: float = SVM_C,
    tolerance: float = 1e-4,
    max_iterations: int = 1000,
) -> SvmFit:
    """Fit every class jointly with L-BFGS over streamed rows (the paper's optimiser).

    Args:
        blocks: gives a fresh iterator over the training rows in order, each block (m, d), already
            normalised.
        labels: (n,) class of each row.
        n_features: d.
        c: as in :func:`fit_gram`.
        tolerance: stop when the joint gradient's norm is below this times its norm at zero.
        max_iterations: L-BFGS iterations.

    Raises:
        ValueError: fewer than two classes.
    """
    classes, targets = _one_vs_all(labels)
    names = classes[-targets.shape[1] :]
    fit = fit_primal_targets(blocks, targets, names, n_features, c, tolerance, max_iterations)
    return _of_all_classes(fit, classes)


def fit_primal_targets(
    blocks: Blocks,
    targets: Float64,
    names: NDArray[np.str_],
    n_features: int,
    c: float = SVM_C,
    tolerance: float = 1e-4,
    max_iterations: int = 1000,
) -> SvmFit:
    """Fit binary problems that share their training rows, jointly with L-BFGS over streamed rows.

    Args:
        blocks: as in :func:`fit_primal`.
        targets: (n, K) of -1 and +1, both in every column.
        names: (K,) of the columns; the ``classes`` of the result.
        n_features: as in :func:`fit_primal`.
        c: as in :func:`fit_gram`.
        tolerance: as in :func:`fit_primal`.
        max_iterations: as in :func:`fit_primal`.
    """
    problem = _JointProblem(blocks, targets, c)
    start = np.zeros((n_features + 1) * targets.shape[1])
    problem.evaluate(start)
    scale = np.maximum(problem.gradient_norm, 1e-300)
    limit = tolerance * float(np.linalg.norm(scale))

    def stop_when_flat(intermediate_result: object) -> None:
        if float(np.linalg.norm(problem.gradient_norm)) <= limit:
            raise StopIteration

    result = minimize(
        problem.evaluate,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=stop_when_flat,
        options={
            "maxiter": max_iterations,
            "maxcor": 10,
            "ftol": 0.0,
            "gtol": 0.0,
            "maxfun": 20 * max_iterations,
        },
    )
    problem.evaluate(result.x)
    parameters = result.x.reshape(n_features + 1, -1)
    norm = problem.gradient_norm
    return SvmFit(
        classes=names,
        coefficients=parameters[:-1],
        intercept=parameters[-1],
        objective=problem.objective,
        gradient_norm=norm / scale,
        duality_gap=np.full(len(names), np.nan),
        iterations=np.full(len(names), result.nit, np.int64),
        class_converged=np.full(len(names), np.linalg.norm(norm) <= limit),
    )

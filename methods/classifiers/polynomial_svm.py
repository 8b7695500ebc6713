"""Polynomial-kernel SVM tuned inside each training fold (Huynh et al. 2016).

Its probabilities are of images of groups that it never saw.

Section 2.6 of the paper: features centred and scaled, an SVM with the kernel ``K(x, y) = (a x.y +
c)^d``, its a, c, d chosen by a grid search with five folds, judged by five-fold cross-validation by
lesion. Section 2.3: columns of zero variance removed.

Choices the paper leaves open:

* The search is nested: an outer fold's images and groups take no part in the removal of columns,
  the scaling, the search, the sigmoid or the SVM that score them. Inner folds keep groups together
  too and scale by their own training side.
* ``a`` is in units of 1 / (columns left), so that the mean of ``x.x`` over the training side is 1
  whatever the layer. Removing columns on all images instead (:attr:`Grid.constant_on`) changes this
  unit alone: a column that is constant over a training side is zero after centring.
* Feature selection, which the paper's section 4 hopes for, is a part of the search: of the columns
  left, those of the largest ANOVA F over the training side, their number being one more parameter
  of the grid. The inner folds rank the columns anew on their own training sides.
* The paper does not say that its search is nested. :func:`flat_scores` is the other reading, and
  optimistic: the kernel is chosen on the images that are scored.
* C is 1. Since ``(a x.y + c)^d = a^d (x.y + c / a)^d``, ``a^d`` takes its part.
* Probabilities are Platt's sigmoid of the decision value (Platt 1999, "Probabilistic outputs for
  support vector machines"), fitted on the inner folds' left-out values. Its slope is held at 0 or
  above: where left-out values speak against the labels, every image gets the training share of
  positives instead of a ranking turned round.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from methods.curation.folds import grouped_folds
from methods.statistics.roc import aucs

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]

INNER_FOLDS = 5
"""Number of grouped folds of a training side that choose the kernel."""
REGULARISATION = 1.0
"""Weight C of the SVM's loss."""
TOLERANCE = 1e-3
"""Largest violation of the optimality conditions at which the SVM's solver stops."""
MAX_ITERATIONS = 1_000_000
"""Maximum iterations of the SVM's solver, which has no limit of its own."""
COLUMNS_AT_ONCE = 1024
"""Feature columns that are in memory as float64 at a time."""
ALL_COLUMNS = 0
"""Number of columns to keep that stands for all of them."""
SELECTED_COLUMNS = (10, 30, 100, 300, 1000)
"""Numbers of columns among which feature selection chooses."""


@dataclass(frozen=True)
class Setting:
    """One kernel ``(a x.y / columns + c)^d`` on ``keep`` columns."""

    a: float
    c: float
    d: int
    keep: int = ALL_COLUMNS


@dataclass(frozen=True)
class Grid:
    """Values of each parameter of the kernel; every combination of them is searched.

    The offset shapes a kernel of d > 1 through c / a alone: from almost linear (16) over 4, 1 and
    1/4 to the pure power (0). A second positive c would repeat these ratios with the kernel
    multiplied, which ``a`` varies already.

    Attributes:
        a: positive, in units of 1 / (columns left).
        c: at least 0.
        d: whole numbers from 1.
        keep: numbers of columns with the largest ANOVA F that are kept, or ALL_COLUMNS.
        constant_on: images over which a column must be constant to be removed: those of the
            training side, or "all" of them, test images included.

    Raises:
        ValueError: no value, or one out of range.
    """

    a: tuple[float, ...] = (1 / 16, 1 / 4, 1.0, 4.0)
    c: tuple[float, ...] = (0.0, 1.0)
    d: tuple[int, ...] = (1, 2, 3)
    keep: tuple[int, ...] = (ALL_COLUMNS,)
    constant_on: Literal["train", "all"] = "train"

    def __post_init__(self) -> None:
        if not (self.a and self.c and self.d and self.keep):
            raise ValueError("a grid needs at least one value of each of a, c, d and keep")
        if not all(math.isfinite(a) and a > 0 for a in self.a):
            raise ValueError(f"a is positive and finite, got {self.a}")
        if not all(math.isfinite(c) and c >= 0 for c in self.c):
            raise ValueError(f"c is finite and at least 0, got {self.c}")
        if not all(d == int(d) and d >= 1 for d in self.d):
            raise ValueError(f"d is a whole number from 1, got {self.d}")
        if not all(keep == int(keep) and keep >= 0 for keep in self.keep):
            raise ValueError(f"keep is a whole number from 0, got {self.keep}")

    def settings(self) -> list[Setting]:
        """Return each kernel once, the simplest first: by the columns kept, then d, a and c.

        With d = 1 only the smallest c: a constant added to a kernel changes no SVM, since its dual
        coefficients sum to zero.
        """
        return [
            Setting(a, c, d, keep)
            for keep in sorted(set(self.keep), key=lambda keep: (keep == ALL_COLUMNS, keep))
            for d in sorted(set(self.d))
            for a in sorted(set(self.a))
            for c in (sorted(set(self.c)) if d > 1 else [min(self.c)])
        ]


@dataclass(frozen=True)
class FoldChoice:
    """Kernel and calibration chosen on the training side of one outer fold.

    Attributes:
        a: chosen, in units of 1 / ``kept``.
        c: chosen.
        d: chosen.
        inner_auc: mean area under the ROC curve over the inner folds with these; the best of the
            grid, so optimistic.
        slope: of the sigmoid, at least 0.
        intercept: of the sigmoid: probability = 1 / (1 + exp(-(slope * decision + intercept))).
        columns: left after the removal of constant ones.
        kept: of these, those that the SVM is fitted to.
        n_train: rows of the training side.
        n_test: rows of the fold.
        converged: whether every SVM of the search and the final one reached :data:`TOLERANCE`.
    """

    a: float
    c: float
    d: int
    inner_auc: float
    slope: float
    intercept: float
    columns: int
    kept: int
    n_train: int
    n_test: int
    converged: bool


@dataclass(frozen=True)
class NestedScores:
    """Scores of every row from the outer fold that left it out.

    Attributes:
        fold: (n,) int64 outer fold of each row.
        decision: (n,) float64 decision value; comparable within a fold only.
        probability: (n,) float64 of the positive class, 0..1; within a fold it never falls as the
            decision value rises.
        inner: (folds, n) float64 probability of the training rows of each outer fold, each from an
            inner fold that left it out; NaN for the rows of the outer fold. Of the kernel that was
            chosen by them, so a little optimistic, but nothing of the outer fold is in it.
        choices: one for each outer fold.
    """

    fold: Int64
    decision: Float64
    probability: Float64
    inner: Float64
    choices: tuple[FoldChoice, ...]


@dataclass(frozen=True)
class _Kernels:
    """Linear kernels of a training side on some columns, divided by their number.

    Attributes:
        train: (m, m) between training rows.
        left_out: (k, m) of the rows left out against the training rows.
        columns: number of columns.
    """

    train: Float64
    left_out: Float64
    columns: int


@dataclass(frozen=True)
class _Side:
    """A training side of m rows and the k rows that are left out of it.

    Attributes:
        kernels: for each number of columns to keep.
        columns: number of columns left after the removal of constant ones.
    """

    kernels: Mapping[int, _Kernels]
    columns: int


def outer_folds(positive: Bools, groups: Sequence[str], seed: int, n_folds: int = 5) -> Int64:
    """Draw the outer fold of each row: stratified by class, groups kept together.

    A function of the multiset of (class, group) pairs: the order of the rows does not matter.

    Args:
        positive: (n,) class of each row.
        groups: (n,) group of each row (lesion, patient).
        seed: of the shuffle, at least 0.
        n_folds: at least 2.

    Returns:
        (n,) int64, 0 to n_folds - 1.

    Raises:
        ValueError: too few groups with a class, or a fold without one.
    """
    return _grouped_folds(positive, np.asarray(groups, np.str_), n_folds, seed, "outer folds")


def _grouped_folds(
    positive: Bools, groups: NDArray[np.str_], n_folds: int, seed: int, name: str
) -> Int64:
    """Draw the fold of each row, (n,) int64; refuse folds that lack a class, naming them."""
    if len(positive) != len(groups):
        raise ValueError(
            f"one group for each row is needed, got {len(groups)} groups and {len(positive)} rows"
        )
    for side, word in ((positive, "positive"), (~positive, "negative")):
        having = len(np.unique(groups[side]))
        if having < n_folds:
            raise ValueError(
                f"{name}: {n_folds} folds need {n_folds} groups with a {word} image, there are "
                f"{having}"
            )
    fold = grouped_folds(positive, groups, n_folds, seed)
    for number in range(n_folds):
        for side, word in ((positive, "positive"), (~positive, "negative")):
            if not side[fold == number].any():
                raise ValueError(
                    f"{name}: fold {number} of seed {seed} has no {word} image; another seed or "
                    "fewer folds may help"
                )
    return fold


def _column_blocks(n_columns: int) -> Iterator[slice]:
    """Cut the columns into blocks of :data:`COLUMNS_AT_ONCE`."""
    return (slice(start, start + COLUMNS_AT_ONCE) for start in range(0, n_columns, COLUMNS_AT_ONCE))


def _check(
    rows: NDArray[np.float32], positive: Bools, groups: NDArray[np.str_], fold: Int64
) -> None:
    """Refuse arrays that do not fit together, folds that split a group and values not finite."""
    if rows.ndim != 2 or not len(rows) == len(positive) == len(groups) == len(fold):
        raise ValueError(
            f"one class, group and fold for each of (n, p) rows is needed, got {len(positive)}, "
            f"{len(groups)} and {len(fold)} "
            f"for {rows.shape}"
        )
    numbers = np.unique(fold)
    if len(numbers) < 2 or not np.array_equal(numbers, np.arange(len(numbers))):
        raise ValueError(
            "outer folds are numbered from 0 without a gap and are at least two, got "
            f"{numbers.tolist()}"
        )
    codes = np.unique(groups, return_inverse=True)[1]
    parted = len(np.unique(np.stack([codes, fold], axis=1), axis=0)) - len(np.unique(codes))
    if parted:
        raise ValueError("some group is in more than one outer fold")
    if not all(np.isfinite(rows[:, block]).all() for block in _column_blocks(rows.shape[1])):
        raise ValueError("some feature is NaN or infinite")


def _standardised(
    values: NDArray[np.float32], train: Int64, left_out: Int64
) -> tuple[Float64, Float64, Int64]:
    """Centre and scale columns by the training rows, and drop those that are constant over them.

    Args:
        values: (n, columns).
        train: (m,) positions of the training rows.
        left_out: (k,) positions of the rows left out.

    Returns:
        (m, kept) and (k, kept) float64, and the positions of the columns kept.
    """
    fitted = values[train]
    kept = np.flatnonzero(fitted.max(axis=0) > fitted.min(axis=0))
    standard = fitted[:, kept].astype(np.float64)
    mean = standard.mean(axis=0)
    standard -= mean
    deviation = np.sqrt(np.square(standard).mean(axis=0))
    standard /= deviation
    return standard, (values[np.ix_(left_out, kept)] - mean) / deviation, kept


def _anova_f(standard: Float64, truth: Bools) -> Float64:
    """Compute the ANOVA F of each column between the classes, (columns,)."""
    from sklearn.feature_selection import f_classif

    with np.errstate(divide="ignore"):  # of a column that tells the classes apart it is infinite
        f: Float64 = f_classif(standard, truth)[0]
    return f


def _linear_kernels(
    rows: NDArray[np.float32],
    positive: Bools,
    parts: Sequence[tuple[Int64, Int64]],
    grid: Grid,
) -> list[_Side]:
    """Compute the linear kernels of several training sides in one pass over the columns.

    Everything in float64: equal to the product of the standardised matrix to rounding, about 1e-15
    of the mean of the diagonal.

    Args:
        rows: (n, p).
        positive: (n,) class of each row; only those of training rows are read, for the selection.
        parts: positions of the training rows and of the rows left out, for each side.
        grid: which numbers of columns are kept, and where a column must be constant.
    """
    trains = [np.zeros((len(train), len(train))) for train, _ in parts]
    left_outs = [np.zeros((len(left_out), len(train))) for train, left_out in parts]
    columns, everywhere = [0] * len(parts), 0
    selects = any(keep != ALL_COLUMNS for keep in grid.keep)
    f_of = [np.full(rows.shape[1], -np.inf) for _ in parts] if selects else []
    with threadpool_limits(1, user_api="blas"):  # the same bytes on any number of cores
        for block in _column_blocks(rows.shape[1]):
            values = np.asarray(rows[:, block])
            everywhere += int((values.max(axis=0) > values.min(axis=0)).sum())
            for side, (train, left_out) in enumerate(parts):
                standard, others, kept = _standardised(values, train, left_out)
                trains[side] += standard @ standard.T
                left_outs[side] += others @ standard.T
                columns[side] += len(kept)
                if selects and len(kept):
                    f_of[side][block.start + kept] = _anova_f(standard, positive[train])
        if not all(columns):
            raise ValueError("every column is constant over the rows of a training side")
        if grid.constant_on == "all":
            columns = [everywhere] * len(parts)
        sides = [
            {ALL_COLUMNS: _Kernels(a / p, b / p, p)}
            for a, b, p in zip(trains, left_outs, columns, strict=True)
        ]
        for of_side, part, f in zip(sides, parts, f_of, strict=False):
            of_side |= _selected_kernels(rows, part, f, grid.keep)
    return [_Side(of_side, p) for of_side, p in zip(sides, columns, strict=True)]


def _selected_kernels(
    rows: NDArray[np.float32], part: tuple[Int64, Int64], f: Float64, keep: Sequence[int]
) -> dict[int, _Kernels]:
    """Compute the linear kernels on the columns of the largest F, for each number to keep.

    Args:
        rows: (n, p).
        part: positions of the training rows and of the rows left out.
        f: (p,) ANOVA F over the training rows, -inf for constant columns.
        keep: numbers of columns; ALL_COLUMNS is passed over.
    """
    ordered = np.argsort(-f, kind="stable")[: np.isfinite(f).sum() + np.isposinf(f).sum()]
    train, left_out = (np.zeros((len(side), len(part[0]))) for side in part)
    kernels, done = {}, 0
    for number in sorted({number for number in keep if number != ALL_COLUMNS}):
        chosen = ordered[done:number]
        standard, others, _ = _standardised(rows[:, chosen], *part)
        train, left_out = train + standard @ standard.T, left_out + others @ standard.T
        done += len(chosen)
        kernels[number] = _Kernels(train / done, left_out / done, done)
    return kernels


def _decision_values(side: _Side, positive: Bools, setting: Setting) -> tuple[Float64, bool]:
    """Fit an SVM on the training rows and compute its decision values of the rows left out.

    Returns (k,) decision values, and whether the solver converged.

    Raises:
        ValueError: a kernel value is too large: for a float32, in which the solver holds them, or
            else for a float64.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    of_kept = side.kernels[setting.keep]
    with np.errstate(over="ignore"):
        fitted, left_out = (
            (setting.a * linear + setting.c) ** setting.d
            for linear in (of_kept.train, of_kept.left_out)
        )
    if not (np.abs(fitted).max() <= np.finfo(np.float32).max and np.isfinite(left_out).all()):
        raise ValueError(
            f"the kernel of {setting} overflows: d is too high, or a row left out lies too far "
            "from the training rows"
        )
    # Without a random_state SVC draws from NumPy's global generator, even though nothing here is
    # random.
    svm = SVC(
        C=REGULARISATION,
        kernel="precomputed",
        tol=TOLERANCE,
        max_iter=MAX_ITERATIONS,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # told by `converged`
        svm.fit(fitted, positive)
    decision: Float64 = svm.decision_function(left_out)
    return decision, bool(svm.fit_status_ == 0)


def _fit_sigmoid(decision: Float64, positive: Bools) -> tuple[float, float]:
    """Fit slope >= 0 and intercept of Platt's sigmoid.

    The most likely ones for his smoothed targets (Platt 1999, section 2.2).

    A target t is a positive row of weight t and a negative one of weight 1 - t.
    """
    from sklearn.linear_model import LogisticRegression

    n_positive, n = int(positive.sum()), len(positive)
    targets = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n - n_positive + 2))
    if np.ptp(decision) > 0:
        # Scaled, since Newton's Hessian is near singular where values hardly differ.
        spread = float(decision.std())
        scaled = (decision - decision.mean()) / spread
        fit = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(
            np.tile(scaled, 2)[:, None],
            np.repeat([True, False], n),
            np.concatenate([targets, 1 - targets]),
        )
        slope = float(fit.coef_[0, 0]) / spread
        if slope > 0:
            return slope, float(fit.intercept_[0]) - slope * float(decision.mean())
    return 0.0, float(logit(targets.mean()))


def _searched(
    sides: Sequence[_Side], fold: Int64, truth: Bools, settings: Sequence[Setting]
) -> tuple[Float64, Float64, bool]:
    """Judge every kernel by the inner folds of one training side of m rows.

    Args:
        sides: kernels of each inner fold.
        fold: (m,) inner fold of each row.
        truth: (m,) class of each row.
        settings: S kernels.

    Returns:
        Decision values of the rows left out, (S, m); AUC of each fold, (S, folds); whether every
        solver converged.
    """
    out_of_fold = np.empty((len(settings), len(truth)))
    auc = np.empty((len(settings), len(sides)))
    converged = True
    for i, side in enumerate(sides):
        fitted, left_out = fold != i, fold == i
        for s, setting in enumerate(settings):
            out_of_fold[s, left_out], reached = _decision_values(side, truth[fitted], setting)
            converged &= reached
        auc[:, i] = aucs(out_of_fold[:, left_out], truth[left_out])
    return out_of_fold, auc, converged


def _best(auc: Float64) -> int:
    """Return the setting of the largest mean AUC, (S, folds); of equal ones the first.

    Rounded, as equal means may differ by the order of their summands.
    """
    return int(auc.mean(axis=1).round(12).argmax())


def nested_scores(
    rows: NDArray[np.float32],
    positive: Bools,
    groups: Sequence[str],
    fold: Int64,
    grid: Grid,
    seed: int,
    on_fold: Callable[[int], None] | None = None,
) -> NestedScores:
    """Compute the score of every row from SVMs that saw nothing of its outer fold.

    Memory beyond the rows: kernels of n x n, and blocks of :data:`COLUMNS_AT_ONCE` columns in
    float64.

    Args:
        rows: (n, p) float32 features, also a memory map.
        positive: (n,) class of each row.
        groups: (n,) group of each row; never on both sides of any fold, outer or inner.
        fold: (n,) int64 outer fold of each row, from :func:`outer_folds`.
        grid: searched on each training side by :data:`INNER_FOLDS` stratified folds over its
            groups, for the largest mean AUC; of equal ones, the first of :meth:`Grid.settings` is
            taken.
        seed: of the inner folds, at least 0.
        on_fold: called with the number of each outer fold when it is done.

    Raises:
        ValueError: lengths differ, a feature is not finite, a group is in two folds, folds are not
            numbered from 0, a training side has too few groups of a class for its inner folds or
            only constant columns, or a kernel value overflows.
    """
    names = np.asarray(groups, np.str_)
    _check(rows, positive, names, fold)
    settings = grid.settings()
    scores = _Scores.empty(fold)
    for number in range(int(fold.max()) + 1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        truth = positive[train]
        inner = _grouped_folds(
            truth, names[train], INNER_FOLDS, seed, f"inner folds of outer fold {number}"
        )
        parts = [(train[inner != i], train[inner == i]) for i in range(INNER_FOLDS)]
        *inner_sides, outer_side = _linear_kernels(rows, positive, [*parts, (train, test)], grid)
        out_of_fold, auc, converged = _searched(inner_sides, inner, truth, settings)
        best = _best(auc)
        decision, reached = _decision_values(outer_side, truth, settings[best])
        found = _Found(settings[best], float(auc[best].mean()), converged and reached)
        scores.add(number, decision, (out_of_fold[best], truth), outer_side, found)
        if on_fold:
            on_fold(number)
    return scores.done()


def flat_scores(
    rows: NDArray[np.float32],
    positive: Bools,
    groups: Sequence[str],
    fold: Int64,
    grid: Grid,
    on_fold: Callable[[int], None] | None = None,
) -> NestedScores:
    """Compute the score of every row by a search that is not nested, which is optimistic.

    One kernel for all folds: that of the largest mean AUC over the very folds that are scored. The
    SVM and the scaling of a fold still see nothing of it, and its sigmoid is fitted on the decision
    values of the other folds. The arguments and errors are those of :func:`nested_scores`;
    ``inner_auc`` of the result is the area that chose the kernel.
    """
    _check(rows, positive, np.asarray(groups, np.str_), fold)
    numbers = range(int(fold.max()) + 1)
    parts = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in numbers]
    sides = _linear_kernels(rows, positive, parts, grid)
    settings = grid.settings()
    out_of_fold, auc, converged = _searched(sides, fold, positive, settings)
    best = _best(auc)
    decision = out_of_fold[best]
    scores = _Scores.empty(fold)
    found = _Found(settings[best], float(auc[best].mean()), converged)
    for number, (train, test) in enumerate(parts):
        others = (decision[train], positive[train])
        scores.add(number, decision[test], others, sides[number], found)
        if on_fold:
            on_fold(number)
    return scores.done()


@dataclass(frozen=True)
class _Found:
    """The kernel of an outer fold; the fields are those of :class:`FoldChoice`."""

    setting: Setting
    inner_auc: float
    converged: bool


@dataclass(frozen=True)
class _Scores:
    """Scores while they are collected; the fields are those of :class:`NestedScores`."""

    fold: Int64
    decision: Float64
    probability: Float64
    inner: Float64
    choices: list[FoldChoice]

    @classmethod
    def empty(cls, fold: Int64) -> _Scores:
        """Return scores without a value, for the outer fold of each row."""
        n = len(fold)
        inner = np.full((int(fold.max()) + 1, n), np.nan)
        return cls(fold, np.empty(n), np.empty(n), inner, [])

    def add(
        self,
        number: int,
        decision: Float64,
        calibration: tuple[Float64, Bools],
        side: _Side,
        found: _Found,
    ) -> None:
        """Add the scores of an outer fold.

        Args:
            number: of the fold.
            decision: values of its rows.
            calibration: decision values of its training rows from models that left them out, and
                their classes; the sigmoid is fitted to them.
            side: of its training rows.
            found: its kernel.
        """
        train, test = self.fold != number, self.fold == number
        slope, intercept = _fit_sigmoid(*calibration)
        self.decision[test] = decision
        self.probability[test] = expit(slope * decision + intercept)
        self.inner[number, train] = expit(slope * calibration[0] + intercept)
        self.choices.append(
            FoldChoice(
                a=found.setting.a,
                c=found.setting.c,
                d=found.setting.d,
                inner_auc=found.inner_auc,
                slope=slope,
                intercept=intercept,
                columns=side.columns,
                kept=side.kernels[found.setting.keep].columns,
                n_train=int(train.sum()),
                n_test=int(test.sum()),
                converged=found.converged,
            )
        )

    def done(self) -> NestedScores:
        """Return the scores of all folds."""
        return NestedScores(
            self.fold, self.decision, self.probability, self.inner, tuple(self.choices)
        )

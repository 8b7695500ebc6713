"""The choice of C: against scikit-learn's folds and SVM, and by hand where all are equally good."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import LinearSVC

from methods.classifiers.calibration import FOLDS, out_of_fold
from methods.classifiers.tuning import C_GRID, tune_c


def _rows(n: int = 90, kinds: int = 3) -> tuple[NDArray[np.float64], NDArray[np.str_], list[str]]:
    """Rows of unit length that are much alike, so that C matters; patients of two images."""
    rng = np.random.default_rng(0)
    codes = np.arange(n) // 2 % kinds
    rows = 3 + rng.normal(0, 1, (kinds, 20))[codes] * 0.5 + rng.normal(0, 0.7, (n, 20))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, np.array([f"c{code}" for code in codes]), [f"p{i // 2}" for i in range(n)]


def test_the_grid_reaches_far_to_both_sides_and_holds_the_papers_c() -> None:
    assert list(C_GRID) == sorted(C_GRID)
    assert {2**-6, 1, 2**6} <= set(C_GRID)
    assert C_GRID[-1] >= 1000


def test_the_share_right_of_each_c_is_that_of_scikit_learn() -> None:
    rows, labels, groups = _rows()
    tuned = tune_c(rows @ rows.T, labels, groups, 1e-8, seed=4)
    assert tuned is not None
    folds = list(
        StratifiedGroupKFold(FOLDS, shuffle=True, random_state=4).split(rows, labels, groups)
    )
    for c, share in zip(C_GRID[:7], tuned.accuracies, strict=False):
        svm = LinearSVC(C=c, tol=1e-9, max_iter=200_000, intercept_scaling=30, dual=False)
        right = sum(
            int((svm.fit(rows[a], labels[a]).predict(rows[b]) == labels[b]).sum()) for a, b in folds
        )
        assert share == pytest.approx(right / len(labels), abs=0.012), c
    best = max(tuned.accuracies)
    assert tuned.c == next(c for c, a in zip(C_GRID, tuned.accuracies, strict=True) if a == best)
    assert len(set(tuned.accuracies)) > 2, "C matters on these rows"


def test_its_scores_are_those_of_each_fold_fitted_by_itself() -> None:
    rows, labels, groups = _rows()
    gram = rows @ rows.T
    tuned = tune_c(gram, labels, groups, 1e-8, seed=1)
    assert tuned is not None
    alone = out_of_fold(gram, labels, groups, tuned.c, 1e-8, 1)
    assert alone is not None
    np.testing.assert_allclose(tuned.out_of_fold.scores, alone.scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(tuned.out_of_fold.nearest, alone.nearest)


def test_of_equally_good_values_the_smallest_is_taken() -> None:
    rows = np.eye(2)[np.arange(20) % 2]
    labels = np.array(["a", "b"] * 10)
    tuned = tune_c(rows @ rows.T, labels, [str(i) for i in range(20)], 1e-6, 0, (0.5, 1.0, 2.0))
    assert tuned is not None
    assert (tuned.c, tuned.accuracies) == (0.5, (1.0, 1.0, 1.0))


@pytest.mark.parametrize("groups", [["p"] * 4, ["p", "q", "p", "q"]], ids=["one", "one a class"])
def test_without_folds_there_is_no_choice(groups: list[str]) -> None:
    """One group, or two groups of one class each, whose other fold has one class only."""
    rows = np.eye(2)[np.arange(4) % 2]
    assert tune_c(rows @ rows.T, np.array(["a", "b"] * 2), groups, 1e-6, 0) is None

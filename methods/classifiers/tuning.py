"""Choice of the SVM's C for one method, by cross-validation within the training split.

One C is not the same strength of regularisation for all features: it depends on how alike the rows
are (rows of non-negative features lie in one corner of the unit sphere, and a free bias takes up
what they share). Methods are compared like for like where each has the C that its own training
images choose (Hsu, Chang and Lin 2003, "A Practical Guide to Support Vector Classification").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.classifiers.calibration import OutOfFold, out_of_fold_path

C_GRID: tuple[float, ...] = tuple(4.0**power for power in range(-3, 6))
"""Candidates for C, ascending: 2^-6 to 2^10 by factors of 4, with the papers' 1 among them. The
usual range of 2^-6 to 2^6 is too short for rows that are much alike: raw conv5 still gains at
100."""


@dataclass(frozen=True)
class Tuned:
    """The C that the training images choose, and what led to it.

    Attributes:
        c: the value of ``grid`` with the most images right; of equally good ones the smallest.
        grid: the candidates.
        accuracies: share of the training images right out of fold, for each candidate. That of the
            chosen one is a little too good, as it was chosen for it.
        path: out-of-fold scores for each candidate.
    """

    c: float
    grid: tuple[float, ...]
    accuracies: tuple[float, ...]
    path: tuple[OutOfFold, ...]

    @property
    def out_of_fold(self) -> OutOfFold:
        """Scores of each training image from folds without its group, at the chosen C."""
        return self.path[self.grid.index(self.c)]


def tune_c(
    gram: NDArray[np.floating],
    labels: NDArray[np.str_],
    groups: Sequence[str],
    tolerance: float,
    seed: int,
    grid: Sequence[float] = C_GRID,
) -> Tuned | None:
    """Choose C by grouped, stratified cross-validation on the Gram matrix of the training rows.

    Args:
        gram: (n, n) inner products of the training rows.
        labels: (n,) class of each row.
        groups: (n,) group (patient) of each row; a group lies in one fold.
        tolerance: of the SVM.
        seed: of the folds.
        grid: candidates, ascending.

    Returns:
        None where no folds can be made, as in
        :func:`methods.classifiers.calibration.out_of_fold_path`.
    """
    path = out_of_fold_path(gram, labels, groups, grid, tolerance, seed)
    if path is None:
        return None
    right = [int((seen.classes[seen.scores.argmax(axis=1)] == labels).sum()) for seen in path]
    best = right.index(max(right))
    return Tuned(grid[best], tuple(grid), tuple(n / len(labels) for n in right), path)

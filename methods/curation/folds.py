"""Folds for cross-validation that keep groups (patients, lesions) whole and are stratified."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]


def grouped_folds(
    strata: NDArray[np.generic],
    groups: Sequence[str] | NDArray[np.generic],
    n_folds: int,
    seed: int,
) -> Int64:
    """Fold of each row: every group lies in one fold, and each stratum is spread evenly over them.

    The folds are those of scikit-learn's shuffled ``StratifiedGroupKFold``, a function of the set
    of (stratum, group) pairs: the order of the rows does not matter. A stratum with fewer rows than
    folds is spread as far as it goes; whether that is enough is for the caller to check.

    Args:
        strata: (n,) class of each row, or any other value to balance between the folds.
        groups: (n,) group of each row.
        n_folds: number of folds, at least 2.
        seed: of the shuffle, at least 0.

    Returns:
        (n,) int64, 0 to n_folds - 1.

    Raises:
        ValueError: every stratum has fewer rows than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # a second to import

    _, group_codes = np.unique(np.asarray(groups), return_inverse=True)
    fold = np.empty(len(strata), np.int64)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of strata smaller than n_folds
        for number, (_, left_out) in enumerate(splitter.split(strata, strata, group_codes)):
            fold[left_out] = number
    return fold

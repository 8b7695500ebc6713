"""Folds that keep groups whole."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from methods.curation.folds import grouped_folds


def test_groups_stay_whole_and_each_stratum_is_spread() -> None:
    strata = np.repeat([0, 1], 12)
    groups = [f"patient {i // 2}" for i in range(24)]  # 6 groups of 2 rows for each stratum
    fold = grouped_folds(strata, groups, 3, seed=0)
    assert fold.dtype == np.int64
    for name in set(groups):
        assert len({int(fold[i]) for i in range(24) if groups[i] == name}) == 1
    for number in range(3):
        assert np.bincount(strata[fold == number]).tolist() == [4, 4]


@pytest.mark.parametrize("seed", [0, 7])
def test_the_folds_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(1)
    strata, groups = rng.integers(0, 3, 90), np.array([f"g{i}" for i in rng.integers(0, 40, 90)])
    theirs = np.empty(90, np.int64)
    splitter = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
    for number, (_, left_out) in enumerate(splitter.split(strata, strata, groups)):
        theirs[left_out] = number
    assert np.array_equal(grouped_folds(strata, groups, 4, seed), theirs)


def test_known_folds_stay_as_they_are() -> None:
    """Stored results depend on them: a change of these numbers changes every cross-validation."""
    strata = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    fold = grouped_folds(strata, list("aabbccdd"), 2, seed=0)
    assert fold.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]


def test_the_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    strata, groups = rng.integers(0, 2, 60), rng.integers(0, 25, 60)
    order = rng.permutation(60)
    fold = grouped_folds(strata, groups, 5, seed=3)
    assert np.array_equal(grouped_folds(strata[order], groups[order], 5, seed=3), fold[order])


def test_a_stratum_smaller_than_the_number_of_folds_is_spread_without_a_warning() -> None:
    strata = np.array([0] * 8 + [1, 1])
    fold = grouped_folds(strata, [str(i) for i in range(10)], 4, seed=0)
    assert len(set(fold[8:].tolist())) == 2

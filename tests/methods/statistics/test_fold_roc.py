"""Areas by fold, pooled and by lesion, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from methods.statistics.fold_roc import (
    average_roc,
    compare_roc,
    fold_aucs,
    fold_roc,
    permuted_by_lesion,
)
from methods.statistics.roc import auc_interval, delong
from methods.statistics.significance import paired_t

POSITIVE = np.array([True, False, True, False, True, False, True, False])
FOLD = np.array([0, 0, 0, 0, 1, 1, 1, 1])
PROBABILITY = np.array([0.9, 0.1, 0.4, 0.6, 0.8, 0.2, 0.7, 0.3])
LESIONS = ["a", "b", "a", "b", "c", "d", "e", "f"]


def test_by_hand() -> None:
    found = fold_roc(PROBABILITY, POSITIVE, FOLD, LESIONS, LESIONS)
    # Fold 0: 0.9 beats 0.1 and 0.6, 0.4 beats 0.1 alone: 3 of 4. Fold 1: all 4.
    np.testing.assert_array_equal(found.by_fold, [0.75, 1.0])
    assert found.mean == 0.875
    assert found.sd == pytest.approx(0.25 / np.sqrt(2))
    assert found.se == pytest.approx(0.125)
    assert found.pooled == 15 / 16
    # Means of lesions: a 0.65, c 0.8, e 0.7 against b 0.35, d 0.2, f 0.3.
    assert (found.by_lesion, found.n_lesions) == (1.0, 6)
    assert found.by_lesion_interval.low < 1, "a perfect separation of six lesions proves little"


def test_the_average_of_two_curves_by_hand() -> None:
    # Fold 0 goes (0, 0) (0, .5) (.5, .5) (.5, 1) (1, 1), fold 1 straight up and to the right.
    fpr, tpr = average_roc(PROBABILITY, POSITIVE, FOLD)
    np.testing.assert_array_equal(fpr, [0, 0, 0, 0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(tpr, [0, 0, 0.75, 0.75, 1, 1, 1])


@pytest.mark.parametrize("levels", [3, 7, 1000])
def test_the_area_under_the_average_is_the_mean_area_of_the_folds(levels: int) -> None:
    draw = np.random.default_rng(levels)
    fold = np.repeat(np.arange(5), [9, 14, 20, 11, 30])
    positive = draw.random(len(fold)) < 0.4
    positive[np.searchsorted(fold, range(5))] = True  # no fold without both classes
    positive[np.searchsorted(fold, range(5)) + 1] = False
    scores = draw.integers(0, levels, len(fold)) / levels + fold  # with ties, and folds apart
    fpr, tpr = average_roc(scores, positive, fold)
    assert np.trapezoid(tpr, fpr) == pytest.approx(fold_aucs(scores, positive, fold).mean())
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= -1e-12).all()
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


def test_the_interval_is_clustered_by_patient() -> None:
    patients = ["p", "q", "p", "q", "r", "s", "r", "s"]
    found = fold_roc(PROBABILITY, POSITIVE, FOLD, LESIONS, patients)
    assert found.pooled_interval == auc_interval(delong(PROBABILITY[None], POSITIVE, patients), 0)
    assert found.pooled_interval != auc_interval(delong(PROBABILITY[None], POSITIVE), 0)


def test_a_lesion_of_both_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="1 lesions have images of both classes"):
        fold_roc(PROBABILITY, POSITIVE, FOLD, ["a", "a", *LESIONS[2:]], LESIONS)


def test_comparison_of_two() -> None:
    other = PROBABILITY[[1, 0, 3, 2, 4, 5, 6, 7]]  # fold 0 the wrong way round
    found = compare_roc(PROBABILITY, other, POSITIVE, FOLD, LESIONS)
    np.testing.assert_array_equal(fold_aucs(other, POSITIVE, FOLD), [0.25, 1.0])
    assert found.difference == pytest.approx(0.25)
    assert found.p_t == paired_t(np.array([0.75, 1.0]), np.array([0.25, 1.0]))
    back = compare_roc(other, PROBABILITY, POSITIVE, FOLD, LESIONS)
    assert (back.difference, back.pooled_difference) == (
        -found.difference,
        -found.pooled_difference,
    )
    assert back.p_delong == pytest.approx(found.p_delong)


def test_classes_are_dealt_among_lesions() -> None:
    lesions = [f"{i // 3}" for i in range(60)]
    positive = np.repeat(np.arange(20) < 7, 3)
    dealt = [permuted_by_lesion(positive, lesions, seed) for seed in range(20)]
    for labels in dealt:
        by_lesion = labels.reshape(20, 3)
        assert (by_lesion == by_lesion[:, :1]).all(), "a lesion has one class"
        assert by_lesion[:, 0].sum() == 7
    assert len({labels.tobytes() for labels in dealt}) == 20
    assert dealt[3].tobytes() == permuted_by_lesion(positive, lesions, 3).tobytes()

"""Ways to combine classifiers: worked by hand, against scikit-learn, and attempts to leak."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from methods.classifiers.voting import VOTES, combined

FOLD = np.repeat(np.arange(3), 40)


def _members(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A good member and one of noise: probabilities, those of inner folds, classes."""
    rng = np.random.default_rng(seed)
    positive = rng.random(len(FOLD)) < 0.5
    decision = np.stack([2 * positive - 1 + rng.normal(0, 0.7, 120), rng.normal(0, 3, 120)])
    members = 1 / (1 + np.exp(-decision))
    inner = np.repeat(members[:, None], 3, axis=1)
    inner[:, np.equal.outer(np.arange(3), FOLD)] = np.nan
    return members, inner, positive


def test_soft_voting_is_the_mean() -> None:
    members, inner, positive = _members()
    np.testing.assert_allclose(
        combined("mean", members, inner, positive, FOLD), (members[0] + members[1]) / 2
    )


def test_ranks_are_averaged_within_each_fold() -> None:
    members = np.array([[0.1, 0.2, 0.9, 0.8], [0.4, 0.4, 0.1, 0.2]])
    fold = np.array([0, 0, 1, 1])
    voted = combined("rank", members, np.empty((2, 0, 4)), fold == 0, fold)
    # (1 + 1.5) / 2, (2 + 1.5) / 2, (2 + 1) / 2, (1 + 2) / 2, all of 3
    np.testing.assert_allclose(voted, np.array([1.25, 1.75, 1.5, 1.5]) / 3)


def test_stacking_weighs_the_members_on_the_training_folds() -> None:
    members, inner, positive = _members()
    voted = combined("stack", members, inner, positive, FOLD)
    for number in range(3):
        train = ~np.equal(FOLD, number)
        known = np.log(inner[:, number, train] / (1 - inner[:, number, train])).T
        fit = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000).fit(known, positive[train])
        odds = np.log(members[:, ~train] / (1 - members[:, ~train])).T
        np.testing.assert_allclose(voted[~train], fit.predict_proba(odds)[:, 1], atol=1e-4)
    mean = combined("mean", members, inner, positive, FOLD)
    assert roc_auc_score(positive, voted) > roc_auc_score(positive, mean) + 0.05, "noise is ignored"


@pytest.mark.parametrize("vote", VOTES)
def test_classes_of_a_fold_change_none_of_its_own_scores(vote: str) -> None:
    members, inner, positive = _members()
    kept, moved = (
        combined(vote, members, inner, of, FOLD)  # type: ignore[arg-type]
        for of in (positive, positive ^ (FOLD == 1))
    )
    assert kept[FOLD == 1].tobytes() == moved[FOLD == 1].tobytes()


def test_stacking_needs_the_scores_of_inner_folds() -> None:
    members, inner, positive = _members()
    with pytest.raises(ValueError, match="3 folds have inner probabilities of 0"):
        combined("stack", members, inner[:, :0], positive, FOLD)
    inner[0, 1, 0] = np.nan
    with pytest.raises(ValueError, match="training row of fold 1 has no inner probability"):
        combined("stack", members, inner, positive, FOLD)

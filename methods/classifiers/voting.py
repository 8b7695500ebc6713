"""Combination of two or more classifiers in folds: soft voting, rank average and stacking.

Huynh et al. 2016, section 2.5, average the members' probabilities (soft voting). The paper does not
say on what data the members are calibrated; the average of ranks needs no calibration. Their
section 4 hopes for "advanced ensembling": stacking (Wolpert 1992, "Stacked generalization") learns
the members' weights inside the training folds.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

Vote = Literal["mean", "rank", "stack"]
"""How the members' probabilities become one."""
VOTES: tuple[Vote, ...] = get_args(Vote)
"""Every way to combine, the paper's first."""
CERTAIN = 1e-6
"""Distance from 0 and 1 to which probabilities are moved before their log-odds are taken."""


def combined(
    vote: Vote,
    members: Float64,
    inner: Float64,
    positive: NDArray[np.bool_],
    fold: NDArray[np.int64],
) -> Float64:
    """Combine the out-of-fold probabilities of some classifiers, (n,) in 0..1.

    Args:
        vote: "mean" averages the probabilities; "rank" averages each member's ranks among the rows
            of a fold, so a score says nothing about a row alone; "stack" fits a logistic regression
            to the members' log-odds on the training rows of each fold.
        members: (m, n) probability of the positive class, each from a fold that left the row out.
        inner: (m, folds, n) probability of the training rows of each fold, from inner folds that
            left them out; read by "stack" only.
        positive: (n,) class of each row; those of a fold's own rows are not read for them.
        fold: (n,) fold of each row.

    Raises:
        ValueError: "stack" has no inner probability of a training row.
    """
    if vote == "mean":
        mean: Float64 = members.mean(axis=0)
        return mean
    if vote == "rank":
        return _mean_ranks(members, fold)
    return _stacked(members, inner, positive, fold)


def _mean_ranks(members: Float64, fold: NDArray[np.int64]) -> Float64:
    """Average the ranks within each fold, divided by the number of its rows plus 1, (n,)."""
    from scipy.stats import rankdata

    ranks = np.empty(members.shape)
    for number in np.unique(fold):
        of_fold = fold == number
        ranks[:, of_fold] = rankdata(members[:, of_fold], axis=1) / (of_fold.sum() + 1)
    mean: Float64 = ranks.mean(axis=0)
    return mean


def _stacked(
    members: Float64, inner: Float64, positive: NDArray[np.bool_], fold: NDArray[np.int64]
) -> Float64:
    """Weigh the members' log-odds by logistic regression on each fold's training rows, (n,)."""
    from sklearn.linear_model import LogisticRegression

    if inner.shape[1] <= fold.max():
        raise ValueError(f"{fold.max() + 1} folds have inner probabilities of {inner.shape[1]}")
    stacked = np.empty(len(fold))
    for number in np.unique(fold):
        train = fold != number
        known = inner[:, number, train]
        if np.isnan(known).any():
            raise ValueError(f"a training row of fold {number} has no inner probability")
        # C = 1 keeps the weights finite where a member tells the training rows apart
        fit = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-8)
        fit.fit(_log_odds(known).T, positive[train])
        stacked[~train] = fit.predict_proba(_log_odds(members[:, ~train]).T)[:, 1]
    return stacked


def _log_odds(probability: Float64) -> Float64:
    clipped = probability.clip(CERTAIN, 1 - CERTAIN)
    odds: Float64 = np.log(clipped / (1 - clipped))
    return odds

"""The mean area under the one-vs-rest ROC curves of several labels, with an interval over groups.

The areas of different labels share their images, so their covariance counts: the influence of each
image on the mean is summed by group (Obuchowski 1997 for one label; DeLong et al. 1988 without
groups), and the sums of the groups are independent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from methods.statistics.roc import Delong, auc_interval
from methods.statistics.significance import Interval, group_codes

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


def macro_auc(
    scores: Float64, truth: Bool, groups: Sequence[str] | None
) -> tuple[float, Interval | None] | None:
    """The mean area over the labels that some images have and others have not, with its interval.

    Args:
        scores: (n, L) finite, larger where a label is more likely.
        truth: (n, L) bool.
        groups: (n,) group (patient) of each image, or None.

    Returns:
        None where no label has an area. The interval is None where an area rests on fewer than two
        groups with the label, or without it.

    Raises:
        ValueError: a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score is not a finite number")
    there = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
    if not len(there):
        return None
    n = len(truth)
    code = group_codes(n, groups)
    areas, pairs, influence = [], [], np.zeros(n)
    for k in there:
        positive = truth[:, k]
        area, of_image = _influence(scores[:, k], positive)
        areas.append(area)
        influence += of_image / len(there)
        pairs.append(min(len(np.unique(code[positive])), len(np.unique(code[~positive]))))
    mean = float(np.mean(areas))
    n_groups = int(code.max()) + 1
    if min(pairs) < 2:
        return mean, None
    sums = np.bincount(code, influence)
    variance = n_groups / (n_groups - 1) * float((sums**2).sum())
    known = Delong(
        np.array([mean]),
        np.array([[variance]]),
        groups is not None,
        min(*pairs, n_groups // 2) if n_groups < n else min(pairs),
        min(pairs),
    )
    return mean, auc_interval(known, 0)


def _influence(scores: Float64, positive: Bool) -> tuple[float, Float64]:
    """An area, and the influence of each image on it, (n,), which sums to 0.

    That of a positive is the share of negatives that it outscores, less the area, over the number
    of positives; that of a negative likewise.
    """
    m, n = int(positive.sum()), int((~positive).sum())
    ranks = stats.rankdata(scores)
    wins = (ranks[positive] - stats.rankdata(scores[positive])) / n
    losses = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / m
    area = float(wins.mean())
    influence = np.empty(len(scores))
    influence[positive] = (wins - area) / m
    influence[~positive] = (losses - area) / n
    return area, influence

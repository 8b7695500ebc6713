"""ROC analysis of out-of-fold probabilities (Huynh et al. 2016, section 2.6).

Areas are given by fold, pooled, and by lesion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.statistics.roc import (
    Binormal,
    auc,
    auc_difference_p,
    auc_interval,
    delong,
    empirical_roc,
    fit_binormal,
)
from methods.statistics.significance import Interval, paired_t

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class FoldRoc:
    """Areas under the ROC curves of one classifier.

    Attributes:
        by_fold: (k,) area in each fold.
        pooled: area of all probabilities together.
        pooled_interval: DeLong for clustered data.
        by_lesion: area of the mean probability of each lesion.
        by_lesion_interval: as above.
        n_lesions: lesions.
        binormal: fitted curve of all probabilities together, where one can be fitted.
    """

    by_fold: Float64
    pooled: float
    pooled_interval: Interval
    by_lesion: float
    by_lesion_interval: Interval
    n_lesions: int
    binormal: Binormal | None

    @property
    def mean(self) -> float:
        """Mean over folds: the paper's AUC."""
        return float(self.by_fold.mean())

    @property
    def sd(self) -> float:
        """Sample standard deviation over folds: the paper's AUC.SD."""
        return float(self.by_fold.std(ddof=1))

    @property
    def se(self) -> float:
        """SD / sqrt(folds): the error bars of the paper's figure 3."""
        return self.sd / float(np.sqrt(len(self.by_fold)))


def fold_aucs(
    probability: Float64, positive: NDArray[np.bool_], fold: NDArray[np.int64]
) -> Float64:
    """Area in each fold, (k,), in the order of the folds' numbers.

    Raises:
        ValueError: a fold has one class only.
    """
    return np.array(
        [auc(probability[fold == number], positive[fold == number]) for number in np.unique(fold)]
    )


def fold_roc(
    probability: Float64,
    positive: NDArray[np.bool_],
    fold: NDArray[np.int64],
    lesions: Sequence[str],
    patients: Sequence[str],
) -> FoldRoc:
    """Compute the areas of one classifier and their intervals.

    Args:
        probability: (n,) of the positive class, each from a classifier that did not see the image's
            group.
        positive: (n,) class of each image.
        fold: (n,) fold of each image.
        lesions: (n,) lesion of each image; all images of a lesion are of one class.
        patients: (n,) patient of each image, or its lesion: what the intervals take as independent.

    Raises:
        ValueError: a fold has one class only, or a lesion has both.
    """
    names, first, lesion = np.unique(
        np.asarray(lesions, np.str_), return_index=True, return_inverse=True
    )
    size = np.bincount(lesion)
    share = np.bincount(lesion, positive.astype(np.float64)) / size
    if not np.isin(share, (0, 1)).all():
        raise ValueError(
            f"{int((~np.isin(share, (0, 1))).sum())} lesions have images of both classes"
        )
    of_images = delong(probability[None], positive, patients)
    of_lesions = delong(
        (np.bincount(lesion, probability) / size)[None], share == 1, [patients[i] for i in first]
    )
    return FoldRoc(
        by_fold=fold_aucs(probability, positive, fold),
        pooled=float(of_images.auc[0]),
        pooled_interval=auc_interval(of_images, 0),
        by_lesion=float(of_lesions.auc[0]),
        by_lesion_interval=auc_interval(of_lesions, 0),
        n_lesions=len(names),
        binormal=fit_binormal(probability, positive),
    )


def average_roc(
    probability: Float64, positive: NDArray[np.bool_], fold: NDArray[np.int64]
) -> tuple[Float64, Float64]:
    """Average the folds' empirical ROC curves vertically (Fawcett 2006, section 8.1).

    At each false-positive rate the true-positive rates of the folds are averaged. As an area is
    linear in the curve, the area under the average is the mean of the folds' areas.

    Args:
        probability: (n,) of the positive class.
        positive: (n,) class of each image.
        fold: (n,) fold of each image.

    Returns:
        false-positive and true-positive rates from (0, 0) to (1, 1), float64.

    Raises:
        ValueError: a fold has one class only.
    """
    curves = [
        empirical_roc(probability[fold == number], positive[fold == number])
        for number in np.unique(fold)
    ]
    at = np.unique(np.concatenate([fpr for fpr, _ in curves]))
    ends = np.mean([_ends_at(at, fpr, tpr) for fpr, tpr in curves], axis=0)
    return np.concatenate([[0.0], np.repeat(at, 2)]), np.concatenate([[0.0], ends.T.ravel()])


def _ends_at(at: Float64, fpr: Float64, tpr: Float64) -> Float64:
    """True-positive rates just below and just above each false-positive rate, (2, k).

    The two differ where the curve rises vertically.
    """
    edges, first = np.unique(fpr, return_index=True)
    low, high = tpr[first], tpr[np.append(first[1:], len(fpr)) - 1]
    after = np.searchsorted(edges, at)
    on = edges[after] == at
    before = np.maximum(after - 1, 0)
    width = np.where(on, 1.0, edges[after] - edges[before])
    between = high[before] + (at - edges[before]) / width * (low[after] - high[before])
    return np.stack([np.where(on, low[after], between), np.where(on, high[after], between)])


@dataclass(frozen=True)
class RocComparison:
    """Result of comparing two classifiers on the same images and folds.

    Attributes:
        difference: of the mean areas over folds, the first less the second.
        p_t: paired t test over folds, two-sided.
        p_corrected: the same with the variance corrected for folds that share training images
            (Nadeau and Bengio 2003).
        pooled_difference: of the pooled areas.
        p_delong: for clustered data, two-sided.
    """

    difference: float
    p_t: float
    p_corrected: float
    pooled_difference: float
    p_delong: float


def compare_roc(
    a: Float64,
    b: Float64,
    positive: NDArray[np.bool_],
    fold: NDArray[np.int64],
    patients: Sequence[str],
) -> RocComparison:
    """Compare the probabilities (n,) of two classifiers on the same images.

    The other arguments are those of :func:`fold_roc`.
    """
    of_a, of_b = fold_aucs(a, positive, fold), fold_aucs(b, positive, fold)
    both = delong(np.stack([a, b]), positive, patients)
    return RocComparison(
        difference=float((of_a - of_b).mean()),
        p_t=paired_t(of_a, of_b),
        p_corrected=paired_t(of_a, of_b, 1 / (len(of_a) - 1)),
        pooled_difference=float(both.auc[0] - both.auc[1]),
        p_delong=auc_difference_p(both, 0, 1),
    )


def permuted_by_lesion(
    positive: NDArray[np.bool_], lesions: Sequence[str], seed: int
) -> NDArray[np.bool_]:
    """Permute the classes among the lesions, (n,) bool.

    The images of a lesion keep one class.
    """
    _, first, lesion = np.unique(
        np.asarray(lesions, np.str_), return_index=True, return_inverse=True
    )
    return np.random.default_rng(seed).permutation(positive[first])[lesion]

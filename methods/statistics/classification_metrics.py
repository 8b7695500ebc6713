"""Figures of a single-label classifier, and the draws of few labels that methods are compared
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support


@dataclass(frozen=True)
class ClassReport:
    """Figures by class, in the order of ``classes``.

    Attributes:
        classes: (K,) names.
        confusion: (K, K) int64, row = true class, column = predicted class.
        precision: (K,) 0 where nothing was predicted as the class.
        recall: (K,) 0 where the class has no image.
        f1: (K,).
        support: (K,) true images of the class.
        accuracy: share of images classified correctly.
        macro_f1: mean F1 over the classes that have images or predictions (scikit-learn's rule).
    """

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]
    accuracy: float
    macro_f1: float


def classification_report(
    labels: NDArray[np.str_], predicted: NDArray[np.str_], classes: Sequence[str]
) -> ClassReport:
    """Score predictions.

    Args:
        labels: (n,) true classes, n at least 1.
        predicted: (n,) predicted classes.
        classes: every class, in the order of the result.
    """
    names = list(classes)
    confusion = confusion_matrix(labels, predicted, labels=names).astype(np.int64)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=names, zero_division=0
    )
    seen = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return ClassReport(
        classes=tuple(names),
        confusion=confusion,
        precision=precision,
        recall=recall,
        f1=f1,
        support=np.asarray(support, np.int64),
        accuracy=float((labels == predicted).mean()),
        macro_f1=float(f1[seen].mean()),
    )


def label_budget_draw(
    labels: NDArray[np.str_], per_class: int, seed: int, repeat: int
) -> NDArray[np.int64]:
    """Positions of ``per_class`` rows of each class (all of a class that has fewer), sorted.

    Depends on (labels, per_class, seed, repeat) alone, so every method is fitted on the same rows.
    """
    rng = np.random.default_rng([seed, repeat, per_class])
    drawn = [np.empty(0, np.int64)]
    drawn += [
        rng.permutation(np.flatnonzero(labels == name))[:per_class] for name in np.unique(labels)
    ]
    return np.sort(np.concatenate(drawn))

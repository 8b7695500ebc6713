"""What a classifier that has learned nothing gets: the majority rate, and permuted labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from methods.statistics.significance import group_codes

PERMUTATIONS = 1_000
"""Number of permutations of the labels; the smallest p value is 1 / (PERMUTATIONS + 1)."""


@dataclass(frozen=True)
class Null:
    """What an accuracy is to be compared with.

    Attributes:
        majority: commonest class of the training images.
        rate: share of the test images of that class: the accuracy of always answering it.
        p_value: of the group permutation test, that predictions have nothing to do with labels.
    """

    majority: str
    rate: float
    p_value: float


def majority_class(trained: NDArray[np.str_]) -> str:
    """Find the commonest class of the training images; of equally common ones the first by name.

    Args:
        trained: (n_train,) class of each training image, n_train at least 1.
    """
    names, counts = np.unique(trained, return_counts=True)
    return str(names[counts.argmax()])


def null_of(
    trained: NDArray[np.str_],
    truth: NDArray[np.str_],
    predicted: NDArray[np.str_],
    groups: Sequence[str] | None,
    seed: int,
) -> Null:
    """Compute the majority rate and the group permutation test of an accuracy.

    The predictions stay, and the labels of the test images are permuted among the groups: groups
    are put in a random order, and the labels of one after the other are laid over the images. So
    the labels of a group stay together, and each class keeps its number of images.

    Args:
        trained: (n_train,) class of each training image, n_train at least 1.
        truth: (n,) class of each test image, n at least 1.
        predicted: (n,) class that is predicted.
        groups: (n,) group of each test image, or None.
        seed: of the permutations.
    """
    majority = majority_class(trained)
    codes = group_codes(len(truth), groups)
    inside = np.argsort(codes, kind="stable")
    seen = int((truth == predicted).sum())
    rng = np.random.default_rng(seed)
    as_good = 1
    for _ in range(PERMUTATIONS):
        turn = rng.permutation(codes.max() + 1)[codes[inside]]
        dealt = truth[inside][np.argsort(turn, kind="stable")]
        as_good += int((dealt == predicted[inside]).sum()) >= seen
    return Null(majority, float((truth == majority).mean()), as_good / (PERMUTATIONS + 1))

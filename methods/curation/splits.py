"""Draws of a test or validation side that respect labels and groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from methods.curation.folds import grouped_folds

Bool = NDArray[np.bool_]

MAX_DRAWS = 100
"""Maximum number of seeds tried before a split is called impossible."""
MAX_LABEL_DRAWS = 10
"""Maximum number of seeds tried for a split of several labels.

The best of them is taken; with 20,000 groups each takes seconds.
"""


class TooFewGroupsError(ValueError):
    """No seed can help: there are too few groups to have something on both sides of a split."""


def stratified_group_split(
    labels: Sequence[str], groups: Sequence[str], test_fraction: float, seed: int
) -> Bool:
    """Draw the test split of rows that have one label each.

    It is one fold of a stratified k-fold over whole groups, k = round(1 / test_fraction). The folds
    of ``seed``, ``seed + 1`` ... are tried in order, and the first with every class on both
    sides is taken. k is lowered to the number of groups and to the size of the largest class where
    these are smaller. The split is a function of the set of (label, group) pairs: the order of the
    rows does not matter.

    Args:
        labels: (n,) class of each row.
        groups: (n,) group of each row (patient, lesion); a group is never on both sides.
        test_fraction: share of test rows; realised to about the nearest 1/k, as far as whole groups
            allow.
        seed: first seed of the draws, at least 0.

    Returns:
        (n,) bool, True for test.

    Raises:
        TooFewGroupsError: naming a class that cannot be on both sides.
        ValueError: naming a class that was missing on a side most often in MAX_DRAWS draws.
    """
    classes, codes, sizes = np.unique(
        np.asarray(labels, np.str_), return_inverse=True, return_counts=True
    )
    group_names, group_codes = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    for k, name in enumerate(classes):
        n_groups = len(np.unique(group_codes[codes == k]))
        if n_groups < 2:
            raise TooFewGroupsError(
                f"class {str(name)!r} has {sizes[k]} image{'s' if sizes[k] > 1 else ''} in "
                f"{n_groups} group: "
                "two groups are needed to have it on both sides of a split"
            )
    n_folds = min(max(2, round(1 / test_fraction)), len(group_names), int(sizes.max()))
    missing = np.zeros(len(classes), np.int64)
    for is_test in _folds(codes, group_codes, n_folds, range(seed, seed + MAX_DRAWS)):
        in_test = np.bincount(codes[is_test], minlength=len(classes))
        absent = (in_test == 0) | (in_test == sizes)
        if not absent.any():
            return is_test
        missing += absent
    raise ValueError(
        f"class {str(classes[missing.argmax()])!r} was not on both sides of the split in "
        f"{MAX_DRAWS} draws"
    )


def label_group_split(truth: Bool, groups: Sequence[str], test_fraction: float, seed: int) -> Bool:
    """Draw the test split of rows that have any number of labels.

    It is one fold of k = round(1 / test_fraction) over whole groups. Combinations of labels are too
    rare to stratify by. The folds keep groups whole, and of those of ``seed``, ``seed + 1`` ... it
    is the one that :func:`fairest` takes. k is lowered to the number of groups where these are
    fewer.

    Args:
        truth: (n, L) whether each row has each label.
        groups: (n,) group of each row; a group is never on both sides.
        test_fraction: share of test rows; realised to about the nearest 1/k, as far as whole
            groups allow.
        seed: first seed of the draws, at least 0.

    Returns:
        (n,) bool, True for test.

    Raises:
        TooFewGroupsError: all rows are of one group.
    """
    group_names, group_codes = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    if len(group_names) < 2:
        raise TooFewGroupsError(
            f"all {len(truth)} images are in one group: two groups are needed to have images on "
            "both sides"
        )
    n_folds = min(max(2, round(1 / test_fraction)), len(group_names))
    draws = _folds(
        np.zeros(len(truth), np.int64), group_codes, n_folds, range(seed, seed + MAX_LABEL_DRAWS)
    )
    return fairest(truth, group_codes, draws)


def _folds(
    strata: NDArray[np.int64], group_codes: NDArray[np.int64], n_folds: int, seeds: Iterable[int]
) -> Iterator[Bool]:
    """Yield the folds of each seed in turn, (n,) bool each."""
    for seed in seeds:
        fold = grouped_folds(strata, group_codes, n_folds, seed)
        for number in range(n_folds):
            yield fold == number


def _answers(truth: Bool) -> Bool:
    """Return whether any row has each label, and whether any lacks it, (2, L) bool."""
    return np.stack([truth.any(axis=0), (~truth).any(axis=0)])


def on_both_sides(truth: Bool, side: Bool) -> Bool:
    """Return which labels have rows with and without them on both sides, (L,) bool.

    A label that all rows have, or none, counts as being on both sides.

    Args:
        truth: (n, L) whether each row has each label.
        side: (n,) whether each row is on the one side.
    """
    answers = _answers(truth)
    both: Bool = (_answers(truth[side]) == answers).all(axis=0) & (
        _answers(truth[~side]) == answers
    ).all(axis=0)
    return both


def fairest(truth: Bool, group_codes: NDArray[np.int64], draws: Iterable[Bool]) -> Bool:
    """Return the first draw with as many labels on both sides as groups allow, else the best one.

    A label that a single group has, or lacks, cannot be on both sides. Better is a draw that leaves
    both answers of more labels to learn from, then one with more labels on both sides (see
    :func:`on_both_sides`); of equally good ones the first.

    Args:
        truth: (n, L) whether each row has each label.
        group_codes: (n,) group of each row.
        draws: one or more, (n,) bool each: rows that are not trained on. No group is divided.
    """
    answers = _answers(truth)
    n_groups = [
        [len(np.unique(group_codes[rows])) for rows in given.T] for given in (truth, ~truth)
    ]
    goal = truth.shape[1], int((np.array(n_groups) != 1).all(axis=0).sum())
    best, most = np.zeros(len(truth), np.bool_), (-1, -1)
    for side in draws:
        learned = (_answers(truth[~side]) == answers).all(axis=0)
        score = int(learned.sum()), int(on_both_sides(truth, side).sum())
        if score > most:
            best, most = side, score
        if score == goal:
            break
    return best

"""Drawing a test split that respects classes and groups."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_DRAWS = 100
"""Seeds tried before a split is called impossible."""


def stratified_group_split(labels: Sequence[str], groups: Sequence[str], test_fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which rows are the test split: one fold of a stratified k-fold over whole groups, k = round(1 / test_fraction).

    The folds of ``seed``, ``seed + 1`` ... are gone through in order, and the first with every class on both sides is taken.
    k is lowered to the number of groups and to the size of the largest class where these are smaller. The split is a function
    of the set of (label, group) pairs: the order of the rows does not matter.

    Args:
        labels: (n,) class of each row.
        groups: (n,) group of each row (patient, lesion); a group is never on both sides.
        test_fraction: wanted share of test rows; realised to about the nearest 1/k, as far as whole groups allow.
        seed: first seed of the draws, at least 0.

    Returns:
        (n,) bool, True for test.

    Raises:
        ValueError: naming a class that cannot be on both sides, or that was missing on a side most often in MAX_DRAWS draws.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # a second to import, and most scans draw no split

    classes, codes, sizes = np.unique(np.asarray(labels, np.str_), return_inverse=True, return_counts=True)
    group_names, group_codes = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    for k, name in enumerate(classes):
        n_groups = len(np.unique(group_codes[codes == k]))
        if n_groups < 2:
            raise ValueError(
                f"class {str(name)!r} has {sizes[k]} image{'s' if sizes[k] > 1 else ''} in {n_groups} group: "
                "two groups are needed to have it on both sides of a split"
            )
    n_folds = min(max(2, round(1 / test_fraction)), len(group_names), int(sizes.max()))
    missing = np.zeros(len(classes), np.int64)
    for draw in range(seed, seed + MAX_DRAWS):
        folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=draw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about classes smaller than k: the check below is stricter
            tests = [test for _, test in folds.split(codes, codes, group_codes)]
        for test in tests:
            in_test = np.bincount(codes[test], minlength=len(classes))
            absent = (in_test == 0) | (in_test == sizes)
            if not absent.any():
                is_test = np.zeros(len(codes), np.bool_)
                is_test[test] = True
                return is_test
            missing += absent
    raise ValueError(f"class {str(classes[missing.argmax()])!r} was not on both sides of the split in {MAX_DRAWS} draws")

"""The domain classifier: how well test images can be told from training images by their features.

Where both sides are of one source nothing tells them apart but chance (an area of 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Estimate
from methods.classifiers.calibration import out_of_fold
from methods.statistics.two_classes import auc_estimate

TRAINING, TEST = "train", "test"
"""The two classes; their order is that of the names."""


def domain_auc(
    gram: NDArray[np.floating],
    is_test: NDArray[np.bool_],
    groups: Sequence[str],
    c: float,
    tolerance: float,
    seed: int,
) -> Estimate | None:
    """Area under the ROC curve of an SVM that tells test images from training images.

    Each image is scored by an SVM that did not see its group. No label has a part in it.

    Args:
        gram: (n, n) inner products of the rows of both sides.
        is_test: (n,) bool.
        groups: (n,) group of each image; none is on both sides.
        c: of the SVM.
        tolerance: of the SVM.
        seed: of the folds.

    Returns:
        the area, 0 to 1, with its interval over groups; None where no folds can be made, or none
        that has both sides.
    """
    sides = np.where(is_test, TEST, TRAINING)
    seen = out_of_fold(gram, sides, groups, c, tolerance, seed)
    if seen is None or len(np.unique(sides[seen.usable])) < 2:
        return None
    kept = np.flatnonzero(seen.usable)
    lead = seen.scores[kept] @ np.where(seen.classes == TEST, 1.0, -1.0)
    return auc_estimate(lead, is_test[kept], [groups[i] for i in kept.tolist()])

"""A figure over repeated random splits of the same images, with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from methods.statistics.significance import CONFIDENCE


@dataclass(frozen=True)
class RepeatedFigure:
    """A figure over repeated random splits.

    Attributes:
        mean: over the splits.
        sd: standard deviation over the splits, with n - 1.
        low: lower end of the 95 % interval of the mean.
        high: upper end.
        method: of the interval, in words.
    """

    mean: float
    sd: float
    low: float
    high: float
    method: str = "corrected resampled t over the splits, Nadeau and Bengio 2003"


def repeated_figure(shares: NDArray[np.float64], test_to_train: float) -> RepeatedFigure:
    """Summarise a share (accuracy) that was measured on each of several random splits.

    The training sides of the splits overlap, so their figures vary together, and their variance
    divided by their number is too small. Nadeau and Bengio 2003 put 1 / m + n_test / n_train in the
    place of 1 / m. The interval is cut at 0 and 1.

    Args:
        shares: (m,) in [0, 1], one for each split.
        test_to_train: n_test / n_train, the mean over the splits.

    Raises:
        ValueError: fewer than two splits, or a ratio that is not positive.
    """
    m = len(shares)
    if m < 2 or not test_to_train > 0:
        raise ValueError(f"{m} splits of ratio {test_to_train} have no interval")
    mean, sd = float(np.mean(shares)), float(np.std(shares, ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, m - 1)) * sd * math.sqrt(1 / m + test_to_train)
    return RepeatedFigure(mean, sd, max(mean - half, 0.0), min(mean + half, 1.0))

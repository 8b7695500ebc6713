"""Figures with their intervals over groups, in the form in which they are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Estimate
from methods.statistics.significance import Interval, accuracy_interval, group_bootstrap


def estimate(
    value: float, interval: Interval | None, n: int, groups: Sequence[str] | None
) -> Estimate:
    """A figure with its interval; rounding of an end never leaves the figure outside.

    Args:
        value: the figure.
        interval: None, or one without ends, where none can be given.
        n: images behind the figure.
        groups: (n,) group (patient) of each of them, or None.
    """
    units = n if groups is None else len(set(groups))
    if interval is None or not interval.known:
        return Estimate(value=value, n=n, groups=units)
    return Estimate(
        value=value,
        low=min(interval.low, value),
        high=max(interval.high, value),
        n=n,
        groups=units,
        method=interval.described,
    )


def share(hit: NDArray[np.bool_], groups: Sequence[str] | None) -> Estimate:
    """The share of images that are hit.

    Args:
        hit: (n,) bool, n at least 1.
        groups: (n,) group (patient) of each image, or None.
    """
    return estimate(float(hit.mean()), accuracy_interval(hit, groups), len(hit), groups)


def share_among(
    hit: NDArray[np.bool_], among: NDArray[np.bool_], groups: Sequence[str] | None
) -> Estimate | None:
    """The share of hits among some of the images; None where there is none of those.

    Args:
        hit: (n,) bool.
        among: (n,) bool.
        groups: (n,) group (patient) of each image, or None.
    """
    inside = np.flatnonzero(among).tolist()
    if not inside:
        return None
    return share(hit[inside], None if groups is None else [groups[i] for i in inside])


def bootstrapped(
    statistic: Callable[[NDArray[np.int64]], float],
    n: int,
    groups: Sequence[str] | None,
    n_resamples: int,
    seed: int,
) -> Estimate | None:
    """A figure that is no share of images, with its bootstrap interval; None where it is NaN.

    Args:
        statistic: from positions of images, some of them several times, to the figure.
        n: images.
        groups: (n,) group (patient) of each image, or None.
        n_resamples: resamples of the groups.
        seed: of the resampling.
    """
    value = statistic(np.arange(n, dtype=np.int64))
    if np.isnan(value):
        return None
    return estimate(value, group_bootstrap(statistic, n, groups, n_resamples, seed), n, groups)

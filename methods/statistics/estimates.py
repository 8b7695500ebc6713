"""Figures with their intervals over groups, in the form in which they are stored."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Estimate
from methods.statistics.significance import Interval, accuracy_interval, counts_bootstrap


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


def of_counts(
    figure: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    cells: NDArray[np.int64],
    shape: tuple[int, ...],
    groups: Sequence[str] | None,
    n_resamples: int,
    seed: int,
) -> Estimate | None:
    """A figure of how many images lie where, with its bootstrap interval; None where it is NaN.

    The arguments are those of :func:`methods.statistics.significance.counts_bootstrap`.
    """
    value = float(figure(np.bincount(cells, minlength=math.prod(shape)).reshape(1, *shape))[0])
    if np.isnan(value):
        return None
    interval = counts_bootstrap(figure, cells, shape, groups, n_resamples, seed)
    return estimate(value, interval, len(cells), groups)

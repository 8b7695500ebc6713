"""Rank correlations of a network's features with named descriptors of the same lesions.

Huynh et al. 2016, section 4, hope that comparing the features of a network with "calculated
physical descriptors of lesions" makes them easier to interpret. Of thousands of features some
correlate with anything by chance, so the strongest correlation of each descriptor is judged against
those of permuted lesions (Westfall and Young 1993: the maximum statistic).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Float64 = NDArray[np.float64]

PERMUTATIONS = 1000
"""Number of permutations behind a p value."""


@dataclass(frozen=True)
class StrongestCorrelations:
    """The feature that correlates most with each of D descriptors.

    Attributes:
        feature: (D,) int64 column of the feature.
        rho: (D,) its rank correlation.
        p_value: (D,) share of permutations in which any feature correlates as strongly with any
            descriptor, so corrected for all features and all descriptors.
        chance: the largest correlation of any feature with any descriptor that 95 % of the
            permutations stay below.
        units: number of independent units (patients).
    """

    feature: NDArray[np.int64]
    rho: Float64
    p_value: Float64
    chance: float
    units: int


def unit_means(values: NDArray[np.floating], units: Sequence[str]) -> Float64:
    """Average the rows (n, p) of each unit, (units, p) float64, in the order of their names."""
    names, codes = np.unique(np.asarray(units, np.str_), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, codes, values.astype(np.float64))
    means: Float64 = sums / np.bincount(codes)[:, None]
    return means


def standard_ranks(values: Float64) -> Float64:
    """Ranks of each column (n, p), centred and of unit length; zeros where a column is constant."""
    ranks = rankdata(values, axis=0) - (len(values) + 1) / 2
    norm = np.sqrt((ranks**2).sum(axis=0))
    standard: Float64 = ranks / np.where(norm > 0, norm, 1)
    return standard


def strongest_correlations(
    descriptors: Float64, features: Float64, seed: int, permutations: int = PERMUTATIONS
) -> StrongestCorrelations:
    """Find the feature that correlates most with each descriptor, and how far chance goes.

    Args:
        descriptors: (units, D), a row for each independent unit; see :func:`unit_means`.
        features: (units, p) of the same units.
        seed: of the permutations.
        permutations: number of permutations of the units, at least 1.

    Raises:
        ValueError: other units, or fewer than three.
    """
    units = len(descriptors)
    if units != len(features) or units < 3:
        raise ValueError(
            f"three or more units with descriptors and features are needed, got {units} and "
            f"{len(features)}"
        )
    described, ranks = standard_ranks(descriptors), standard_ranks(features)
    rng = np.random.default_rng(seed)
    with threadpool_limits(1, user_api="blas"):  # the same bytes on any number of cores
        rho = described.T @ ranks
        by_chance = np.array(
            [np.abs(described[rng.permutation(units)].T @ ranks).max() for _ in range(permutations)]
        )
    feature = np.abs(rho).argmax(axis=1)
    strongest = rho[np.arange(len(rho)), feature]
    # rounded: a correlation that a permutation gives again must count as one as strong
    as_strong = by_chance.round(9)[:, None] >= np.abs(strongest).round(9)
    return StrongestCorrelations(
        feature=feature.astype(np.int64),
        rho=strongest.clip(-1, 1),
        p_value=(1 + as_strong.sum(axis=0)) / (1 + permutations),
        chance=float(min(np.quantile(by_chance, 0.95), 1.0)),
        units=units,
    )

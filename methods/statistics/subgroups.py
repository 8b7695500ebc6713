"""Accuracy in subgroups of the test images, each against the rest, with groups as the unit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from data_contracts.records.assessment import Estimate
from data_contracts.tables.attributes import NOT_GIVEN
from methods.statistics.estimates import share
from methods.statistics.significance import CONFIDENCE, MIN_GROUPS, group_codes, holm


@dataclass(frozen=True)
class Subgroup:
    """The accuracy in one subgroup of the test images, beside that of all others.

    Attributes:
        attribute: name of the attribute.
        value: what its images have in common.
        accuracy: in the subgroup.
        difference: accuracy in the subgroup less that of the rest; None where one of the two has
            too few groups.
        low: end of its 95 % interval.
        high: its other end.
        p_value: two-sided, that there is no difference.
        p_holm: the same, corrected for all subgroups of the table (Holm 1979).
    """

    attribute: str
    value: str
    accuracy: Estimate
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_holm: float | None = None


def subgroups(
    correct: NDArray[np.bool_], groups: Sequence[str] | None, values: Mapping[str, Sequence[str]]
) -> list[Subgroup]:
    """The accuracy in each subgroup, in the order of the attributes and of their values.

    Args:
        correct: (n,) whether each image is classified correctly.
        groups: (n,) group (patient) of each image, or None.
        values: attribute -> (n,) value of each image.
    """
    found = [
        _one(correct, groups, np.asarray(of_images, np.str_) == value, name, value)
        for name, of_images in values.items()
        for value in sorted(set(of_images), key=_natural)
    ]
    tested = [i for i, row in enumerate(found) if row.p_value is not None]
    corrected = holm(np.array([found[i].p_value for i in tested], np.float64))
    for i, p in zip(tested, corrected.tolist(), strict=True):
        found[i] = Subgroup(**{**vars(found[i]), "p_holm": p})
    return found


def _natural(value: str) -> tuple[bool, float, str]:
    """Numbers by size, then words, then what is not given."""
    try:
        return False, float(value.split(" ")[0]), value
    except ValueError:
        return value == NOT_GIVEN, math.inf, value


def _one(
    correct: NDArray[np.bool_],
    groups: Sequence[str] | None,
    inside: NDArray[np.bool_],
    name: str,
    value: str,
) -> Subgroup:
    """One subgroup against the rest."""
    n = len(correct)
    of = group_codes(n, groups)
    own = None if groups is None else [groups[i] for i in np.flatnonzero(inside).tolist()]
    accuracy = share(correct[inside], own)
    fewest = min(len(np.unique(of[inside])), len(np.unique(of[~inside])))
    if fewest < MIN_GROUPS:
        return Subgroup(name, value, accuracy)
    difference, error, p_value = difference_of_shares(correct, inside, of, fewest - 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, fewest - 1)) * error
    return Subgroup(
        name,
        value,
        accuracy,
        difference,
        max(difference - half, -1.0),
        min(difference + half, 1.0),
        p_value,
    )


def difference_of_shares(
    correct: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    group: NDArray[np.integer],
    freedom: int,
) -> tuple[float, float, float]:
    """The difference of two shares, its standard error over groups, and the p value of a t test.

    The influence of each image on the difference is summed by group, so a group may have images on
    both sides (linearisation, Rao and Scott 1992). Two more images, one right and one wrong, on
    each side keep a share of 0 or 1 from having no error (Agresti and Caffo 2000).

    Args:
        correct: (n,) bool.
        inside: (n,) bool, whether an image is of the first share.
        group: (n,) number of the group of each image.
        freedom: degrees of freedom of Student's t.
    """
    m, k = int(inside.sum()), int((~inside).sum())
    p, q = float(correct[inside].mean()), float(correct[~inside].mean())
    influence = np.where(inside, (correct - p) / m, -(correct - q) / k)
    sums = np.bincount(group, influence)
    units = np.bincount(group) > 0
    count = int(units.sum())
    size = np.bincount(group)[units].mean()
    variance = count / (count - 1) * float((sums**2).sum())
    least = (0.5 * size / (m + 2 * size) ** 2) + (0.5 * size / (k + 2 * size) ** 2)
    error = float(np.sqrt(max(variance, least)))
    return p - q, error, float(2 * stats.t.sf(abs(p - q) / error, freedom))

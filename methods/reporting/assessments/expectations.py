"""What the accuracy out of fold and the accuracy on the test images suggest together.

Out-of-fold accuracy is what training images lead to expect of new images of the same kind. A test
split that is much worse comes from elsewhere; one that is much better is easier, or knows the
training images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_contracts.records.assessment import Estimate

Reading = Literal["shift", "leak", "as expected", "not clear", "not known"]
"""What the two accuracies suggest."""

LARGE_GAP = 0.05
"""Smallest difference of the two accuracies, as a share of 1, that is called more than chance."""
TELLS_APART = 0.7
"""Area under the ROC curve from which on training and test images are said to look different, where
chance (0.5) is below its interval."""
LOOKS_ALIKE = 0.6
"""Area up to which they are said to look alike, where its interval ends below TELLS_APART."""
CHANCE = 0.5
"""Area of a classifier that guesses."""
_UNCLEAR = "Whether training and test images look different is not clear"
_BELOW_CHANCE = (
    " An area below 0.5 comes from leaving images out: the rest of their side is a little less "
    "like them than the other side."
)
_Z = 1.96


@dataclass(frozen=True)
class Surroundings:
    """What else is known of a test split.

    Attributes:
        near_duplicates: share of the test images that a training image nearly equals; None where
            that was not searched.
        domain_auc: area under the ROC curve of a classifier that tells training from test images;
            None where that was not measured.
    """

    near_duplicates: float | None = None
    domain_auc: Estimate | None = None


def reading(out_of_fold: Estimate | None, test: Estimate) -> Reading:
    """What the two accuracies suggest.

    A gap counts where it is at least :data:`LARGE_GAP` and beyond what both intervals allow.

    Args:
        out_of_fold: of training images, each scored without its group; None where unknown.
        test: of test images.
    """
    if out_of_fold is None:
        return "not known"
    gap = test.value - out_of_fold.value
    error = float(np.hypot(_standard_error(out_of_fold), _standard_error(test)))
    if abs(gap) < LARGE_GAP and _Z * error < 2 * LARGE_GAP:
        return "as expected"
    if not np.isfinite(error) or abs(gap) <= _Z * error or abs(gap) < LARGE_GAP:
        return "not clear"
    return "leak" if gap > 0 else "shift"


def _standard_error(share: Estimate) -> float:
    """A standard error from the width of an interval; infinite where there is none."""
    if share.low is None or share.high is None:
        return float("inf")
    return (share.high - share.low) / (2 * _Z)


_SAID: dict[Reading, str] = {
    "shift": "The test images are much harder than the training images led to expect, which "
    "suggests that they come from elsewhere (other patients, scanners, labels or shares of the "
    "classes): a shift. The accuracy on the test images is not that on images like the "
    "training images, and small differences between methods say little.",
    "leak": "The test images are much easier than the training images led to expect. That "
    "suggests a leak (copies or other images of training patients among the test images), or a "
    "test split that is easier by its making. Look at the near-duplicates and at the groups "
    "before the accuracy is believed.",
    "as expected": "The test images are as hard as the training images led to expect.",
    "not clear": "There are too few independent images to say whether the test images are as "
    "hard as the training images led to expect.",
    "not known": "What the training images led to expect is not known: no folds could be made of "
    "them.",
}
"""What each reading says of the test images."""


def expectation_paragraphs(
    pairs: Mapping[str, tuple[Estimate | None, Estimate]], known: Surroundings
) -> tuple[str, ...]:
    """Both accuracies of each method, and in words what they suggest, a paragraph a reading.

    Args:
        pairs: by the title of the method, the accuracy on training images, each scored without its
            group (None where unknown), and that on test images.
        known: what else is known of the test split.
    """
    methods: dict[Reading, list[str]] = {}
    for title, (out_of_fold, test) in pairs.items():
        methods.setdefault(reading(out_of_fold, test), []).append(
            f"{title}: {_percent(test)} of the test images are right"
            if out_of_fold is None
            else f"{title}: {_percent(out_of_fold)} of the training images are right out of fold, "
            f"{_percent(test)} of the test images"
        )
    return tuple(
        " ".join([f"{'; '.join(figures)}.", _SAID[found], *_surroundings(found, known)])
        for found, figures in methods.items()
    )


def _surroundings(found: Reading, known: Surroundings) -> list[str]:
    """What near-duplicates and the classifier of training against test images add to that."""
    if found == "not known":
        return []
    sentences = [] if known.domain_auc is None else [_domain_sentence(found, known.domain_auc)]
    if known.near_duplicates:
        sentences.append(
            f"{100 * known.near_duplicates:.1f} % of the test images nearly equal a training image."
        )
    return sentences


def _domain_sentence(found: Reading, area: Estimate) -> str:
    """What the classifier of training against test images says, and what that adds to the pair."""
    if area.low is None or area.high is None:
        return f"{_UNCLEAR} (AUC {area.value:.2f})."
    figures = f"(AUC {area.value:.2f}, 95 % interval {area.low:.2f} to {area.high:.2f})"
    if area.value >= TELLS_APART and area.low > CHANCE:
        support = {
            "shift": ", which agrees with a shift",
            "leak": ", so they differ in more than being easier",
            "as expected": "; the methods are not hurt by that",
        }.get(found, "")
        return (
            f"A classifier tells training from test images {figures}: they look different{support}."
        )
    if area.value <= LOOKS_ALIKE and area.high < TELLS_APART:
        support = {
            "shift": ", so the labels or the shares of the classes may differ instead",
            "leak": ", as copies would",
        }.get(found, "")
        below = _BELOW_CHANCE if area.high < CHANCE else ""
        return (
            f"A classifier hardly tells training from test images {figures}: they look "
            f"alike{support}.{below}"
        )
    if area.low > CHANCE:
        return f"A classifier tells training from test images a little {figures}."
    return f"{_UNCLEAR} {figures}."


def _percent(share: Estimate) -> str:
    return f"{100 * share.value:.1f} %"

"""What a report says of near-duplicates: pairs, figures without them, no verdict of many."""

from typing import TYPE_CHECKING

import numpy as np

from assets.core.plan import Stage
from assets.core.scoring import groups_of
from assets.core.settings import StageConfig
from assets.reports.classifier_sections import Classifiers
from data_contracts import asset_names as names
from data_contracts.records.facts import NearDuplicateFacts
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES

if TYPE_CHECKING:
    from methods.reporting.answers.verdicts import Verdict
    from methods.reporting.document import Table

ACROSS_SPLIT = ("Training image", "Test image")
"""What the two images of a pair of the asset ``near_duplicates`` are."""
ACROSS_FOLDS = ("Image", "Image of another fold")
"""What those of the asset ``near_duplicates_in_folds`` are."""


def verdict_unless_copies(here: Stage[StageConfig], asset: str, verdict: "Verdict") -> "Verdict":
    """A verdict, or that there is none where most of the tested images are near-duplicates."""
    from methods.reporting.answers.verdicts import Verdict, no_verdict_of_copies

    none = no_verdict_of_copies(here.facts(asset, NearDuplicateFacts).share)
    return Verdict(none) if none else verdict


def near_duplicates_sentence(here: Stage[StageConfig], asset: str) -> str:
    """How many pairs one of the searches found."""
    facts = here.facts(asset, NearDuplicateFacts)
    where = "across the split" if asset == names.NEAR_DUPLICATES else "across the folds"
    return (
        f"Near-duplicates {where}: {facts.pairs} pairs, {facts.test_images} test images "
        f"({facts.share:.1%})."
    )


def pairs_table(here: Stage[StageConfig], asset: str) -> "Table":
    """The pairs that one of the searches found."""
    from methods.reporting.single_label_tables import near_duplicates_table

    sides = ACROSS_SPLIT if asset == names.NEAR_DUPLICATES else ACROSS_FOLDS
    return near_duplicates_table(here.table(asset, NEAR_DUPLICATES).to_pylist(), sides).fold()


def without_copies_table(of: Classifiers) -> "list[Table]":
    """Accuracy on the test images without near-duplicates beside that on all; none without pairs.

    The classifiers are the same: nothing is fitted again.
    """
    from methods.reporting.assessments.tables import without_copies_table as table
    from methods.statistics.estimates import share, share_among

    copies = set(of.here.table(names.NEAR_DUPLICATES, NEAR_DUPLICATES)["second_id"].to_pylist())
    if not copies:
        return []
    figures = {}
    for method, title in of.titles.items():
        rows = of.predictions(method)
        correct, groups = np.array([row["correct"] for row in rows]), groups_of(rows)
        rest = np.array([row["image_id"] not in copies for row in rows])
        figures[title] = share(correct, groups), share_among(correct, rest, groups)
    return [table(figures, of.notices)]

"""Files of predictions for a person: a CSV file, and the page on which the least sure are checked.

Belongs here: from rows of IMAGE_PREDICTIONS to text.
Does not belong here: the layout of the page (``review_page``), writing files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import CalibrationFigures
from data_contracts.tables.predictions import CSV_COLUMNS, NEIGHBOURS
from methods.reporting.assessments.calibration import calibration_sentences, with_interval
from methods.reporting.review_page import Card, Neighbour, Review, review_html, thumbnail
from methods.reporting.spreadsheet_text import csv_text

Row = Mapping[str, Any]
"""A row of IMAGE_PREDICTIONS."""

PixelsOf: TypeAlias = Callable[[Sequence[str]], Iterable[NDArray[np.uint8]]]
"""From ids of images to their pixels, (height, width, 3) uint8 each, in the order of the ids."""

CSV_DIGITS = 6
"""Significant digits of a number in predictions.csv."""
SHOWN_CARDS = 500
"""Maximum number of predictions on the page."""
NEIGHBOUR_PIXELS = 64
"""Longer edge of the picture of a neighbour, in pixels."""
HIGHEST = (
    "{:.1%}: no more than the training groups support, (n + 1) / (n + 2) where n of n are right "
    "(Laplace)"
)
FOOTER = "For research: not a medical device, and no label here is advice on a patient."
ORDER = (
    "Each picture is an image whose label is not known (or is held). The least sure come first: "
    "check those by eye."
)
UNLIKE = (
    "An image marked as unlike the training images is less like any of them than 99 % of them are "
    "to each other; it gets no class and no probability."
)


@dataclass(frozen=True)
class ModelFacts:
    """What a page of predictions says of the classifier.

    Attributes:
        title: of the method.
        day: when it was fitted, as 2026-11-30.
        classes: that it tells apart, sorted.
        images: training images.
        groups: their patients or other groups; None where no group is known.
        highest: largest probability that it states.
        out_of_fold: calibration on the training images, each scored without its group; None where
            no folds could be made.
        test: calibration on the test images; None where there is none.
    """

    title: str
    day: str
    classes: tuple[str, ...]
    images: int
    groups: int | None
    highest: float
    out_of_fold: CalibrationFigures | None
    test: CalibrationFigures | None

    def stated(self) -> tuple[tuple[str, str], ...]:
        """Each fact with its caption, in the order of the page."""
        groups = (
            "; no patient is known, so each image counts as one"
            if self.groups is None
            else f" of {self.groups:,} patients or other groups"
        )
        right = {"on test images": self.test, "out of fold": self.out_of_fold}
        said = [
            f"{with_interval(of.right)} {where} ({of.n:,} images)"
            for where, of in right.items()
            if of is not None
        ]
        return (
            ("Model", f"{self.title}, fitted on {self.day}"),
            ("Fitted to", f"{self.images:,} training images{groups}"),
            ("Accuracy", "; ".join(said) or "not measured: no test images, and too few groups"),
            ("Probability", " ".join(calibration_sentences(self.out_of_fold, self.test))),
            *([("Highest probability", HIGHEST.format(self.highest))] if self.highest < 1 else []),
        )


def predictions_csv(rows: Sequence[Row]) -> str:
    """Write predictions as CSV: the columns of the contract, then each neighbour's."""
    columns = [
        *CSV_COLUMNS,
        *(f"nearest_{what}_{k + 1}" for k in range(NEIGHBOURS) for what in ("label", "similarity")),
    ]

    def cells(row: Row) -> list[object]:
        near = list(zip(row["neighbour_labels"], row["neighbour_similarities"], strict=True))
        padded = [*near, *[(None, None)] * (NEIGHBOURS - len(near))]
        return [*(row[name] for name in CSV_COLUMNS), *(value for pair in padded for value in pair)]

    return csv_text(columns, [cells(row) for row in rows], CSV_DIGITS)


def predictions_page(
    title: str,
    rows: Sequence[Row],
    notices: Sequence[str],
    model: ModelFacts,
    pixels_of: PixelsOf,
) -> str:
    """The page on which a person checks the least sure predictions.

    Args:
        title: title of the page.
        rows: all predictions, the least sure first.
        notices: shown at the top.
        model: what is said of the classifier.
        pixels_of: prepared pixels of images by id; asked once, for the images that are shown.
    """
    shown = rows[:SHOWN_CARDS]
    to_check = {row["image_id"] for row in shown}
    near = {image_id for row in shown for image_id in row["neighbour_ids"]}
    ids = sorted(to_check | near)
    large, small = {}, {}
    for image_id, pixels in zip(ids, pixels_of(ids), strict=True):
        if image_id in to_check:
            large[image_id] = thumbnail(pixels)
        if image_id in near:
            small[image_id] = thumbnail(pixels, NEIGHBOUR_PIXELS)
    review = Review(
        title=title,
        notices=tuple(notices),
        explanation=(ORDER, UNLIKE),
        model=model.stated(),
        classes=model.classes,
        counts=Counter(row["answer"] for row in rows),
        cards=tuple(_card(row, large[row["image_id"]], small) for row in shown),
        total=len(rows),
        footer=FOOTER,
    )
    return review_html(review)


def _card(row: Row, picture: bytes, neighbours: Mapping[str, bytes]) -> Card:
    """The card of one prediction; ``neighbours`` has the pictures of training images by id."""
    near = zip(
        row["neighbour_ids"], row["neighbour_labels"], row["neighbour_similarities"], strict=True
    )
    return Card(
        image_id=row["image_id"],
        name=row["path"] if row["frame"] is None else f"{row['path']}, frame {row['frame']}",
        answer=row["answer"],
        predicted=row["predicted"],
        probability=row["probability"],
        margin=row["margin"],
        out_of_distribution=row["out_of_distribution"],
        nearest_similarity=row["neighbour_similarities"][0],
        runner_up=row["runner_up"],
        runner_up_probability=row["runner_up_probability"],
        thumbnail=picture,
        neighbours=tuple(
            Neighbour(neighbours[image_id], label, similarity)
            for image_id, label, similarity in near
        ),
    )

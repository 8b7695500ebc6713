"""Files of predictions for a person: a CSV file, and the page on which the least sure are checked.

Belongs here: from rows of IMAGE_PREDICTIONS to text.
Does not belong here: the layout of the page (``review_page``), writing files.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import CalibrationFigures, Estimate
from data_contracts.tables.multilabel import NO_LABEL
from data_contracts.tables.predictions import CSV_COLUMNS, NEIGHBOURS, UNLIKE_ANSWER
from methods.reporting.assessments.calibration import calibration_sentences, with_interval
from methods.reporting.review_page import (
    Card,
    LabelChance,
    Neighbour,
    Review,
    review_html,
    thumbnail,
)
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
    "to each other; it gets no {label} and no probability."
)
SEVERAL_LABELS = (
    "An image has each label whose own probability is high enough, which may be several or none. "
    "Images are sorted by the label of which least is known whether they have it."
)
SHOWN_LABELS = 8
"""Number of labels of an image whose probability is on the page; all that it is given are."""


@dataclass(frozen=True)
class LabelFacts:
    """What a page of predictions says of one of several labels.

    Attributes:
        label: the label.
        given_from: probability from which on an image is given it; 0 where every image is, inf
            where none is, NaN where no probability is known.
        right: share of the test images on which it is given rightly or rightly not given; None
            without test images.
    """

    label: str
    given_from: float
    right: Estimate | None

    def stated(self) -> str:
        """The fact in words."""
        given = {0.0: "given to every image", math.inf: "given to no image"}.get(
            self.given_from, f"given from a probability of {100 * self.given_from:.0f} % on"
        )
        known = "its probability is not known" if math.isnan(self.given_from) else given
        if self.right is None:
            return known
        return f"{known}; right on {with_interval(self.right)} of {self.right.n:,} test images"


@dataclass(frozen=True)
class ModelFacts:
    """What a page of predictions says of the classifier.

    Attributes:
        title: of the method.
        day: when it was fitted, as 2026-11-30.
        classes: classes that it tells apart, or labels of which an image may have several; sorted.
        images: training images.
        groups: their patients or other groups; None where no group is known.
        highest: largest probability that it states.
        out_of_fold: calibration on the training images, each scored without its group; None where
            no folds could be made.
        test: calibration on the test images; None where there is none.
        exact_match: share of the test images whose labels are all right; None with one label an
            image, and without test images.
        labels: what is said of each of several labels; None with one label an image.
    """

    title: str
    day: str
    classes: tuple[str, ...]
    images: int
    groups: int | None
    highest: float
    out_of_fold: CalibrationFigures | None
    test: CalibrationFigures | None
    exact_match: Estimate | None = None
    labels: tuple[LabelFacts, ...] | None = None

    def stated(self) -> tuple[tuple[str, str], ...]:
        """Each fact with its caption, in the order of the page."""
        groups = (
            "; no patient is known, so each image counts as one"
            if self.groups is None
            else f" of {self.groups:,} patients or other groups"
        )
        decisions = "" if self.labels is None else "label decisions on "
        sentences = calibration_sentences(self.out_of_fold, self.test, decisions)
        return (
            ("Model", f"{self.title}, fitted on {self.day}"),
            ("Fitted to", f"{self.images:,} training images{groups}"),
            self._accuracy(),
            *((f"Label {of.label}", of.stated()) for of in self.labels or ()),
            ("Probability", " ".join(sentences)),
            *([("Highest probability", HIGHEST.format(self.highest))] if self.highest < 1 else []),
        )

    def _accuracy(self) -> tuple[str, str]:
        """How often it is right, with the caption of that."""
        if self.labels is not None:
            exact = self.exact_match
            if exact is None:
                return "All labels right", "not measured: no test images"
            measured = f"{with_interval(exact)} on test images ({exact.n:,} images)"
            return "All labels right", measured
        right = {"on test images": self.test, "out of fold": self.out_of_fold}
        said = [
            f"{with_interval(of.right)} {where} ({of.n:,} images)"
            for where, of in right.items()
            if of is not None
        ]
        return "Accuracy", "; ".join(said) or "not measured: no test images, and too few groups"


def predictions_csv(rows: Sequence[Row]) -> str:
    """Write predictions as CSV: the columns of the contract, then each label's and neighbour's.

    With several labels an image the probability of each is a column in the place of the runner-up.
    """
    labels: Sequence[str] = (rows[0]["labels"] or ()) if rows else ()
    of_contract = [name for name in CSV_COLUMNS if not (labels and name.startswith("runner_up"))]
    columns = [
        *of_contract,
        *(f"probability_of_{label}" for label in labels),
        *(f"nearest_{what}_{k + 1}" for k in range(NEIGHBOURS) for what in ("label", "similarity")),
    ]

    def cells(row: Row) -> list[object]:
        near = list(zip(row["neighbour_labels"], row["neighbour_similarities"], strict=True))
        padded = [*near, *[(None, None)] * (NEIGHBOURS - len(near))]
        likely = row["label_probabilities"] or ()
        near_cells = (value for pair in padded for value in pair)
        return [*(row[name] for name in of_contract), *likely, *near_cells]

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
    several = model.labels is not None
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
        explanation=(
            ORDER,
            *([SEVERAL_LABELS] if several else []),
            UNLIKE.format(label="label" if several else "class"),
        ),
        model=model.stated(),
        classes=model.classes,
        several_labels=several,
        counts=Counter(name for row in rows for name in _counted(row)),
        cards=tuple(_card(row, large[row["image_id"]], small) for row in shown),
        total=len(rows),
        footer=FOOTER,
    )
    return review_html(review)


def _counted(row: Row) -> list[str]:
    """What an image counts as: its answer, or each of several labels that it is given."""
    given = _given(row)
    return [row["answer"]] if row["answer"] == UNLIKE_ANSWER or not given else sorted(given)


def _given(row: Row) -> set[str]:
    """The labels that an image is given where it may have several; empty where it has none."""
    if row["labels"] is None or row["predicted"] == NO_LABEL:
        return set()
    return set(row["predicted"].split("|"))


def _spaced(labels: str) -> str:
    """Several labels with room between them, so that a line breaks there; one label as it is."""
    return labels.replace("|", " | ")


def _chances(row: Row) -> tuple[LabelChance, ...]:
    """The labels of an image with their probabilities, the most probable first."""
    if row["labels"] is None:
        return ()
    given = _given(row)
    every = [
        LabelChance(label, probability, label in given)
        for label, probability in zip(row["labels"], row["label_probabilities"], strict=True)
    ]
    every.sort(key=lambda of: (not of.given, -(of.probability or 0), of.label))
    return tuple(every[: max(SHOWN_LABELS, len(given))])


def _card(row: Row, picture: bytes, neighbours: Mapping[str, bytes]) -> Card:
    """The card of one prediction; ``neighbours`` has the pictures of training images by id."""
    near = zip(
        row["neighbour_ids"], row["neighbour_labels"], row["neighbour_similarities"], strict=True
    )
    return Card(
        image_id=row["image_id"],
        name=row["path"] if row["frame"] is None else f"{row['path']}, frame {row['frame']}",
        answer=_spaced(row["answer"]),
        predicted=_spaced(row["predicted"]),
        probability=row["probability"],
        margin=row["margin"],
        out_of_distribution=row["out_of_distribution"],
        nearest_similarity=row["neighbour_similarities"][0],
        runner_up=row["runner_up"],
        runner_up_probability=row["runner_up_probability"],
        thumbnail=picture,
        neighbours=tuple(
            Neighbour(neighbours[image_id], _spaced(label), similarity)
            for image_id, label, similarity in near
        ),
        labels=_chances(row),
    )

"""Files of predictions for a person: a CSV file, and the page on which the least sure are checked.

Belongs here: from rows of IMAGE_PREDICTIONS to text.
Does not belong here: the layout of the page (``review_page``), writing files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from data_contracts.tables.predictions import CSV_COLUMNS, NEIGHBOURS
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
FOOTER = "For research: not a medical device, and no label here is advice on a patient."
ORDER = (
    "Each picture is an image whose label is not known (or is held). The least sure come first: "
    "check those by eye."
)
UNLIKE = (
    "An image marked as unlike the training images is less like any of them than 99 % of them are "
    "to each other; its probability means little."
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
    calibration: Sequence[str],
    pixels_of: PixelsOf,
) -> str:
    """The page on which a person checks the least sure predictions.

    Args:
        title: title of the page.
        rows: all predictions, the least sure first.
        notices: shown at the top.
        calibration: what the measured calibration allows to say of the probabilities.
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
        explanation=(ORDER, *calibration, UNLIKE),
        counts=Counter(row["predicted"] for row in rows),
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

"""Predictions for images whose label is unknown, or not trusted yet."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.manifest import PREDICTED_SPLITS
from data_contracts.tables.rules import not_unit, rows_where

UNLIKE_ANSWER = "unlike the training images"
"""Answer for an image that is unlike all training images."""

NEIGHBOURS = 3
"""Number of nearest training images that are shown with a prediction."""


def _odd_labels(
    labels: Sequence[str] | None, likely: Sequence[float | None] | None, runner_up: str | None
) -> bool:
    """Whether several labels lack a probability each, or stand beside a runner-up."""
    if labels is None or likely is None:
        return (labels, likely) != (None, None) or runner_up is None
    return len(labels) != len(likely) or not_unit(*likely) or runner_up is not None


IMAGE_PREDICTIONS = TableContract(
    name="image prediction",
    suffix=".predictions.parquet",
    schema=pa.schema(
        [
            # as in the manifest, like path and frame
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("path", pa.string(), nullable=False),
            pa.field("frame", pa.int32(), nullable=True),
            pa.field("split", pa.string(), nullable=False),  # unlabelled | held
            # label that a held image came with; of several labels "a|b", or NO_LABEL
            pa.field("label", pa.string(), nullable=True),
            # what a person is told: the column predicted, or UNLIKE_ANSWER
            pa.field("answer", pa.string(), nullable=False),
            # most probable class; of several labels all that are given, "a|b", or NO_LABEL
            pa.field("predicted", pa.string(), nullable=False),
            # probability of that class, calibrated on folds of the training images; at most
            # (n + 1) / (n + 2) with n training groups. Of several labels it is that of the least
            # sure decision on one of them to be right
            pa.field("probability", pa.float64(), nullable=False),
            # best score of the SVM minus second best; of several labels the smallest distance of a
            # score from the threshold of its label
            pa.field("margin", pa.float64(), nullable=False),
            # second most probable class; empty with several labels
            pa.field("runner_up", pa.string(), nullable=True),
            pa.field("runner_up_probability", pa.float64(), nullable=True),
            # all labels of the dataset, sorted, and the probability of each (empty where none is
            # known); empty with one label an image
            pa.field("labels", pa.list_(pa.string()), nullable=True),
            pa.field("label_probabilities", pa.list_(pa.float64()), nullable=True),
            # whether it is less similar to its nearest training image than 99 % of those images are
            pa.field("out_of_distribution", pa.bool_(), nullable=False),
            # image_id, label and cosine of the nearest training images, nearest first
            pa.field("neighbour_ids", pa.list_(pa.string()), nullable=False),
            pa.field("neighbour_labels", pa.list_(pa.string()), nullable=False),
            pa.field("neighbour_similarities", pa.list_(pa.float64()), nullable=False),
        ]
    ),
    key=("image_id",),
    rules={
        "only images that neither train nor test are predicted": rows_where(
            "split", lambda split: split not in PREDICTED_SPLITS
        ),
        "probabilities lie in 0..1": rows_where("probability", not_unit),
        "the runner-up is not more probable": rows_where(
            ("probability", "runner_up_probability"),
            lambda first, second: not_unit(second) or (second is not None and second > first),
        ),
        "several labels have a probability in 0..1 each and no runner-up, one label has "
        "one": rows_where(("labels", "label_probabilities", "runner_up"), _odd_labels),
        "the answer is the predicted class unless the image is unlike the training": rows_where(
            ("answer", "predicted", "out_of_distribution"),
            lambda answer, predicted, unlike: answer != (UNLIKE_ANSWER if unlike else predicted),
        ),
        "margin is not negative": rows_where("margin", lambda margin: not margin >= 0),
        "every neighbour has an id, a label and a similarity, and there is at least "
        "one": rows_where(
            ("neighbour_ids", "neighbour_labels", "neighbour_similarities"),
            lambda *lists: len({len(values) for values in lists}) != 1 or not lists[0],
        ),
    },
)
"""One row for each image that neither trains nor tests: what is predicted, and how sure it is."""

_KNOWN_BEFORE = ("split", "label")
"""Columns that the manifest gives, which stand behind the prediction in a CSV file."""

CSV_COLUMNS: tuple[str, ...] = tuple(
    field.name
    for last in (False, True)
    for field in IMAGE_PREDICTIONS.schema
    if not pa.types.is_list(field.type) and (field.name in _KNOWN_BEFORE) == last
)
"""Columns of predictions.csv: every column of the contract with one value a row, in its order."""

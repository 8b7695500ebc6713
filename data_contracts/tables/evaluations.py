"""Tables of evaluations in long form: metrics, predictions, comparisons of methods."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import not_unit, outside_interval, rows_where

FIXED, TUNED = "fixed", "tuned"
"""Values of the column `regularisation`: the paper's own C of the SVM, or a C chosen for the method
by cross-validation within the training split. What has no linear SVM has rows of FIXED only."""

ALL_LABELS = "all"
"""Subject of what is learned from all training labels, and from all images."""
OVER_SEEDS = "accuracy_over_seeds"
"""Metric of the mean accuracy over the seeds of a method."""


MEAN = "mean"
"""Subject of a row of METRICS that is the mean over the repetitions in the rows beside it."""


def fixed_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep the rows of a table that are of the paper's own C or of no C at all."""
    return [row for row in rows if row["regularisation"] == FIXED]


_REGULARISATION = {
    "regularisation is fixed or tuned": rows_where(
        "regularisation", lambda value: value not in (FIXED, TUNED)
    )
}

METRICS = TableContract(
    name="metric",
    suffix=".metrics.parquet",
    schema=pa.schema(
        [
            pa.field("dataset", pa.string(), nullable=False),
            pa.field("study", pa.string(), nullable=False),  # name of the study
            pa.field("method", pa.string(), nullable=False),  # name of the method in the study
            # accuracy, macro_f1, precision, recall, f1, few_label_accuracy
            pa.field("metric", pa.string(), nullable=False),
            pa.field("regularisation", pa.string(), nullable=False),  # fixed or tuned
            # "all", a class name, or "5 labels a class"
            pa.field("subject", pa.string(), nullable=False),
            pa.field("value", pa.float64(), nullable=False),
            # 95 % confidence interval; empty where none can be given
            pa.field("ci_low", pa.float64(), nullable=True),
            pa.field("ci_high", pa.float64(), nullable=True),
            # method that gave the interval, and where it rests on too few patients, that it does
            pa.field("interval", pa.string(), nullable=True),
            # test images behind the value; of a class or label those that have it
            pa.field("n", pa.int64(), nullable=False),
            pa.field("seed", pa.int64(), nullable=False),  # of everything drawn at random
            pa.field("settings", pa.string(), nullable=False),  # run configuration, JSON
            # JSON: asset -> data version of each input
            pa.field("data_versions", pa.string(), nullable=False),
        ]
    ),
    key=("dataset", "study", "method", "metric", "regularisation", "subject", "seed"),
    rules={
        **_REGULARISATION,
        "value is a finite number": rows_where("value", lambda value: not math.isfinite(value)),
        "value lies within its interval": rows_where(
            ("value", "ci_low", "ci_high"), outside_interval
        ),
        "n is positive": rows_where("n", lambda n: n <= 0),
    },
)
"""One row for each metric, method and subject: a figure with its interval and its origin."""

PREDICTIONS = TableContract(
    name="prediction",
    suffix=".predictions.parquet",
    schema=pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),  # as in the manifest
            pa.field("regularisation", pa.string(), nullable=False),  # fixed or tuned
            pa.field("split", pa.string(), nullable=False),  # test
            pa.field("label", pa.string(), nullable=False),  # true class
            pa.field("predicted", pa.string(), nullable=False),  # class with the best score
            pa.field("correct", pa.bool_(), nullable=False),  # whether they are the same
            pa.field("margin", pa.float64(), nullable=False),  # best score minus second best
            # of the predicted class, calibrated on folds of the training images; empty without any
            pa.field("probability", pa.float64(), nullable=True),
            pa.field("group_id", pa.string(), nullable=True),  # as in the manifest
        ]
    ),
    key=("image_id", "regularisation"),
    rules={
        **_REGULARISATION,
        "only test images are predicted": rows_where("split", lambda split: split != "test"),
        "correct says whether label and predicted agree": rows_where(
            ("label", "predicted", "correct"),
            lambda label, predicted, correct: (label == predicted) != correct,
        ),
        "margin is not negative": rows_where("margin", lambda margin: not margin >= 0),
        "a probability lies in 0..1": rows_where(
            "probability", lambda probability: probability is not None and not_unit(probability)
        ),
    },
)
"""One row for each test image and regularisation: its label, and the class that is predicted."""

COMPARISONS = TableContract(
    name="method comparison",
    suffix=".comparisons.parquet",
    schema=pa.schema(
        [
            pa.field("method_a", pa.string(), nullable=False),  # name of the first method
            pa.field("method_b", pa.string(), nullable=False),  # name of the second method
            # of both methods; a method without a tuned row has its fixed one in its place
            pa.field("regularisation", pa.string(), nullable=False),
            pa.field("n", pa.int64(), nullable=False),  # test images that both classified
            # images that only one of the two classified correctly
            pa.field("only_a_correct", pa.int64(), nullable=False),
            pa.field("only_b_correct", pa.int64(), nullable=False),
            # patients of these images, or images where no patients are known
            pa.field("groups", pa.int64(), nullable=False),
            pa.field("test", pa.string(), nullable=False),  # test that was used
            # accuracy of the first less that of the second, with its 95 % interval; empty where all
            # images are of one patient
            pa.field("difference", pa.float64(), nullable=False),
            pa.field("ci_low", pa.float64(), nullable=True),
            pa.field("ci_high", pa.float64(), nullable=True),
            # smallest true difference that the test finds with 80 % power
            pa.field("detectable", pa.float64(), nullable=False),
            pa.field("p_value", pa.float64(), nullable=False),  # two-sided
            pa.field("p_holm", pa.float64(), nullable=False),  # over the rows of its regularisation
        ]
    ),
    key=("method_a", "method_b", "regularisation"),
    rules={
        **_REGULARISATION,
        "p values lie in 0..1": rows_where(
            ("p_value", "p_holm"),
            lambda p, corrected: not_unit(p, corrected) or corrected < p - 1e-12,
        ),
        "discordant counts fit n": rows_where(
            ("only_a_correct", "only_b_correct", "n"),
            lambda a, b, n: a < 0 or b < 0 or a + b > n,
        ),
        "groups fit n": rows_where(("groups", "n"), lambda groups, n: not 1 <= groups <= n),
        "the difference lies within its interval": rows_where(
            ("difference", "ci_low", "ci_high"), outside_interval
        ),
        "the detectable difference lies in 0..1": rows_where("detectable", not_unit),
    },
)
"""One row for each pair of methods and regularisation.

They are tested on the same images, with the images of a patient kept together."""

SEED_PREDICTIONS = TableContract(
    name="prediction over seeds",
    suffix=".seed_predictions.parquet",
    schema=pa.schema(
        [
            pa.field("method", pa.string(), nullable=False),  # name of the method or estimate
            pa.field("seed", pa.int64(), nullable=False),  # of its filters
            pa.field("regularisation", pa.string(), nullable=False),  # fixed or tuned
            # "all", or "5 labels a class"
            pa.field("labels", pa.string(), nullable=False),
            pa.field("image_id", pa.string(), nullable=False),  # as in the manifest
            pa.field("group_id", pa.string(), nullable=True),  # as in the manifest
            # share of the draws of labels from which the image is classified correctly; of all
            # labels there is one
            pa.field("right", pa.float64(), nullable=False),
        ]
    ),
    key=("method", "seed", "regularisation", "labels", "image_id"),
    rules={
        **_REGULARISATION,
        "right lies in 0..1": rows_where("right", not_unit),
    },
)
"""One row for each test image and classifier of a method that was fitted with several seeds."""

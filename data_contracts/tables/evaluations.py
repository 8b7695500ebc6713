"""Tidy tables of what was measured: metrics, predictions, comparisons of methods."""

from __future__ import annotations

import math

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import not_unit, outside_interval, rows_where

METRICS = TableContract(
    name="metric",
    suffix=".metrics.parquet",
    schema=pa.schema(
        [
            pa.field("dataset", pa.string(), nullable=False),
            pa.field("study", pa.string(), nullable=False),
            pa.field("method", pa.string(), nullable=False),
            # accuracy, macro_f1, precision, recall, f1, few_label_accuracy
            pa.field("metric", pa.string(), nullable=False),
            # "all", a class name, or "5 labels a class"
            pa.field("subject", pa.string(), nullable=False),
            pa.field("value", pa.float64(), nullable=False),
            pa.field("ci_low", pa.float64(), nullable=True),  # 95 %
            pa.field("ci_high", pa.float64(), nullable=True),
            # test images behind the value; of a class or label those that have it
            pa.field("n", pa.int64(), nullable=False),
            pa.field("seed", pa.int64(), nullable=False),
            pa.field("settings", pa.string(), nullable=False),  # JSON
            # JSON: asset -> data version of each input
            pa.field("data_versions", pa.string(), nullable=False),
        ]
    ),
    key=("dataset", "study", "method", "metric", "subject", "seed"),
    rules={
        "value is a finite number": rows_where("value", lambda value: not math.isfinite(value)),
        "value lies within its interval": rows_where(
            ("value", "ci_low", "ci_high"), outside_interval
        ),
        "n is positive": rows_where("n", lambda n: n <= 0),
    },
)

PREDICTIONS = TableContract(
    name="prediction",
    suffix=".predictions.parquet",
    schema=pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            pa.field("label", pa.string(), nullable=False),
            pa.field("predicted", pa.string(), nullable=False),
            pa.field("correct", pa.bool_(), nullable=False),
            pa.field("margin", pa.float64(), nullable=False),  # best score minus second best
            pa.field("group_id", pa.string(), nullable=True),
        ]
    ),
    key=("image_id",),
    rules={
        "only test images are predicted": rows_where("split", lambda split: split != "test"),
        "correct says whether label and predicted agree": rows_where(
            ("label", "predicted", "correct"),
            lambda label, predicted, correct: (label == predicted) != correct,
        ),
        "margin is not negative": rows_where("margin", lambda margin: not margin >= 0),
    },
)

COMPARISONS = TableContract(
    name="method comparison",
    suffix=".comparisons.parquet",
    schema=pa.schema(
        [
            pa.field("method_a", pa.string(), nullable=False),
            pa.field("method_b", pa.string(), nullable=False),
            pa.field("n", pa.int64(), nullable=False),
            pa.field("only_a_correct", pa.int64(), nullable=False),
            pa.field("only_b_correct", pa.int64(), nullable=False),
            pa.field("p_value", pa.float64(), nullable=False),  # exact McNemar, two-sided
            pa.field("p_holm", pa.float64(), nullable=False),  # over all rows of the table
        ]
    ),
    key=("method_a", "method_b"),
    rules={
        "p values lie in 0..1": rows_where(
            ("p_value", "p_holm"),
            lambda p, corrected: not_unit(p, corrected) or corrected < p - 1e-12,
        ),
        "discordant counts fit n": rows_where(
            ("only_a_correct", "only_b_correct", "n"),
            lambda a, b, n: a < 0 or b < 0 or a + b > n,
        ),
    },
)

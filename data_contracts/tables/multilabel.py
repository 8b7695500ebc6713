"""Predictions and results where an image has several labels, or none."""

from __future__ import annotations

import math

import pyarrow as pa

from data_contracts.tables.contract import TableContract, rows_where

MEASURES = ("exact_match", "any_match", "hamming_similarity")


def _unit(value: object) -> bool:
    return value is not None and 0 <= float(str(value)) <= 1


def _not_label_sets(table: pa.Table) -> list[int]:
    """Rows whose labels are not sorted, or doubled."""
    return [
        i
        for i, row in enumerate(table.select(["labels", "predicted"]).to_pylist())
        if any(list(names) != sorted(set(names)) for names in row.values())
    ]


MULTILABEL_PREDICTIONS = TableContract(
    name="prediction of several labels",
    suffix=".predictions.parquet",
    schema=pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            # true ones, sorted; empty for none of them
            pa.field("labels", pa.list_(pa.string()), nullable=False),
            pa.field("predicted", pa.list_(pa.string()), nullable=False),
            # of each label of the dataset, in sorted order
            pa.field("scores", pa.list_(pa.float64()), nullable=False),
            pa.field("exact", pa.bool_(), nullable=False),
            pa.field("group_id", pa.string(), nullable=True),
        ]
    ),
    key=("image_id",),
    rules={
        "only test images are predicted": rows_where("split", lambda v: v != "test"),
        "labels are sorted, each once": _not_label_sets,
        "exact says whether labels and predicted agree": lambda t: [
            i
            for i, row in enumerate(t.to_pylist())
            if (row["labels"] == row["predicted"]) != row["exact"]
        ],
    },
)

MULTILABEL_RESULTS = TableContract(
    name="result of several labels",
    suffix=".multilabel_results.parquet",
    schema=pa.schema(
        [
            pa.field("method", pa.string(), nullable=False),
            pa.field("title", pa.string(), nullable=False),
            *(
                # shares, with a 95 % interval
                pa.field(f"{measure}{part}", pa.float64(), nullable=False)
                for measure in MEASURES
                for part in ("", "_low", "_high")
            ),
            # matches of an image that has no label and is given none
            pa.field("both_empty", pa.int64(), nullable=False),
            # McNemar of exact match against the study's main method
            pa.field("p_holm", pa.float64(), nullable=True),
            pa.field("n_test", pa.int64(), nullable=False),
            pa.field("n_train", pa.int64(), nullable=False),
            pa.field("labels", pa.int64(), nullable=False),
            pa.field("seconds", pa.float64(), nullable=False),
            pa.field("device", pa.string(), nullable=False),
            pa.field("notices", pa.string(), nullable=False),
        ]
    ),
    key=("method",),
    rules={
        "a share lies in 0..1 and within its interval": lambda t: [
            i
            for i, row in enumerate(t.to_pylist())
            if not all(
                _unit(row[m]) and row[f"{m}_low"] - 1e-9 <= row[m] <= row[f"{m}_high"] + 1e-9
                for m in MEASURES
            )
        ],
        "an exact match is an any match": lambda t: [
            i for i, row in enumerate(t.to_pylist()) if row["exact_match"] > row["any_match"] + 1e-9
        ],
        "p_holm lies in 0..1": rows_where("p_holm", lambda v: v is not None and not _unit(v)),
        "counts are positive": lambda t: [
            i
            for i, row in enumerate(t.to_pylist())
            if min(row["n_test"], row["n_train"], row["labels"]) < 1
            or not 0 <= row["both_empty"] <= row["n_test"]
        ],
        "seconds is finite and not negative": rows_where(
            "seconds", lambda v: not 0 <= float(str(v)) < math.inf
        ),
    },
)

"""Tables of predictions and results where an image has several labels, or none."""

from __future__ import annotations

import pyarrow as pa

from data_contracts.tables.contract import TableContract
from data_contracts.tables.rules import (
    ROUNDING,
    not_a_measure,
    not_figures,
    not_unit,
    outside_interval,
    rows_where,
    within,
)

MEASURES = ("exact_match", "any_match", "hamming_similarity")
"""Measures of Lyndon et al. 2015, table 3, each a share of test images or of label decisions."""
PARTS = ("", "_low", "_high")
"""Suffixes of the columns of a measure: its value and its 95 % interval."""
NO_LABEL = "no label"
"""What an empty set of labels is called."""


MULTILABEL_PREDICTIONS = TableContract(
    name="prediction of several labels",
    suffix=".predictions.parquet",
    schema=pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),  # as in the manifest
            pa.field("split", pa.string(), nullable=False),  # test
            # true labels, sorted; an empty list where the image has none
            pa.field("labels", pa.list_(pa.string()), nullable=False),
            pa.field("predicted", pa.list_(pa.string()), nullable=False),  # labels given, sorted
            # one score for each label of the dataset, in sorted order of the labels
            pa.field("scores", pa.list_(pa.float64()), nullable=False),
            pa.field("exact", pa.bool_(), nullable=False),  # whether both lists are the same
            pa.field("group_id", pa.string(), nullable=True),  # as in the manifest
        ]
    ),
    key=("image_id",),
    rules={
        "only test images are predicted": rows_where("split", lambda split: split != "test"),
        "labels are sorted, each once": rows_where(
            ("labels", "predicted"),
            lambda *sets: any(names != sorted(set(names)) for names in sets),
        ),
        "exact says whether labels and predicted agree": rows_where(
            ("labels", "predicted", "exact"),
            lambda labels, predicted, exact: (labels == predicted) != exact,
        ),
    },
)
"""One row for each test image: its labels, and those that a method gives it."""

MULTILABEL_RESULTS = TableContract(
    name="result of several labels",
    suffix=".multilabel_results.parquet",
    schema=pa.schema(
        [
            pa.field("method", pa.string(), nullable=False),  # name of the method in the study
            pa.field("title", pa.string(), nullable=False),  # name of the method in the report
            *(
                # shares, with a 95 % interval; none where all test images are of one patient
                pa.field(f"{measure}{part}", pa.float64(), nullable=bool(part))
                for measure in MEASURES
                for part in PARTS
            ),
            # method that gave the intervals, and where they rest on too few patients, that they do;
            # empty without intervals
            pa.field("interval", pa.string(), nullable=True),
            # JSON: metric -> value over all test images, of every metric of the registry
            pa.field("metrics", pa.string(), nullable=False),
            # matches of an image that has no label and is given none
            pa.field("both_empty", pa.int64(), nullable=False),
            # paired test of exact match against the study's main method; empty for itself
            pa.field("test", pa.string(), nullable=True),
            pa.field("p_holm", pa.float64(), nullable=True),
            pa.field("n_test", pa.int64(), nullable=False),  # test images
            pa.field("n_train", pa.int64(), nullable=False),  # training images
            pa.field("labels", pa.int64(), nullable=False),  # labels of the dataset
            # wall time of every stage of this method, image preparation excluded
            pa.field("seconds", pa.float64(), nullable=False),
            pa.field("device", pa.string(), nullable=False),  # device that computed it
            pa.field("notices", pa.string(), nullable=False),  # one a line; empty where none
        ]
    ),
    key=("method",),
    rules={
        "metrics are finite numbers by name": rows_where("metrics", not_figures),
        "a share lies in 0..1 and within its interval": rows_where(
            [f"{measure}{part}" for measure in MEASURES for part in PARTS],
            lambda *of: any(
                not_unit(of[i]) or outside_interval(*of[i : i + len(PARTS)])
                for i in range(0, len(of), len(PARTS))
            ),
        ),
        "an exact match is an any match": rows_where(
            ("exact_match", "any_match"), lambda exact, any_match: exact > any_match + ROUNDING
        ),
        "p_holm lies in 0..1": rows_where("p_holm", not_unit),
        "counts are positive": rows_where(
            ("n_test", "n_train", "labels", "both_empty"),
            lambda test, train, labels, both_empty: (
                min(test, train, labels) < 1 or not within(both_empty, 0, test)
            ),
        ),
        "seconds is finite and not negative": rows_where("seconds", not_a_measure),
    },
)
"""One row for each method: the measures of the study with their intervals."""

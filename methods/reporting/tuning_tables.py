"""The table of the methods at the paper's C of the SVM and at the C tuned for each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.tables.evaluations import FIXED, TUNED
from methods.reporting.document import Cell, Table
from methods.reporting.metric_tables import accuracy_remark, percent_with_interval
from methods.reporting.single_label_tables import in_words

Row = Mapping[str, Any]


_CAPTION = (
    "One C of the SVM is not the same strength of regularisation for all features, so each method "
    "is also scored at the C with the most training images right in cross-validation that keeps "
    "groups together; no test image takes part in the choice. Methods without a linear SVM have no "
    "C, and their one figure stands for both in the comparisons. p is of the comparison with the "
    "study's own method on the same test images, with Holm's correction over the methods at "
    "either C."
)
"""What a reader needs to know of the two C, and of p."""


def tuned_accuracies(metrics: Sequence[Row]) -> dict[str, float]:
    """Accuracy at the tuned C by method, from rows of METRICS."""
    return {
        row["method"]: row["value"]
        for row in metrics
        if (row["metric"], row["subject"], row["regularisation"]) == ("accuracy", "all", TUNED)
    }


def tuning_table(
    metrics: Sequence[Row],
    comparisons: Sequence[Row],
    titles: Mapping[str, str],
    notices: Sequence[str] = (),
) -> Table:
    """One row a method: accuracy with interval and p value at the fixed and at the tuned C.

    Args:
        metrics: rows of METRICS of all methods.
        comparisons: rows of COMPARISONS.
        titles: title of each method, by name.
        notices: what a reader must know.
    """
    of_method = {
        (row["method"], row["regularisation"]): row
        for row in metrics
        if (row["metric"], row["subject"]) == ("accuracy", "all")
    }
    p_of = {(row["method_a"], row["regularisation"]): row["p_holm"] for row in comparisons}
    found = {
        name: [of_method[name, c] for c in (FIXED, TUNED) if (name, c) in of_method]
        for name in titles
    }
    intervals = in_words(row["interval"] for rows in found.values() for row in rows)
    return Table(
        "Accuracy of each method",
        (
            "Method",
            "Fixed C",
            "Accuracy, %",
            "p (Holm)",
            "Tuned C",
            "Accuracy at the tuned C, %",
            "p (Holm) at the tuned C",
        ),
        tuple(
            (
                title,
                *_at(of_method.get((name, FIXED)), p_of.get((name, FIXED))),
                *_at(of_method.get((name, TUNED)), p_of.get((name, TUNED))),
            )
            for name, title in titles.items()
        ),
        "Accuracy is the share of test images whose predicted class is right, in brackets its "
        f"95 % interval ({intervals}). {_CAPTION}",
        ("text", "text", "text", "p", "text", "text", "p"),
        tuple(notices),
    ).with_remarks([accuracy_remark(*rows) for rows in found.values()])


def _at(row: Row | None, p_value: float | None) -> tuple[Cell, ...]:
    """C, accuracy and p value at one C; the first two are empty where there is no row at it."""
    c = None if row is None else json.loads(row["settings"]).get("c")
    return (None if c is None else f"{c:g}", percent_with_interval(row), p_value)

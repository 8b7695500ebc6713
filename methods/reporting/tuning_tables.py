"""The table of the methods at the paper's C of the SVM and at the C tuned for each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.tables.evaluations import FIXED, TUNED
from methods.reporting.document import Cell, Kind, Table

Row = Mapping[str, Any]

_KINDS: tuple[Kind, ...] = (
    "text",
    "text",
    "percent",
    "percent",
    "percent",
    "text",
    "percent",
    "percent",
    "percent",
    "p",
)


def tuned_accuracies(metrics: Sequence[Row]) -> dict[str, float]:
    """Accuracy at the tuned C by method, from rows of METRICS."""
    return {row["method"]: row["value"] for row in metrics if _is_accuracy(row, TUNED)}


def tuning_table(
    metrics: Sequence[Row],
    comparisons: Sequence[Row],
    titles: Mapping[str, str],
    notices: Sequence[str] = (),
) -> Table:
    """One row a method: its accuracy at either C, with intervals, and its p value at the tuned C.

    Args:
        metrics: rows of METRICS of all methods.
        comparisons: rows of COMPARISONS.
        titles: title of each method, by name.
        notices: what a reader must know.
    """
    p_of = {row["method_a"]: row["p_holm"] for row in comparisons if row["regularisation"] == TUNED}
    return Table(
        "The same methods at a tuned C",
        (
            "Method",
            "C",
            "Accuracy, %",
            "95 % low",
            "95 % high",
            "Tuned C",
            "Tuned: accuracy, %",
            "Tuned: 95 % low",
            "Tuned: 95 % high",
            "Tuned: p (Holm)",
        ),
        tuple(
            (
                title,
                *_figures(metrics, name, FIXED),
                *_figures(metrics, name, TUNED),
                p_of.get(name),
            )
            for name, title in titles.items()
        ),
        "One C of the SVM is not the same strength of regularisation for all features, so each "
        "method is also scored at the C with the most training images right in cross-validation "
        "that keeps groups together; no test image takes part in the choice. Methods without a "
        "linear SVM have no C, and their one figure stands for both in the comparisons. Holm's "
        "correction is over the comparisons of the tuned methods.",
        _KINDS,
        tuple(notices),
    )


def _is_accuracy(row: Row, regularisation: str) -> bool:
    """Whether a row of METRICS is the accuracy over all test images at this C."""
    return (row["metric"], row["subject"], row["regularisation"]) == (
        "accuracy",
        "all",
        regularisation,
    )


def _figures(metrics: Sequence[Row], method: str, regularisation: str) -> tuple[Cell, ...]:
    """C, accuracy and interval of a method; empty where it has none."""
    row = next(
        (r for r in metrics if r["method"] == method and _is_accuracy(r, regularisation)), None
    )
    if row is None:
        return (None, None, None, None)
    c = json.loads(row["settings"]).get("c")
    bounds = (row["ci_low"], row["ci_high"])
    return (
        None if c is None else f"{c:g}",
        100 * row["value"],
        *(None if bound is None else 100 * bound for bound in bounds),
    )

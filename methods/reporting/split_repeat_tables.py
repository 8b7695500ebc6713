"""The table of accuracies over repeated random splits."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.tables.evaluations import MEAN
from methods.reporting.document import Table
from methods.reporting.metric_tables import accuracy_remark


def split_repeats_table(
    metrics: Sequence[Mapping[str, Any]], titles: Mapping[str, str], notices: Sequence[str]
) -> Table:
    """Make the table of each method's accuracy over the splits, in percent.

    Args:
        metrics: rows of METRICS of the asset `split_repeats`.
        titles: title of each method by name, in the order of the rows.
        notices: what a reader of the figures must know.
    """
    rows, remarks = [], []
    for method, title in titles.items():
        own = [row for row in metrics if row["method"] == method]
        shares = [100 * row["value"] for row in own if row["subject"] != MEAN]
        mean = next(row for row in own if row["subject"] == MEAN)
        remarks.append(accuracy_remark(mean))
        rows.append(
            (
                title,
                100 * mean["value"],
                statistics.stdev(shares),
                100 * mean["ci_low"],
                100 * mean["ci_high"],
                ", ".join(f"{share:.1f}" for share in shares),
            )
        )
    seeds = [row["subject"] for row in metrics if row["method"] == next(iter(titles))]
    return Table(
        "Accuracy over repeated random splits, %",
        ("Method", "Mean", "SD", "95 % low", "95 % high", "Each split"),
        tuple(rows),
        f"At the paper's own C. {', '.join(seed for seed in seeds if seed.startswith('split'))}; "
        "whole groups, stratified by class. Codebooks are fitted on the training images of each "
        "split. The interval of the mean allows for training images that the splits share "
        "(corrected resampled t, Nadeau and Bengio 2003); the deviation alone does not.",
        ("text", "percent", "percent", "percent", "percent", "text"),
        tuple(notices),
    ).with_remarks(remarks)

"""Tables of accuracies over repeated random splits, and over several seeds of the auto-encoder."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.tables.evaluations import FIXED, MEAN, OVER_SEEDS, TUNED
from methods.reporting.document import Table, p_value
from methods.reporting.metric_tables import accuracy_remark, percent_with_interval
from methods.reporting.single_label_tables import in_words
from methods.statistics.seeds import SeedDifference

TITLES = {
    "raw": "The maps themselves",
    "trained_filters": "Trained filters",
    "random_filters": "Random filters",
}
"""Titles of what the study of seeds scores, by method."""


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


def difference_sentence(differences: Mapping[str, SeedDifference]) -> str:
    """What the differences between trained filters and others say.

    Args:
        differences: by what the trained filters are compared with, in words.
    """
    if not differences:
        return "The test images are of one patient, so no difference can be told from chance."
    return " ".join(
        f"Against {other} the trained filters are {100 * of.difference:+.2f} percentage points "
        f"(95 % interval {100 * of.low:+.2f} to {100 * of.high:+.2f}, p = {p_value(of.p_value)}); "
        f"a true difference of {100 * of.smallest:.2f} would have been found four times in five."
        for other, of in differences.items()
    )


def seed_table(metrics: Sequence[Mapping[str, Any]], notices: Sequence[str]) -> Table:
    """One row a method and number of training images: the mean over its seeds at either C.

    Args:
        metrics: rows of METRICS of the asset `seed_study`.
        notices: what a reader of the figures must know.
    """
    means = [row for row in metrics if row["metric"] == OVER_SEEDS]
    each: dict[tuple[str, str], list[str]] = {(row["method"], row["subject"]): [] for row in means}
    for row in metrics:
        if row["metric"] == "accuracy" and row["regularisation"] == FIXED:
            each[row["method"], row["subject"]].append(f"{100 * row['value']:.2f}")
    mean_of = {(row["method"], row["subject"], row["regularisation"]): row for row in means}
    rows = [
        (
            TITLES[method],
            subject,
            len(values),
            percent_with_interval(mean_of[method, subject, FIXED]),
            percent_with_interval(mean_of.get((method, subject, TUNED))),
            ", ".join(values),
        )
        for (method, subject), values in each.items()
    ]
    return Table(
        "Accuracy over seeds",
        ("Method", "Trained on", "Seeds", "Mean, %", "Mean at the tuned C, %", "Each seed, %"),
        tuple(rows),
        "Mean over the seeds of the filters, in brackets its 95 % interval, which holds the "
        f"variance of seeds and of test images ({in_words(row['interval'] for row in means)}). "
        "Fewer training images are whole patients, drawn anew for each seed and seen more often, "
        "so that every training sees as many.",
        ("text", "text", "count", "text", "text", "text"),
        tuple(notices),
    ).with_remarks([accuracy_remark(mean_of[method, subject, FIXED]) for method, subject in each])

"""The table of datasets and methods on the summary of all reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_contracts.studies.study import Protocol
from methods.reporting.document import Bar, Kind, Table
from methods.reporting.roc_tables import CONTOURED

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Measure:
    """The figure by which the methods of a protocol are compared over datasets.

    Attributes:
        title: in words, with its unit.
        column: of the table of results; its interval lies in two more.
        low: column of one end of the interval.
        high: column of the other end.
        kind: how it is written.
        note: what a reader needs to know of it.
    """

    title: str
    column: str
    low: str
    high: str
    kind: Kind
    note: str


MEASURES: dict[Protocol, Measure] = {
    "test split": Measure(
        "accuracy on the test images, %",
        "accuracy",
        "ci_low",
        "ci_high",
        "percent",
        "Each SVM has the paper's C, the same for all methods; a report also has each at its own.",
    ),
    "several labels": Measure(
        "all labels right (exact match), % of the test images",
        "exact_match",
        "exact_match_low",
        "exact_match_high",
        "percent",
        "",
    ),
    "cross-validation": Measure(
        "area under the ROC curve of pooled out-of-fold probabilities",
        "pooled_auc",
        "pooled_low",
        "pooled_high",
        "share",
        "Of the images with a contour; 0.5 is chance.",
    ),
}
"""By protocol."""


def bars_of(rows: Sequence[Row], protocol: Protocol, main: str) -> tuple[Bar, ...]:
    """The methods of one dataset with their figures.

    Args:
        rows: of RESULTS, MULTILABEL_RESULTS or ROC_RESULTS, after the protocol.
        protocol: of the study.
        main: name of the study's own method.
    """
    of = MEASURES[protocol]
    factor = 100 if of.kind == "percent" else 1
    shown = [row for row in rows if row.get("images", CONTOURED) == CONTOURED]

    def scaled(value: float | None) -> float | None:
        return None if value is None else factor * value

    return tuple(
        Bar(
            row["title"],
            factor * row[of.column],
            scaled(row[of.low]),
            scaled(row[of.high]),
            row["method"] == main,
        )
        for row in shown
    )


def leaderboard_table(
    title: str,
    protocol: Protocol,
    bars: Mapping[str, Sequence[Bar]],
    markers: Mapping[str, str],
    addresses: Mapping[str, str],
) -> Table:
    """One row a dataset, one column a method; notices of a dataset are a footnote of its row.

    Args:
        title: of the study.
        protocol: of the study.
        bars: the methods of each dataset.
        markers: the notices of each dataset in a few words; "" for none.
        addresses: of the report of each dataset.
    """
    of = MEASURES[protocol]
    texts: list[Kind] = ["text"]
    methods = list(dict.fromkeys(bar.title for row in bars.values() for bar in row))
    by_method = {name: {bar.title: bar for bar in row} for name, row in bars.items()}
    return Table(
        f"{title}: {of.title}",
        ("Dataset", *methods),
        tuple(
            (
                dataset,
                *(
                    found[method].written(of.kind) if method in found else None
                    for method in methods
                ),
            )
            for dataset, found in by_method.items()
        ),
        f"In brackets 95 % intervals. {of.note}".strip(),
        ("link", *(texts * len(methods))),
        links=addresses,
    ).with_remarks([markers[dataset] for dataset in bars])


def trend_table(title: str, protocol: Protocol, runs: Sequence[tuple[str, int, Bar]]) -> Table:
    """The figure of a study's own method on one dataset, run by run.

    Args:
        title: of the table: the dataset and the method.
        protocol: of the study.
        runs: time, number of usable images and figure of each run, the oldest first.
    """
    of = MEASURES[protocol]
    return Table(
        f"{title}: {of.title}",
        ("Report written (UTC)", "Usable images", "Figure"),
        tuple((time, images, bar.written(of.kind)) for time, images, bar in runs),
        "Runs with the settings of the promoted run, in brackets 95 % intervals. Test images may "
        "have been added between two runs, so two rows are no paired comparison.",
        ("text", "count", "text"),
    )

"""Tables of a report of several labels, from the rows of the contracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.studies.study import PaperTable
from data_contracts.tables.multilabel import MEASURES
from methods.reporting.document import Kind, Table
from methods.reporting.metric_tables import cells_of, heading, other_metrics
from methods.reporting.single_label_tables import in_words
from methods.statistics.metrics import SEVERAL_LABELS
from methods.statistics.significance import ONE_GROUP, TOO_FEW, rests_on_too_few

Row = Mapping[str, Any]
DEFINITIONS = (
    "Exact match: all labels of an image are right. Any match: a true label is given, or there is "
    "none and none is given. "
    "Hamming similarity: share of the label decisions that are right. Intervals are bootstrapped "
    "over groups where there are any."
)


def _in_words(measure: str) -> str:
    return measure.replace("_", " ").capitalize()


def _interval(row: Row, measure: str) -> str:
    low, high = row[f"{measure}_low"], row[f"{measure}_high"]
    if low is None:
        return f"{100 * row[measure]:.2f}"
    return f"{100 * row[measure]:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def _remark(row: Row) -> str:
    """What must be said of the intervals of a row, which one patient has none of."""
    if row["exact_match_low"] is None:
        return ONE_GROUP
    return TOO_FEW if rests_on_too_few(row["interval"]) else ""


def multilabel_results_table(rows: Sequence[Row], notices: Sequence[str] = ()) -> Table:
    """Results table with one row a method, from rows of MULTILABEL_RESULTS."""
    others = other_metrics(SEVERAL_LABELS, MEASURES)
    return Table(
        "Results by method",
        (
            "Method",
            *(f"{_in_words(measure)}, %" for measure in MEASURES),
            *map(heading, others),
            "p (Holm)",
            "Empty-empty",
            "Test images",
            "Seconds",
        ),
        tuple(
            (
                row["title"],
                *(_interval(row, measure) for measure in MEASURES),
                *cells_of(row, others),
                row["p_holm"],
                row["both_empty"],
                row["n_test"],
                row["seconds"],
            )
            for row in rows
        ),
        f"{DEFINITIONS} p is from the "
        f"{in_words(row['test'] for row in rows) or 'paired test'} of exact match against the "
        "paper's network, corrected by Holm. "
        "Empty-empty: test images without a label that are given none; each counts as a match.",
        (
            *("text", "text", "text", "text"),
            *(metric.unit for metric in others),
            *("p", "count", "count", "seconds"),
        ),
        tuple(notices),
    ).with_remarks([_remark(row) for row in rows])


def multilabel_paper_table(
    paper: PaperTable, rows: Sequence[Row], notices: Sequence[str] = ()
) -> Table:
    """The paper's three figures beside ours, a column a method."""
    percent: Kind = "percent"
    return Table(
        f"The paper's {paper.place}: {paper.title}",
        ("Measure", "Paper, %", *(f"{row['title']}, %" for row in rows)),
        tuple(
            (row.title, row.percent, *(100 * ours[row.method] for ours in rows))
            for row in paper.rows
        ),
        f"The paper's data: {paper.data}. Unless the data of this report is that, the columns are "
        "not comparable.",
        ("text", percent, *[percent for _ in rows]),
        tuple(notices),
    )

"""What the report of a study of several labels says: its tables and its verdict, from the rows of
the contracts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.studies.study import PaperTable, Study
from data_contracts.tables.multilabel import MEASURES
from methods.reporting.document import SIGNIFICANT, Kind, Table, p_value

Row = Mapping[str, Any]
DEFINITIONS = (
    "Exact match: all labels of an image are right. Any match: a true label is given, or there is none and none is given. "
    "Hamming similarity: share of the label decisions that are right. Intervals are bootstrapped over groups where there are any."
)


def _in_words(measure: str) -> str:
    return measure.replace("_", " ").capitalize()


def _interval(row: Row, measure: str) -> str:
    return f"{100 * row[measure]:.2f} ({100 * row[f'{measure}_low']:.2f} to {100 * row[f'{measure}_high']:.2f})"


def multilabel_results_table(rows: Sequence[Row], notices: Sequence[str] = ()) -> Table:
    """One row a method, from rows of MULTILABEL_RESULTS."""
    return Table(
        "Results by method",
        (
            "Method",
            *(f"{_in_words(measure)}, %" for measure in MEASURES),
            "p (Holm)",
            "Empty-empty",
            "Test images",
            "Seconds",
        ),
        tuple(
            (
                row["title"],
                *(_interval(row, measure) for measure in MEASURES),
                row["p_holm"],
                row["both_empty"],
                row["n_test"],
                row["seconds"],
            )
            for row in rows
        ),
        f"{DEFINITIONS} p is from an exact McNemar test of exact match against the paper's network, corrected by Holm. "
        "Empty-empty: test images without a label that are given none; each counts as a match.",
        ("text", "text", "text", "text", "p", "count", "count", "seconds"),
        tuple(notices),
    )


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
        f"The paper's data: {paper.data}. Unless the data of this report is that, the columns are not comparable.",
        ("text", percent, *[percent for _ in rows]),
        tuple(notices),
    )


def label_table(
    metrics: Sequence[Row], method: str, title: str, notices: Sequence[str] = ()
) -> Table:
    """Figures of each label for one method, from rows of METRICS."""
    found: dict[str, dict[str, float]] = {}
    images: dict[str, int] = {}
    for row in metrics:
        if row["method"] == method and row["metric"] in ("precision", "recall", "f1", "auc"):
            found.setdefault(row["subject"], {})[row["metric"]] = row["value"]
            images[row["subject"]] = row["n"]

    def percent(share: float | None) -> float | None:
        return None if share is None else 100 * share

    return Table(
        f"Each label: {title}",
        ("Label", "Test images", "Precision, %", "Recall, %", "F1, %", "AUC"),
        tuple(
            (
                label,
                images[label],
                *(percent(of.get(name)) for name in ("precision", "recall", "f1")),
                of.get("auc"),
            )
            for label, of in found.items()
        ),
        "Precision: of the images given this label, the share that has it; empty where none is given it. Recall: of those that "
        "have it, the share given it. A label that no test image has is left out.",
        ("text", "count", "percent", "percent", "percent", "share"),
        tuple(notices),
    )


def multilabel_verdict(study: Study, rows: Sequence[Row]) -> str:
    """How the study's own networks stand against the other methods on this data."""
    own = next(row for row in rows if row["method"] == study.main)
    said = [
        f"On this data {study.main_in_words} finds all labels of {100 * own['exact_match']:.2f} % of the test images."
    ]
    for row in rows:
        if row["p_holm"] is None:
            continue
        p = p_value(row["p_holm"])
        figures = f"{row['title']}, {100 * row['exact_match']:.2f} %; p {p if p.startswith('<') else f'= {p}'}"
        if row["p_holm"] >= SIGNIFICANT:
            said.append(
                f"No measurable difference from {figures}, which is not proof that there is none."
            )
        else:
            said.append(
                f"{'Better' if own['exact_match'] > row['exact_match'] else 'Worse'} than {figures}."
            )
    return " ".join([*said, "p: exact McNemar test of exact match, Holm-corrected."])

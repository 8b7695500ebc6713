"""Columns and tables of the registry's metrics, for images of one label and of several."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from data_contracts.studies.study import Protocol
from methods.reporting.document import Cell, Kind, Table
from methods.statistics.metrics import SEVERAL_LABELS, Metric, metrics_of
from methods.statistics.significance import ONE_GROUP, TOO_FEW, rests_on_too_few

Row = Mapping[str, Any]


def heading(metric: Metric) -> str:
    """Heading of a metric's column."""
    return f"{metric.title}, %" if metric.unit == "percent" else metric.title


def _cell(metric: Metric, value: float | None) -> float | None:
    """A value as it stands in a table."""
    return value if value is None or metric.unit == "share" else 100 * value


def other_metrics(protocol: Protocol, shown: Collection[str]) -> tuple[Metric, ...]:
    """Metrics over all test images that a table of results has no column of its own for."""
    return tuple(
        metric
        for metric in metrics_of(protocol)
        if metric.of in ("images", "all") and metric.name not in shown
    )


def overall_rows(metrics: Sequence[Row], method: str) -> dict[str, Row]:
    """Rows of METRICS of a method over all test images, by the name of the metric."""
    return {
        row["metric"]: row for row in metrics if row["method"] == method and row["subject"] == "all"
    }


def figures_of(overall: Mapping[str, Row]) -> str:
    """JSON of the values of :func:`overall_rows`, for the column ``metrics`` of a result."""
    return json.dumps({name: row["value"] for name, row in overall.items()}, sort_keys=True)


def cells_of(row: Row, metrics: Sequence[Metric]) -> tuple[Cell, ...]:
    """Cells of some metrics, from the column ``metrics`` of a row of results.

    A report that was stored before a metric was added has an empty cell.
    """
    values = json.loads(row["metrics"])
    return tuple(_cell(metric, values.get(metric.name)) for metric in metrics)


def label_metrics_table(
    metrics: Sequence[Row],
    method: str,
    title: str,
    protocol: Protocol,
    notices: Sequence[str] = (),
) -> Table:
    """Every metric of each class or label for one method, from rows of METRICS.

    Classes stand in the order of the rows.
    """
    columns = metrics_of(protocol, "labels")
    names = {metric.name for metric in columns}
    found: dict[str, dict[str, Row]] = {}
    for row in metrics:
        if row["method"] == method and row["metric"] in names:
            found.setdefault(row["subject"], {})[row["metric"]] = row
    word = "label" if protocol == SEVERAL_LABELS else "class"
    texts: list[Kind] = ["text"] * len(columns)
    definitions = " ".join(metric.definition for metric in columns)
    return Table(
        f"Each {word}: {title}",
        (word.capitalize(), "Test images", *map(heading, columns)),
        tuple(
            (
                name,
                max(row["n"] for row in of_one.values()),
                *(figure_with_interval(m, of_one.get(m.name)) for m in columns),
            )
            for name, of_one in found.items()
        ),
        definitions
        + " In brackets 95 % intervals over groups. A figure that is not defined is empty; a "
        f"{word} without a test image is left out.",
        ("text", "count", *texts),
        tuple(notices),
    ).with_remarks(
        [
            intervals_remark({m.title: of_one[m.name] for m in columns if m.name in of_one})
            for of_one in found.values()
        ]
    )


def intervals_remark(rows: Mapping[str, Row]) -> str:
    """What must be said of the intervals of a row of a table; "" where that is nothing.

    Args:
        rows: of METRICS, by the heading of their column.
    """
    known = {name: row["interval"] for name, row in rows.items() if row["interval"]}
    few = [name for name, interval in known.items() if rests_on_too_few(interval)]
    if len(few) < len(known):
        return f"{', '.join(few)}: {TOO_FEW}" if few else ""
    return TOO_FEW if few else ""


def accuracy_remark(*rows: Row) -> str:
    """What must be said of the intervals of accuracies, which one patient has none of.

    Args:
        rows: of METRICS or RESULTS, of the same test images.
    """
    if any(row["ci_low"] is None for row in rows):
        return ONE_GROUP
    return TOO_FEW if any(rests_on_too_few(row["interval"]) for row in rows) else ""


def percent_with_interval(row: Row | None) -> str | None:
    """An accuracy of METRICS as one cell: in percent, with its 95 % interval where it has one."""
    if row is None:
        return None
    value = f"{100 * row['value']:.2f}"
    if row["ci_low"] is None:
        return value
    return f"{value} ({100 * row['ci_low']:.2f} to {100 * row['ci_high']:.2f})"


def features_table(
    metrics: Sequence[Row],
    titles: Mapping[str, str],
    protocol: Protocol,
    notices: Sequence[str] = (),
) -> Table:
    """Retrieval and clustering by the features of each method, from rows of METRICS.

    Args:
        metrics: rows of METRICS of one regularisation; methods without such rows are left out.
        titles: title of each method by its name.
        protocol: of the study.
        notices: what a reader must know.
    """
    columns = metrics_of(protocol, "features")
    found = {name: overall_rows(metrics, name) for name in titles}
    shown = [name for name, of in found.items() if any(m.name in of for m in columns)]
    texts: list[Kind] = ["text"] * len(columns)
    return Table(
        "Retrieval and clustering by features",
        ("Method", *map(heading, columns)),
        tuple(
            (titles[name], *(figure_with_interval(m, found[name].get(m.name)) for m in columns))
            for name in shown
        ),
        " ".join(metric.definition for metric in columns)
        + " Images of the query's own group (patient) are no candidates, and queries without a "
        "relevant image of another group do not count. k-means knows no groups, and where there "
        "are few images of a set, NMI is above 0 by chance. In brackets 95 % intervals over the "
        "groups of the queries; that queries share their candidates is not in them. Methods "
        "without features of their own, as ensembles, are left out.",
        ("text", *texts),
        tuple(notices),
    )


def figure_with_interval(metric: Metric, row: Row | None) -> str | None:
    """A row of METRICS as one cell: the figure, and its 95 % interval where it has one."""
    if row is None:
        return None
    factor, digits = (100, 1) if metric.unit == "percent" else (1, 3)
    value = f"{factor * row['value']:.{digits}f}"
    if row["ci_low"] is None:
        return value
    return f"{value} ({factor * row['ci_low']:.{digits}f} to {factor * row['ci_high']:.{digits}f})"

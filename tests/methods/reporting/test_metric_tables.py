"""Columns of the registry: a new metric is in the tables of both kinds of reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from methods.reporting.document import MISSING
from methods.reporting.metric_tables import (
    cells_of,
    figures_of,
    heading,
    label_metrics_table,
    other_metrics,
    overall_rows,
)
from methods.reporting.multilabel_tables import multilabel_results_table
from methods.reporting.single_label_tables import results_table
from methods.statistics import metrics
from methods.statistics.metrics import ONE_LABEL, SEVERAL_LABELS, Answers, Metric, exact_match

RESULT: dict[str, Any] = {
    "method": "cae",
    "title": "CAE",
    "accuracy": 0.5,
    "ci_low": 0.4,
    "ci_high": 0.6,
    "interval": "Jeffreys",
    "macro_f1": 0.25,
    "metrics": json.dumps({"accuracy": 0.5, "error": 0.375}),
    "test": None,
    "p_holm": None,
    "n_test": 8,
    "n_train": 9,
    "classes": 2,
    "seeds": 1,
    "seconds": 1.0,
    "device": "cpu",
    "notices": "",
    "both_empty": 0,
    **{
        f"{name}{part}": 0.5
        for name in ("exact_match", "any_match", "hamming_similarity")
        for part in ("", "_low", "_high")
    },
}


@pytest.fixture
def error_rate(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """A metric that was just added to the registry."""

    def error(answers: Answers) -> Any:
        return ~exact_match(answers)

    entry = Metric("error", "Error", "Error is the share of wrong images.", "images", error)
    monkeypatch.setattr(metrics, "REGISTRY", (*metrics.REGISTRY, entry))
    return entry


@pytest.mark.parametrize("make", [results_table, multilabel_results_table])
def test_a_new_metric_has_a_column_in_both_reports(error_rate: Metric, make: Any) -> None:
    table = make([RESULT])
    column = table.columns.index(heading(error_rate))
    assert table.columns[column] == "Error, %"
    assert table.rows[0][column] == 37.5
    assert table.kinds[column] == "percent"


def test_a_report_from_before_the_metric_has_an_empty_cell(error_rate: Metric) -> None:
    assert other_metrics(ONE_LABEL, ("accuracy", "macro_f1")) == (error_rate,)
    assert cells_of({"metrics": '{"accuracy": 0.5}'}, [error_rate]) == (None,)


def test_figures_are_those_of_all_images_of_the_method() -> None:
    rows = [
        {"method": m, "metric": "accuracy", "subject": s, "value": v}
        for m, s, v in [("a", "all", 0.5), ("a", "x", 0.1), ("b", "all", 0.2)]
    ]
    assert json.loads(figures_of(overall_rows(rows, "a"))) == {"accuracy": 0.5}


def test_classes_and_labels_have_their_own_columns() -> None:
    rows = [
        {"method": "m", "subject": "a", "metric": metric, "value": value, "n": 4}
        for metric, value in [("precision", 0.5), ("recall", 0.25), ("f1", 0.125)]
    ]
    one = label_metrics_table(rows, "m", "M", ONE_LABEL)
    assert one.columns == ("Class", "Test images", "Precision, %", "Recall, %", "F1, %")
    assert one.rows == (("a", 4, 50.0, 25.0, 12.5),)
    several = label_metrics_table(rows, "m", "M", SEVERAL_LABELS)
    assert several.columns[0] == "Label"
    assert several.columns[-1] == "AUC"
    assert several.rows == (("a", 4, 50.0, 25.0, 12.5, None),)


def test_seeds_are_averaged_and_said() -> None:
    rows = [
        {"method": "m", "subject": "a", "metric": "recall", "value": value, "n": 4}
        for value in (0.25, 0.75)
    ]
    table = label_metrics_table(rows, "m", "M", ONE_LABEL)
    assert table.rows[0][3] == 50.0
    assert "Means over 2 seeds." in table.caption


def test_a_label_that_is_never_given_has_no_precision() -> None:
    figures = {"recall": 0.0, "f1": 0.0, "auc": 0.75}
    rows = [
        {"method": "m", "subject": "a", "metric": metric, "value": value, "n": 3}
        for metric, value in figures.items()
    ]
    assert label_metrics_table(rows, "m", "M", "several labels").page_rows == [
        ["a", "3", MISSING, "0.00", "0.00", "0.750"]
    ]

"""Columns of the registry: a new metric is in the tables of both kinds of reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from methods.reporting.document import MISSING
from methods.reporting.metric_tables import (
    accuracy_remark,
    cells_of,
    features_table,
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
    assert other_metrics(ONE_LABEL, ("accuracy", "macro_f1"))[-1] == error_rate
    assert cells_of({"metrics": '{"accuracy": 0.5}'}, [error_rate]) == (None,)


def test_figures_are_those_of_all_images_of_the_method() -> None:
    rows = [
        {"method": m, "metric": "accuracy", "subject": s, "value": v}
        for m, s, v in [("a", "all", 0.5), ("a", "x", 0.1), ("b", "all", 0.2)]
    ]
    assert json.loads(figures_of(overall_rows(rows, "a"))) == {"accuracy": 0.5}


def _row(metric: str, value: float, low: float | None = None) -> dict[str, Any]:
    high = None if low is None else 1.0
    of = {"method": "m", "subject": "a", "metric": metric, "n": 4}
    interval = None if low is None else "group bootstrap"
    return {**of, "value": value, "ci_low": low, "ci_high": high, "interval": interval}


def test_classes_and_labels_have_every_figure_with_its_interval() -> None:
    rows = [_row("precision", 0.5, 0.25), _row("recall", 0.25, 0.125), _row("f1", 0.125)]
    one = label_metrics_table(rows, "m", "M", ONE_LABEL)
    assert one.columns[:2] == ("Class", "Test images")
    shown = dict(zip(one.columns, one.rows[0], strict=True))
    assert shown["Sensitivity, %"] == "25.0 (12.5 to 100.0)"
    assert shown["PPV, %"] == "50.0 (25.0 to 100.0)"
    assert shown["F1, %"] == "12.5"
    assert shown["NPV, %"] is None
    several = label_metrics_table(rows, "m", "M", SEVERAL_LABELS)
    assert several.columns[0] == "Label"
    assert several.columns[-1] == "AUC"
    assert several.columns[2] == "Prevalence, %"
    assert several.rows[0][3:] == one.rows[0][2:]


def test_a_class_of_few_patients_is_marked_and_the_others_are_not() -> None:
    few = {**_row("recall", 0.5, 0.25), "interval": "group bootstrap; too few patients to say"}
    rows = [_row("recall", 0.5, 0.25), {**few, "subject": "b"}]
    table = label_metrics_table(rows, "m", "M", ONE_LABEL)
    assert table.remarks == ("", "too few patients to say")


def test_accuracies_of_one_patient_and_of_few_are_marked() -> None:
    enough, one = _row("accuracy", 0.5, 0.25), _row("accuracy", 0.5)
    few = {**enough, "interval": "Jeffreys; too few patients to say"}
    assert accuracy_remark(enough, enough) == ""
    assert accuracy_remark(enough, few) == "too few patients to say"
    assert accuracy_remark(one) == "no interval from one patient"


def test_a_label_that_is_never_given_has_no_predictive_value() -> None:
    rows = [_row("recall", 0.0), _row("auc", 0.75, 0.5)]
    (cells,) = label_metrics_table(rows, "m", "M", "several labels").page_rows
    assert cells == ["a", "4", MISSING, "0.0", *[MISSING] * 4, "0.750 (0.500 to 1.000)"]


def test_features_have_a_table_of_their_own() -> None:
    def row(method: str, metric: str, value: float) -> dict[str, Any]:
        return {
            "method": method,
            "metric": metric,
            "subject": "all",
            "value": value,
            "ci_low": value - 0.1,
            "ci_high": value + 0.1,
        }

    rows = [
        row("cae", "mean_average_precision", 0.5),
        row("cae", "nmi", 0.25),
        row("ensemble", "accuracy", 0.9),
    ]
    table = features_table(rows, {"cae": "CAE", "ensemble": "Ensemble"}, ONE_LABEL, ("NOTICE",))
    (line,) = table.rows
    cells = dict(zip(table.columns, line, strict=True))
    assert cells["Method"] == "CAE"
    assert cells["mAP, %"] == "50.0 (40.0 to 60.0)"
    assert cells["NMI"] == "0.250 (0.150 to 0.350)"
    assert cells["Precision at 5, %"] is None
    assert table.notices == ("NOTICE",)
    assert "nmi" not in {metric.name for metric in other_metrics(ONE_LABEL, ())}

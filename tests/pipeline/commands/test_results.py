"""Results of a dataset as a DataFrame, as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import InputError
from data_contracts.tables.evaluations import METRICS
from pipeline.commands.results import results_frame, results_json, results_text
from tests.assets.plans import DATASET, new_store, store_record


def _row(method: str, metric: str, value: float, **columns: Any) -> dict[str, Any]:
    row = {"dataset": DATASET, "study": "s", "method": method, "metric": metric, "subject": "all"}
    rest = {
        "regularisation": "fixed",
        "ci_low": None,
        "ci_high": None,
        "n": 8,
        "seed": 0,
        "settings": "{}",
    }
    return {**row, "value": value, **rest, "data_versions": "{}", **columns}


def test_rows_of_every_evaluation_are_one_frame(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with pytest.raises(InputError, match="tiny has no results yet"):
        results_frame(store, DATASET)
    accuracy = _row("b", "accuracy", 0.75, ci_low=0.5, ci_high=0.9)
    store_record(store, "svm_evaluation_b", tables=[(METRICS, [accuracy])])
    store_record(store, "svm_evaluation_a", tables=[(METRICS, [_row("a", "macro_f1", 0.1234567)])])
    store_record(store, "prepared_images")  # has no metrics
    frame = results_frame(store, DATASET)
    assert frame["method"].tolist() == ["a", "b"]
    assert frame.loc[1, "value"] == 0.75
    header, first, second = results_text(frame).splitlines()
    assert header.split() == ["method", "metric", "C", "of", "value", "95", "%", "interval", "n"]
    assert first.split() == ["a", "macro_f1", "fixed", "all", "0.1235", "8"]
    assert second.split() == [
        "b",
        "accuracy",
        "fixed",
        "all",
        "0.7500",
        "0.5000",
        "-",
        "0.9000",
        "8",
    ]
    rows = json.loads(results_json(frame))
    assert rows[0]["ci_low"] is None
    assert (rows[0]["value"], rows[1]["ci_high"]) == (0.1234567, 0.9)

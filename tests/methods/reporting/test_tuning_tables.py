"""The table of both regularisations, by hand."""

from __future__ import annotations

from typing import Any

from methods.reporting.tuning_tables import tuned_accuracies, tuning_table


def _row(method: str, regularisation: str, value: float, settings: str) -> dict[str, Any]:
    return {
        "method": method,
        "metric": "accuracy",
        "subject": "all",
        "regularisation": regularisation,
        "value": value,
        "ci_low": value - 0.1,
        "ci_high": value + 0.1,
        "interval": "Jeffreys; too few patients to say" if method == "mean" else "Jeffreys",
        "settings": settings,
    }


def test_each_method_stands_with_both_of_its_figures() -> None:
    metrics = [
        _row("cae", "fixed", 0.5, '{"c": 1.0}'),
        _row("cae", "tuned", 0.75, '{"c": 64.0}'),
        {**_row("cae", "tuned", 0.1, "{}"), "metric": "macro_f1"},
        {**_row("cae", "tuned", 0.1, "{}"), "subject": "a"},
        _row("mean", "fixed", 0.25, "{}"),
    ]
    tests = [
        {"method_a": "mean", "method_b": "cae", "regularisation": r, "p_holm": p}
        for r, p in (("fixed", 0.5), ("tuned", 0.25))
    ]
    table = tuning_table(metrics, tests, {"mean": "Mean", "cae": "CAE"}, ("NOTE: this",))
    mean, cae = table.rows
    assert mean == ("Mean", None, "25.00 (15.00 to 35.00)", 0.5, None, None, 0.25)
    assert cae[:4] == ("CAE", "1", "50.00 (40.00 to 60.00)", None)
    assert cae[4:] == ("64", "75.00 (65.00 to 85.00)", None)
    assert table.remarks == ("too few patients to say", "")
    assert table.notices == ("NOTE: this",)
    assert tuned_accuracies(metrics) == {"cae": 0.75}

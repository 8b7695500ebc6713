"""Tables of several labels: measures with their intervals, and the paper's figures beside them."""

from __future__ import annotations

from typing import Any

from data_contracts.studies.study import PaperRow, PaperTable
from data_contracts.tables.multilabel import MEASURES
from methods.reporting.multilabel_tables import multilabel_paper_table, multilabel_results_table
from methods.statistics.significance import ONE_GROUP, TOO_FEW

ROW: dict[str, Any] = {
    "method": "lenet",
    "title": "LeNet",
    "exact_match": 0.5,
    "exact_match_low": 0.25,
    "exact_match_high": 0.75,
    "any_match": 0.625,
    "any_match_low": 0.5,
    "any_match_high": 0.875,
    "hamming_similarity": 0.9,
    "hamming_similarity_low": 0.8,
    "hamming_similarity_high": 1.0,
    "interval": "percentile bootstrap over groups",
    "metrics": "{}",
    "test": "sign-flip test",
    "p_holm": None,
    "both_empty": 3,
    "n_test": 8,
    "seconds": 1.5,
}


def test_measures_are_in_percent_with_their_intervals() -> None:
    table = multilabel_results_table(
        [ROW, {**ROW, "title": "SVM", "test": "sign-flip test", "p_holm": 0.25}], ("NOTICE",)
    )
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["Method"] == "LeNet"
    assert row["Exact match, %"] == "50.00 (25.00 to 75.00)"
    assert row["Any match, %"] == "62.50 (50.00 to 87.50)"
    assert row["Hamming similarity, %"] == "90.00 (80.00 to 100.00)"
    assert row["p (Holm)"] is None
    assert [row[name] for name in ("Empty-empty", "Test images", "Seconds")] == [3, 8, 1.5]
    assert dict(zip(table.columns, table.rows[1], strict=True))["p (Holm)"] == 0.25
    assert table.notices == ("NOTICE",)


def test_a_row_of_too_few_patients_says_so() -> None:
    few = {**ROW, "interval": f"{ROW['interval']}; {TOO_FEW}"}
    one = {**ROW, **{f"{m}_{end}": None for m in MEASURES for end in ("low", "high")}}
    for row, remark in ((few, TOO_FEW), (one | {"interval": None}, ONE_GROUP)):
        table = multilabel_results_table([row, {**ROW, "title": "SVM"}])
        assert table.remarks == (remark, "")


def test_the_papers_figures_have_a_column_of_ours_for_each_method() -> None:
    paper = PaperTable(
        "3",
        "Test results",
        "share, %",
        "X-rays",
        (PaperRow("Any", 59.6, "any_match"), PaperRow("Exact", 49.7, "exact_match")),
    )
    table = multilabel_paper_table(paper, [ROW, {**ROW, "title": "SVM", "exact_match": 0.125}])
    assert table.title == "The paper's table 3: Test results"
    assert table.columns == ("Measure", "Paper, %", "LeNet, %", "SVM, %")
    assert table.rows == (("Any", 59.6, 62.5, 62.5), ("Exact", 49.7, 50.0, 12.5))
    assert table.kinds == ("text", "percent", "percent", "percent")

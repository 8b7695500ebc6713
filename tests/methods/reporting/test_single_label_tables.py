"""Tables of one label an image: every figure stands in its row and column, on its scale."""

from __future__ import annotations

import json
from typing import Any

from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.studies.study import Choice, PaperRow, PaperTable
from data_contracts.tables.evaluations import FIXED, TUNED
from methods.reporting.single_label_tables import (
    NOT_RUN,
    REJECTED_SHOWN,
    Estimate,
    choices_table,
    comparison_table,
    label_budget_table,
    label_efficiency_table,
    lineage_rows,
    lineage_table,
    near_duplicates_table,
    notices_of,
    paper_rows,
    paper_table,
    rejected_table,
    results_table,
    settings_table,
)


def test_the_papers_rows_keep_their_order_and_a_missing_one_says_why() -> None:
    rows = paper_rows(AHN2019.tables[0], {"cae": Estimate(80.0, 78.0, 82.0)}, {"cae": "8 filters"})
    assert [row["paper_percent"] for row in rows] == [
        57.08,
        58.79,
        65.17,
        78.61,
        79.21,
        79.60,
        80.75,
        81.33,
        82.48,
        83.14,
    ]
    ours = {row["title"]: row["ours_percent"] for row in rows}
    assert ours["Our method (the CAE)"] == 80.0
    assert all(row["note"] for row in rows)


def test_a_stand_in_takes_the_place_of_a_method_that_could_not_run_and_says_so() -> None:
    found = {"conv5": Estimate(70.0, 60.0, 80.0, n_test=9, seeds=1)}
    rows = paper_rows(
        AHN2019.tables[0], found, {"fc7": "the weights hold no fc layers", "conv5": "UNVERIFIED"}
    )
    row = next(row for row in rows if row["title"] == "Transfer-learned AlexNet + SVM")
    assert row["ours_percent"] == 70.0
    assert row["note"] == "conv5 in place of fc7 (the weights hold no fc layers); UNVERIFIED"
    ran = paper_rows(AHN2019.tables[0], {**found, "fc7": Estimate(75.0)}, {})
    assert (
        next(r for r in ran if r["title"] == "Transfer-learned AlexNet + SVM")["ours_percent"]
        == 75.0
    )


def test_label_efficiency_means_and_spreads_by_hand() -> None:
    rows = [
        {"method": m, "value": v, "settings": json.dumps({"labels": n, "fraction": f})}
        for m, n, f, v in [
            ("cae", 10, 0.1, 0.5),
            ("cae", 10, 0.1, 0.7),
            ("raw", 10, 0.1, 0.25),
            ("cae", 100, 1.0, 0.9),
        ]
    ]
    table = label_efficiency_table(rows, {"cae": "CAE", "raw": "conv5"})
    assert table.columns == ("Labels", "Share, %", "CAE", "conv5")
    assert table.rows == (
        (10, "10", "60.00 ± 14.14", "25.00 (n = 1)"),
        (100, "100", "90.00 (n = 1)", None),
    )


RESULT: dict[str, Any] = {
    "method": "cae",
    "title": "CAE",
    "accuracy": 0.5,
    "ci_low": 0.25,
    "ci_high": 0.75,
    "interval": "Jeffreys",
    "macro_f1": 0.125,
    "metrics": "{}",
    "test": None,
    "p_holm": None,
    "n_test": 8,
    "n_train": 9,
    "classes": 2,
    "seeds": 1,
    "seconds": 1.5,
    "device": "cpu",
    "notices": "",
}


def test_a_result_is_in_percent_and_the_caption_names_the_main_method() -> None:
    table = results_table(
        [RESULT, {**RESULT, "title": "SVM", "test": "exact McNemar test", "p_holm": 0.25}]
    )
    row = dict(zip(table.columns, table.rows[1], strict=True))
    assert row["Method"] == "SVM"
    percents = ("Accuracy, %", "95 % low", "95 % high", "Macro F1, %")
    assert [row[name] for name in percents] == [50.0, 25.0, 75.0, 12.5]
    assert row["p (Holm)"] == 0.25
    counts = ("Test images", "Training images", "Classes", "Seeds")
    assert [row[name] for name in counts] == [8, 9, 2, 1]
    assert "with its 95 % interval (Jeffreys)" in table.caption
    assert table.remarks == ()
    few = results_table([{**RESULT, "interval": "Jeffreys; too few patients to say"}])
    assert few.remarks == ("too few patients to say",)
    assert "p is from the exact McNemar test against “CAE” on the same" in table.caption


def test_a_notice_that_does_not_hold_for_all_names_its_methods() -> None:
    rows = [
        {"title": "A", "notices": "RANDOM WEIGHTS\n3 files left out"},
        {"title": "B", "notices": "3 files left out"},
        {"title": "C", "notices": "3 files left out\nRANDOM WEIGHTS"},
    ]
    assert notices_of(rows) == ("RANDOM WEIGHTS (A, C)", "3 files left out")
    assert notices_of([{"title": "A", "notices": ""}]) == ()


def test_a_pair_of_methods_is_read_by_its_corrected_p_value() -> None:
    pairs = [
        ("a", "b", 9, 1, 0.01, "A is better"),
        ("a", "b", 1, 9, 0.01, "B is better"),
        ("a", "c", 9, 1, 0.05, "no measurable difference"),
    ]
    rows = [
        {
            "method_a": a,
            "method_b": b,
            "regularisation": TUNED,
            "groups": 10,
            "n": 40,
            "only_a_correct": only_a,
            "only_b_correct": only_b,
            "test": "sign-flip test of groups, mid-p",
            "difference": 0.2,
            "ci_low": 0.125,
            "ci_high": None,
            "detectable": 0.25,
            "p_value": 0.001,
            "p_holm": p,
        }
        for a, b, only_a, only_b, p, _ in pairs
    ]
    table = comparison_table(rows, {"a": "CAE", "b": "SVM"}, ("RANDOM WEIGHTS",))
    figures = (20.0, 12.5, None, 25.0, 0.001)
    assert table.rows == (
        ("CAE", "SVM", "tuned", 40, 9, 1, *figures, 0.01, "A is better"),
        ("CAE", "SVM", "tuned", 40, 1, 9, *figures, 0.01, "B is better"),
        ("CAE", "c", "tuned", 40, 9, 1, *figures, 0.05, "no measurable difference"),
    )
    few = comparison_table([{**row, "groups": 9} for row in rows[:1]], {})
    assert few.remarks == ("too few patients to say",)
    assert table.notices == ("RANDOM WEIGHTS",)
    assert table.caption.startswith("Test: sign-flip test of groups, mid-p, two-sided")


def test_few_labels_are_sorted_by_their_number_and_then_as_the_methods() -> None:
    def figure(subject: str, method: str, value: float, c: str = FIXED) -> dict[str, Any]:
        return {
            "metric": "few_label_accuracy",
            "method": method,
            "regularisation": c,
            "subject": subject,
            "value": value,
            "ci_low": value - 0.125,
            "ci_high": value + 0.125,
            "interval": "Jeffreys",
            "settings": json.dumps({"label_repeats": 5}),
        }

    rows = [
        figure("10 labels a class", "raw", 0.75),
        figure("5 labels a class", "raw", 0.5),
        figure("5 labels a class", "raw", 0.75, TUNED),
        figure("10 labels a class", "cae", 0.875),
        figure("10 labels a class", "another", 0.1),
        {**figure("10 labels a class", "cae", 0.2), "metric": "accuracy"},
    ]
    table = label_budget_table(rows, {"cae": "CAE", "raw": "conv5"})
    assert table.rows == (
        ("5 labels a class", "conv5", "50.00 (37.50 to 62.50)", "75.00 (62.50 to 87.50)", 5),
        ("10 labels a class", "CAE", "87.50 (75.00 to 100.00)", None, 5),
        ("10 labels a class", "conv5", "75.00 (62.50 to 87.50)", None, 5),
    )
    assert "its 95 % interval (Jeffreys)" in table.caption


def test_the_papers_table_shows_spread_and_p_only_where_a_row_has_them() -> None:
    rows = (PaperRow("Theirs", 81.5, "cae"), PaperRow("Another", 70.0, "ica"))
    paper = PaperTable("2", "accuracy", "accuracy", "their own", rows)
    plain = paper_table(paper, {"cae": Estimate(80.0, 78.0, 82.0, n_test=9, seeds=1)})
    assert plain.title == "The paper's table 2: accuracy"
    assert "SD" not in plain.columns
    assert "p (Holm)" not in plain.columns
    assert plain.rows == (
        ("Theirs", 81.5, 80.0, 78.0, 82.0, 9, 1, None, None),
        ("Another", 70.0, None, None, None, None, None, None, None),
    )
    assert plain.remarks == ("", NOT_RUN)
    full = paper_table(paper, {"cae": Estimate(80.0, sd=0.5, p_holm=0.25)})
    assert full.rows[0][4:8] == (None, 0.5, 0.25, None)
    assert full.columns[5:7] == ("SD", "p (Holm)")


def test_settings_are_shown_as_they_are_typed() -> None:
    settings: dict[str, dict[str, object]] = {
        "cae_model": {"epochs": 40, "fit_on": "train"},
        "svm": {"label_budgets": [5, 10], "epochs": 4},
    }
    assert settings_table(settings).rows == (
        ("cae_model", "epochs", "40"),
        ("cae_model", "fit_on", "train"),
        ("svm", "label_budgets", "[5, 10]"),
        ("svm", "epochs", "4"),
    )
    choices = (
        Choice("passes", "not given", "100", "epochs, missing"),
        Choice("bias", "zero", "zero", "-"),
    )
    assert choices_table(choices, settings).rows == (
        ("passes", "not given", "100", "epochs, missing", "epochs = 4 / 40"),
        ("bias", "zero", "zero", "", ""),
    )


def test_a_rejected_frame_is_named_and_a_page_shows_two_hundred() -> None:
    rows = [
        {"path": "a.tif", "frame": 3, "status": "rejected", "reason": "too large"},
        {"path": "b.png", "frame": None, "status": "duplicate", "reason": "same bytes as c.png"},
    ]
    table = rejected_table(rows * 150)
    assert table.rows[:2] == (
        ("a.tif, frame 3", "rejected", "too large"),
        ("b.png", "duplicate", "same bytes as c.png"),
    )
    assert len(table.rows) == 300
    assert table.shown == REJECTED_SHOWN == 200


def test_near_duplicates_say_how_a_picture_was_changed() -> None:
    pair = {"first_path": "a", "second_path": "b", "likeness": 0.98765}
    straight = {"mirrored": False, "quarter_turns": 0, "inverted": False}
    changed = {"mirrored": True, "quarter_turns": 3, "inverted": True}
    table = near_duplicates_table([pair | straight, pair | changed], ("Training", "Test"))
    assert table.rows == (
        ("a", "b", "0.988", "none of these"),
        ("a", "b", "0.988", "mirrored, quarter turn back, inverted"),
    )


def record(asset: str, version: str, **inputs: str) -> OutputRecord:
    return OutputRecord(
        asset=asset,
        dataset="chest",
        fingerprint=f"f-{asset}",
        data_version=version,
        code_version="2",
        settings={},
        inputs=inputs,
        rows=7,
        run_id="run",
        created="2026-11-30T00:00:00+00:00",
        seconds=1.5,
        peak_memory_bytes=2_500_000,
    )


def test_lineage_names_inputs_and_a_stale_output_is_a_notice() -> None:
    records = [record("images", "v2"), record("codes", "v9", weights="w1", images="v1")]
    table = lineage_table(records)
    assert table.rows[1] == (
        *("codes", "v9", "2", "images v1, weights w1", 7, 1.5, 2.5, "cpu"),
        *("2026-11-30T00:00:00+00:00", "f-codes", "run"),
    )
    assert table.rows[0][3] is None
    assert table.notices == (
        "STALE: codes was made from images v1, which is now v2; run the study again",
    )
    fresh = [records[0], record("codes", "v9", images="v2")]
    assert lineage_table(fresh).notices == ()
    stored = lineage_rows(records)[1]
    assert stored["inputs"] == '{"images": "v1", "weights": "w1"}'
    assert stored["peak_memory_mb"] == 2.5

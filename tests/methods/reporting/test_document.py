"""Rendering: what is hostile is shown, not run; what is a figure stays one."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from data_contracts.studies.ahn2019 import AHN2019
from methods.reporting import document
from methods.reporting.document import Figure, Report, Section, Table
from methods.reporting.metric_tables import label_metrics_table
from methods.reporting.single_label_tables import (
    Estimate,
    label_efficiency_table,
    paper_rows,
)
from methods.reporting.verdicts import single_label_verdict
from tests.page_rules import EVIL as EVILS
from tests.page_rules import dangers_of

EVIL = "<script>alert(1)</script>"


def page(*tables: Table, notices: tuple[str, ...] = ()) -> Report:
    figure = Figure(EVIL, b"\x89PNG")
    return Report(
        f"title {EVIL}",
        f"subtitle {EVIL}",
        notices,
        (Section(f"heading {EVIL}", (EVIL,), tables, (figure,)),),
        EVIL,
    )


def table(*rows: tuple[Any, ...]) -> Table:
    return Table(
        f"t {EVIL}",
        ("name", "value"),
        rows,
        f"caption {EVIL}",
        ("text", "percent"),
        ("RANDOM WEIGHTS",),
    )


def test_html_runs_nothing_and_loads_nothing() -> None:
    html = document.to_html(page(table((EVIL, 81.334)), notices=("RANDOM WEIGHTS",)))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "Content-Security-Policy" in html
    assert 'src="http' not in html
    assert '<td class="percent">81.33</td>' in html, "a table is a table, not its source"
    assert "&lt;td" not in html
    assert "RANDOM WEIGHTS" in html
    assert "data:image/png;base64,iVBORw==" in html or "data:image/png;base64,iVBORw" in html


@pytest.mark.parametrize("evil", EVILS)
def test_no_text_of_a_report_becomes_markup(evil: str) -> None:
    tables = (
        Table(evil, (evil, "value"), ((evil, 1.0),), evil, ("code", "percent"), (evil,), shown=0),
        Table(evil, (evil,), (), evil),
    )
    section = Section(evil, (evil, evil), tables, (Figure(evil, b"\x89PNG"),))
    report = Report(evil, evil, (evil,), (section, section), evil)
    assert dangers_of(document.to_html(report)) == []
    markdown = document.to_markdown(report, lambda figure: "picture.png")
    assert "<" not in markdown.replace("](<picture.png>)", "")


@pytest.mark.parametrize("cell", ["  =1+1", '"=1+1', "=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_csv_cells_that_a_spreadsheet_would_run_are_text(cell: str) -> None:
    written = list(csv.reader(io.StringIO(document.to_csv(table((cell, -5.0))))))
    row = next(line for line in written if line[1].startswith("-5"))
    assert row[0].startswith("'")
    assert float(row[1]) == -5.0


def test_latex_and_markdown_specials_are_escaped() -> None:
    latex = document.to_latex(table(("50 % of $x_1 & #2", 1.0)))
    assert r"50 \% of \$x\_1 \& \#2" in latex
    expected = r"""\begin{table}[htbp]
\centering
\caption{T.}
\begin{tabular}{lr}
\toprule
A{[}1{]} & SD \\
\midrule
{[}a{]} & 1.00 \\
\bottomrule
\end{tabular}
\end{table}
"""
    kinds: tuple[document.Kind, ...] = ("text", "percent")
    whole = document.Table("T", ("A[1]", "SD"), (("[a]", 1.0),), kinds=kinds)
    assert document.to_latex(whole) == expected
    twice = document.Table("T", ("SD", "SD"), (), kinds=kinds)
    assert "SD & SD" in document.to_latex(twice)
    markdown = document.markdown_table(table(("a|b <i>", 1.0)))
    assert r"a\|b" in markdown
    assert "<i>" not in markdown


def result(method: str, accuracy: float, notices: str = "") -> dict[str, Any]:
    return {
        "method": method,
        "title": method,
        "accuracy": accuracy,
        "notices": notices,
        "p_holm": None,
    }


def pair(a: str, b: str, only_a: int, only_b: int, p: float) -> dict[str, Any]:
    return {
        "method_a": a,
        "method_b": b,
        "n": 100,
        "only_a_correct": only_a,
        "only_b_correct": only_b,
        "p_value": p,
        "p_holm": p,
    }


@pytest.mark.parametrize(
    ("conv5", "random", "lead"),
    [
        ((1, 20, 0.001), (1, 20, 0.001), "beats raw conv5 features and random filters"),
        ((5, 6, 0.9), (5, 6, 0.9), "beats neither raw conv5 features nor random filters"),
        ((1, 20, 0.001), (5, 6, 0.9), "beats raw conv5 features but not random filters"),
        ((20, 1, 0.001), (20, 1, 0.001), "beats neither"),
    ],
)
def test_the_verdict_claims_what_the_test_shows(conv5: Any, random: Any, lead: str) -> None:
    results = [result("conv5", 0.8), result("random_cae", 0.8), result("cae", 0.9)]
    text = single_label_verdict(
        AHN2019, results, [pair("conv5", "cae", *conv5), pair("random_cae", "cae", *random)]
    )
    assert lead in text
    assert ("Worse than" in text) == (conv5[0] > conv5[1] and conv5[2] < 0.05)


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


def test_the_verdict_sorts_the_other_methods_and_counts_from_the_right_side() -> None:
    results = [result(name, 0.8) for name in ("conv5", "random_cae", "ica", "ssae", "fc7")] + [
        result("cae", 0.9)
    ]
    known = [pair("conv5", "cae", 1, 20, 0.001), pair("random_cae", "cae", 1, 20, 0.001)]
    others = [
        pair("ica", "cae", 2, 30, 0.001),
        pair("ssae", "cae", 30, 2, 0.001),
        pair("fc7", "cae", 5, 6, 0.9),
    ]
    text = single_label_verdict(AHN2019, results, [*known, *others])
    assert "Better than: ica. Worse than: ssae. No measurable difference from: fc7." in text
    mirrored = [
        {
            **o,
            "method_a": "cae",
            "method_b": o["method_a"],
            "only_a_correct": o["only_b_correct"],
            "only_b_correct": o["only_a_correct"],
        }
        for o in others
    ]
    assert single_label_verdict(AHN2019, results, [*known, *mirrored]) == text


def test_under_another_backbone_the_reference_is_its_own_features() -> None:
    results = [result(name, 0.8) for name in ("conv5", "backbone", "random_cae")] + [
        result("cae", 0.9)
    ]
    pairs = [pair(name, "cae", 1, 20, 0.001) for name in ("backbone", "random_cae")] + [
        pair("conv5", "cae", 20, 1, 0.001)
    ]
    text = single_label_verdict(AHN2019, results, pairs)
    assert "beats the backbone's own features and random filters" in text
    assert "Worse than: conv5." in text


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
        (10, "10", "60.00 ± 14.14", "25.00 ± 0.00"),
        (100, "100", "90.00 ± 0.00", None),
    )


def test_a_label_that_is_never_given_has_no_precision() -> None:
    figures = {"recall": 0.0, "f1": 0.0, "auc": 0.75}
    rows = [
        {"method": "m", "subject": "a", "metric": metric, "value": value, "n": 3}
        for metric, value in figures.items()
    ]
    assert label_metrics_table(rows, "m", "M", "several labels").page_rows == [
        ["a", "3", document.MISSING, "0.00", "0.00", "0.750"]
    ]

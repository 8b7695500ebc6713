"""Rendering: what is hostile is shown, not run; what is a figure stays one."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from methods.reporting import document
from methods.reporting.document import Figure, Report, Section, Table
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


def test_a_folded_table_shows_its_title_alone_on_a_page_and_all_of_it_elsewhere() -> None:
    long = Table("Long", ("A",), (("x",), ("y",)))
    pages = {
        folded: Report("r", "", (), (Section("s", (), (long.fold() if folded else long,)),), "")
        for folded in (True, False)
    }
    folded, plain = (document.to_html(pages[is_folded]) for is_folded in (True, False))
    assert "<summary>Long (2 rows)</summary>" in folded
    assert "<details" not in plain
    assert folded.count("<td") == plain.count("<td") == 2
    texts = [document.to_markdown(report, lambda f: "") for report in pages.values()]
    assert texts[0] == texts[1]


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

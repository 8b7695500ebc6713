"""Rendering: what is hostile is shown, not run; what is a figure stays one."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from methods.reporting import document
from methods.reporting.document import Bar, Figure, Opening, Report, Section, Table
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
        ("RANDOM WEIGHTS: no file",),
    )


def test_html_runs_nothing_and_loads_nothing() -> None:
    html = document.to_html(page(table((EVIL, 81.334)), notices=("RANDOM WEIGHTS: no file",)))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "Content-Security-Policy" in html
    assert 'src="http' not in html
    assert '<td class="percent">81.33</td>' in html, "a table is a table, not its source"
    assert "&lt;td" not in html
    assert html.count("no file") == 1, "a notice is said once on a page"
    assert '<p class="flag alarm"><a href="#notices">Random weights</a></p>' in html
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
        Table(evil, (evil,), ((evil,),)).with_remarks([evil]),
    )
    section = Section(evil, (evil, evil), tables, (Figure(evil, b"\x89PNG"),))
    opening = Opening(evil, evil, evil, (Bar(evil, 50.0, 40.0, 60.0),), "percent", ((evil, evil),))
    report = Report(evil, evil, (evil,), (section, section), evil, opening)
    assert dangers_of(document.to_html(report, has_files=True)) == []
    markdown = document.to_markdown(report, lambda figure: "picture.png")
    assert "<" not in markdown.replace("](<picture.png>)", "")


@pytest.mark.parametrize("cell", ["  =1+1", '"=1+1', "=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_csv_cells_that_a_spreadsheet_would_run_are_text(cell: str) -> None:
    written = list(csv.reader(io.StringIO(document.to_csv(table((cell, -5.0))))))
    row = next(line for line in written if line[1].startswith("-5"))
    assert row[0].startswith("'")
    assert float(row[1]) == -5.0


def test_markdown_specials_are_escaped() -> None:
    markdown = document.markdown_table(table(("a|b <i>", 1.0)))
    assert r"a\|b" in markdown
    assert "<i>" not in markdown


def test_a_remark_is_one_footnote_on_a_page_and_a_column_of_the_csv_file() -> None:
    rows = (("x", 1.0), ("y", 2.0), ("z", 3.0))
    remarked = Table("T", ("A", "B"), rows, kinds=("text", "percent")).with_remarks(
        ["few", "", "few"]
    )
    html = document.to_html(Report("r", "", (), (Section("s", (), (remarked,)),), ""))
    assert html.count('<p class="note foot"><sup>a</sup> few</p>') == 1
    assert '<td class="text">x<sup>a</sup></td>' in html
    assert '<td class="text">y</td>' in html
    written = list(csv.reader(io.StringIO(document.to_csv(remarked))))
    assert [row[2] for row in written] == ["Remark", "few", "", "few"]
    with pytest.raises(ValueError, match="3 rows, 1 remarks"):
        remarked.with_remarks(["few"])


def test_footnotes_go_on_after_z() -> None:
    assert [document.footnote_mark(n) for n in (0, 25, 26, 51, 52)] == ["a", "z", "aa", "az", "ba"]


def test_notices_are_grouped_with_the_heaviest_first_and_lead_to_their_section() -> None:
    report = Report(
        "r",
        "",
        ("FILES LEFT OUT: 3", "NOT CONVERGED: A", "RANDOM WEIGHTS: no file", "of no kind"),
        (
            Section("Result", (), (Table("T", ("A",), (("x",),), notices=("NOT CONVERGED: B",)),)),
            Section("The stages"),
        ),
        "",
    )
    groups = report.boxed
    assert [group.kind.words for group in groups] == [
        "RANDOM WEIGHTS",
        "NOT CONVERGED",
        "",
        "FILES LEFT OUT",
    ]
    assert groups[0].link == "#section-2"
    assert groups[1].details == ("A", "B")
    assert report.marker == "Random weights, 3 more notices"
    assert document.counted_by_weight(groups) == (
        "1 for which the figures mean nothing, 3 to keep in mind, 1 good to know"
    )
    html = document.to_html(report)
    assert html.index("no file") < html.index("<details>") < html.index("of no kind")


def test_the_axis_of_the_first_screen_holds_every_interval() -> None:
    bars = (Bar("a", 93.1, 85.6, 97.8), Bar("b", 71.0))
    opening = Opening("q", "a", "m", bars, "percent")
    assert opening.scale == (70.0, 100.0)
    assert opening.place(85.0) == 50.0
    assert (opening.end(0), opening.end(1)) == ("70", "100")
    assert [bar.written(opening.kind) for bar in bars] == ["93.1 (85.6 to 97.8)", "71.0"]
    assert Opening("q", "a", "m", (Bar("a", 100.0),), "percent").scale == (100.0, 110.0)


def test_every_table_has_its_files_beside_it_and_in_the_list_of_the_folder() -> None:
    report = page(table(("x", 1.0)))
    assert 'href="table-01.tex"' in document.to_html(report, has_files=True)
    assert "table-01" not in document.to_html(report)
    index = document.to_index(report, {"picture-01.png": "What is seen"})
    assert "[JSON](<table-01.json>)" in index
    assert "[What is seen](<picture-01.png>)" in index
    assert json.loads(document.to_json(report.tables["table-01"]))["rows"] == [["x", 1.0]]

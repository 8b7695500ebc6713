"""Tables in LaTeX: what is special is escaped, and what is wide stands in panels that fit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from methods.reporting.document import Kind, Table
from methods.reporting.latex import PANEL_CHARACTERS, panels, to_latex

LATEX = shutil.which("pdflatex")
WIDE = Table(
    "Results & more",
    ("Method", *(f"Measure {number}, %" for number in range(12))),
    tuple((f"Method {name} of {'many words ' * 6}", *[98.76] * 12) for name in "ABC"),
    "Shares of 100 %.",
    ("text", *["percent"] * 12),
    ("RANDOM WEIGHTS: no file",),
).with_remarks(["rests on few_patients", "", ""])


def test_a_table_has_a_plain_caption_a_label_and_the_width_of_the_column() -> None:
    kinds: tuple[Kind, ...] = ("text", "percent")
    latex = to_latex(Table("T", ("A[1]", "SD"), (("[a]", 1.0),), kinds=kinds), "demo/x_1")
    assert (
        latex
        == r"""\begin{table}[htbp]
\centering
\footnotesize
\setlength{\tabcolsep}{3pt}
\caption{T}
\label{tab:demo-x-1}
\begin{tabularx}{\linewidth}{>{\hsize=1.000\hsize\raggedright\arraybackslash}X>{\hsize=1.000\hsize\raggedleft\arraybackslash}X}
\toprule
A{[}1{]} & SD \\
\midrule
{[}a{]} & 1.00 \\
\bottomrule
\end{tabularx}
\end{table}
"""
    )


def test_specials_are_escaped() -> None:
    latex = to_latex(Table("t", ("name",), (("50 % of $x_1 & #2 --x",),)), "t")
    assert r"50 \% of \$x\_1 \& \#2 -{}-x" in latex


def test_a_wide_table_stands_in_panels_that_each_begin_with_the_first_column() -> None:
    found = panels(WIDE)
    assert len(found) > 1
    assert all(panel[0] == 0 for panel in found)
    assert [i for panel in found for i in panel[1:]] == list(range(1, 13))
    assert to_latex(WIDE, "w").count(r"\begin{tabularx}") == len(found)
    assert PANEL_CHARACTERS < 60, "a footnote-sized line of 84 mm has no more"


def test_notes_stand_below_and_notices_are_named() -> None:
    latex = to_latex(WIDE, "w")
    assert r"\caption{Results \& more}" in latex
    assert r"\textsuperscript{a} rests on few\_patients." in latex
    assert "Notices: Random weights." in latex


def test_a_table_without_rows_or_columns_is_written() -> None:
    assert r"\midrule" in to_latex(Table("T", ("SD", "SD"), ()), "t")
    assert "tabularx" not in to_latex(Table("T", (), ()), "t")


@pytest.mark.skipif(LATEX is None, reason="there is no pdflatex on this machine")
def test_latex_reads_the_tables_and_none_is_wider_than_the_column(tmp_path: Path) -> None:
    document = "\n".join(
        [
            r"\documentclass[twocolumn]{article}",
            r"\usepackage{booktabs, tabularx}",
            r"\begin{document}",
            to_latex(WIDE, "wide"),
            to_latex(Table("[x] * ~ ^ \\ { }", ("a", "b"), (("1 < 2 | 3", "–"),)), "odd"),
            r"\end{document}",
        ]
    )
    (tmp_path / "t.tex").write_text(document)
    assert LATEX is not None
    subprocess.run(
        [LATEX, "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    assert "Overfull \\hbox" not in (tmp_path / "t.log").read_text()

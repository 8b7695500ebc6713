r"""Tables in LaTeX that fit one column of a paper.

The document needs ``\usepackage{booktabs, tabularx}``. A table with more columns than fit stands in
several panels below each other, each with the first column.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from methods.reporting.document import TEXTS, Table
from methods.reporting.page_template import visible

PANEL_CHARACTERS = 52
"""Characters of a footnote-sized line that fit a column of 84 mm, the gaps of a table included."""
GAP_CHARACTERS = 2
"""Characters that the gap between two columns takes."""
CELL_CHARACTERS = 20
"""Characters after which a cell of text is wrapped."""

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",  # after the \\ of the row before, a bare one opens an optional argument
        "]": "{]}",
        "*": "{*}",  # likewise
        "–": r"\textendash{}",
    }
)


def to_latex(table: Table, label: str) -> str:
    r"""A ``table`` float: title as its caption, one tabularx a panel, notes below.

    Args:
        table: what to write.
        label: text after ``tab:`` by which a document refers to it; other characters than letters,
            digits and hyphens become hyphens.
    """
    slug = re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-")
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{latex_text(table.title)}}}",
        rf"\label{{tab:{slug}}}",
    ]
    for number, columns in enumerate(panels(table)):
        lines += [r"\par\medskip"] if number else []
        lines += _panel(table, columns)
    notes = [
        *(
            rf"\textsuperscript{{{mark}}} {latex_text(said)}."
            for said, mark in table.footnotes.items()
        ),
        *(latex_text(text) for text in (table.rest, table.caption) if text),
        *([f"Notices: {latex_text(table.marker)}."] if table.notices else []),
    ]
    if notes:
        lines += [r"\par\smallskip", r"\raggedright\scriptsize", " ".join(notes)]
    return "\n".join([*lines, r"\end{table}", ""])


def panels(table: Table) -> list[list[int]]:
    """The columns of each panel: the first of the table, then as many as fit."""
    widths = _widths(table)
    if not widths:
        return []
    found: list[list[int]] = [[0]]
    for column in range(1, len(widths)):
        taken = sum(widths[i] + GAP_CHARACTERS for i in found[-1])
        if len(found[-1]) > 1 and taken + widths[column] > PANEL_CHARACTERS:
            found.append([0])
        found[-1].append(column)
    return found


def _widths(table: Table) -> list[int]:
    """Characters that each column needs: the longest number, or text until it is wrapped."""
    rows = table.page_rows
    widths = []
    for i, (heading, kind) in enumerate(zip(table.columns, table.column_kinds, strict=True)):
        longest = max((len(row[i]) for row in rows), default=1)
        word = max(map(len, heading.split()), default=1)
        cell = min(longest, CELL_CHARACTERS) if kind in TEXTS else longest
        widths.append(max(cell, word))
    return widths


def _panel(table: Table, columns: Sequence[int]) -> list[str]:
    """One tabularx of some columns, as wide as the column of the paper."""
    widths = [_widths(table)[i] for i in columns]
    layout = "".join(
        rf">{{\hsize={len(widths) * width / sum(widths):.3f}\hsize"
        rf"\{'raggedright' if table.column_kinds[i] in TEXTS else 'raggedleft'}\arraybackslash}}X"
        for i, width in zip(columns, widths, strict=True)
    )
    lines = [
        rf"\begin{{tabularx}}{{\linewidth}}{{{layout}}}",
        r"\toprule",
        " & ".join(latex_text(table.columns[i]) for i in columns) + r" \\",
        r"\midrule",
    ]
    for row, mark in zip(table.page_rows, table.marks, strict=True):
        cells = [latex_text(row[i]) for i in columns]
        if mark:
            cells[0] += rf"\textsuperscript{{{mark}}}"
        lines.append(" & ".join(cells) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabularx}"]


def latex_text(text: str) -> str:
    """``text`` with nothing in it that LaTeX reads as markup; two hyphens stay two."""
    return re.sub(r"-(?=-)", "-{}", visible(text).translate(_LATEX))

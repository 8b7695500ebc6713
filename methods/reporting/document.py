"""The report as a document, and the formats that it is written in.

Data in, strings out; nothing is read or stored here. A :class:`Report` holds plain text only. Each
renderer escapes every text for its own format, so a class called ``<script>`` or ``=cmd()`` is
shown and never run. The tables themselves are put together in
:mod:`methods.reporting.single_label_tables`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote

from methods.reporting.page_template import page_template, visible
from methods.reporting.spreadsheet_text import csv_text

Cell = str | float | int | None
Kind = Literal["text", "code", "link", "count", "percent", "share", "p", "seconds", "megabytes"]
"""What a column holds, which decides how a number is written.

Prose, an identifier, text that leads elsewhere, a whole number, a number of 0 to 100, one of -1 to
1 (an AUC, a difference), a p value, seconds, 10^6 bytes.
"""

TEXTS: tuple[Kind, ...] = ("text", "code", "link")
"""Kinds that stand on the left."""
MISSING = "–"
"""Text in the place of a figure that does not exist."""
CSV_DIGITS = 10
"""Significant digits of a number in a CSV file."""
SIGNIFICANT = 0.05
"""Level below which a p value, corrected for the number of comparisons, counts as a difference."""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: shown over the table.
        columns: headings.
        rows: one tuple of cells a row, as long as ``columns``.
        caption: what a reader needs to understand the figures; shown under the table.
        kinds: what each column holds; empty where all are text.
        notices: what every reader of a figure must know ("RANDOM WEIGHTS"); goes with the table
            into every format.
        shown: at most so many rows on a page; None for all. A CSV file always has all rows.
        links: address of a cell of a column of links, by its text; others are plain text.
        folded: whether an HTML page shows its title alone until a reader opens it; paper and other
            formats have all of it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    kinds: tuple[Kind, ...] = ()
    notices: tuple[str, ...] = ()
    shown: int | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    folded: bool = False

    def __post_init__(self) -> None:
        if self.kinds and len(self.kinds) != len(self.columns):
            raise ValueError(f"{self.title}: {len(self.columns)} columns, {len(self.kinds)} kinds")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.title}: row {number} has {len(row)} cells, {len(self.columns)} columns"
                )

    def fold(self) -> Table:
        """The table with its title alone to be seen at first."""
        return replace(self, folded=True)

    def with_remarks(self, remarks: Sequence[str]) -> Table:
        """The table with a last column of remarks, one a row; without it where there is none."""
        if not any(remarks):
            return self
        return replace(
            self,
            columns=(*self.columns, "Remark"),
            rows=tuple((*row, remark) for row, remark in zip(self.rows, remarks, strict=True)),
            kinds=(*self.column_kinds, "text"),
        )

    @property
    def column_kinds(self) -> tuple[Kind, ...]:
        """The kind of each column."""
        return self.kinds or tuple("text" for _ in self.columns)

    @property
    def page_rows(self) -> list[list[str]]:
        """The rows that go on a page, formatted but not escaped."""
        return [
            [show(c, k) for c, k in zip(row, self.column_kinds, strict=True)]
            for row in self.rows[: self.shown]
        ]

    @property
    def rest(self) -> str:
        """How many rows the page leaves out; empty where it has all."""
        left_out = len(self.rows) - len(self.rows[: self.shown])
        return (
            f"{left_out:,} more of {len(self.rows):,} rows are in the CSV file." if left_out else ""
        )


@dataclass(frozen=True)
class Figure:
    """A picture: ``png`` is the whole file, ``title`` stands under it."""

    title: str
    png: bytes

    @property
    def data_uri(self) -> str:
        """The picture as text that a page can hold."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Section:
    """A part of the report.

    The first paragraph of the first section is set large: it is the answer.
    """

    heading: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True)
class Report:
    """The whole report.

    Attributes:
        title: of the page.
        subtitle: dataset, study, date.
        notices: what must be read before any figure; a red banner.
        sections: in order.
        footer: versions, licence of the data, what the report is not.
    """

    title: str
    subtitle: str
    notices: tuple[str, ...]
    sections: tuple[Section, ...]
    footer: str


def show(value: Cell, kind: Kind = "text") -> str:
    """Write a cell for people."""
    if value is None:
        return MISSING
    if isinstance(value, str):
        return visible(value)
    match kind:
        case "percent":
            return f"{value:.2f}"
        case "share":
            return f"{value:.3f}"
        case "p":
            return p_value(value)
        case "count":
            return f"{value:,}"
        case "seconds" | "megabytes":
            return (
                f"{value:,.0f}"
                if abs(value) >= 100
                else f"{value:.1f}"
                if abs(value) >= 10
                else f"{value:.2f}"
            )
        case "text" | "code" | "link":
            return str(value)


def p_value(p: float) -> str:
    """``p`` with three decimals, or that it is below 0.001."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


# HTML
# -------------------------------------------------------------------------------------------------


def to_html(report: Report) -> str:
    """Write one self-contained page: no script, no outside resource, pictures inside."""
    return page_template("report_page").render(report=report)


# Markdown
# -------------------------------------------------------------------------------------------------


def to_markdown(report: Report, picture_path: Callable[[Figure], str]) -> str:
    """Write GitHub-flavoured Markdown.

    Args:
        report: what to write.
        picture_path: where a picture lies, relative to the Markdown file, with /.
    """
    blocks = [f"# {markdown_text(report.title)}", markdown_text(report.subtitle)]
    blocks += [f"> **{markdown_text(notice)}**" for notice in report.notices]
    for section in report.sections:
        blocks.append(f"## {markdown_text(section.heading)}")
        blocks += [markdown_text(paragraph) for paragraph in section.paragraphs]
        blocks += [markdown_table(table) for table in section.tables]
        blocks += [
            f"![{markdown_text(f.title)}](<{quote(picture_path(f))}>)" for f in section.figures
        ]
    blocks += ["---", markdown_text(report.footer)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def markdown_table(table: Table) -> str:
    """Write one table in Markdown: title, notices, table, caption."""
    rules = ["---" if kind in TEXTS else "--:" for kind in table.column_kinds]
    lines = [_pipes(markdown_text(c) for c in table.columns), _pipes(rules)]
    lines += [
        _pipes(_markdown_cell(table, c, k) for c, k in zip(row, table.column_kinds, strict=True))
        for row in table.page_rows
    ]
    notices = " ".join(f"**{markdown_text(notice)}**" for notice in table.notices)
    parts = [
        f"**{markdown_text(table.title)}**",
        notices,
        "\n".join(lines),
        table.rest,
        markdown_text(table.caption),
    ]
    return "\n\n".join(part for part in parts if part)


def _markdown_cell(table: Table, cell: str, kind: Kind) -> str:
    """A cell of a table in Markdown; of a column of links one that leads there."""
    text = markdown_text(cell)
    if kind != "link" or cell not in table.links:
        return text
    return f"[{text}](<{quote(table.links[cell], safe='/#')}>)"


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def markdown_text(text: str) -> str:
    """``text`` with nothing in it that Markdown or HTML reads as markup."""
    plain = visible(text).strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    plain = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", plain)
    plain = re.sub(r"^([#+-])", r"\\\1", plain)
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", plain)


# LaTeX
# -------------------------------------------------------------------------------------------------

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
_WRAP_AT = 40
"""Longest cell, in characters, of a LaTeX column without a fixed width."""


def to_latex(table: Table) -> str:
    r"""A ``table`` float with booktabs rules; the document needs ``\usepackage{booktabs}``."""
    import pandas as pd  # half a second, which only a report pays

    long = [
        max((len(row[i]) for row in table.page_rows), default=0) > _WRAP_AT
        for i in range(len(table.columns))
    ]
    width = f"p{{{0.8 / max(1, sum(long)):.2f}\\linewidth}}"
    layout = "".join(
        "r" if kind not in TEXTS else width if wrap else "l"
        for kind, wrap in zip(table.column_kinds, long, strict=True)
    )
    notices = "".join(rf"\textbf{{{_latex(notice)}}} " for notice in table.notices)
    text = " ".join(_latex(t) for t in (f"{table.title}.", table.rest, table.caption) if t)
    frame = pd.DataFrame([[_latex(cell) for cell in row] for row in table.page_rows])
    frame = frame.reindex(columns=range(len(table.columns)))  # a table may have no row
    frame.columns = pd.Index([_latex(column) for column in table.columns])
    latex: str = frame.style.hide(axis="index").to_latex(
        column_format=layout,
        hrules=True,
        position="htbp",
        position_float="centering",
        caption=notices + text,
    )
    return latex


def _latex(text: str) -> str:
    return re.sub(r"-(?=-)", "-{}", visible(text).translate(_LATEX))  # two hyphens stay two


# CSV
# -------------------------------------------------------------------------------------------------


def to_csv(table: Table) -> str:
    """Write all rows, numbers with ten significant digits (see :func:`csv_text`).

    The table's notices are a last column, so that they stay with the figures.
    """
    if not table.notices:
        return csv_text(table.columns, table.rows, CSV_DIGITS)
    notices = " ".join(table.notices)
    return csv_text(
        (*table.columns, "Notices"), [(*row, notices) for row in table.rows], CSV_DIGITS
    )

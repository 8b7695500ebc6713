"""The report as a document, and the formats that it is written in.

Data in, strings out; nothing is read or stored here. A :class:`Report` holds plain text only. Each
renderer escapes every text for its own format, so a class called ``<script>`` or ``=cmd()`` is
shown and never run. The tables themselves are put together in
:mod:`methods.reporting.single_label_tables`.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote

from data_contracts.records.notices import NoticeKind, Weight, alarms, by_kind, marker
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
        remarks: what must be said of each row, "" for nothing; empty where there is none. Footnotes
            on a page, a last column of a CSV file.
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
    remarks: tuple[str, ...] = ()

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
        """The table with remarks, one a row; without them where there is none."""
        if len(remarks) != len(self.rows):
            raise ValueError(f"{self.title}: {len(self.rows)} rows, {len(remarks)} remarks")
        return replace(self, remarks=tuple(remarks)) if any(remarks) else self

    @property
    def footnotes(self) -> dict[str, str]:
        """Mark of each remark on the rows of a page (a, b, ...), each remark once."""
        said = dict.fromkeys(remark for remark in self.remarks[: self.shown] if remark)
        return {remark: footnote_mark(number) for number, remark in enumerate(said)}

    @property
    def marks(self) -> list[str]:
        """Mark of the footnote of each row on a page; "" where it has none."""
        marks = self.footnotes
        remarks = self.remarks or ("",) * len(self.rows)
        return [marks.get(remark, "") for remark in remarks[: self.shown]]

    @property
    def marker(self) -> str:
        """What stands over the table in place of its notices."""
        return marker(self.notices)

    @property
    def is_meaningless(self) -> bool:
        """Whether a notice says that the figures mean nothing."""
        return bool(alarms(self.notices))

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
    """A picture: ``png`` is the file, ``title`` stands under it, ``alt`` says what is seen."""

    title: str
    png: bytes
    alt: str = ""

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
class Bar:
    """One method in the picture of the first screen, with its 95 % interval where it has one."""

    title: str
    value: float
    low: float | None = None
    high: float | None = None
    is_main: bool = False

    def written(self, kind: Kind) -> str:
        """The value with its interval, for people: percent with one decimal, shares with three."""
        digits = 1 if kind == "percent" else 3
        value = f"{self.value:.{digits}f}"
        if self.low is None or self.high is None:
            return value
        return f"{value} ({self.low:.{digits}f} to {self.high:.{digits}f})"


@dataclass(frozen=True)
class Opening:
    """The first screen of a report.

    Attributes:
        question: what the study asks.
        answer: in one sentence.
        measure: what the bars show, with its unit.
        bars: the methods, in the unit of the measure.
        kind: how their numbers are written.
        figures: the numbers that matter, each with its name.
    """

    question: str
    answer: str
    measure: str
    bars: tuple[Bar, ...]
    kind: Kind
    figures: tuple[tuple[str, str], ...] = ()

    @property
    def scale(self) -> tuple[float, float]:
        """Ends of the axis, which holds every interval: tenths of the whole range of the unit."""
        step = 10.0 if self.kind == "percent" else 0.1
        ends = [e for b in self.bars for e in (b.value, b.low, b.high) if e is not None]
        low, high = math.floor(min(ends) / step), math.ceil(max(ends) / step)
        return low * step, max(high, low + 1) * step

    def place(self, value: float) -> float:
        """Where a value stands on the axis, in percent of its length."""
        low, high = self.scale
        return round(100 * (value - low) / (high - low), 2)

    def end(self, which: int) -> str:
        """The first or the last number of the axis."""
        return f"{self.scale[which]:.{0 if self.kind == 'percent' else 1}f}"


@dataclass(frozen=True)
class Report:
    """The whole report.

    Attributes:
        title: of the page.
        subtitle: dataset, study, date.
        notices: what must be read before any figure; one box on the first screen.
        sections: in order.
        footer: versions, licence of the data, what the report is not.
        opening: question, answer and picture of the first screen; None for a page without one.
    """

    title: str
    subtitle: str
    notices: tuple[str, ...]
    sections: tuple[Section, ...]
    footer: str
    opening: Opening | None = None

    @property
    def tables(self) -> dict[str, Table]:
        """Every table, by the stem of the names of its files."""
        every = [table for section in self.sections for table in section.tables]
        return {f"table-{number:02d}": table for number, table in enumerate(every, 1)}

    @property
    def marker(self) -> str:
        """What stands on a small screen over the figures, in place of the notices."""
        return marker(self._every_notice)

    @property
    def _every_notice(self) -> list[str]:
        """The notices of the report and of its tables."""
        return [*self.notices, *(n for table in self.tables.values() for n in table.notices)]

    @property
    def boxed(self) -> tuple[NoticeGroup, ...]:
        """The notices of the report and of its tables by kind, the heaviest first."""
        anchors = {
            section.heading: f"#section-{number}" for number, section in enumerate(self.sections, 1)
        }
        return tuple(
            NoticeGroup(kind, tuple(n.detail for n in found), anchors.get(kind.section, ""))
            for kind, found in by_kind(self._every_notice).items()
        )


@dataclass(frozen=True)
class NoticeGroup:
    """The notices of one kind in the box of the first screen.

    Attributes:
        kind: of them.
        details: what each says.
        link: address of the section where they matter; "" where the page has none.
    """

    kind: NoticeKind
    details: tuple[str, ...]
    link: str

    @property
    def colour(self) -> str:
        """Name of the weight, which the page gives its colour."""
        return self.kind.weight.name.lower()

    @property
    def remedy(self) -> str:
        """What can be done."""
        return self.kind.remedy


def counted_by_weight(groups: Sequence[NoticeGroup]) -> str:
    """How many notices of each weight there are, in words."""
    words = {
        Weight.ALARM: "for which the figures mean nothing",
        Weight.CAUTION: "to keep in mind",
        Weight.REMARK: "good to know",
    }
    counts = {w: sum(len(g.details) for g in groups if g.kind.weight is w) for w in words}
    return ", ".join(f"{counts[weight]} {text}" for weight, text in words.items() if counts[weight])


def footnote_mark(number: int) -> str:
    """The mark of a footnote: a to z, then aa and so on."""
    letter = chr(ord("a") + number % 26)
    return letter if number < 26 else footnote_mark(number // 26 - 1) + letter


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


def to_html(report: Report, has_files: bool = False) -> str:
    """Write one self-contained page: no script, no outside resource, pictures inside.

    Args:
        report: what to write.
        has_files: whether the files of the tables lie beside the page, which then leads to them.
    """
    stems = {id(table): stem for stem, table in report.tables.items()} if has_files else {}
    return page_template("report_page").render(
        report=report,
        groups=report.boxed,
        counts=counted_by_weight,
        stem_of=lambda table: stems.get(id(table), ""),
    )


# Markdown
# -------------------------------------------------------------------------------------------------


def to_markdown(report: Report, picture_path: Callable[[Figure], str]) -> str:
    """Write GitHub-flavoured Markdown.

    Args:
        report: what to write.
        picture_path: where a picture lies, relative to the Markdown file, with /.
    """
    blocks = [f"# {markdown_text(report.title)}", markdown_text(report.subtitle)]
    if report.opening:
        blocks += _markdown_opening(report.opening)
    for group in report.boxed:
        said = " / ".join(detail for detail in group.details if detail)
        text = f"> **{markdown_text(group.kind.title)}** {markdown_text(said)}"
        blocks.append(f"{text} {markdown_text(group.remedy)}".rstrip())
    for section in report.sections:
        blocks.append(f"## {markdown_text(section.heading)}")
        blocks += [markdown_text(paragraph) for paragraph in section.paragraphs]
        blocks += [markdown_table(table) for table in section.tables]
        blocks += [
            f"![{markdown_text(f.alt or f.title)}](<{quote(picture_path(f))}>)"
            for f in section.figures
        ]
    blocks += ["---", markdown_text(report.footer)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _markdown_opening(opening: Opening) -> list[str]:
    """Question, answer, numbers and methods."""
    lines = [_pipes(("Method", markdown_text(opening.measure))), _pipes(("---", "---"))]
    lines += [
        _pipes((markdown_text(bar.title), markdown_text(bar.written(opening.kind))))
        for bar in opening.bars
    ]
    figures = ", ".join(f"{name} {value}" for name, value in opening.figures)
    return [
        f"**{markdown_text(opening.question)}**",
        markdown_text(opening.answer),
        "\n".join(lines),
        markdown_text(figures),
    ]


def markdown_table(table: Table) -> str:
    """Write one table in Markdown: title, marker of its notices, table, footnotes, caption."""
    rules = ["---" if kind in TEXTS else "--:" for kind in table.column_kinds]
    lines = [_pipes(markdown_text(c) for c in table.columns), _pipes(rules)]
    for row, mark in zip(table.page_rows, table.marks, strict=True):
        cells = [_markdown_cell(table, c, k) for c, k in zip(row, table.column_kinds, strict=True)]
        lines.append(_pipes([f"{cells[0]} ({mark})" if mark else cells[0], *cells[1:]]))
    parts = [
        f"**{markdown_text(table.title)}**",
        f"Notices: {markdown_text(table.marker)}." if table.notices else "",
        "\n".join(lines),
        table.rest,
        *(f"({mark}) {markdown_text(remark)}" for remark, mark in table.footnotes.items()),
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


def to_index(report: Report, pictures: Mapping[str, str]) -> str:
    """Write in Markdown what lies in the folder of a report, with titles.

    Args:
        report: the report.
        pictures: title of each picture, by the name of its file.
    """
    lines = [
        f"# {markdown_text(report.title)}",
        "",
        "- [The report](<report.html>), also as [Markdown](<report.md>)",
    ]
    lines += [
        f"- {markdown_text(table.title)}: [CSV](<{stem}.csv>), [LaTeX](<{stem}.tex>), "
        f"[JSON](<{stem}.json>)"
        for stem, table in report.tables.items()
    ]
    lines += [f"- [{markdown_text(title)}](<{name}>)" for name, title in pictures.items()]
    return "\n".join([*lines, ""])


# CSV
# -------------------------------------------------------------------------------------------------


def to_csv(table: Table) -> str:
    """Write all rows, numbers with ten significant digits (see :func:`csv_text`).

    Remarks and the table's notices are last columns, so that they stay with the figures.
    """
    columns, rows = table.columns, table.rows
    if table.remarks:
        columns = (*columns, "Remark")
        rows = tuple((*row, remark) for row, remark in zip(rows, table.remarks, strict=True))
    if table.notices:
        notices = " ".join(table.notices)
        columns, rows = (*columns, "Notices"), tuple((*row, notices) for row in rows)
    return csv_text(columns, rows, CSV_DIGITS)


# JSON
# -------------------------------------------------------------------------------------------------


def to_json(table: Table) -> str:
    """Write all rows with their columns, remarks, caption and notices; numbers are not rounded."""
    return json.dumps(
        {
            "title": table.title,
            "columns": table.columns,
            "kinds": table.column_kinds,
            "rows": table.rows,
            "remarks": table.remarks,
            "caption": table.caption,
            "notices": table.notices,
        },
        ensure_ascii=False,
        indent=1,
    )

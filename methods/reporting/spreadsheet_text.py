"""CSV files that people open in a spreadsheet, which runs what begins like a formula."""

from __future__ import annotations

import math
import numbers
import unicodedata
from collections.abc import Sequence

import numpy as np

_FORMULA_STARTS = tuple("=+-@＝＋－＠﹦﹢﹣﹫")
"""Characters with which a spreadsheet formula begins.

Some spreadsheets fold the full-width and small forms to the plain ones.
"""
_LINE_STARTS = ("\t", "\r", "\n")
_QUOTES = "'\"‘’“”＇＂"
_JOINERS = "\u200c\u200d"
"""Invisible characters that are kept, as several scripts are spelt with them."""


def spreadsheet_safe(cell: str) -> str:
    """``cell`` as text that a spreadsheet shows and does not run (OWASP, "CSV Injection").

    Characters that do not show (controls, line and direction marks) are removed; a lone surrogate,
    which no file can hold, is spelt out. What then begins like a formula, also behind spaces and
    quotes, or began with a tab or a line end, gets a single quote in front, unless it has one.
    ``spreadsheet_safe(spreadsheet_safe(x)) == spreadsheet_safe(x)``.
    """
    text = "".join(_shown(c) for c in cell)
    if text.startswith("'") or not (cell.startswith(_LINE_STARTS) or _is_formula(text)):
        return text
    return f"'{text}"


def _shown(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp":
            return ""
        case "Cf":
            return character if character in _JOINERS else ""
        case "Cs":
            return character.encode("unicode_escape").decode("ascii")
        case _:
            return character


def _is_formula(text: str) -> bool:
    start = next(
        (i for i, c in enumerate(text) if not (c.isspace() or c in _QUOTES or c in _JOINERS)),
        len(text),
    )
    return text.startswith(_FORMULA_STARTS, start)


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]], digits: int) -> str:
    r"""RFC 4180: a header row, ``\r\n`` line ends, quotes where needed.

    Texts go through :func:`spreadsheet_safe`; numbers do not, so a negative one stays a number.
    None and not-a-number are empty; a bool is ``true`` or ``false``.

    Args:
        columns: headings.
        rows: one sequence of cells a row, as long as ``columns``; numpy scalars count as numbers.
        digits: significant digits of a float.

    Raises:
        ValueError: a row is longer or shorter than ``columns``.
    """
    import pandas as pd  # half a second, which only a report or predictions pay

    for number, row in enumerate(rows):
        if len(row) != len(columns):
            raise ValueError(f"row {number} has {len(row)} cells, {len(columns)} columns")
    frame = pd.DataFrame(
        [[_csv_cell(cell, digits) for cell in row] for row in rows],
        columns=[spreadsheet_safe(column) for column in columns],
        dtype=object,
    )
    text: str = frame.to_csv(index=False, lineterminator="\r\n")
    return text


def _csv_cell(cell: object, digits: int) -> str:
    """A cell as text; see :func:`csv_text`."""
    if cell is None:
        return ""
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, numbers.Integral):
        return str(int(cell))
    if isinstance(cell, numbers.Real):
        # adding 0.0 turns -0.0 into 0.0
        return "" if math.isnan(cell) else format(float(cell) + 0.0, f".{digits}g")
    return spreadsheet_safe(str(cell))

"""Text in a CSV file that people open in a spreadsheet, which runs what begins like a formula."""

from __future__ import annotations

import unicodedata

_FORMULA_STARTS = tuple("=+-@＝＋－＠﹦﹢﹣﹫")
"""A spreadsheet runs a text that begins so; the full-width and small forms are folded to the plain
ones by some."""
_LINE_STARTS = ("\t", "\r", "\n")
_QUOTES = "'\"‘’“”＇＂"
_JOINERS = "\u200c\u200d"
"""Several scripts are spelt with them."""


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

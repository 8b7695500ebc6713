"""Row rules that several table contracts share.

A rule sees only tables whose columns, types and nullability are already those of the schema.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.tables.contract import RowRule

ROUNDING = 1e-9
"""Largest excess of a value over a bound of its interval that counts as rounding."""


def rows_where(columns: str | Sequence[str], is_bad: Callable[..., bool]) -> RowRule:
    """Return the rule that is broken by the rows for which ``is_bad`` is true.

    Args:
        columns: one column, or several.
        is_bad: takes the values of one row in these columns, in their order.
    """
    names = (columns,) if isinstance(columns, str) else tuple(columns)

    def offenders(table: pa.Table) -> list[int]:
        cells = zip(*(table[name].to_pylist() for name in names), strict=True)
        return [row for row, values in enumerate(cells) if is_bad(*values)]

    return offenders


def rows_that(is_bad: Callable[[pa.Table], pa.ChunkedArray]) -> RowRule:
    """Return the rule that is broken by the rows for which ``is_bad`` gives true.

    It is :func:`rows_where` for tables of millions of rows: ``is_bad`` takes the whole table, and
    an empty cell of its answer is no break.
    """

    def offenders(table: pa.Table) -> list[int]:
        positions: list[int] = pc.indices_nonzero(is_bad(table).fill_null(False)).to_pylist()
        return positions

    return offenders


def within(value: float | None, low: float, high: float) -> bool:
    """Whether a value is empty, or lies between two bounds that belong to the range."""
    return value is None or low <= value <= high


def not_unit(*values: float | None) -> bool:
    """Whether a share, a probability or a p value lies outside 0..1; an empty one does not."""
    return not all(within(value, 0, 1) for value in values)


def outside_interval(value: float | None, low: float | None, high: float | None) -> bool:
    """Whether an interval lacks a bound, has no value, or does not contain its value."""
    if low is None and high is None:
        return False
    if value is None or low is None or high is None:
        return True
    return not low - ROUNDING <= value <= high + ROUNDING


def not_figures(text: str) -> bool:
    """Whether a text is not a JSON object of finite numbers by name."""
    try:
        figures = json.loads(text)
    except ValueError:
        return True
    return not isinstance(figures, dict) or not all(
        isinstance(value, int | float) and math.isfinite(value) for value in figures.values()
    )


def outside_root(path: str) -> bool:
    """Whether a path with slashes is absolute, empty, or could lead out of its root."""
    parts = PurePosixPath(path)
    return parts.is_absolute() or ".." in parts.parts or not parts.parts


def not_a_measure(value: float) -> bool:
    """Whether a duration or a size is negative, infinite or not a number."""
    return not 0 <= value < math.inf

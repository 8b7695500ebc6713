"""Rules that several tables share, on values at and beyond their bounds."""

import math

import pyarrow as pa
import pytest

from data_contracts.tables.rules import (
    ROUNDING,
    not_a_measure,
    not_unit,
    outside_interval,
    outside_root,
    rows_where,
    within,
)

NAN = math.nan


def test_a_rule_gives_the_rows_that_break_it() -> None:
    table = pa.table({"a": [1, 2, 3], "b": [3, 2, 1]})
    assert rows_where("a", lambda a: a > 1)(table) == [1, 2]
    assert rows_where(("a", "b"), lambda a, b: a > b)(table) == [2]
    assert rows_where(["b", "a"], lambda b, a: a > b)(table) == [2]


@pytest.mark.parametrize(("value", "inside"), [(None, True), (0, True), (1, True), (NAN, False)])
def test_bounds_belong_to_a_range_and_an_empty_value_is_in_it(value: float, inside: bool) -> None:
    assert within(value, 0, 1) == inside


@pytest.mark.parametrize("values", [(-1e-12,), (1.0000001,), (NAN,), (0.5, 2), (math.inf,)])
def test_no_share(values: tuple[float, ...]) -> None:
    assert not_unit(*values)


def test_shares() -> None:
    assert not not_unit(0, 1, 0.5, None)


@pytest.mark.parametrize(
    ("value", "low", "high", "bad"),
    [
        (0.5, 0.4, 0.6, False),
        (0.5, None, None, False),
        (None, None, None, False),
        (0.5, 0.5 + ROUNDING / 2, 0.6, False),
        (0.5, 0.5 + 2 * ROUNDING, 0.6, True),
        (0.5, 0.3, 0.5 - 2 * ROUNDING, True),
        (0.5, None, 0.6, True),
        (0.5, 0.4, None, True),
        (None, 0.4, 0.6, True),
        (NAN, 0.4, 0.6, True),
    ],
)
def test_an_interval_has_both_bounds_and_contains_its_value(
    value: float | None, low: float | None, high: float | None, bad: bool
) -> None:
    assert outside_interval(value, low, high) == bad


@pytest.mark.parametrize("path", ["/x", "../x", "x/../../y", "", "."])
def test_paths_that_could_leave_their_root(path: str) -> None:
    assert outside_root(path)


@pytest.mark.parametrize("path", ["x", "x/y.png", "..x/y", "x/./y"])
def test_paths_under_their_root(path: str) -> None:
    assert not outside_root(path)


def test_a_duration_is_finite_and_not_negative() -> None:
    values = (0.0, 1.5, -1.0, math.inf, NAN)
    assert [not_a_measure(value) for value in values] == [False, False, True, True, True]

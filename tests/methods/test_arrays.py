"""Shared operations on arrays: refusals before any product."""

from __future__ import annotations

import numpy as np
import pytest

from methods import arrays
from methods.arrays import MAX_MAGNITUDE, finite_float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_finite_values_come_back_as_contiguous_float32(dtype: type) -> None:
    values = np.arange(12).reshape(3, 4).T.astype(dtype)
    single = finite_float32(values, "a test needs numbers")
    assert single.dtype == np.float32
    assert single.flags.c_contiguous
    np.testing.assert_array_equal(single, values)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1.01 * MAX_MAGNITUDE])
@pytest.mark.parametrize("position", [0, 3, 6])
def test_a_value_that_cannot_be_squared_is_refused_wherever_it_is(
    bad: float, position: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "_VALUES_AT_ONCE", 2)
    values = np.zeros(7)
    values[position] = bad
    with pytest.raises(ValueError, match=r"^a test needs numbers, some value is NaN, infinite or"):
        finite_float32(values, "a test needs numbers")


def test_the_limit_and_an_empty_array_are_accepted() -> None:
    assert finite_float32(np.array([MAX_MAGNITUDE]), "x")[0] == np.float32(MAX_MAGNITUDE)
    assert finite_float32(np.empty((0, 3)), "x").shape == (0, 3)

"""Shared operations on arrays: refusals before any product, rows of unit length, Gram matrices."""

from __future__ import annotations

import numpy as np
import pytest

from methods import arrays
from methods.arrays import MAX_MAGNITUDE, finite_float32, gram_matrix, l2_normalise


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


def test_l2_normalise_by_hand() -> None:
    result = l2_normalise(np.array([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [[0.6, 0, 0, 0.8], [0, 0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("rows_at_once", [1, 4, 5, 10, 11, 100])
def test_gram_by_blocks_equals_direct(rows_at_once: int) -> None:
    features = np.random.default_rng(0).normal(size=(11, 3, 2, 2)).astype(np.float32)
    features[7] = 0
    gram = gram_matrix(lambda start, stop: features[start:stop], 11, rows_at_once)
    rows = features.reshape(11, -1).astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)
    assert gram.dtype == np.float32
    np.testing.assert_allclose(gram, rows @ rows.T, atol=1e-6)
    np.testing.assert_array_equal(gram, gram.T)


def test_unit_length_of_no_rows_and_of_a_row_of_zeros() -> None:
    assert l2_normalise(np.empty((0, 2, 3), np.float16)).shape == (0, 6)
    np.testing.assert_array_equal(
        l2_normalise(np.array([[3, 4], [0, 0]])), np.array([[0.6, 0.8], [0, 0]], np.float32)
    )

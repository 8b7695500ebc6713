"""Order of the rows in training."""

from __future__ import annotations

import numpy as np
import pytest

from methods.training import batching
from methods.training.batching import READ_BLOCK, SHUFFLE_BUFFER, epoch_batches


@pytest.mark.parametrize(
    "n_rows", [1, 2, READ_BLOCK - 1, READ_BLOCK, READ_BLOCK + 1, 1000, SHUFFLE_BUFFER + 17]
)
@pytest.mark.parametrize("batch_size", [1, 7, 512])
def test_each_row_once_and_ragged_end(n_rows: int, batch_size: int) -> None:
    batches = list(epoch_batches(n_rows, batch_size, seed=0, epoch=0))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(n_rows))
    sizes = [len(batch) for batch in batches]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert sizes[-1] == (n_rows % batch_size or batch_size)
    assert all(batch.dtype == np.int64 for batch in batches)


def test_no_rows_no_batches() -> None:
    assert list(epoch_batches(0, 8, seed=0, epoch=0)) == []


def _order(seed: int, epoch: int, n_rows: int = 500, batch_size: int = 64) -> np.ndarray:
    return np.concatenate(list(epoch_batches(n_rows, batch_size, seed, epoch)))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    np.testing.assert_array_equal(_order(1, 2), _order(1, 2))
    assert not np.array_equal(_order(1, 2), _order(1, 3))
    assert not np.array_equal(_order(1, 2), _order(2, 2))
    assert not np.array_equal(_order(1, 2), _order(2, 1))
    assert not np.array_equal(_order(1, 2), np.arange(500))


def test_an_abandoned_epoch_does_not_change_the_next() -> None:
    expected = _order(0, 1)
    next(epoch_batches(500, 64, 0, 0))
    np.testing.assert_array_equal(_order(0, 1), expected)


def test_rows_of_a_buffer_are_whole_blocks_of_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a buffer of 64 rows, 64 consecutive visits touch exactly 4 blocks of 16: disk reads stay
    # nearly sequential.
    monkeypatch.setattr(batching, "SHUFFLE_BUFFER", 64)
    order = _order(0, 0, n_rows=640)
    for start in range(0, 640, 64):
        assert len(np.unique(order[start : start + 64] // READ_BLOCK)) == 4
    assert len(np.unique(order[:64] // 64)) > 1  # and the blocks themselves are permuted


def test_neighbours_are_parted_within_a_buffer() -> None:
    order = _order(0, 0, n_rows=2000)
    assert (np.diff(order) == 1).mean() < 0.02  # 15 of 16 where only the blocks are permuted

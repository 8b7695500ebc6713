"""The order in which stored rows are visited during training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

READ_BLOCK = 16
"""Number of neighbouring rows that are visited together: those of an HDF5 chunk of a shard."""

SHUFFLE_BUFFER = 4096
"""Number of rows among which the order is random; bounds the memory that a reader needs."""


def epoch_batches(
    n_rows: int, batch_size: int, seed: int, epoch: int
) -> Iterator[NDArray[np.int64]]:
    """Yield the positions ``0 .. n_rows - 1``, each once, in batches.

    Blocks of neighbouring rows are permuted, then the rows are permuted within a buffer of blocks,
    so that disk reads stay nearly sequential. Rows are stored in the order of their content hashes,
    which is itself random, so neighbours are no likelier to share a class. The order depends on
    (n_rows, batch_size, seed, epoch) alone.

    Yields:
        (m,) int64 positions, m at most ``batch_size``.
    """
    rng = np.random.default_rng([seed, epoch])
    starts = rng.permutation(np.arange(0, n_rows, READ_BLOCK))
    order = (
        np.concatenate([np.arange(s, min(s + READ_BLOCK, n_rows)) for s in starts])
        if n_rows
        else np.empty(0, np.int64)
    )
    for start in range(0, n_rows, SHUFFLE_BUFFER):
        rng.shuffle(order[start : start + SHUFFLE_BUFFER])
    for start in range(0, n_rows, batch_size):
        yield order[start : start + batch_size]

"""Plain summaries of maps of features, as baselines that learn nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_contracts.studies.study import MapPool
from methods.arrays import Float32

CELLS = 3
"""Cells along each side of "max 3 x 3"."""


def pool_maps(maps: NDArray[np.floating], pool: MapPool) -> Float32:
    """Pool maps (n, c, h, w) to rows.

    Args:
        maps: features at h x w places.
        pool: "max 3 x 3" takes the largest response in each cell of a grid, (n, 9 c): the row of a
            code of the auto-encoder with as many filters; "mean" the average over all places (n,
            c).

    Raises:
        ValueError: no maps, or fewer places along a side than cells.
    """
    if maps.ndim != 4 or (pool != "mean" and min(maps.shape[2:]) < CELLS):
        raise ValueError(f"maps of at least {CELLS} x {CELLS} places are needed, got {maps.shape}")
    if pool == "mean":
        return np.asarray(maps.mean(axis=(2, 3), dtype=np.float64), np.float32)
    starts = [np.arange(CELLS) * side // CELLS for side in maps.shape[2:]]
    columns = np.maximum.reduceat(maps, starts[1], axis=3)
    cells = np.maximum.reduceat(columns, starts[0], axis=2)
    return np.asarray(cells.reshape(len(maps), -1), np.float32)


def pooled_width(row_shape: tuple[int, ...], pool: MapPool) -> int:
    """Count the numbers of a pooled row of maps of ``row_shape`` (c, h, w)."""
    return row_shape[0] * (1 if pool == "mean" else CELLS**2)

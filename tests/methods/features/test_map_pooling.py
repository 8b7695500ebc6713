"""Pooled maps: against torch, and by hand where cells are of unequal size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from methods.features.map_pooling import pool_maps, pooled_width


def test_six_by_six_maps_pool_as_torch_pools_them() -> None:
    maps = np.random.default_rng(0).normal(size=(5, 4, 6, 6)).astype(np.float32)
    largest = torch.nn.functional.max_pool2d(torch.from_numpy(maps), 2)
    np.testing.assert_array_equal(pool_maps(maps, "max 3 x 3"), largest.flatten(1).numpy())
    mean = torch.from_numpy(maps).mean(dim=(2, 3))
    np.testing.assert_allclose(pool_maps(maps, "mean"), mean.numpy(), rtol=1e-5, atol=1e-6)
    assert pooled_width((4, 6, 6), "max 3 x 3") == 36
    assert pooled_width((4, 6, 6), "mean") == 4


def test_every_place_is_in_one_cell() -> None:
    maps = np.arange(20.0).reshape(1, 1, 4, 5)
    # rows 0 | 1 | 2, 3 and columns 0 | 1, 2 | 3, 4
    assert pool_maps(maps, "max 3 x 3").tolist() == [[0, 2, 4, 5, 7, 9, 15, 17, 19]]


@pytest.mark.parametrize("shape", [(2, 4), (1, 3, 2, 6)])
def test_what_is_no_map_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="maps of at least 3 x 3"):
        pool_maps(np.zeros(shape), "max 3 x 3")

"""Toy networks and images for the plans of features, whose outputs are worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from assets.features.frozen_networks import FrozenNetwork
from resources.weights import Weights


class DoubledMean(nn.Module):
    """Twice the mean of each colour of (n, H, W, 3) uint8 images, (n, 3, 2, 2) or (n, 3)."""

    def __init__(self, maps: bool) -> None:
        super().__init__()
        self._maps = maps

    def forward(self, images: Tensor) -> Tensor:
        colours = 2 * images.to(torch.float32).mean(dim=(1, 2))
        return colours[:, :, None, None].expand(-1, -1, 2, 2) if self._maps else colours


def toy_network(name: str, layer: str, maps: bool = False, **fields: Any) -> FrozenNetwork:
    """A frozen network that doubles the mean colour."""
    shape = (3, 2, 2) if maps else (3,)
    weights = Weights({}, "0" * 64, "a file", "TOY WEIGHTS")
    return FrozenNetwork(name, layer, weights, DoubledMean(maps), shape, **fields)


def flat_images(values: Sequence[int], side: int = 4) -> np.ndarray:
    """Images of one grey each, (n, side, side, 3) uint8."""
    greys = np.array(values, np.uint8)[:, None, None, None]
    return np.broadcast_to(greys, (len(values), side, side, 3)).copy()


class FlatOriginals:
    """Stands for Originals: image k of the ids that are asked for is of grey 10 (k + 1)."""

    def __init__(self, *arguments: object) -> None:
        del arguments

    def squares(self, image_ids: Sequence[str], settings: Any, show: Any = None) -> np.ndarray:
        del show
        return flat_images([10 * (k + 1) for k in range(len(image_ids))], settings.size)

"""Benchmark of VGG-19's local descriptors against torchvision's layers run eagerly.

They are those of block5_pool at the three scales of Farhat and Sicre.

    .venv/bin/python -m benchmarks.descriptors

The peer is torchvision's VGG-19 up to the layer, on contiguous float32 batches that are normalised
already, in inference mode. Ours starts from uint8 pixels and normalises them, as the stage does.
Weights are random. Five minutes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from benchmarks.measure import Row, against, main
from data_contracts.studies.farhat_vlad import SCALES, side_of_scale
from methods.features.frozen_network import IMAGENET_MEAN, IMAGENET_STD, extract
from methods.features.networks import LayerTap, network_input, new_network

NAME, LAYER, MODULES = "vgg19", "block5_pool", 37
IMAGES, AT_ONCE = {0: 32, 1: 8, 2: 4}, 4
GOAL = 1.0


def rows() -> list[Row]:
    """Return one row for each scale."""
    ours = LayerTap(new_network(NAME), LAYER, replace(network_input(NAME), size=None), name=NAME)
    layers = list(new_network(NAME).get_submodule("features").children())[:MODULES]
    plain = nn.Sequential(*layers).to(memory_format=torch.contiguous_format)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    measured = []
    for scale in SCALES:
        side, number = side_of_scale(scale), IMAGES[scale]
        pictures = np.random.default_rng(0).integers(0, 256, (number, side, side, 3), np.uint8)
        normalised = (
            (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - mean) / std
        ).contiguous()
        batches = [normalised[first : first + AT_ONCE] for first in range(0, number, AT_ONCE)]

        def eager(batches: list[torch.Tensor] = batches) -> np.ndarray:
            with torch.inference_mode():
                return np.concatenate([plain(batch).numpy() for batch in batches])

        def extracted(images: np.ndarray = pictures) -> np.ndarray:
            return extract(ours, images, torch.device("cpu"), len(images))

        one, other = extracted(), eager()
        row = against(
            f"VGG-19 {LAYER} of {number} images of {side} px",
            extracted,
            "torchvision eager, contiguous float32",
            eager,
            GOAL,
        )
        apart = np.abs(one - other).max() / other.std()
        note = (
            f"{number / row.ours:.2g} images/s; largest difference {apart:.0e} of the descriptors' "
            "spread"
        )
        measured.append(replace(row, note=note))
    return measured


if __name__ == "__main__":
    main(rows)

"""Benchmark of AlexNet up to conv5, on 256 images in memory, against torchvision run eagerly.

    .venv/bin/python -m benchmarks.forward

The peer is ``torchvision.models.alexnet().features`` on contiguous float32 batches of 64 that are
normalised already, in inference mode. Ours starts from uint8 pixels, as they are stored, and
normalises them, in streams of small batches; in float32, and in bfloat16, which pays on processors
that have units for it. The note says how far the features lie apart. Weights are random. Half a
minute.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from benchmarks.measure import Row, against, main
from methods.features.frozen_network import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Conv5Extractor,
    Precision,
    extract,
    random_alexnet,
)

IMAGES, BATCH = 256, 64


def plain_layers() -> nn.Module:
    """Return torchvision's own layers with the weights of :func:`random_alexnet`."""
    import torchvision

    network = torchvision.models.alexnet(weights=None).features
    network.load_state_dict(
        {name.removeprefix("features."): tensor for name, tensor in random_alexnet().items()}
    )
    return network.eval()


def rows() -> list[Row]:
    """Return the rows of the forward pass in both precisions."""
    pictures = np.random.default_rng(0).integers(0, 256, (IMAGES, 227, 227, 3), np.uint8)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    normalised = (
        (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - mean) / std
    ).contiguous()
    ours, plain = Conv5Extractor(random_alexnet()), plain_layers()

    def eager() -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([plain(batch).numpy() for batch in normalised.split(BATCH)])

    def row(precision: Precision, goal: float) -> Row:
        def extracted() -> np.ndarray:
            return extract(ours, pictures, torch.device("cpu"), BATCH, precision)

        one, other = extracted(), eager()
        apart = np.abs(one - other).max() / other.std()
        return against(
            f"AlexNet conv5, forward alone, {precision}",
            extracted,
            "torchvision eager, contiguous float32",
            eager,
            goal,
            note=f"{IMAGES} images; largest difference {apart:.0e} of the features' spread",
        )

    return [row("float32", 1.0), row("bfloat16", 2.0)]


if __name__ == "__main__":
    main(rows)

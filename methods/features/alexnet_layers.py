"""Outputs of every layer of AlexNet in one forward pass (Huynh et al. 2016, section 2.3)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from methods.features.frozen_network import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageNetwork,
    WrongWeightsError,
)
from methods.features.networks import new_network

PATHS = {
    "conv1": "features.1",
    "pool1": "features.2",
    "conv2": "features.4",
    "pool2": "features.5",
    "conv3": "features.7",
    "conv4": "features.9",
    "conv5": "features.11",
    "pool5": "features.12",
    "fc6": "classifier.2",
    "fc7": "classifier.5",
    "fc8": "classifier.6",
}
"""Modules of torchvision's AlexNet by layer: a convolution or fully connected layer after its ReLU,
and the last layer before the softmax."""


class AlexNetLayers(ImageNetwork):
    """Extract the output of each layer of torchvision's AlexNet as one row.

    Takes ``network`` over, in evaluation mode.

    Args:
        network: torchvision's AlexNet with its weights loaded.
        missing: names of its tensors that were not loaded; the layers from the first of these on
            are left out.

    Attributes:
        layers: names of those that are there, in the order of the network.

    Raises:
        WrongWeightsError: not even the first layer is there.
    """

    def __init__(self, network: nn.Module, missing: frozenset[str] = frozenset()) -> None:
        super().__init__(IMAGENET_MEAN, IMAGENET_STD)
        before_missing = []
        for path, module in _steps(network):
            if any(f"{path}.{name}" in missing for name, _ in module.named_parameters()):
                break
            before_missing.append((path, module))
        reached = {path for path, _ in before_missing}
        self.layers = tuple(layer for layer, path in PATHS.items() if path in reached)
        if not self.layers:
            raise WrongWeightsError("the file does not hold the first layer of AlexNet")
        last = PATHS[self.layers[-1]]
        self._layer_at = [
            next((layer for layer, tapped in PATHS.items() if tapped == path), None)
            for path, _ in before_missing
        ]
        end = [path for path, _ in before_missing].index(last) + 1
        self.steps = nn.ModuleList(module for _, module in before_missing[:end])
        self.eval()

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """Compute the output of each layer, (N, H, W, 3) uint8 RGB -> (N, C, h, w) or (N, D)."""
        x = self.normalised(images)
        outputs = {}
        for layer, step in zip(self._layer_at, self.steps, strict=False):
            x = step(x)
            if layer is not None:
                outputs[layer] = x
        return outputs

    def forward(self, images: Tensor) -> Tensor:
        """Compute all layers, each flattened: (N, H, W, 3) uint8 RGB -> (N, D) float32."""
        return torch.cat([output.flatten(1) for output in self.outputs(images).values()], dim=1)


def _steps(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Return the modules of AlexNet in the order in which they run, by path."""
    features = (
        (f"features.{name}", module)
        for name, module in network.get_submodule("features").named_children()
    )
    average = ("avgpool", nn.Sequential(network.get_submodule("avgpool"), nn.Flatten()))
    classifier = (
        (f"classifier.{name}", module)
        for name, module in network.get_submodule("classifier").named_children()
    )
    return chain(features, [average], classifier)


def fresh_alexnet() -> nn.Module:
    """Build torchvision's AlexNet with seeded initial weights, in evaluation mode."""
    return new_network("alexnet")

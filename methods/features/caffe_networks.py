"""Networks of Caffe's model zoo, which torchvision's classes of the same names are not.

Layers by name are found by ``methods.features.networks.LayerTap``; tensors have torchvision's names
where torchvision has the network, and Caffe's where it has not.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

INCEPTION_WIDTHS = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}
"""Channels of each inception module: input, 1 x 1, reduction and result of 3 x 3, reduction and
result of 5 x 5, projection of the pool (Szegedy et al. 2015, table 1)."""


def _convolution(
    channels: int, filters: int, size: int, stride: int = 1, padding: int = 0
) -> nn.Sequential:
    """Build a convolution with its ReLU."""
    convolution = nn.Conv2d(channels, filters, size, stride, padding)
    return nn.Sequential(OrderedDict(conv=convolution, relu=nn.ReLU(inplace=True)))


def _halved() -> nn.MaxPool2d:
    """Build the max-pool over 3 x 3, whose output is rounded up."""
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _local_response_norm() -> nn.LocalResponseNorm:
    """Build the normalisation over 5 neighbouring channels (Krizhevsky et al. 2012, 3.3)."""
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


class Inception(nn.Module):
    """An inception module: four branches side by side, their channels in a row."""

    def __init__(
        self, channels: int, ones: int, threes: tuple[int, int], fives: tuple[int, int], pooled: int
    ) -> None:
        super().__init__()
        self.branch1 = _convolution(channels, ones, 1)
        self.branch2 = nn.Sequential(
            _convolution(channels, threes[0], 1), _convolution(*threes, 3, padding=1)
        )
        self.branch3 = nn.Sequential(
            _convolution(channels, fives[0], 1), _convolution(*fives, 5, padding=2)
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), _convolution(channels, pooled, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Compute the module, (N, C, h, w) -> (N, sum of the branches' channels, h, w)."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x) for branch in branches], dim=1)


def googlenet(classes: int = 1000) -> nn.Sequential:
    """Build BVLC's GoogLeNet (Szegedy et al. 2015) without its auxiliary heads.

    Local response normalisation, true 5 x 5 convolutions and pools that round up; torchvision's
    class has batch normalisation and 3 x 3 in their place.
    """
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", _convolution(3, 64, 7, stride=2, padding=3)),
        ("pool1", _halved()),
        ("norm1", _local_response_norm()),
        ("conv2", _convolution(64, 64, 1)),
        ("conv3", _convolution(64, 192, 3, padding=1)),
        ("norm2", _local_response_norm()),
        ("pool2", _halved()),
    ]
    for name, (channels, ones, *rest) in INCEPTION_WIDTHS.items():
        if name in ("inception4a", "inception5a"):
            layers.append((f"pool{name[9]}", _halved()))
        threes, fives, pooled = (rest[0], rest[1]), (rest[2], rest[3]), rest[4]
        layers.append((name, Inception(channels, ones, threes, fives, pooled)))
    layers += [
        ("avgpool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("dropout", nn.Dropout(0.4)),
        ("fc", nn.Linear(1024, classes)),
    ]
    return nn.Sequential(OrderedDict(layers))


def alexnet(classes: int = 1000) -> nn.Sequential:
    """Build AlexNet as published: 96-256-384-384-256 filters, two groups, response normalisation.

    Krizhevsky et al. 2012, section 3.5, with Caffe's names. The normalisation comes before the
    pool, as in the paper and BVLC's AlexNet; CaffeNet, whose tensors look the same, has it after.
    """
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(3, 96, 11, stride=4)),
        ("relu1", nn.ReLU(inplace=True)),
        ("norm1", _local_response_norm()),
        ("pool1", _halved()),
        ("conv2", nn.Conv2d(96, 256, 5, padding=2, groups=2)),
        ("relu2", nn.ReLU(inplace=True)),
        ("norm2", _local_response_norm()),
        ("pool2", _halved()),
        ("conv3", nn.Conv2d(256, 384, 3, padding=1)),
        ("relu3", nn.ReLU(inplace=True)),
        ("conv4", nn.Conv2d(384, 384, 3, padding=1, groups=2)),
        ("relu4", nn.ReLU(inplace=True)),
        ("conv5", nn.Conv2d(384, 256, 3, padding=1, groups=2)),
        ("relu5", nn.ReLU(inplace=True)),
        ("pool5", _halved()),
        ("flatten", nn.Flatten()),
        ("fc6", nn.Linear(256 * 6 * 6, 4096)),
        ("relu6", nn.ReLU(inplace=True)),
        ("drop6", nn.Dropout()),
        ("fc7", nn.Linear(4096, 4096)),
        ("relu7", nn.ReLU(inplace=True)),
        ("drop7", nn.Dropout()),
        ("fc8", nn.Linear(4096, classes)),
    ]
    return nn.Sequential(OrderedDict(layers))


def resnet50() -> nn.Module:
    """Build the ResNet-50 of He et al. 2016 as they released it.

    The first block of a stage strides in its first, 1 x 1 convolution (torchvision: in the second),
    and the max-pool has no padding and rounds up.
    """
    import torchvision

    network: nn.Module = torchvision.models.resnet50(weights=None)
    network.maxpool = _halved()
    for stage in ("layer2", "layer3", "layer4"):
        first = network.get_submodule(f"{stage}.0")
        for convolution, stride in (("conv1", 2), ("conv2", 1)):
            module = first.get_submodule(convolution)
            assert isinstance(module, nn.Conv2d)  # noqa: S101 - torchvision's class
            module.stride = (stride, stride)
    return network

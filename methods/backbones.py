"""Pre-trained networks as frozen feature extractors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CONV5_SHAPE = (256, 6, 6)
ALEXNET_IMAGENET_DIGEST = "b46189e918b5839984e730473cc7329f473de17968d8502d355c0f0fd30797e7"
"""Digest of torchvision's IMAGENET1K_V1 convolutional layers (see :func:`tensors_digest`), whatever file they came in."""


class WrongWeightsError(ValueError):
    """The tensors are not those of the network asked for."""


def _alexnet_features() -> nn.Sequential:
    """The layers of torchvision's ``alexnet().features``.

    Written out, for importing ``torchvision.models`` takes four seconds: as long as a nightly run of a few images computes.
    """
    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(64, 192, kernel_size=5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2),
        nn.Conv2d(192, 384, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, kernel_size=3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(kernel_size=3, stride=2),
    )


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes and float32 bytes in the order of the names: equal weights, equal digest."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().to(torch.float32).contiguous().cpu().numpy()
        digest.update(f"{name}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def alexnet_convolutions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The ten tensors of AlexNet's five convolutional layers out of a state dict in torchvision's names.

    Raises:
        WrongWeightsError: one is missing or has another shape.
    """
    with torch.device("meta"):
        expected = _alexnet_features().state_dict()
    found = {}
    for name, tensor in expected.items():
        given = tensors.get(f"features.{name}")
        if given is None:
            raise WrongWeightsError(f"tensor features.{name} is missing")
        if given.shape != tensor.shape:
            raise WrongWeightsError(f"tensor features.{name} has shape {tuple(given.shape)}, AlexNet's has {tuple(tensor.shape)}")
        found[f"features.{name}"] = given.to(torch.float32)
    return found


def random_alexnet(seed: int = 0) -> dict[str, Tensor]:
    """AlexNet's convolutional layers as torchvision initialises them, seeded: for tests and demonstrations."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _alexnet_features()
    return {f"features.{name}": tensor for name, tensor in network.state_dict().items()}


class Conv5Extractor(nn.Module):
    """AlexNet up to conv5 + ReLU + max-pool (Ahn et al. 2019, section 2.4: 6 x 6 x 256 for a 227 x 227 image)."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.features = _alexnet_features()
        self.features.load_state_dict({name.removeprefix("features."): tensor for name, tensor in tensors.items()})
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255, persistent=False)
        self.eval().to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 227, 227, 3) uint8 RGB -> (N, 256, 6, 6) float32."""
        mean, std = self.get_buffer("mean"), self.get_buffer("std")
        x = images.permute(0, 3, 1, 2).to(torch.float32)  # NHWC storage seen as NCHW is channels_last already
        y: Tensor = self.features((x - mean) / std)
        return y


@torch.inference_mode()
def extract(network: nn.Module, images: NDArray[np.uint8], device: torch.device, batch_size: int) -> NDArray[np.float32]:
    """Features of (N, H, W, 3) uint8 images in their order, (N, ...) float32; ``network`` already on ``device``."""
    batches = []
    for start in range(0, len(images), batch_size):
        batch = torch.from_numpy(np.ascontiguousarray(images[start : start + batch_size])).to(device)
        batches.append(network(batch).contiguous().cpu().numpy())
    return np.concatenate(batches)

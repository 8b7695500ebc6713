"""Pre-trained networks as frozen feature extractors."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from methods.kernels.streams import side_by_side

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of the RGB channels of ImageNet on the scale 0..1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of the RGB channels of ImageNet on the scale 0..1."""
CONV5_SHAPE = (256, 6, 6)
"""Shape of AlexNet's conv5 features of an image of 227 x 227 pixels."""
Precision = Literal["float32", "bfloat16"]
"""Precision of the products inside a network. With bfloat16 AlexNet's conv5 is off by 1 % of its
spread (root mean square, real images and weights, cosine of a row above 0.9996); it is faster where
the processor or the card has units for it, and slower elsewhere."""
CPU_BATCH = 16
"""Maximum images of a batch on a CPU; more do not fit the cache."""
ALEXNET_IMAGENET_DIGEST = "b46189e918b5839984e730473cc7329f473de17968d8502d355c0f0fd30797e7"
"""Digest of torchvision's IMAGENET1K_V1 convolutional layers (see :func:`tensors_digest`), whatever
file they came in."""
IMAGENET_DIGESTS = {
    "alexnet": frozenset({ALEXNET_IMAGENET_DIGEST}),
    "squeezenet1_1": frozenset(
        {
            "f837b33e14c2b355b28d21c43ab05d411c1e65aee36259572d50b2a2be8f08ef",  # features.*
            # all, the classifier's weight rounded to float16
            "a1b3ff4e4b62e12db1d507a0af50f64ebddea82bcad7404e7dd319335734bd67",
        }
    ),
}
"""Digests of published weights by network, each of all tensors that a file holds; those of
torchvision."""


class WrongWeightsError(ValueError):
    """The tensors are not those of the network asked for."""


def _alexnet_features() -> nn.Sequential:
    """Build the layers of torchvision's ``alexnet().features``.

    Written out, for importing ``torchvision.models`` takes four seconds: as long as a nightly run
    of a few images computes.
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
    """Compute the SHA-256 of names, shapes and float32 bytes in the order of the names.

    Equal weights have equal digests.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().to(torch.float32).contiguous().cpu().numpy()
        digest.update(f"{name}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def alexnet_convolutions(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Select the ten tensors of AlexNet's convolutional layers, in torchvision's names.

    Raises:
        WrongWeightsError: one is missing or has another shape.
    """
    with torch.device("meta"):
        expected = _alexnet_features().state_dict()
    convolutions = {}
    for name, tensor in expected.items():
        given = tensors.get(f"features.{name}")
        if given is None:
            raise WrongWeightsError(f"tensor features.{name} is missing")
        if given.shape != tensor.shape:
            raise WrongWeightsError(
                f"tensor features.{name} has shape {tuple(given.shape)}, AlexNet's has "
                f"{tuple(tensor.shape)}"
            )
        convolutions[f"features.{name}"] = given.to(torch.float32)
    return convolutions


def random_alexnet(seed: int = 0) -> dict[str, Tensor]:
    """Draw seeded weights of AlexNet's convolutional layers, as torchvision does.

    For tests and demonstrations.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _alexnet_features()
    return {f"features.{name}": tensor for name, tensor in network.state_dict().items()}


class ImageNetwork(nn.Module):
    """A network on uint8 images, which it normalises itself.

    Args:
        mean: (3,) of the RGB channels, on the scale 0..1; subtracted.
        std: (3,) of the RGB channels, on the scale 0..1; divided by.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255, persistent=False)

    def normalised(self, images: Tensor, size: int | None = None) -> Tensor:
        """Normalise images, (N, H, W, 3) uint8 RGB -> (N, 3, H, W) float32.

        They are resized to ``size`` pixels a side (bilinear, antialiased).
        """
        # NHWC storage seen as NCHW is channels_last already. A copy even of float32, as it is
        # written into.
        x = images.permute(0, 3, 1, 2).to(torch.float32, copy=True)
        if size is not None and x.shape[2:] != (size, size):
            x = functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
        return x.sub_(self.get_buffer("mean")).div_(self.get_buffer("std"))

    @torch.no_grad()
    def row_shape(self, side: int = 227) -> tuple[int, ...]:
        """Return the shape of one image's row, (C, h, w) or (D,), without computing a number.

        Images have ``side`` x ``side`` pixels.
        """
        modes = {module: module.training for module in self.modules()}
        shapes = {
            name: tensor.to("meta")
            for name, tensor in (*self.named_parameters(), *self.named_buffers())
        }
        self.eval()
        try:
            row = functional_call(
                self, shapes, torch.zeros(1, side, side, 3, dtype=torch.uint8, device="meta")
            )[0]
        finally:
            for module, training in modes.items():
                module.training = training
        return tuple(row.shape)


class Conv5Extractor(ImageNetwork):
    """Extract AlexNet's conv5 features, after ReLU and max-pool.

    Ahn et al. 2019, section 2.4: 6 x 6 x 256 for a 227 x 227 image.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__(IMAGENET_MEAN, IMAGENET_STD)
        self.features = _alexnet_features()
        self.features.load_state_dict(
            {name.removeprefix("features."): tensor for name, tensor in tensors.items()}
        )
        self.eval().to(memory_format=torch.channels_last)

    def row_shape(self, side: int = 227) -> tuple[int, ...]:
        """Return the shape of one image's row, as for any network.

        That of the usual side is known: asking torch loads its compiler, which takes a second of
        every run of the pipeline.
        """
        return CONV5_SHAPE if side == 227 else super().row_shape(side)

    def forward(self, images: Tensor) -> Tensor:
        """Compute the features, (N, 227, 227, 3) uint8 RGB -> (N, 256, 6, 6) float32."""
        y: Tensor = self.features(self.normalised(images))
        return y


def extract(
    network: nn.Module,
    images: NDArray[np.uint8],
    device: torch.device,
    batch_size: int,
    precision: Precision = "float32",
) -> NDArray[np.float32]:
    """Compute features of (N, H, W, 3) uint8 images in their order, (N, ...) float32.

    ``network`` is already on ``device``.

    On a CPU a batch is taken apart into small ones that are computed side by side, each by one
    thread: AlexNet does 140 images a second on two cores so, and 105 with both threads in every
    layer.
    """
    size = batch_size
    if device.type == "cpu":
        size = max(min(batch_size, CPU_BATCH, math.ceil(len(images) / torch.get_num_threads())), 1)
    batches = [images[start : start + size] for start in range(0, len(images), size)]
    if device.type != "cpu":
        return np.concatenate(
            [_features_of(network, batch, device, precision) for batch in batches]
        )
    at_once = max(batch_size // size, 1)  # at most a batch in memory
    return np.concatenate(
        side_by_side(
            lambda batch: _features_of(network, batch, device, precision), batches, at_once
        )
    )


@torch.inference_mode()
def _features_of(
    network: nn.Module, images: NDArray[np.uint8], device: torch.device, precision: Precision
) -> NDArray[np.float32]:
    """Compute the features of one batch."""
    batch = torch.from_numpy(np.ascontiguousarray(images))
    if device.type == "cuda":  # untried: no card was at hand
        batch = batch.pin_memory()
    batch = batch.to(device, non_blocking=device.type == "cuda")
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        features = network(batch)
    rows: NDArray[np.float32] = features.to(torch.float32).contiguous().cpu().numpy()
    return rows

"""Unsupervised pre-training of the first layer of the networks from scratch.

Lyndon et al. 2015 (section 5) name unsupervised pre-training as future work and say no more. This
is the convolutional auto-encoder of Masci et al. 2011: the filters of the first layer with their
activation, of which only the largest value of each pooling window is kept, the same filters turned
as decoder, and the mean squared error of the pixels. The pool is what keeps a filter from copying
the image. Adam is this project's choice, and so are its rate and the number of passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from methods.kernels.fft_convolution import POOL
from methods.settings import LenetSettings
from methods.training.batching import epoch_batches
from methods.training.loop import DivergedError, to_tensor

EPOCHS = 10
"""Number of passes over the training images."""
LEARNING_RATE = 1e-3
"""Learning rate of Adam."""
KERNEL = 15
"""Height and width of every filter of the first two layers, in pixels."""


def pretrained_filters(
    read: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    trained: NDArray[np.int64],
    n_filters: int,
    settings: LenetSettings,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """Fit the auto-encoder to training images, without their labels.

    Args:
        read: gives images by position, (m, side, side) uint8.
        trained: (n,) positions of the images that are trained on.
        n_filters: F, number of filters.
        settings: ``seed``, ``batch_size`` and ``rectifier`` of the networks.
        device: where to compute.

    Returns:
        filters (F, 1, KERNEL, KERNEL) and biases (F,), float32 on ``device``.

    Raises:
        DivergedError: a weight became NaN or infinite.
    """
    bound = math.sqrt(6 / (KERNEL**2 * (1 + n_filters)))
    generator = torch.Generator().manual_seed(settings.seed)
    drawn = torch.empty(n_filters, 1, KERNEL, KERNEL).uniform_(-bound, bound, generator=generator)
    filters = drawn.to(device).requires_grad_()
    biases = torch.zeros(n_filters, device=device, requires_grad=True)
    level = torch.zeros(1, device=device, requires_grad=True)
    optimizer = torch.optim.Adam([filters, biases, level], lr=LEARNING_RATE)
    for epoch in range(EPOCHS):
        for rows in epoch_batches(len(trained), settings.batch_size, settings.seed, epoch):
            images = to_tensor(read(trained[rows]), device).to(torch.float32)[:, None] / 255
            restored = reconstruction(images, filters, biases, level, settings.rectifier)
            seen = images[..., : restored.shape[2], : restored.shape[3]]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(functional.mse_loss(restored, seen))
            optimizer.step()
    if not bool(filters.isfinite().all() and biases.isfinite().all()):
        raise DivergedError("a weight is not finite after the pre-training of the first layer")
    return filters.detach(), biases.detach()


def reconstruction(
    images: Tensor, filters: Tensor, biases: Tensor, level: Tensor, rectifier: bool
) -> Tensor:
    """Return images as the auto-encoder gives them back.

    Args:
        images: (N, 1, H, W) float32, 0 to 1.
        filters: (F, 1, k, k), of encoder and decoder.
        biases: (F,) of the encoder.
        level: (1,) bias of the decoder.
        rectifier: ReLU in place of tanh.

    Returns:
        (N, 1, H', W'), where H' and W' leave out what the pooling windows do not fill.
    """
    maps = functional.conv2d(images, filters, biases)
    maps = maps[..., : maps.shape[2] // POOL * POOL, : maps.shape[3] // POOL * POOL]
    units = torch.relu(maps) if rectifier else torch.tanh(maps)
    largest = functional.interpolate(functional.max_pool2d(units, POOL), scale_factor=POOL)
    return functional.conv_transpose2d(units * (units == largest), filters, level)

"""Convolutions of 15x15 filters without padding, as the networks from scratch have.

With both, a training step of :mod:`methods.training.lenet` takes 0.28 of the time of plain torch
layers on a CPU (``benchmarks/lenet.py``). Their plain twins in the tests are ``conv2d``, and
``max_pool2d`` of ``conv2d``, in float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

POOL = 2
"""Side of a pooling window, in pixels."""


def _spectra(planes: Tensor, side: int) -> Tensor:
    """Transform (A, B, h, w) to (side * (side // 2 + 1), A, B) complex: a matrix per frequency."""
    spectra = torch.empty(
        side * (side // 2 + 1), *planes.shape[:2], dtype=torch.complex64, device=planes.device
    )
    # one at a time stays in the cache: all at once is three times slower
    for a, maps in enumerate(planes):
        # before the other axis: lines of zeros need no transform
        lines = torch.fft.rfft(maps, n=side)
        spectra[:, a] = torch.fft.fft(lines, n=side, dim=1).flatten(1).T
    return spectra


def _planes(spectra: Tensor, side: int, height: int, width: int) -> Tensor:
    """Invert :func:`_spectra`, (frequencies, A, B) -> upper left part (A, B, height, width)."""
    planes = torch.empty(*spectra.shape[1:], height, width, device=spectra.device)
    for a, maps in enumerate(planes):
        spectrum = spectra[:, a].T.reshape(-1, side, side // 2 + 1)
        lines = torch.fft.ifft(spectrum, dim=1)[:, :height]
        maps.copy_(torch.fft.irfft(lines, n=side)[..., :width])
    return planes


class Correlation(torch.autograd.Function):
    """``conv2d`` without padding by the correlation theorem, equal to it within float32 rounding.

    A 15x15 kernel costs a few products per frequency instead of 225 per pixel: forward and backward
    of the second layer take an eighth of ``conv2d``'s time on a CPU. The first layer, with a single
    channel to sum over, would gain nothing.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, kernels: Tensor) -> Tensor:
        """Correlate (N, C, H, W) with (O, C, k, k) -> (N, O, H - k + 1, W - k + 1), float32."""
        height, width = images.shape[2:]
        kernel = kernels.shape[2]
        # The period is no shorter than the image, so what wraps around falls outside the result.
        side = 1 << (max(height, width) - 1).bit_length()
        x = _spectra(images, side)
        w = _spectra(kernels, side).conj_physical_()
        ctx.save_for_backward(x, w)
        ctx.sizes = side, height, width, kernel
        return _planes(x @ w.mT, side, height - kernel + 1, width - kernel + 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the gradients of the images and of the kernels."""
        x, w = ctx.saved_tensors
        side, height, width, kernel = ctx.sizes
        g = _spectra(gradients[0], side).conj_physical_()
        return _planes((g @ w).conj_physical_(), side, height, width), _planes(
            g.mT @ x, side, kernel, kernel
        )


class PooledConvolution(torch.autograd.Function):
    """``max_pool2d`` of ``conv2d`` of one-channel images, without a gradient of the images.

    The gradient of the kernels is one small matrix product per line, on patches that are views of
    15 shifted copies of the image. Forward and backward take 0.56 of the processor time of torch's
    two functions, which was the largest part of a step.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, kernels: Tensor) -> Tensor:
        """Correlate (N, 1, H, W) with (O, 1, k, k) and pool by :data:`POOL`.

        Returns:
            (N, O, (H - k + 1) // 2, (W - k + 1) // 2) float32, channels last.
        """
        height, width = images.shape[2:]
        # Strides of channels last, which a single channel leaves open: the pooling then takes a
        # quarter of the time.
        maps = functional.conv2d(
            images.contiguous().as_strided(images.shape, (height * width, 1, width, 1)), kernels
        )
        pooled, places = functional.max_pool2d(maps, POOL, return_indices=True)
        ctx.save_for_backward(images, places)
        ctx.sizes = kernels.shape[2], *maps.shape[2:]
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        """Compute the gradient of the kernels."""
        images, places = ctx.saved_tensors
        k, height, width = ctx.sizes
        filters = places.shape[1]
        total = torch.zeros(k * k, filters, device=images.device)
        for image, place, pooled in zip(
            images[:, 0], places.flatten(2).mT, gradients[0].flatten(2).mT, strict=True
        ):
            gradient = torch.zeros(height * width, filters, device=images.device).scatter_(
                0, place, pooled
            )
            shifted = image.unfold(1, k, 1).mT.contiguous()  # (H, k, width)
            # each patch is k of these lines, one after another
            patches = shifted.as_strided((height, k * k, width), (k * width, width, 1))
            total += torch.bmm(patches, gradient.view(height, width, filters)).sum(0)
        return None, total.T.reshape(filters, 1, k, k)

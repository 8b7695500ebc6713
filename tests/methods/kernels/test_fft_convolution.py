"""The FFT convolutions give the numbers and gradients of plain torch in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from methods.kernels.fft_convolution import POOL, Correlation, PooledConvolution


@pytest.mark.parametrize(("height", "width"), [(16, 16), (21, 37), (33, 18)])
def test_correlation_is_conv2d(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 4, height, width, generator=generator)
    kernels = torch.randn(5, 4, 15, 15, generator=generator)
    upstream = torch.randn(3, 5, height - 14, width - 14, generator=generator)
    results = []
    for correlate, dtype in (
        (Correlation.apply, torch.float32),
        (functional.conv2d, torch.float64),
    ):
        x, w = (tensor.to(dtype, copy=True).requires_grad_() for tensor in (images, kernels))
        y = correlate(x, w)
        results.append((y.detach(), *torch.autograd.grad(y, (x, w), upstream.to(dtype))))
    for ours, reference in zip(*results, strict=True):
        assert ours.shape == reference.shape
        torch.testing.assert_close(
            ours.double(), reference, rtol=0, atol=2e-6 * float(reference.abs().max())
        )


@pytest.mark.parametrize(("height", "width"), [(16, 16), (21, 37), (33, 18)])
def test_pooled_convolution_is_conv2d_and_max_pool2d(height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 1, height, width, generator=generator)
    kernels = torch.randn(6, 1, 15, 15, generator=generator)
    results = []
    for dtype in (torch.float32, torch.float64):
        w = kernels.to(dtype, copy=True).requires_grad_()
        if dtype == torch.float32:
            y: torch.Tensor = PooledConvolution.apply(images, w)
        else:
            y = functional.max_pool2d(functional.conv2d(images.to(dtype), w), POOL)
        upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
        results.append((y.detach(), *torch.autograd.grad(y, w, upstream.to(dtype))))
    for ours, reference in zip(*results, strict=True):
        assert ours.shape == reference.shape
        torch.testing.assert_close(
            ours.double(), reference, rtol=0, atol=2e-6 * float(reference.abs().max())
        )

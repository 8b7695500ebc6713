"""Convolution of 6x6 maps as matrix products: the identity it rests on, and plain torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.kernels import winograd


def _maps(n: int, channels: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(
        np.maximum(rng.normal(-0.3, 1, (n, channels, 6, 6)), 0).astype(np.float32)
    )


def test_the_identity_of_the_three_matrices() -> None:
    p, r, q = winograd.toom_cook()
    rng = np.random.default_rng(0)
    x, z, w = rng.normal(size=8), rng.normal(size=6), rng.normal(size=3)
    expected = sum(z[i] * w[j] * x[i + j] for i in range(6) for j in range(3))
    assert ((r @ z) * (q @ w) * (p @ x)).sum() == pytest.approx(expected, rel=1e-12)


def test_convolution_and_its_transpose_against_torch() -> None:
    x, w = _maps(5, 7), torch.randn(11, 7, 3, 3, generator=torch.Generator().manual_seed(0))
    lifted, kernels = (
        winograd.lift_maps(winograd.places_first(x)),
        winograd.lift_kernels(winograd.taps_first(w)),
    )
    responses = winograd.lower_responses(kernels @ lifted)
    expected = functional.conv2d(x.double(), w.double(), padding=1)
    torch.testing.assert_close(
        winograd.places_last(responses).double(),
        expected,
        rtol=0,
        atol=3e-5 * float(expected.std()),
    )
    back = winograd.lower_maps(
        kernels.mT @ winograd.lift_responses(winograd.places_first(expected.float()))
    )
    turned = functional.conv_transpose2d(expected, w.double(), padding=1)
    torch.testing.assert_close(
        winograd.places_last(back).double(), turned, rtol=0, atol=3e-5 * float(turned.std())
    )


def test_places_last_undoes_places_first() -> None:
    x = _maps(3, 2)
    torch.testing.assert_close(winograd.places_last(winograd.places_first(x)), x, rtol=0, atol=0)

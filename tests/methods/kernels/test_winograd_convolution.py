"""The convolution on tiles: the numbers of ``nn.Conv2d``, whatever the size, the padding and the
company."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from methods.features.frozen_network import Conv5Extractor, extract, random_alexnet
from methods.kernels.winograd_convolution import WinogradConv2d


def _layer(kernel: int, padding: int, channels: int = 6, filters: int = 10) -> WinogradConv2d:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(kernel)
        return WinogradConv2d(channels, filters, kernel, padding=padding)


def _images(n: int, height: int, width: int, channels: int = 6) -> Tensor:
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(0, 1, (n, channels, height, width)), 0).astype(np.float32)
    return torch.from_numpy(x).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(("height", "width"), [(13, 13), (27, 27), (5, 9), (11, 6), (1, 3)])
@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (5, 2), (3, 2), (5, 4)])
def test_numbers_of_conv2d(kernel: int, padding: int, height: int, width: int) -> None:
    layer, x = _layer(kernel, padding), _images(11, height, width)
    with torch.inference_mode():
        ours = layer(x)
        expected = functional.conv2d(
            x.double(), layer.weight.double(), layer.bias.double(), padding=padding
        )
    assert ours.shape == expected.shape
    assert ours.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=5e-5 * float(expected.std()))


def test_without_padding() -> None:
    layer, x = _layer(3, 0), _images(2, 9, 8)
    with torch.inference_mode():
        torch.testing.assert_close(
            layer(x), functional.conv2d(x, layer.weight, layer.bias), rtol=0, atol=1e-4
        )


def test_learns_like_conv2d_and_then_uses_what_it_learned() -> None:
    layer, x = _layer(3, 1), _images(3, 7, 7)
    with torch.inference_mode():
        before = layer(x)
    plain = functional.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), plain, rtol=0, atol=0)
    layer(x).square().sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        layer.weight.sub_(0.1 * layer.weight.grad.sign())
        after = layer(x)
        assert not torch.allclose(after, before, atol=1e-2)
        torch.testing.assert_close(
            after, functional.conv2d(x, layer.weight, layer.bias, padding=1), rtol=0, atol=1e-4
        )


def test_an_image_has_the_same_numbers_in_any_company() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (19, 227, 227, 3), np.uint8)
    network, cpu = Conv5Extractor(random_alexnet()), torch.device("cpu")
    whole = extract(network, pictures, cpu, 19)
    for rows in (slice(0, 1), slice(3, 12), slice(17, 19)):
        np.testing.assert_array_equal(extract(network, pictures[rows], cpu, 64), whole[rows])


def test_conv5_is_that_of_plain_torch() -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (2, 227, 227, 3), np.uint8)
    network = Conv5Extractor(random_alexnet())
    with torch.no_grad():
        ours = network(torch.from_numpy(pictures))
    plain = network(torch.from_numpy(pictures)).detach()  # with gradients every layer is nn.Conv2d
    assert float((ours - plain).abs().max()) < 2e-5 * float(plain.std()) + 1e-6
    assert 0.2 < float((plain == 0).float().mean()) < 0.9


@pytest.mark.parametrize("kernel", [1, 2, 4, 7, 11])
def test_another_kernel_is_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=r"must be one of \[3, 5\]"):
        WinogradConv2d(1, 1, kernel)


def test_a_constant_area_of_a_large_map_has_one_number() -> None:
    layer, x = _layer(3, 1), torch.full((1, 6, 40, 40), 0.37)
    with torch.inference_mode():
        inside = layer(x)[0, :, 1:-1, 1:-1].flatten(1)
    assert all(len(channel.unique()) == 1 for channel in inside)

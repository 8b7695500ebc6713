"""Caffe's networks against plain functions on their tensors, and weights known by their tensors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from methods.features import variants
from methods.features.frozen_network import WrongWeightsError
from methods.features.networks import LayerTap, load_tensors
from methods.features.variants import Variant, rounded_digest, variant_called, variant_of

Tensors = Mapping[str, Tensor]
CAFFE_MEANS = {
    "bvlc_googlenet": (104.0, 117.0, 123.0),
    "caffe_alexnet": (104.0, 117.0, 123.0),
    "caffe_resnet50": (103.0626, 115.9029, 123.1516),
    "oxford_vgg16": (103.939, 116.779, 123.68),
    "oxford_vgg19": (103.939, 116.779, 123.68),
}
"""Means of blue, green and red that the authors subtract."""


def _images(n: int, side: int) -> Tensor:
    pixels = np.random.default_rng(7).integers(0, 256, (n, side, side, 3), np.uint8)
    return torch.from_numpy(pixels)


def _as_caffe(images: Tensor, variant: str) -> Tensor:
    """Blue, green and red less their means, (N, 3, H, W)."""
    bgr = torch.stack([images[..., channel].float() for channel in (2, 1, 0)], dim=1)
    return bgr - torch.tensor(CAFFE_MEANS[variant]).view(3, 1, 1)


def _tap(variant: Variant, tensors: Tensors, layer: str) -> LayerTap:
    network = variant.fresh(seed=3)
    missing = load_tensors(network, variant.for_rgb(tensors))
    return LayerTap(network, layer, variant.wants, missing, variant.name)


def _halved(x: Tensor) -> Tensor:
    """Maximum over 3 x 3, every 2; a window that begins inside counts, as Caffe rounds up."""
    high, wide = x.shape[2:]
    rows = [x[:, :, top : top + 3] for top in range(0, high - 1, 2)]
    x = torch.stack([row.amax(dim=2) for row in rows], dim=2)
    columns = [x[..., left : left + 3] for left in range(0, wide - 1, 2)]
    return torch.stack([column.amax(dim=3) for column in columns], dim=3)


def _normed(x: Tensor) -> Tensor:
    """x / (1 + 1e-4 / 5 times the squares of the channel and two on each side) ^ 0.75."""
    normed = torch.empty_like(x)
    for channel in range(x.shape[1]):
        near = x[:, max(channel - 2, 0) : channel + 3]
        normed[:, channel] = x[:, channel] / (1 + 1e-4 / 5 * (near**2).sum(dim=1)) ** 0.75
    return normed


def _conv(x: Tensor, tensors: Tensors, name: str, stride: int = 1, padding: int = 0) -> Tensor:
    weight, bias = tensors[f"{name}.weight"].float(), tensors[f"{name}.bias"].float()
    groups = x.shape[1] // weight.shape[1]
    width, filters = weight.shape[1], len(weight) // groups
    parts = [
        functional.conv2d(
            x[:, g * width : (g + 1) * width],
            weight[g * filters : (g + 1) * filters],
            stride=stride,
            padding=padding,
        )
        for g in range(groups)
    ]
    return (torch.cat(parts, dim=1) + bias.view(-1, 1, 1)).clamp(min=0)


def _plain_googlenet(x: Tensor, tensors: Tensors) -> Tensor:
    x = _normed(_halved(_conv(x, tensors, "conv1.conv", 2, 3)))
    x = _conv(_conv(x, tensors, "conv2.conv"), tensors, "conv3.conv", padding=1)
    x = _halved(_normed(x))
    for name in ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]:
        if name in ("4a", "5a"):
            x = _halved(x)
        module = f"inception{name}"
        neighbours = functional.max_pool2d(x, 3, 1, 1)
        branches = [_conv(x, tensors, f"{module}.branch1.conv")]
        for branch, padding in ((2, 1), (3, 2)):
            reduced = _conv(x, tensors, f"{module}.branch{branch}.0.conv")
            branches.append(
                _conv(reduced, tensors, f"{module}.branch{branch}.1.conv", padding=padding)
            )
        branches.append(_conv(neighbours, tensors, f"{module}.branch4.1.conv"))
        x = torch.cat(branches, dim=1)
    return x.mean(dim=(2, 3))


def _plain_alexnet(x: Tensor, tensors: Tensors) -> Tensor:
    x = _halved(_normed(_conv(x, tensors, "conv1", stride=4)))
    x = _halved(_normed(_conv(x, tensors, "conv2", padding=2)))
    for layer in (3, 4, 5):
        x = _conv(x, tensors, f"conv{layer}", padding=1)
    return _halved(x)


def _plain_resnet50(x: Tensor, tensors: Tensors) -> Tensor:
    def layer(x: Tensor, conv: str, norm: str, stride: int = 1, padding: int = 0) -> Tensor:
        x = functional.conv2d(x, tensors[f"{conv}.weight"], stride=stride, padding=padding)
        mean, var, weight, bias = (
            tensors[f"{norm}.{part}"].view(-1, 1, 1)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = _halved(layer(x, "conv1", "bn1", 2, 3).relu())
    for stage, blocks in ((1, 3), (2, 4), (3, 6)):
        for block in range(blocks):
            at, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = layer(x, f"{at}.conv1", f"{at}.bn1", stride).relu()
            y = layer(y, f"{at}.conv2", f"{at}.bn2", padding=1).relu()
            y = layer(y, f"{at}.conv3", f"{at}.bn3")
            if block == 0:
                x = layer(x, f"{at}.downsample.0", f"{at}.downsample.1", stride)
            x = (x + y).relu()
    return x


@pytest.mark.parametrize(
    ("name", "layer", "plain", "side", "shape"),
    [
        ("bvlc_googlenet", "pool5", _plain_googlenet, 70, (1024,)),
        ("caffe_alexnet", "conv5", _plain_alexnet, 227, (256, 6, 6)),
        ("caffe_resnet50", "layer3", _plain_resnet50, 61, (1024, 4, 4)),
    ],
)
@torch.inference_mode()
def test_layer_equals_plain_functions(
    name: str, layer: str, plain: object, side: int, shape: tuple[int, ...]
) -> None:
    variant = variant_called(name)
    tensors = {key: 3 * x for key, x in variant.fresh(seed=1).state_dict().items()}
    tap = _tap(variant, tensors, layer)
    images = _images(2, side)
    assert callable(plain)
    expected = plain(_as_caffe(images, name), tensors)
    got = tap(images)
    assert got.shape[1:] == tap.row_shape(side) == shape
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def _convolutions_of_vgg16() -> nn.Module:
    layers = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    return nn.Sequential(OrderedDict(features=layers))


def _known(name: str, tensors: Tensors, monkeypatch: pytest.MonkeyPatch) -> Variant:
    """The variant ``name``, with these tensors as the published ones."""
    variant = variant_called(name)
    first = {variant.first_kernels: tensors[variant.first_kernels]}
    known = replace(
        variant,
        build=_convolutions_of_vgg16,
        first_digest=rounded_digest(first),
        digests=frozenset({rounded_digest(tensors)}),
    )
    others = tuple(v for v in variants.VARIANTS if v.name != name)
    monkeypatch.setattr(variants, "VARIANTS", (*others, known))
    return known


@torch.inference_mode()
@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
def test_oxfords_vgg_gets_blue_green_and_red_in_either_precision(
    stored: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _convolutions_of_vgg16()
    exact = network.state_dict()
    known = _known("oxford_vgg16", exact, monkeypatch)
    tensors = {name: x.to(stored) for name, x in exact.items()}
    assert variant_of(tensors) is known
    assert known.is_published(tensors)
    images = _images(2, 32)
    load_tensors(network, tensors)
    expected = network.get_submodule("features")[:10](_as_caffe(images, "oxford_vgg16"))
    got = _tap(known, tensors, "block2_pool")(images)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_weights_are_told_apart_by_their_first_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = _convolutions_of_vgg16().state_dict()
    known = _known("oxford_vgg16", theirs, monkeypatch)
    part = {name: theirs[name] for name in ("features.0.weight", "features.0.bias")}
    assert variant_of(part) is known
    assert not known.is_published(part)
    assert variant_of({"features.0.weight": theirs["features.0.weight"] + 0.01}) is None
    assert variant_of({"features.2.weight": theirs["features.0.weight"]}) is None
    assert variant_of({}) is None


def test_weights_are_told_apart_by_their_structure() -> None:
    kernels = {
        "conv1.weight": torch.zeros(96, 3, 11, 11),
        "conv2.weight": torch.zeros(256, 48, 5, 5),
    }
    assert variant_of(kernels) is variant_called("caffe_alexnet")
    assert variant_of({"conv1.weight": torch.zeros(64, 3, 7, 7)}) is None
    five = {"inception3a.branch3.1.conv.weight": torch.zeros(32, 16, 5, 5)}
    assert variant_of(five) is variant_called("bvlc_googlenet")
    three = {"inception3a.branch3.1.conv.weight": torch.zeros(32, 16, 3, 3)}
    assert variant_of(three) is None


def test_a_variant_is_asked_for_by_the_names_of_its_network() -> None:
    lite = variant_called("google_efficientnet_lite0")
    for name in ("efficientnet_lite0", "timm/tf_efficientnet_lite0", "tf_efficientnet_lite0.in1k"):
        assert lite.is_called(name)
    assert not lite.is_called("efficientnet_b0")


def test_a_network_that_is_cut_off_gives_the_layers_that_it_has() -> None:
    variant = variant_called("caffe_resnet50")
    whole = variant.fresh().state_dict()
    cut = {name: x for name, x in whole.items() if not name.startswith(("layer4", "fc"))}
    assert _tap(variant, cut, "layer3").row_shape(224) == (1024, 14, 14)
    with pytest.raises(
        WrongWeightsError,
        match="caffe_resnet50's layer pool5 needs layer4, which the file does not hold: it ends "
        r"with layer3\.5\.bn3",
    ):
        _tap(variant, cut, "pool5")


def test_every_layer_of_googlenet_can_be_fine_tuned() -> None:
    variant = variant_called("bvlc_googlenet")
    tap = LayerTap(variant.fresh(), "pool5", variant.wants, name=variant.name).train()
    tap(_images(2, 64)).square().sum().backward()
    assert all(
        parameter.grad is not None and bool(parameter.grad.any()) for parameter in tap.parameters()
    )


@pytest.mark.parametrize(("name", "layer"), [("oxford_vgg16", "fc1"), ("oxford_vgg19", "fc2")])
def test_the_fully_connected_layers_of_a_vgg_are_vectors(name: str, layer: str) -> None:
    variant = variant_called(name)
    with torch.device("meta"):
        network = variant.build()
        assert LayerTap(network, layer, variant.wants, name=name).row_shape(224) == (4096,)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("file", "name", "layer", "shape", "mean", "std"),
    [
        ("googlenet_bvlc", "bvlc_googlenet", "inception5b", (1024, 7, 7), 0.475313, 1.112171),
        ("googlenet_bvlc", "bvlc_googlenet", "fc", (1000,), -0.001313, 1.578217),
        ("vgg16_features", "oxford_vgg16", "block5_pool", (512, 7, 7), 0.214028, 2.216232),
        (
            "resnet50_caffe_to_layer3",
            "caffe_resnet50",
            "layer3",
            (1024, 14, 14),
            0.616404,
            1.219906,
        ),
        (
            "efficientnet_lite0",
            "google_efficientnet_lite0",
            "classifier",
            (1000,),
            -0.035415,
            0.963318,
        ),
    ],
)
@torch.inference_mode()
def test_published_weights_give_the_values_that_their_readme_states(
    real_data: Path,
    file: str,
    name: str,
    layer: str,
    shape: tuple[int, ...],
    mean: float,
    std: float,
) -> None:
    path = real_data / "weights" / f"{file}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    tensors = load_file(path)
    variant = variant_of(tensors)
    assert variant is variant_called(name)
    assert variant.is_published(tensors)
    pixels = torch.linspace(0, 255, 3 * 224 * 224).reshape(1, 3, 224, 224).permute(0, 2, 3, 1)
    got = _tap(variant, tensors, layer)(pixels)
    assert got.shape[1:] == shape
    # the readme's figures are of the float32 originals
    assert float(got.mean()) == pytest.approx(mean, abs=5e-4)
    assert float(got.std()) == pytest.approx(std, abs=5e-4)


@pytest.mark.real_data
def test_oxfords_vgg19_is_known(real_data: Path) -> None:
    tensors = load_file(real_data / "weights" / "vgg19_features_block1-3.safetensors")
    variant = variant_of(tensors)
    assert variant is variant_called("oxford_vgg19")
    assert variant.is_published(tensors)
    turned = variant.for_rgb(tensors)["features.0.weight"]
    assert torch.equal(turned[:, 0], tensors["features.0.weight"][:, 2])

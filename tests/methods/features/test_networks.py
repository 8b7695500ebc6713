"""Layers of networks by name, against torchvision's and timm's own forward passes and against toys
worked by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import VisionTransformer
from torchvision.models.feature_extraction import create_feature_extractor

from methods.features.frozen_network import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    WrongWeightsError,
    extract,
)
from methods.features.networks import (
    LayerTap,
    NetworkInput,
    UnknownLayerError,
    UnknownNetworkError,
    library_of,
    load_tensors,
    network_input,
    new_network,
)

CPU = torch.device("cpu")
ANY = NetworkInput(None, IMAGENET_MEAN, IMAGENET_STD)
PLAIN = NetworkInput(None, (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255))
"""Leaves the pixels' numbers as they are."""


def _images(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, (n, side, side, 3), np.uint8)


def _normalised(images: np.ndarray, wants: NetworkInput) -> Tensor:
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(wants.mean).view(3, 1, 1)) / torch.tensor(wants.std).view(3, 1, 1)


def _tap(name: str, layer: str) -> LayerTap:
    return LayerTap(new_network(name), layer, network_input(name), name=name)


@pytest.mark.parametrize(
    ("name", "layer", "node", "side", "shape"),
    [
        ("alexnet", "fc7", "classifier.5", 95, (4096,)),
        ("googlenet", "pool5", "avgpool", 64, (1024,)),
        ("resnet50", "layer4", "layer4", 64, (2048, 2, 2)),
        ("squeezenet1_1", "features", "features.12.cat", 64, (512, 3, 3)),
        ("swin_t", "features.1", "features.1", 32, (96, 8, 8)),
        (
            "vit_b_16",
            "encoder.layers.encoder_layer_1",
            "encoder.layers.encoder_layer_1.add_1",
            224,
            (768, 14, 14),
        ),
    ],
)
@torch.inference_mode()
def test_layer_equals_torchvision(
    name: str, layer: str, node: str, side: int, shape: tuple[int, ...]
) -> None:
    images = _images(2, side)
    network = new_network(name)
    expected = create_feature_extractor(network, {node: "y"})(
        _normalised(images, network_input(name))
    )["y"]
    if name == "vit_b_16":  # a class token, then the patches row by row
        expected = expected[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
    if name == "swin_t":
        expected = expected.permute(0, 3, 1, 2)
    tap = LayerTap(network, layer, network_input(name), name=name)
    got = extract(tap, images, CPU, batch_size=2)
    assert got.shape[1:] == tap.row_shape(side) == shape
    np.testing.assert_allclose(
        got, expected.reshape(2, *shape).numpy(), rtol=1e-4, atol=1e-4 * float(expected.abs().max())
    )


@torch.inference_mode()
def test_tokens_equal_timm_after_resizing() -> None:
    name = "timm/test_vit"
    wants = network_input(name)
    assert wants == NetworkInput(160, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    images = _images(2, 227)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    resized = functional.interpolate(x, (160, 160), mode="bilinear", antialias=True)
    network = new_network(name)
    expected = (
        network.forward_features(resized / 255 * 2 - 1)[:, 1:]
        .transpose(1, 2)
        .unflatten(2, (10, 10))
    )
    got = LayerTap(network, "norm", wants, name=name)(torch.from_numpy(images))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_patch_embedding_has_no_class_token() -> None:
    assert _tap("timm/test_vit", "patch_embed").row_shape() == (64, 10, 10)


@torch.inference_mode()
def test_what_comes_after_the_layer_does_not_touch_its_output() -> None:
    network = new_network("squeezenet1_1")
    images = _images(1, 64)
    convolved = network.features[0](_normalised(images, ANY))
    # features.1 is a ReLU in place
    got = LayerTap(network, "features.0", ANY)(torch.from_numpy(images))
    torch.testing.assert_close(got, convolved, rtol=1e-4, atol=1e-5)
    assert float(got.min()) < 0


def test_nothing_after_the_layer_is_run_or_kept() -> None:
    network = new_network("alexnet")

    def unexpected(*_: object) -> None:
        pytest.fail("a module after the layer ran")

    network.avgpool.register_forward_hook(unexpected)
    tap = LayerTap(network, "conv5", ANY, name="alexnet")
    assert tap.row_shape() == (256, 6, 6)
    kept = {f"network.features.{i}.{part}" for i in (0, 3, 6, 8, 10) for part in ("weight", "bias")}
    assert set(tap.state_dict()) == kept
    assert sum(p.numel() for p in tap.parameters()) == 2_469_696


def test_a_transformer_keeps_its_early_blocks_whole() -> None:
    tap = _tap("timm/test_vit", "blocks.1")
    names = {name.removeprefix("network.") for name in tap.state_dict()}
    whole = set(new_network("timm/test_vit").state_dict())
    after = {
        name
        for name in whole
        if name.startswith(
            ("blocks.2", "blocks.3", "blocks.4", "blocks.5", "norm.", "fc_norm", "head")
        )
    }
    assert names == whole - after


def test_gradients_reach_every_parameter_that_is_left() -> None:
    tap = _tap("resnet50", "layer2").train()
    tap(torch.from_numpy(_images(2, 32))).square().sum().backward()
    assert all(
        parameter.grad is not None and bool(parameter.grad.any()) for parameter in tap.parameters()
    )


def test_asking_for_the_shape_changes_nothing() -> None:
    tap = _tap("squeezenet1_1", "features").train()
    tap.network.features[3].eval()
    tap.row_shape(64)
    assert tap.training
    assert tap.network.features[4].training
    assert not tap.network.features[3].training
    normed = _tap("resnet50", "layer1").train()
    before = normed.network.bn1.running_mean.clone()
    normed.row_shape(64)
    torch.testing.assert_close(normed.network.bn1.running_mean, before, rtol=0, atol=0)


def test_a_tensor_that_the_layer_needs_and_the_file_lacks_is_named() -> None:
    missing = frozenset(f"classifier.{i}.{part}" for i in (1, 4, 6) for part in ("weight", "bias"))
    with torch.device("meta"):
        assert LayerTap(new_network("alexnet"), "conv5", ANY, missing, "alexnet").row_shape() == (
            256,
            6,
            6,
        )
        with pytest.raises(
            WrongWeightsError,
            match="alexnet's layer fc7 needs classifier, which the file does not hold: it ends "
            r"with features\.10",
        ):
            LayerTap(new_network("alexnet"), "fc7", ANY, missing, "alexnet")
        with pytest.raises(WrongWeightsError, match=r"needs classifier\.4\.weight, which the file"):
            LayerTap(
                new_network("alexnet"), "fc7", ANY, frozenset({"classifier.4.weight"}), "alexnet"
            )
        not_needed = missing - {"classifier.1.weight", "classifier.1.bias"}
        assert LayerTap(new_network("alexnet"), "fc6", ANY, not_needed, "alexnet").row_shape() == (
            4096,
        )


def _small_vit() -> nn.Module:
    return VisionTransformer(
        image_size=32, patch_size=16, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=8
    ).eval()


def test_a_parameter_read_from_a_part_that_is_never_called_is_needed() -> None:
    needed = "encoder.layers.encoder_layer_0.self_attention.out_proj.weight"
    wants = NetworkInput(32, IMAGENET_MEAN, IMAGENET_STD)
    with pytest.raises(WrongWeightsError, match=r"self_attention\.out_proj\.weight"):
        LayerTap(_small_vit(), "encoder.layers.encoder_layer_0", wants, frozenset({needed}))
    with pytest.raises(UnknownLayerError, match="out_proj is not run by itself"):
        LayerTap(_small_vit(), needed.removesuffix(".weight"), wants)


class Toy(nn.Module):
    """Pixels as tokens after ``prefix`` zeros, then parts whose outputs no table can hold."""

    def __init__(self, prefix: int | None, extra: int) -> None:
        super().__init__()
        if prefix is not None:
            self.num_prefix_tokens = prefix
        self.extra = extra
        self.tokens, self.windows, self.unused = nn.Identity(), nn.Identity(), nn.Identity()
        self.twice = nn.LeakyReLU(0.5)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(x * self.weight - 100)
        x = self.twice(x)
        tokens = torch.cat(
            [torch.zeros(len(x), self.extra, 3), x.flatten(2).transpose(1, 2)], dim=1
        )
        return self.windows(self.tokens(tokens).flatten(0, 1))


def _toy_image() -> Tensor:
    return torch.arange(12, dtype=torch.uint8).reshape(1, 2, 2, 3) * 20


@pytest.mark.parametrize(("prefix", "extra"), [(5, 5), (5, 0), (None, 1), (None, 0), (0, 0)])
def test_tokens_become_maps(prefix: int | None, extra: int) -> None:
    tap = LayerTap(Toy(prefix, extra), "tokens", PLAIN)
    values = torch.arange(12.0).reshape(2, 2, 3) * 20 - 100
    expected = torch.where(values < 0, values / 4, values).permute(2, 0, 1)[None]
    torch.testing.assert_close(tap(_toy_image()), expected, rtol=0, atol=1e-4)


def test_the_first_output_of_a_module_that_runs_twice() -> None:
    values = torch.arange(12.0).reshape(2, 2, 3) * 20 - 100
    expected = torch.where(values < 0, values / 2, values).permute(2, 0, 1)[None]
    torch.testing.assert_close(
        LayerTap(Toy(None, 0), "twice", PLAIN)(_toy_image()), expected, rtol=0, atol=1e-4
    )


def test_outputs_that_are_no_rows_are_refused() -> None:
    # 227 * 227 + 3
    with pytest.raises(
        UnknownLayerError, match=r"layer tokens gives shape \(1, 51532, 3\) for one image"
    ):
        LayerTap(Toy(None, 3), "tokens", PLAIN)
    with pytest.raises(
        UnknownLayerError, match=r"layer windows gives shape \(51529, 3\) for one image"
    ):
        LayerTap(Toy(None, 0), "windows", PLAIN)
    with pytest.raises(UnknownLayerError, match="layer unused is not run by itself"):
        LayerTap(Toy(None, 0), "unused", PLAIN)
    with pytest.raises(UnknownLayerError, match="gives tuple for one image"):
        LayerTap(
            _small_vit(),
            "encoder.layers.encoder_layer_0.self_attention",
            NetworkInput(32, (0, 0, 0), (1, 1, 1)),
        )


def test_an_unknown_layer_is_answered_with_those_that_exist() -> None:
    with pytest.raises(
        UnknownLayerError,
        match=r"squeezenet1_1 has no layer 'feature\.3': "
        r".*features, classifier.*close: features\.3",
    ):
        _tap("squeezenet1_1", "feature.3")
    with pytest.raises(
        UnknownLayerError, match="alexnet has no layer 'conv1': there are conv5, fc6, fc7, features"
    ):
        _tap("alexnet", "conv1")
    with pytest.raises(UnknownLayerError, match="has no layer ''"):
        _tap("squeezenet1_1", "")


def test_a_network_is_a_function_of_the_seed() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (new_network("squeezenet1_1", seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.0.weight"], other["features.0.weight"])


def test_a_network_is_ready_to_compute() -> None:
    network = new_network("googlenet")
    assert not network.training
    assert network.conv1.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert network.transform_input
    assert not [name for name, _ in network.named_modules() if name.startswith("aux")]


def test_what_networks_want() -> None:
    assert network_input("alexnet") == ANY
    assert network_input("resnet50").size is None
    assert network_input("swin_t").size is None
    assert network_input("vit_b_16").size == 224
    assert network_input("maxvit_t").size == 224
    assert network_input("efficientnet_v2_l") == NetworkInput(
        None, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    )
    assert network_input("timm/resnet18") == ANY
    # its default weights are not of the 224 of the class
    assert network_input("vit_h_14").size == 518
    with torch.device("meta"):
        assert new_network("vit_h_14").image_size == 518


def test_libraries() -> None:
    assert library_of("resnet50") == ("torchvision", "resnet50")
    assert library_of("timm/resnet50") == ("timm", "resnet50")
    assert library_of("test_vit") == ("timm", "test_vit")
    assert library_of("vit_tiny_patch16_224.augreg_in21k") == (
        "timm",
        "vit_tiny_patch16_224.augreg_in21k",
    )
    with pytest.raises(
        UnknownNetworkError,
        match=r"neither torchvision nor timm has a network resnet51 \(close: .*resnet50",
    ):
        library_of("resnet51")
    with pytest.raises(
        UnknownNetworkError, match=r"timm has no weights test_vit\.mine, only test_vit\.r160_in1k"
    ):
        library_of("timm/test_vit.mine")


def test_timm_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    assert library_of("resnet50") == ("torchvision", "resnet50")
    with pytest.raises(
        UnknownNetworkError,
        match=r"no network alexnett \(close: alexnet\), and timm.*pip install 'medfeat\[timm\]'",
    ):
        new_network("alexnett")
    with pytest.raises(UnknownNetworkError, match="timm, which may, is not installed"):
        network_input("timm/resnet50")


def test_loading_takes_what_fits() -> None:
    given = new_network("squeezenet1_1", seed=1).state_dict()
    network = new_network("squeezenet1_1", seed=2)
    kept = network.state_dict()["classifier.1.weight"].clone()
    part = {name: tensor for name, tensor in given.items() if not name.startswith("classifier.")}
    assert load_tensors(network, {**part, "aux.weight": torch.zeros(3)}) == {
        "classifier.1.weight",
        "classifier.1.bias",
    }
    assert torch.equal(
        network.state_dict()["features.12.expand3x3.weight"], given["features.12.expand3x3.weight"]
    )
    assert torch.equal(network.state_dict()["classifier.1.weight"], kept)
    assert load_tensors(network, given) == frozenset()


def test_foreign_tensors_are_refused_and_nothing_is_loaded() -> None:
    network = new_network("squeezenet1_1")
    before = network.state_dict()["features.0.bias"].clone()
    wrong = {
        "features.0.bias": torch.ones(64),
        "features.3.squeeze.weight": torch.zeros(7, 64, 1, 1),
    }
    with pytest.raises(
        WrongWeightsError,
        match=r"features\.3\.squeeze\.weight has shape \(7, 64, 1, 1\).*\(16, 64, 1, 1\)",
    ):
        load_tensors(network, wrong)
    assert torch.equal(network.state_dict()["features.0.bias"], before)
    with pytest.raises(
        WrongWeightsError,
        match=r"none of its tensors \(conv1\.weight, \.\.\.\) is one of the network's",
    ):
        load_tensors(network, {"conv1.weight": torch.zeros(64, 3, 7, 7)})


def test_old_files_load() -> None:
    given = new_network("densenet121", seed=1).state_dict()
    old = {
        name.replace("norm1", "norm.1").replace("conv2", "conv.2")
        if "denselayer" in name
        else name: tensor
        for name, tensor in given.items()
        if not name.endswith("num_batches_tracked")
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    network = new_network("densenet121", seed=2)
    assert load_tensors(network, old) == frozenset()
    name = "features.denseblock1.denselayer1.conv2.weight"
    assert torch.equal(network.state_dict()[name], given[name])


def _real(folder: Path, name: str) -> dict[str, Tensor]:
    path = folder / "weights" / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    return load_file(path)


@pytest.mark.real_data
def test_partial_files(real_data: Path) -> None:
    rows = []
    for file in ("squeezenet1_1", "squeezenet1_1_features"):
        network = new_network("squeezenet1_1")
        missing = load_tensors(network, _real(real_data, file))
        rows.append(
            extract(
                LayerTap(network, "features", ANY, missing, "squeezenet1_1"),
                _images(2, 227),
                CPU,
                batch_size=2,
            )
        )
    np.testing.assert_array_equal(rows[0], rows[1])
    network = new_network("alexnet")
    missing = load_tensors(network, _real(real_data, "alexnet_features"))
    with pytest.raises(WrongWeightsError, match="alexnet's layer fc7 needs classifier"):
        LayerTap(network, "fc7", ANY, missing, "alexnet")

"""All layers of AlexNet in one pass, against torchvision's own forward."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
import torch

from data_contracts.studies.huynh2016 import LAYER_SHAPES, NETWORK_PIXELS
from methods.features.alexnet_layers import PATHS, AlexNetLayers, fresh_alexnet
from methods.features.frozen_network import WrongWeightsError


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(
        0, 256, (2, NETWORK_PIXELS, NETWORK_PIXELS, 3), dtype=np.uint8
    )


@torch.inference_mode()
def test_each_layer_is_what_a_hook_on_torchvisions_forward_sees(images: np.ndarray) -> None:
    network = fresh_alexnet()
    seen = {}
    hooks = [
        network.get_submodule(path).register_forward_hook(
            lambda module, given, output, layer=layer: seen.update({layer: output.clone()})
        )
        for layer, path in PATHS.items()
    ]
    ours = AlexNetLayers(network)
    logits = network(ours.normalised(torch.from_numpy(images)))
    for hook in hooks:
        hook.remove()
    found = ours.outputs(torch.from_numpy(images))
    assert list(found) == list(ours.layers) == list(LAYER_SHAPES)
    for layer, output in found.items():
        assert tuple(output.shape[1:]) == LAYER_SHAPES[layer]
        torch.testing.assert_close(output, seen[layer], msg=layer)
    torch.testing.assert_close(found["fc8"], logits)
    assert (found["fc7"] >= 0).all(), "after the ReLU"
    rows = ours(torch.from_numpy(images))
    assert rows.shape == (2, sum(map(prod, LAYER_SHAPES.values())))
    start = sum(prod(LAYER_SHAPES[layer]) for layer in list(LAYER_SHAPES)[:3])
    torch.testing.assert_close(rows[:, start : start + 43_200], found["pool2"].flatten(1))


@pytest.mark.parametrize(
    ("missing", "last"),
    [
        ("features.10.weight", "conv4"),
        ("classifier.1.bias", "pool5"),
        ("classifier.6.weight", "fc7"),
    ],
)
def test_layers_from_the_first_missing_tensor_on_are_left_out(missing: str, last: str) -> None:
    layers = AlexNetLayers(fresh_alexnet(), frozenset({missing})).layers
    assert layers == tuple(LAYER_SHAPES)[: list(LAYER_SHAPES).index(last) + 1]


def test_a_file_without_the_first_layer_is_refused() -> None:
    with pytest.raises(WrongWeightsError, match="does not hold the first layer"):
        AlexNetLayers(fresh_alexnet(), frozenset({"features.0.bias"}))

"""AlexNet up to conv5 against torchvision's own, and the identity of its published weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor

from methods.features.frozen_network import (
    ALEXNET_IMAGENET_DIGEST,
    CONV5_SHAPE,
    Conv5Extractor,
    ImageNetwork,
    WrongWeightsError,
    alexnet_convolutions,
    extract,
    random_alexnet,
    tensors_digest,
)

CPU = torch.device("cpu")
NORMALISE = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_alexnet(0)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 227, 227, 3), dtype=np.uint8)


def _reference(weights: dict[str, Tensor], images: np.ndarray) -> np.ndarray:
    """What torchvision's recipe gives: scale to 0..1, Normalize, the features part of alexnet()."""
    network = torchvision.models.alexnet(weights=None).eval()
    assert not network.load_state_dict(weights, strict=False).unexpected_keys
    x = NORMALISE(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    with torch.inference_mode():
        return network.features(x).numpy()


def test_random_alexnet_is_seeded(weights: dict[str, Tensor]) -> None:
    before = torch.random.get_rng_state()
    again, other = random_alexnet(0), random_alexnet(1)
    assert torch.equal(before, torch.random.get_rng_state())  # the global generator is left alone
    assert tensors_digest(again) == tensors_digest(weights) != tensors_digest(other)
    assert len(weights) == 10


def test_extractor_equals_torchvision(weights: dict[str, Tensor], images: np.ndarray) -> None:
    got = extract(Conv5Extractor(alexnet_convolutions(weights)), images[:2], CPU, batch_size=2)
    assert got.shape == (2, *CONV5_SHAPE) == (2, 256, 6, 6)
    assert got.dtype == np.float32
    expected = _reference(weights, images[:2])
    assert np.abs(expected).max() > 1e-3  # not all dead
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert not np.allclose(got[0], got[1], atol=1e-4 * np.abs(expected).max())


def test_row_shape_is_that_of_torch(weights: dict[str, Tensor]) -> None:
    network = Conv5Extractor(weights)
    assert network.row_shape() == ImageNetwork.row_shape(network) == (256, 6, 6)
    assert network.row_shape(300) == ImageNetwork.row_shape(network, 300) == (256, 8, 8)


def test_batch_size_does_not_matter(weights: dict[str, Tensor], images: np.ndarray) -> None:
    network = Conv5Extractor(weights)
    whole = extract(network, images, CPU, batch_size=5)
    for batch_size in (1, 2, 64):
        np.testing.assert_allclose(
            extract(network, images, CPU, batch_size), whole, rtol=1e-4, atol=1e-4 * whole.max()
        )


def test_an_image_has_the_same_bytes_in_any_company(weights: dict[str, Tensor]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (19, 227, 227, 3), np.uint8)
    network = Conv5Extractor(weights)
    together = extract(network, pictures, CPU, 19)
    for rows in (slice(0, 1), slice(3, 12), slice(17, 19)):
        np.testing.assert_array_equal(extract(network, pictures[rows], CPU, 64), together[rows])


def test_normalisation_does_not_travel_with_the_weights(weights: dict[str, Tensor]) -> None:
    assert set(Conv5Extractor(weights).state_dict()) == set(weights)


def test_other_tensors_of_the_network_are_left_out(weights: dict[str, Tensor]) -> None:
    given = {
        **weights,
        "classifier.6.weight": torch.zeros(1000, 4096),
        "features.0.weight": weights["features.0.weight"].half(),
    }
    found = alexnet_convolutions(given)
    assert set(found) == set(weights)
    assert found["features.0.weight"].dtype == torch.float32


@pytest.mark.parametrize("name", ["features.0.weight", "features.10.bias"])
def test_missing_tensor_is_named(weights: dict[str, Tensor], name: str) -> None:
    with pytest.raises(WrongWeightsError, match=f"{name} is missing"):
        alexnet_convolutions({key: tensor for key, tensor in weights.items() if key != name})


def test_wrong_shape_is_named(weights: dict[str, Tensor]) -> None:
    with pytest.raises(
        WrongWeightsError,
        match=r"features\.3\.weight has shape \(256, 48, 5, 5\).*\(192, 64, 5, 5\)",
    ):
        alexnet_convolutions({**weights, "features.3.weight": torch.zeros(256, 48, 5, 5)})


def test_digest_of_equal_weights() -> None:
    a, b = torch.arange(6.0).reshape(2, 3), torch.tensor([1.0])
    digest = tensors_digest({"a": a, "b": b})
    assert digest == tensors_digest({"b": b, "a": a})
    # float32 bytes, whatever the file held
    assert digest == tensors_digest({"a": a.double(), "b": b.half()})
    # memory layout is not identity
    assert digest == tensors_digest({"a": a.T.contiguous().T, "b": b})
    assert digest != tensors_digest({"a": b, "b": a})
    assert digest != tensors_digest({"a": a.reshape(3, 2), "b": b})
    assert digest != tensors_digest({"a": a + 1e-6, "b": b})


@pytest.fixture(scope="module")
def imagenet(real_data: Path) -> dict[str, Tensor]:
    path = real_data / "weights" / "alexnet_features.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    return alexnet_convolutions(load_file(path))


@pytest.mark.real_data
def test_digest_of_the_imagenet_weights(imagenet: dict[str, Tensor]) -> None:
    assert tensors_digest(imagenet) == ALEXNET_IMAGENET_DIGEST


@pytest.mark.real_data
def test_regression_values_of_the_imagenet_weights(imagenet: dict[str, Tensor]) -> None:
    x = torch.linspace(-2, 2, 3 * 224 * 224).reshape(1, 3, 224, 224)
    with torch.inference_mode():
        y = Conv5Extractor(imagenet).features(x)
    assert float(y.mean()) == pytest.approx(0.112401, abs=2e-6)
    assert float(y.std()) == pytest.approx(0.550124, abs=2e-6)


@pytest.mark.real_data
def test_imagenet_features_equal_torchvision(
    imagenet: dict[str, Tensor], images: np.ndarray
) -> None:
    got = extract(Conv5Extractor(imagenet), images[:2], CPU, batch_size=2)
    np.testing.assert_allclose(got, _reference(imagenet, images[:2]), atol=1e-4)


def test_bfloat16_is_near_and_not_the_same() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 227, 227, 3), np.uint8)
    network, cpu = Conv5Extractor(random_alexnet()), torch.device("cpu")
    exact, rough = (
        extract(network, pictures, cpu, 2, precision) for precision in ("float32", "bfloat16")
    )
    assert rough.dtype == np.float32
    error = np.sqrt(np.square(rough - exact).mean()) / exact.std()
    assert 1e-4 < error < 0.03

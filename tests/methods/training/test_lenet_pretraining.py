"""Pre-training of the first layer: the auto-encoder by plain arithmetic, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from methods.settings import LenetSettings
from methods.training import lenet_pretraining
from methods.training.lenet import LenetOneVsAll, train
from methods.training.lenet_pretraining import pretrained_filters, reconstruction
from methods.training.loop import DivergedError

CPU = torch.device("cpu")
SETTINGS = LenetSettings(batch_size=4, pretrain=True)


def _stripes(n: int = 8) -> NDArray[np.uint8]:
    """Vertical bars of five pixels, each image shifted by one."""
    bars = 200 * ((np.arange(46)[None, :] + np.arange(n)[:, None]) // 5 % 2)
    return np.repeat(bars[:, None], 46, axis=1).astype(np.uint8)


def _fit(images: NDArray[np.uint8], seen: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
    return pretrained_filters(lambda rows: images[rows], seen, 6, SETTINGS, CPU)


@pytest.mark.parametrize("rectifier", [False, True])
def test_reconstruction_is_the_sum_of_the_strongest_responses(rectifier: bool) -> None:
    rng = np.random.default_rng(0)
    image = rng.random((7, 7)).astype(np.float32)
    kernel = rng.normal(size=(3, 3)).astype(np.float32)
    expected = np.full((6, 6), 0.25)
    maps = np.array(
        [[(image[r : r + 3, c : c + 3] * kernel).sum() - 0.5 for c in range(4)] for r in range(4)]
    )
    units = np.maximum(maps, 0) if rectifier else np.tanh(maps)
    for r in (0, 2):
        for c in (0, 2):
            window = units[r : r + 2, c : c + 2]
            down, right = np.unravel_index(window.argmax(), (2, 2))
            if window.max() != 0:
                top, left = r + int(down), c + int(right)
                expected[top : top + 3, left : left + 3] += window.max() * kernel
    found = reconstruction(
        torch.from_numpy(image)[None, None],
        torch.from_numpy(kernel)[None, None],
        torch.tensor([-0.5]),
        torch.tensor([0.25]),
        rectifier,
    )
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-4, atol=1e-5)


def _unexplained(images: NDArray[np.uint8], filters: torch.Tensor, biases: torch.Tensor) -> float:
    """Variance of what the auto-encoder leaves of the images, as a share of theirs."""
    x = torch.from_numpy(images).float()[:, None] / 255
    given = reconstruction(x, filters, biases, torch.zeros(1), rectifier=False)
    return float((x - given).var() / x.var())


def test_filters_learn_the_images_and_nothing_of_those_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images, seen = _stripes(), np.arange(4)
    monkeypatch.setattr(lenet_pretraining, "EPOCHS", 0)
    before = _unexplained(images[seen], *_fit(images, seen))
    monkeypatch.setattr(lenet_pretraining, "EPOCHS", 30)
    filters, biases = _fit(images, seen)
    assert filters.shape == (6, 1, 15, 15)
    assert _unexplained(images[seen], filters, biases) < 0.5 < before
    changed = images.copy()
    changed[4:] = 255
    again, same = _fit(changed, seen)
    assert torch.equal(again, filters)
    assert torch.equal(same, biases)


def test_every_label_starts_from_the_filters() -> None:
    images = _stripes()
    targets = np.arange(16).reshape(8, 2) % 3 == 0
    settings = LenetSettings(batch_size=4, epochs=1, learning_rate=0.0, pretrain=True)
    groups = [str(i) for i in range(8)]
    ((_, take),) = train(lambda rows: images[rows], targets, groups, settings, CPU)
    filters, biases = pretrained_filters(lambda rows: images[rows], np.arange(8), 20, settings, CPU)
    weights = take().last_weights()
    for label in range(2):
        assert torch.equal(weights["conv1_weight"][label], filters)
        assert torch.equal(weights["conv1_bias"][label], biases)
    fresh = LenetOneVsAll(2, 46, settings)
    assert torch.equal(weights["conv2_weight"], fresh.conv2_weight), "the other layers are drawn"


def test_a_pre_training_that_diverges_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenet_pretraining, "LEARNING_RATE", float("inf"))
    with pytest.raises(DivergedError, match="pre-training of the first layer"):
        _fit(_stripes(), np.arange(8))

"""Fine-tuning: steps worked by hand, scikit-learn's optimum, and training that goes on as if never
stopped."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from torch import Tensor, nn

from methods.imaging.augmentation import augmented
from methods.settings import FineTuneSettings
from methods.training.batching import epoch_batches
from methods.training.fine_tuning import (
    FineTuneEpoch,
    HeadedNetwork,
    class_probabilities,
    fine_tune,
    mean_probabilities,
    penultimate_features,
    validation_slice,
)
from methods.training.loop import Checkpoint, DivergedError

CPU = torch.device("cpu")
NONE = np.empty(0, np.int64)
PLAIN = FineTuneSettings(
    epochs=1,
    batch_size=64,
    learning_rate=0.01,
    momentum=0.0,
    weight_decay=0.0,
    head_factor=10.0,
    augment=False,
)


class Pixels(nn.Module):
    """Scaled pixels as features: a body without parameters."""

    def forward(self, images: Tensor) -> Tensor:
        return images.to(torch.float32) / 255


class LinearBody(nn.Module):
    """One linear layer on the pixels."""

    def __init__(self, n_inputs: int, n_features: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_inputs, n_features, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layer((images.to(torch.float32) / 255).flatten(1))
        return features


class ConvolutionalBody(nn.Module):
    """Convolution, batch normalisation and dropout: all that has a state or draws numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.AdaptiveAvgPool2d((2, 1)),
        )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images.permute(0, 3, 1, 2).to(torch.float32) / 255)
        return features


def _seeded(make: type[nn.Module], *sizes: int, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(*sizes)


def _convolutional(seed: int = 0, dropout: float = 0.3) -> HeadedNetwork:
    return HeadedNetwork(_seeded(ConvolutionalBody, seed=seed), 12, 3, dropout, seed)


def _data(n: int = 40, size: int = 6, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Three classes that differ in colour, with noise that leaves mistakes to be made."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    colour = np.array([[110, 128, 128], [128, 110, 128], [128, 128, 110]])[codes][:, None, None]
    return np.clip(colour + rng.normal(0, 60, (n, size, size, 3)), 0, 255).astype(
        np.uint8
    ), codes.astype(np.int64)


def _train(
    network: HeadedNetwork,
    images: NDArray[np.uint8],
    codes: NDArray[np.int64],
    settings: FineTuneSettings,
    validation: NDArray[np.int64] = NONE,
    resume: Checkpoint | None = None,
) -> tuple[list[FineTuneEpoch], list[Checkpoint]]:
    train = np.setdiff1d(np.arange(len(codes)), validation)
    records, checkpoints = [], []
    for record, take in fine_tune(
        network, lambda rows: images[rows], codes, train, validation, settings, CPU, resume
    ):
        records.append(record)
        checkpoints.append(take())
    return records, checkpoints


def _assert_equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(second[name], tensor), name


def _head(weights: dict[str, Tensor]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return weights["head.weight"].double().numpy(), weights["head.bias"].double().numpy()


# The network


def test_features_and_logits_by_hand() -> None:
    network = HeadedNetwork(Pixels(), 6, 2, 0.5, seed=0).eval()
    with torch.no_grad():
        network.head.weight.copy_(torch.tensor([[1.0, 2, 3, 4, 5, 6], [0, 0, 0, 0, 0, -1]]))
        network.head.bias.copy_(torch.tensor([0.5, 0.25]))
    images = np.array([[[[255, 0, 51]], [[0, 255, 255]]]], np.uint8)  # 1, 0, 0.2, 0, 1, 1
    np.testing.assert_allclose(
        network.penultimate(torch.from_numpy(images)).detach(), [[1, 0, 0.2, 0, 1, 1]]
    )
    np.testing.assert_allclose(
        network(torch.from_numpy(images)).detach(), [[1 + 0.6 + 5 + 6 + 0.5, -1 + 0.25]], rtol=1e-6
    )


def test_dropout_lies_between_features_and_head() -> None:
    network = HeadedNetwork(Pixels(), 300, 2, 0.5, seed=0).train()
    images = torch.full((1, 10, 10, 3), 255, dtype=torch.uint8)
    assert bool((network.penultimate(images) == 1).all())
    with torch.no_grad():
        network.head.weight.fill_(1.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = float(network(images).detach()[0, 0]) / 2  # what is kept counts double
    assert kept == round(kept)
    assert 100 < kept < 200


def test_head_depends_on_its_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (HeadedNetwork(Pixels(), 500, 20, 0.0, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    _assert_equal(first.state_dict(), again.state_dict())
    assert not torch.equal(first.head.weight, other.head.weight)
    assert float(first.head.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    assert not bool(first.head.bias.any())


def test_a_head_for_another_body_is_refused() -> None:
    with pytest.raises(ValueError, match="the body gives 12 features an image, the head takes 6"):
        HeadedNetwork(Pixels(), 6, 2, 0.0, 0).penultimate(
            torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
        )


# One step


def test_one_step_is_the_gradient_of_softmax_regression() -> None:
    # dL/dW_head = (p - y)' f / n, dL/db = sum (p - y) / n, dL/dW_body = ((p - y) W_head)' x / n;
    # the head learns faster.
    images, codes = _data(n=10, size=2)
    network = HeadedNetwork(_seeded(LinearBody, 12, 4), 4, 3, 0.0, seed=0)
    body = network.body.layer.weight.detach().double().numpy().copy()
    weight, bias = (values.copy() for values in _head(network.state_dict()))
    x = images.reshape(10, -1) / 255.0
    decay = 0.1
    (record,), (checkpoint,) = _train(network, images, codes, replace(PLAIN, weight_decay=decay))
    logits = x @ body.T @ weight.T + bias
    wrong = (scipy_softmax(logits, axis=1) - np.eye(3)[codes]) / 10
    new_weight, new_bias = _head(checkpoint.best_weights())
    new_body = checkpoint.best_weights()["body.layer.weight"].double().numpy()
    np.testing.assert_allclose(
        new_weight - weight, -0.1 * (wrong.T @ (x @ body.T) + decay * weight), rtol=1e-4, atol=1e-7
    )
    np.testing.assert_allclose(new_bias, -0.1 * wrong.sum(axis=0), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(
        new_body - body, -0.01 * ((wrong @ weight).T @ x + decay * body), rtol=1e-3, atol=1e-7
    )
    assert record.train_loss == pytest.approx(
        -log_softmax(logits, axis=1)[np.arange(10), codes].mean(), rel=1e-5
    )


def test_momentum_by_hand() -> None:
    # v1 = g1, v2 = m v1 + g2: the second step is -rate (m g1 + g2), at half the rate by the cosine.
    images, codes = _data(n=13, size=2)
    held = np.arange(10, 13)
    x, y = images[:10].reshape(10, -1) / 255.0, np.eye(3)[codes[:10]]
    _, checkpoints = _train(
        HeadedNetwork(Pixels(), 12, 3, 0.0, seed=0),
        images,
        codes,
        replace(PLAIN, epochs=2, momentum=0.5),
        held,
    )
    biases = [np.zeros(3)]
    gradients = []
    start = HeadedNetwork(Pixels(), 12, 3, 0.0, seed=0).state_dict()
    for weights in (start, checkpoints[0].tensors):
        weight, bias = _head(
            {name.removeprefix("network."): tensor for name, tensor in weights.items()}
        )
        gradients.append((scipy_softmax(x @ weight.T + bias, axis=1) - y).mean(axis=0))
    biases = [
        checkpoint.tensors["network.head.bias"].double().numpy() for checkpoint in checkpoints
    ]
    np.testing.assert_allclose(
        biases[1] - biases[0], -0.05 * (0.5 * gradients[0] + gradients[1]), rtol=1e-4, atol=1e-7
    )


def test_mean_loss_weighs_batches_by_their_images() -> None:
    # Rate zero: the weights stay, so the mean over batches of 4, 4 and 2 must be the mean over the
    # ten images.
    images, codes = _data(n=10, size=2)
    network = HeadedNetwork(Pixels(), 12, 3, 0.0, seed=0)
    weight, bias = (values.copy() for values in _head(network.state_dict()))
    weight *= 100
    with torch.no_grad():
        network.head.weight.mul_(100)
    (record,), _ = _train(network, images, codes, replace(PLAIN, learning_rate=0.0, batch_size=4))
    losses = -log_softmax(images.reshape(10, -1) / 255.0 @ weight.T + bias, axis=1)[
        np.arange(10), codes
    ]
    assert record.train_loss == pytest.approx(losses.mean(), rel=1e-5)


def test_converged_head_is_scikit_learns_logistic_regression() -> None:
    # The bias decays too, so the peer gets it as a column of ones; mean loss + w/2 ||W||^2 is C = 1
    # / (n w).
    images, codes = _data(n=30, size=1)
    decay = 0.01
    settings = replace(PLAIN, epochs=400, learning_rate=0.2, momentum=0.9, weight_decay=decay)
    _, checkpoints = _train(HeadedNetwork(Pixels(), 3, 3, 0.0, seed=0), images, codes, settings)
    x = np.column_stack([images.reshape(30, -1) / 255.0, np.ones(30)])
    peer = LogisticRegression(
        C=1 / (30 * decay), fit_intercept=False, tol=1e-10, max_iter=10_000
    ).fit(x, codes)

    def objective(weight: NDArray[np.float64]) -> float:
        losses = -log_softmax(x @ weight.T, axis=1)[np.arange(30), codes]
        return float(losses.mean() + decay / 2 * (weight**2).sum())

    weight, bias = _head(checkpoints[-1].best_weights())
    found = np.column_stack([weight, bias])
    assert objective(found) == pytest.approx(objective(peer.coef_), rel=1e-6)
    np.testing.assert_allclose(found, peer.coef_, atol=1e-3)
    assert objective(np.zeros_like(found)) > 1.01 * objective(found)


def test_a_frozen_body_is_trained_too() -> None:
    images, codes = _data()
    network = HeadedNetwork(
        _seeded(ConvolutionalBody).requires_grad_(False).eval(), 12, 3, 0.0, seed=0
    )
    before = copy.deepcopy(network.state_dict())
    _train(network, images, codes, PLAIN)
    for name in (
        "body.layers.0.weight",
        "body.layers.1.weight",
        "body.layers.1.running_mean",
        "head.weight",
    ):
        assert not torch.equal(network.state_dict()[name], before[name]), name


# Schedule and early stop


def test_cosine_without_a_validation_slice() -> None:
    images, codes = _data(n=10)
    records, checkpoints = _train(_convolutional(), images, codes, replace(PLAIN, epochs=4))
    half = math.sqrt(0.5)
    expected = [0.01, 0.01 * (1 + half) / 2, 0.005, 0.01 * (1 - half) / 2]
    np.testing.assert_allclose([record.learning_rate for record in records], expected)
    assert {(record.validation_loss, record.validation_accuracy) for record in records} == {
        (None, None)
    }
    for checkpoint in checkpoints:  # the last epoch is the best, and is stored once
        assert not any(name.startswith("best.") for name in checkpoint.tensors)
        network = {
            name: tensor
            for name, tensor in checkpoint.tensors.items()
            if name.startswith("network.")
        }
        _assert_equal(
            checkpoint.best_weights(),
            {name.removeprefix("network."): tensor for name, tensor in network.items()},
        )


def test_rate_falls_from_step_to_step() -> None:
    """Softmax regression by stochastic gradient descent in plain NumPy, with the cosine's rate at
    each of the six steps."""
    images, codes = _data(n=12)
    settings = replace(PLAIN, epochs=2, batch_size=4)
    network = HeadedNetwork(Pixels(), 108, 3, 0.0, seed=0)
    with torch.inference_mode():
        features = network.penultimate(torch.from_numpy(images)).double().numpy()
    weight, bias = network.head.weight.detach().double().numpy().copy(), np.zeros(3)
    step = 0
    for epoch in range(2):
        for rows in epoch_batches(12, 4, settings.seed, epoch):
            logits = features[rows] @ weight.T + bias
            residual = (np.exp(log_softmax(logits, axis=1)) - np.eye(3)[codes[rows]]) / len(rows)
            rate = (
                settings.head_factor
                * settings.learning_rate
                * (1 + math.cos(math.pi * step / 6))
                / 2
            )
            weight -= rate * residual.T @ features[rows]
            bias -= rate * residual.sum(axis=0)
            step += 1
    _, checkpoints = _train(network, images, codes, settings)
    np.testing.assert_allclose(
        checkpoints[-1].best_weights()["head.weight"].numpy(), weight, rtol=1e-4, atol=1e-7
    )
    np.testing.assert_allclose(
        checkpoints[-1].best_weights()["head.bias"].numpy(), bias, rtol=1e-4, atol=1e-7
    )


@pytest.mark.parametrize("patience", [1, 3, 4])
def test_run_stops_where_nothing_improves(patience: int) -> None:
    # Validation images are training images under a wrong class: the better the fit, the worse their
    # loss.
    images, codes = _data(n=12)
    images, codes = np.concatenate([images, images]), np.concatenate([codes, (codes + 1) % 3])
    settings = replace(PLAIN, epochs=20, patience=patience)
    network = HeadedNetwork(Pixels(), 108, 3, 0.0, seed=0)
    records, checkpoints = _train(network, images, codes, settings, validation=np.arange(12, 24))
    losses = [record.validation_loss for record in records]
    assert losses[0] == min(losses)
    assert len(records) == 1 + patience
    assert checkpoints[-1].state["best_epoch"] == 1
    _assert_equal(checkpoints[-1].best_weights(), checkpoints[0].best_weights())
    # The finished run does not start again.
    assert _train(network, images, codes, settings, np.arange(12, 24), resume=checkpoints[-1]) == (
        [],
        [],
    )


def test_best_epoch_is_kept_and_not_the_last() -> None:
    # Validation images are training images, a third of them under a wrong class: the loss falls
    # until the fit is too sure.
    images, codes = _data(n=24)
    images, codes = (
        np.concatenate([images, images]),
        np.concatenate([codes, np.where(np.arange(24) < 8, (codes + 1) % 3, codes)]),
    )
    held = np.arange(24, 48)
    records, checkpoints = _train(
        HeadedNetwork(Pixels(), 108, 3, 0.0, seed=0),
        images,
        codes,
        replace(PLAIN, epochs=200, learning_rate=0.01, patience=3),
        held,
    )
    losses = [record.validation_loss for record in records]
    best = int(np.argmin(losses))
    assert 0 < best < len(records) - 1  # or the test shows nothing
    assert len(records) == best + 1 + 3
    _assert_equal(checkpoints[-1].best_weights(), checkpoints[best].best_weights())
    kept = HeadedNetwork(Pixels(), 108, 3, 0.0, seed=5)
    kept.load_state_dict(checkpoints[-1].best_weights())
    with torch.inference_mode():
        logits = kept.eval()(torch.from_numpy(images[held])).double().numpy()
    assert -log_softmax(logits, axis=1)[np.arange(24), codes[held]].mean() == pytest.approx(
        losses[best], rel=1e-5
    )
    assert (logits.argmax(axis=1) == codes[held]).mean() == pytest.approx(
        records[best].validation_accuracy
    )


def test_validation_images_leave_no_trace_in_the_weights() -> None:
    images, codes = _data(n=40)
    held = np.arange(30, 40)
    changed = images.copy()
    changed[held] = 255 - changed[held]
    settings = replace(PLAIN, epochs=2, augment=True)
    first, other = (
        _train(_convolutional(), given, codes, settings, held) for given in (images, changed)
    )
    assert [record.train_loss for record in first[0]] == [record.train_loss for record in other[0]]
    assert first[0][0].validation_loss != other[0][0].validation_loss
    for name in first[1][-1].tensors:
        if not name.startswith("best."):
            assert torch.equal(first[1][-1].tensors[name], other[1][-1].tensors[name]), name


# Batches


@pytest.mark.parametrize(
    ("n", "sizes"), [(1, [2]), (2, [2]), (3, [3]), (8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2])]
)
def test_no_batch_of_a_single_image(n: int, sizes: list[int]) -> None:
    images, codes = _data(n=n)
    seen: list[NDArray[np.int64]] = []

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        seen.append(rows)
        return images[rows]

    steps = fine_tune(
        _convolutional(), read, codes, np.arange(n), NONE, replace(PLAIN, batch_size=4), CPU
    )
    record, take = next(steps)
    assert [len(rows) for rows in seen] == sizes
    assert set(np.concatenate(seen).tolist()) == set(range(n))
    assert math.isfinite(record.train_loss)
    assert take().tensors["network.body.layers.1.num_batches_tracked"] == len(sizes)


def test_one_image_and_batch_normalisation_of_vectors() -> None:
    body = nn.Sequential(Pixels(), nn.Flatten(), nn.BatchNorm1d(108))
    images, codes = _data(n=1)
    records, _ = _train(
        HeadedNetwork(body, 108, 3, 0.5, 0), images, codes, replace(PLAIN, epochs=3, augment=True)
    )
    assert len(records) == 3


def test_positions_are_those_of_the_codes() -> None:
    # Only images 5 .. 9 are trained on; the others would be read as class 2 and are not there.
    images, codes = _data(n=10)
    seen: set[int] = set()

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        seen.update(rows.tolist())
        return images[rows]

    list(
        fine_tune(
            _convolutional(),
            read,
            codes,
            np.arange(5, 10),
            np.arange(2),
            replace(PLAIN, batch_size=2),
            CPU,
        )
    )
    assert seen == {0, 1, 5, 6, 7, 8, 9}


# Randomness


def test_training_sees_augmented_views_and_evaluation_does_not() -> None:
    images, codes = _data(n=20)
    held = np.arange(15, 20)
    given: list[tuple[bool, bytes]] = []
    network = HeadedNetwork(Pixels(), 108, 3, 0.0, 0)
    network.register_forward_pre_hook(
        lambda module, args: given.append((module.training, args[0].numpy().tobytes()))
    )
    _train(network, images, codes, replace(PLAIN, epochs=2, augment=True), held)
    views = [data for training, data in given if training]
    whole = [data for training, data in given if not training]
    assert whole == [images[held].tobytes()] * 2
    plain = {image.tobytes() for image in images}
    size = images[0].nbytes
    parts = [data[i : i + size] for data in views for i in range(0, len(data), size)]
    assert len(parts) == 30
    assert len(set(parts) | plain) == 50  # every view new, in both epochs
    assert len(augmented(torch.from_numpy(images), torch.Generator())) == 20


def test_global_random_numbers_are_neither_used_nor_changed() -> None:
    images, codes = _data()
    settings = replace(PLAIN, epochs=2, augment=True, batch_size=16)
    first = _train(_convolutional(), images, codes, settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        before = torch.random.get_rng_state()
        second = _train(_convolutional(), images, codes, settings)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert first[0] == second[0]
    _assert_equal(first[1][-1].tensors, second[1][-1].tensors)


@pytest.mark.parametrize("what", ["order", "views", "dropout"])
def test_seed_and_epoch_decide(what: str) -> None:
    # At rate zero the loss of an epoch changes only with what is drawn.
    images, codes = _data()
    network = HeadedNetwork(_seeded(ConvolutionalBody), 12, 3, 0.0, 0)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.5 if what == "dropout" else 0.0
    with torch.no_grad():
        network.head.weight.mul_(100)
    batch_size = 8 if what == "order" else 64  # batch normalisation tells one order from another
    settings = replace(
        PLAIN, epochs=2, learning_rate=0.0, augment=what == "views", batch_size=batch_size
    )
    losses = [
        [
            record.train_loss
            for record in _train(network, images, codes, replace(settings, seed=seed))[0]
        ]
        for seed in (0, 1, 0)
    ]
    assert losses[0] == losses[2]
    assert len({f"{loss:.4f}" for run in losses[:2] for loss in run}) == 4


# Checkpoints


@pytest.mark.parametrize("n_held", [0, 12])
def test_resumed_run_has_the_bytes_of_an_unbroken_one(n_held: int) -> None:
    images, codes = _data()
    held = np.arange(len(codes) - n_held, len(codes))
    settings = FineTuneSettings(epochs=9, patience=4, batch_size=9, learning_rate=0.1, seed=3)
    straight_records, straight = _train(_convolutional(), images, codes, settings, held)
    if n_held:  # the counter and the best epoch's weights have to survive
        assert any(name.startswith("best.") for name in straight[-1].tensors)
        assert len({record.learning_rate for record in straight_records}) > 1
        assert straight[-1].state["best_epoch"] > 1
    for done, checkpoint in enumerate(straight, start=1):
        stored = save(checkpoint.tensors), json.dumps(checkpoint.state, allow_nan=False)
        back = Checkpoint(tensors=load(stored[0]), state=json.loads(stored[1]))
        # a checkpoint in memory is not written into; what the network held before does not matter
        for seed in (0, 8):
            rest_records, rest = _train(
                _convolutional(seed), images, codes, settings, held, resume=back
            )
            assert straight_records[:done] + rest_records == straight_records
            last = rest[-1] if rest else back
            assert last.state == straight[-1].state
            _assert_equal(last.tensors, straight[-1].tensors)
            _assert_equal(last.best_weights(), straight[-1].best_weights())
    assert len(straight[-1].state["curve"]) == straight[-1].state["epochs"] == len(straight_records)


def test_a_checkpoint_is_a_copy() -> None:
    images, codes = _data()
    held = np.arange(30, 40)
    settings = replace(PLAIN, epochs=4, momentum=0.9)
    steps = fine_tune(
        _convolutional(), lambda rows: images[rows], codes, np.arange(30), held, settings, CPU
    )
    _, take = next(steps)
    checkpoint = take()
    kept, state = copy.deepcopy(checkpoint.tensors), copy.deepcopy(checkpoint.state)
    for _ in steps:
        pass
    _assert_equal(checkpoint.tensors, kept)
    assert checkpoint.state == state


# What is refused


@pytest.mark.parametrize("n_held", [0, 4])
@pytest.mark.parametrize("batch_size", [4, 64])
def test_absurd_rate_is_reported(n_held: int, batch_size: int) -> None:
    # One step an epoch: the loss is that of the fresh head, and without a slice only the weights
    # tell.
    images, codes = _data(n=20)
    network = HeadedNetwork(_seeded(LinearBody, 108, 4), 4, 3, 0.0, 0)
    settings = replace(
        PLAIN, epochs=5, learning_rate=1e30, batch_size=batch_size, weight_decay=1e10
    )
    with pytest.raises(DivergedError, match=r"not finite after epoch 1 at learning rate 1e\+30"):
        _train(network, images, codes, settings, np.arange(20 - n_held, 20))


@pytest.mark.parametrize(("bad", "channels"), [(2, 1), (4, 2)])
def test_an_infinite_loss_of_finite_weights_is_reported(bad: int, channels: int) -> None:
    # A red training image whose logits are 6e38 apart, or a yellow validation image with one of
    # 6e38: too much for float32.
    images = np.zeros((5, 1, 1, 3), np.uint8)
    images[bad, :, :, :channels] = 255
    network = HeadedNetwork(Pixels(), 3, 3, 0.0, seed=0)
    with torch.no_grad():
        network.head.weight[:, :2] = torch.tensor([[3e38], [-3e38], [0.0]])
    with pytest.raises(DivergedError, match="after epoch 1"):
        _train(network, images, np.ones(5, np.int64), PLAIN, np.array([4]))
    assert all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())


@pytest.mark.parametrize(
    ("change", "train", "validation", "message"),
    [
        ({}, [], [0], "at least one training image"),
        ({}, [0, 1, 2], [2, 3], "1 images are in both training and validation"),
        ({}, [0, 9], [], r"class codes must lie in 0\.\.2, got 0\.\.3"),
        ({}, [0], [9], r"class codes must lie in 0\.\.2, got 0\.\.3"),
        ({}, [8, 0], [], r"class codes must lie in 0\.\.2, got -1\.\.0"),
        ({"batch_size": 1}, [0, 1], [], "batch_size must be at least 2"),
        ({"patience": 0}, [0, 1], [], "patience must be at least 1"),
    ],
)
def test_wrong_inputs_are_named(
    change: dict[str, int], train: list[int], validation: list[int], message: str
) -> None:
    images, codes = _data(n=10)
    codes[8:] = [-1, 3]
    sides = np.array(train, np.int64), np.array(validation, np.int64)
    with pytest.raises(ValueError, match=message):
        next(
            fine_tune(
                _convolutional(),
                lambda rows: images[rows],
                codes,
                *sides,
                replace(PLAIN, **change),
                CPU,
            )
        )


# Validation slice


def _classes(**sizes: int) -> list[str]:
    return [name for name, size in sizes.items() for _ in range(size)]


def test_slice_is_stratified() -> None:
    labels = _classes(a=40, b=20)
    chosen = validation_slice(labels, [f"g{i}" for i in range(60)], 0.1, seed=0)
    assert chosen.dtype == np.bool_
    assert Counter(np.array(labels)[chosen].tolist()) == {"a": 4, "b": 2}
    np.testing.assert_array_equal(
        chosen, validation_slice(np.array(labels), [f"g{i}" for i in range(60)], 0.1, seed=0)
    )
    assert not np.array_equal(
        chosen, validation_slice(labels, [f"g{i}" for i in range(60)], 0.1, seed=1)
    )


@pytest.mark.parametrize("seed", range(5))
def test_slice_never_shares_a_group(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.array(_classes(a=60, b=60, c=30))
    groups = np.array([f"p{g}" for g in rng.integers(0, 40, 150)])
    chosen = validation_slice(labels, groups.tolist(), 0.2, seed)
    assert 0 < chosen.sum() <= 45
    assert not set(groups[chosen]) & set(groups[~chosen])
    assert set(labels[chosen]) == set(labels[~chosen]) == {"a", "b", "c"}


def test_a_class_of_one_group_is_trained_on_entirely() -> None:
    # The one d shares group g0 with an a, which has to stay as well; e has three images of one
    # patient.
    labels = [*_classes(a=40, b=20), "d", "e", "e", "e"]
    groups = [*(f"g{i}" for i in range(60)), "g0", "p", "p", "p"]
    for seed in range(20):
        chosen = validation_slice(labels, groups, 0.1, seed)
        assert Counter(np.array(labels)[chosen].tolist()).keys() == {"a", "b"}
        assert chosen.sum() in (5, 6, 7)
        assert not chosen[[0, 60, 61, 62, 63]].any()


def test_what_a_group_drags_along_is_not_drawn_either() -> None:
    # Without d's group p1, class b is left with one group, p2, and stays too: only a is divided.
    labels = [*_classes(a=20), "d", "b", "b"]
    groups = [*(f"g{i}" for i in range(20)), "p1", "p1", "p2"]
    chosen = validation_slice(labels, groups, 0.1, seed=0)
    assert chosen.sum() == 2
    assert not chosen[20:].any()


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (_classes(a=1, b=1), ["g0", "g1"]),  # one image a class
        # a quarter of them would be the smallest slice
        (_classes(a=4, b=4), [f"g{i}" for i in range(8)]),
        (_classes(a=30, b=30), ["p", *["q"] * 29] * 2),  # two groups of all but everything
        ([], []),
    ],
)
def test_slice_is_empty_where_too_few_could_be_spared(labels: list[str], groups: list[str]) -> None:
    chosen = validation_slice(labels, groups, 0.1, seed=0)
    assert chosen.shape == (len(labels),)
    assert not chosen.any()


def test_slice_is_empty_where_no_draw_has_every_class() -> None:
    # Both groups of a also hold all of b or all of c: no fold of whole groups has b and c on both
    # sides.
    labels = [*_classes(a=8, b=2, c=2)]
    groups = [*["p"] * 4, *["q"] * 4, "p", "r", "q", "r"]
    assert not validation_slice(labels, groups, 0.45, seed=0).any()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, math.nan])
def test_slice_refuses_a_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        validation_slice(["a", "b"], ["g", "h"], fraction, 0)


def test_slice_refuses_labels_without_groups() -> None:
    with pytest.raises(ValueError, match="2 labels and 1 groups"):
        validation_slice(["a", "b"], ["g"], 0.1, 0)


# Features and probabilities


def test_features_are_those_of_the_network_at_rest() -> None:
    images, codes = _data(n=11)
    network = _convolutional()
    _train(network, images, codes, PLAIN)
    network.train()
    before = copy.deepcopy(network.state_dict())
    features = penultimate_features(network, images, CPU, batch_size=4)
    assert (features.shape, features.dtype) == ((11, 12), np.float32)
    _assert_equal(network.state_dict(), before)  # batch normalisation took no statistics
    with torch.inference_mode():
        expected = network.eval().body(torch.from_numpy(images)).numpy().reshape(11, 12)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)
    assert penultimate_features(network, images[:0], CPU, batch_size=4).shape == (0, 12)
    # head and features stored apart give the network's own probabilities
    with torch.inference_mode():
        logits = network(torch.from_numpy(images)).double()
    probabilities = class_probabilities(
        features, network.head.weight.detach().numpy(), network.head.bias.detach().numpy()
    )
    np.testing.assert_allclose(probabilities, logits.softmax(dim=1), rtol=1e-5)


def test_features_that_are_not_finite_are_refused() -> None:
    network = _convolutional()
    with torch.no_grad():
        network.body.layers[0].bias.fill_(math.inf)
    with pytest.raises(ValueError, match="not finite"):
        penultimate_features(network, _data(n=2)[0], CPU, batch_size=4)


def test_probabilities_by_hand() -> None:
    # Logits 1000 + log 1, log 2, log 5: a softmax of 1/8, 2/8, 5/8 that must not overflow.
    features = np.array([[1.0, 0.0], [0.0, 0.0]], np.float32)
    weight = np.array([[1000, 0], [1000 + math.log(2), 0], [1000 + math.log(5), 0]])
    got = class_probabilities(features, weight, np.zeros(3))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, [[1 / 8, 2 / 8, 5 / 8], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(
        class_probabilities(features[1:], weight, np.log([1.0, 1.0, 2.0])), [[0.25, 0.25, 0.5]]
    )


@pytest.mark.parametrize(
    ("features", "weight", "bias"),
    [
        ((2, 3), (4, 5), (4,)),
        ((2, 3), (4, 3), (5,)),
        ((2, 3, 1), (4, 3), (4,)),
        ((2, 3), (3, 4), (4,)),
    ],
)
def test_head_that_does_not_fit_is_refused(
    features: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="do not fit a head"):
        class_probabilities(np.zeros(features, np.float32), np.zeros(weight), np.zeros(bias))


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        class_probabilities(np.array([[np.nan]], np.float32), np.ones((2, 1)), np.zeros(2))


def test_ensemble_is_scikit_learns_soft_vote() -> None:
    images, codes = _data(n=30, size=1)
    x = images.reshape(30, -1).astype(float)
    vote = VotingClassifier(
        [("logistic", LogisticRegression(max_iter=5000)), ("bayes", GaussianNB())], voting="soft"
    )
    vote.fit(x, codes)
    members = [member.predict_proba(x) for member in vote.estimators_]
    mean = mean_probabilities(members)
    np.testing.assert_allclose(mean, vote.predict_proba(x), rtol=1e-12)
    np.testing.assert_allclose(mean.sum(axis=1), 1)
    single = mean_probabilities([members[0].astype(np.float32)])
    assert single.dtype == np.float64
    np.testing.assert_array_equal(single, members[0].astype(np.float32))


def test_members_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        mean_probabilities([])
    with pytest.raises(ValueError, match=r"same shape, got \[\(2, 3\), \(2, 4\)\]"):
        mean_probabilities([np.ones((2, 3)), np.ones((2, 4))])
    with pytest.raises(ValueError, match="not finite"):
        mean_probabilities([np.array([[np.nan, 1.0]])])

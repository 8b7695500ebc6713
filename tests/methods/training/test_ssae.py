"""The stacked sparse auto-encoder: cost and gradient worked in numpy, and a training that keeps the
sparsity asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from methods.settings import SsaeSettings
from methods.training.loop import DivergedError
from methods.training.ssae import SparseAutoEncoder, SsaeEpoch, encode, train_ssae

CPU = torch.device("cpu")
SMALL = SsaeSettings(hidden=(16, 8), sparsity=0.1, epochs=8, batch_size=64, learning_rate=1e-2)
NAMES = ("weight", "bias", "decoder_weight", "decoder_bias")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _patches(n: int = 1024, k: int = 10, seed: int = 0) -> np.ndarray:
    """Sparse mixtures of six directions, unit variance."""
    rng = np.random.default_rng(seed)
    rows = (rng.random((n, 6)) < 0.2) * rng.normal(0, 1, (n, 6)) @ rng.normal(0, 1, (6, k))
    return (rows / rows.std(axis=0)).astype(np.float32)


def _autoencoder(linear_decoder: bool) -> tuple[SparseAutoEncoder, list[np.ndarray]]:
    autoencoder = SparseAutoEncoder(
        4, 3, linear_decoder, 0.1, torch.Generator().manual_seed(0)
    ).double()
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for name in NAMES:
            parameter = getattr(autoencoder, name)
            parameter.copy_(torch.from_numpy(rng.normal(0, 0.7, tuple(parameter.shape))))
    return autoencoder, [getattr(autoencoder, name).detach().numpy().copy() for name in NAMES]


def _cost(
    parameters: list[np.ndarray], x: np.ndarray, linear: bool, settings: SsaeSettings
) -> float:
    """The module's J, term by term."""
    w, b, v, c = parameters
    h = _sigmoid(x @ w.T + b)
    y = h @ v.T + c
    y = y if linear else _sigmoid(y)
    rho, mean = settings.sparsity, h.mean(axis=0)
    reconstruction = sum(0.5 * ((y[i] - x[i]) ** 2).sum() for i in range(len(x))) / len(x)
    decay = settings.weight_decay / 2 * ((w**2).sum() + (v**2).sum())
    divergence = sum(rho * np.log(rho / m) + (1 - rho) * np.log((1 - rho) / (1 - m)) for m in mean)
    return float(reconstruction + decay + settings.sparsity_weight * divergence)


def _gradient(
    parameters: list[np.ndarray], x: np.ndarray, linear: bool, settings: SsaeSettings
) -> list[np.ndarray]:
    """Backpropagation of the lecture notes: the sparsity term joins the error of the hidden
    layer."""
    w, b, v, c = parameters
    h = _sigmoid(x @ w.T + b)
    y = h @ v.T + c
    y = y if linear else _sigmoid(y)
    rho, mean = settings.sparsity, h.mean(axis=0)
    upper = (y - x) / len(x) if linear else (y - x) * y * (1 - y) / len(x)
    sparsity = settings.sparsity_weight * (-rho / mean + (1 - rho) / (1 - mean)) / len(x)
    lower = (upper @ v + sparsity) * h * (1 - h)
    decay = settings.weight_decay
    return [lower.T @ x + decay * w, lower.sum(axis=0), upper.T @ h + decay * v, upper.sum(axis=0)]


# Cost


@pytest.mark.parametrize("linear", [True, False])
def test_cost_and_gradient_are_the_closed_form(linear: bool) -> None:
    """Reference: the cost and its gradient by hand in numpy, and central differences of that
    cost."""
    settings = SsaeSettings(sparsity=0.1, sparsity_weight=2.5, weight_decay=0.3)
    autoencoder, parameters = _autoencoder(linear)
    x = np.random.default_rng(2).random((7, 4))
    cost = autoencoder.cost(torch.from_numpy(x), settings)
    assert float(cost.total.detach()) == pytest.approx(
        _cost(parameters, x, linear, settings), rel=1e-12
    )
    torch.autograd.backward(cost.total)
    expected = _gradient(parameters, x, linear, settings)
    for index, name in enumerate(NAMES):
        np.testing.assert_allclose(
            getattr(autoencoder, name).grad.numpy(), expected[index], rtol=1e-9, atol=1e-12
        )
        for place in np.ndindex(parameters[index].shape):
            step = [p.copy() for p in parameters]
            step[index][place] += 1e-6
            above = _cost(step, x, linear, settings)
            step[index][place] -= 2e-6
            assert expected[index][place] == pytest.approx(
                (above - _cost(step, x, linear, settings)) / 2e-6, abs=1e-7
            )


def test_divergence_is_zero_at_rho() -> None:
    # Weights zero, biases at logit(rho): every unit is rho, the reconstruction of the zero rows is
    # zero, no decay is left.
    settings = SsaeSettings(sparsity=0.2, weight_decay=1.0)
    autoencoder = SparseAutoEncoder(4, 3, True, 0.2, torch.Generator()).double()
    with torch.no_grad():
        autoencoder.weight.zero_()
        autoencoder.decoder_weight.zero_()
        cost = autoencoder.cost(torch.zeros(5, 4, dtype=torch.float64), settings)
        np.testing.assert_allclose(cost.activation, 0.2, rtol=1e-6)
        assert abs(float(cost.total)) < 1e-12
        autoencoder.bias.zero_()
        # rho_j = 1/2: KL = 0.2 log 0.4 + 0.8 log 1.6 = 0.192745, times three units and beta 3.
        off = autoencoder.cost(torch.zeros(5, 4, dtype=torch.float64), settings)
    assert float(off.total) == pytest.approx(9 * 0.192745, abs=1e-5)


def test_first_weights_are_in_the_notes_range() -> None:
    autoencoder = SparseAutoEncoder(90, 59, True, 0.05, torch.Generator().manual_seed(0))
    for weight in (autoencoder.weight, autoencoder.decoder_weight):  # sqrt(6 / (90 + 59 + 1)) = 0.2
        assert 0.199 < float(weight.detach().abs().max()) <= 0.2


# Training


def test_training_reaches_the_sparsity_and_lowers_the_error() -> None:
    fit = train_ssae(_patches(), replace(SMALL, epochs=15, batch_size=32, learning_rate=2e-2), CPU)
    assert [(r.layer, r.epoch) for r in fit.curve] == [
        (layer, epoch) for layer in (1, 2) for epoch in range(1, 16)
    ]
    lower, upper = (fit.curve[14 + 15 * layer] for layer in (0, 1))
    assert lower.error < 0.1
    assert upper.error < 0.8 * fit.curve[15].error
    for record in (lower, upper):
        assert record.mean_activation == pytest.approx(0.1, abs=0.02)
    hidden = encode(
        {name: t for name, t in fit.tensors.items() if name.startswith("1")}, _patches(), CPU
    )
    np.testing.assert_allclose(hidden.mean(axis=0), 0.1, atol=0.03)


def test_penalty_holds_the_activation() -> None:
    # The biases start at rho, so it is the penalty that holds the units there: without it they
    # leave.
    settings = replace(SMALL, hidden=(16,), sparsity=0.05, batch_size=32)
    held, free = (
        train_ssae(_patches(), replace(settings, sparsity_weight=beta), CPU).curve[-1]
        for beta in (3.0, 0.0)
    )
    assert held.mean_activation == pytest.approx(0.05, abs=0.03)
    assert free.mean_activation > 0.12


def test_first_step_is_adam_on_the_cost() -> None:
    # One batch, first step of Adam: every parameter moves by the rate against the sign of its
    # gradient.
    settings = replace(SMALL, hidden=(16,), epochs=1, batch_size=2000)
    patches = _patches(200)
    fit = train_ssae(patches, settings, CPU)
    start = SparseAutoEncoder(10, 16, True, 0.1, torch.Generator().manual_seed(0))
    parameters = [getattr(start, name).detach().numpy().astype(np.float64) for name in NAMES]
    gradient = _gradient(parameters, patches.astype(np.float64), True, settings)
    for index, name in enumerate(("weight", "bias")):
        assert np.abs(gradient[index]).min() > 1e-5
        moved = parameters[index] - settings.learning_rate * np.sign(gradient[index])
        np.testing.assert_allclose(fit.tensors[f"1.{name}"], moved, atol=2e-5)
    (record,) = fit.curve
    assert record.cost == pytest.approx(
        _cost(parameters, patches.astype(np.float64), True, settings), rel=1e-5
    )
    w, b, v, c = parameters
    h = _sigmoid(patches @ w.T + b)
    assert record.mean_activation == pytest.approx(h.mean(), rel=1e-5)
    energy = ((patches - patches.mean(axis=0)) ** 2).sum()
    assert record.error == pytest.approx(((h @ v.T + c - patches) ** 2).sum() / energy, rel=1e-5)


def test_second_layer_is_trained_on_the_code_of_the_first() -> None:
    settings = replace(SMALL, epochs=1, batch_size=2000)
    patches = _patches(200)
    fit = train_ssae(patches, settings, CPU)
    first = {name: t for name, t in fit.tensors.items() if name.startswith("1")}
    code = encode(first, patches, CPU).astype(np.float64)
    generator = torch.Generator().manual_seed(0)
    SparseAutoEncoder(10, 16, True, 0.1, generator)
    start = SparseAutoEncoder(16, 8, False, 0.1, generator)
    parameters = [getattr(start, name).detach().numpy().astype(np.float64) for name in NAMES]
    assert fit.curve[1].cost == pytest.approx(_cost(parameters, code, False, settings), rel=1e-4)
    np.testing.assert_array_equal(
        first["1.weight"],
        train_ssae(patches, replace(settings, hidden=(16,)), CPU).tensors["1.weight"],
    )


def test_code_by_hand() -> None:
    rng = np.random.default_rng(0)
    shapes = {"1.weight": (3, 4), "1.bias": (3,), "2.weight": (2, 3), "2.bias": (2,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    patches = rng.normal(size=(5000, 4))
    expected = _sigmoid(patches @ arrays["1.weight"].T + arrays["1.bias"])
    expected = _sigmoid(expected @ arrays["2.weight"].T + arrays["2.bias"])
    code = encode({name: torch.from_numpy(array) for name, array in arrays.items()}, patches, CPU)
    assert (code.shape, code.dtype) == ((5000, 2), np.float32)
    np.testing.assert_allclose(code, expected, atol=1e-6)


def test_fit_is_a_function_of_its_arguments() -> None:
    patches, settings = _patches(300), replace(SMALL, epochs=2)
    seen: list[SsaeEpoch] = []
    first = train_ssae(patches, settings, CPU, on_epoch=seen.append)
    assert seen == first.curve
    torch.manual_seed(9)
    state = torch.get_rng_state()
    again = train_ssae(patches, settings, CPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert again.curve == first.curve
    assert sorted(first.tensors) == ["1.bias", "1.weight", "2.bias", "2.weight"]
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, again.tensors[name])
    other = train_ssae(patches, replace(settings, seed=1), CPU)
    assert not torch.equal(other.tensors["1.weight"], first.tensors["1.weight"])


# Errors


def test_a_cost_that_is_not_finite_is_named() -> None:
    with pytest.raises(
        DivergedError, match=r"cost of layer 1 is not finite after epoch \d at learning rate 1e\+06"
    ):
        train_ssae(_patches(200), replace(SMALL, learning_rate=1e6), CPU)


@pytest.mark.parametrize(
    ("patches", "settings", "message"),
    [
        (np.zeros((0, 4)), SMALL, "at least one patch"),
        (np.full((3, 4), np.nan), SMALL, "finite"),
        (np.zeros((3, 4)), replace(SMALL, hidden=()), "at least one layer"),
        (np.zeros((3, 4)), replace(SMALL, sparsity=1.0), "inside 0..1, got 1"),
        (np.zeros((3, 4)), replace(SMALL, sparsity=0.0), "inside 0..1, got 0"),
    ],
)
def test_wrong_arguments_are_named(
    patches: np.ndarray, settings: SsaeSettings, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train_ssae(patches, settings, CPU)

"""The auto-encoder's step, reconstruction and code by tiles give the numbers of plain torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.kernels import cae_tiles
from methods.settings import CaeSettings
from methods.training.cae import ConvAutoEncoder, encode, reconstruct, train_cae

CPU = torch.device("cpu")


def _maps(n: int, channels: int, seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(
        np.maximum(rng.normal(-0.3, 1, (n, channels, 6, 6)), 0).astype(np.float32)
    )


def _cae(channels: int, settings: CaeSettings, seed: int = 1) -> ConvAutoEncoder:
    cae = ConvAutoEncoder(channels, settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in cae.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return cae


def _plain_reconstruction(cae: ConvAutoEncoder, x: Tensor) -> Tensor:
    with torch.enable_grad():  # the other branch of `forward`
        return cae(x)


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("zero_bias", ["encoding", "always"])
def test_loss_and_gradients_are_those_of_autograd(
    activation: str, tied: bool, zero_bias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cae_tiles, "FILTERS_AT_ONCE", 8)
    monkeypatch.setattr(cae_tiles, "IMAGES_AT_ONCE", 4)
    monkeypatch.setattr(cae_tiles, "LEAST_IMAGES", 1)
    settings = CaeSettings(
        filters=21, decoder_activation=activation, tied=tied, zero_bias=zero_bias
    )
    x = _maps(10, 5)
    cae, reference = _cae(5, settings), _cae(5, settings)
    reference.double()
    (0.5 * (reference(x.double()) - x).square().sum() / len(x)).backward()
    loss = cae.backward_of_loss(x)
    assert loss == pytest.approx(
        0.5 * float((reference(x.double()) - x).square().sum().detach()), rel=1e-6
    )
    for (name, ours), theirs in zip(cae.named_parameters(), reference.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if theirs.grad is not None:
            scale = float(theirs.grad.square().mean().sqrt())
            torch.testing.assert_close(
                ours.grad.double(), theirs.grad, rtol=0, atol=1e-4 * scale, msg=name
            )
    with torch.inference_mode():
        torch.testing.assert_close(
            cae(x), _plain_reconstruction(reference.float(), x), rtol=0, atol=1e-4
        )


def test_maps_of_another_size_or_dtype_go_through_torch() -> None:
    assert cae_tiles.fits(_maps(1, 2))
    assert not cae_tiles.fits(_maps(1, 2).double())
    assert not cae_tiles.fits(torch.zeros(1, 2, 6, 5))
    assert not cae_tiles.fits(torch.zeros(1, 2, 7, 7))
    assert not cae_tiles.fits(torch.zeros(1, 2, 6, 6, device="meta"))
    assert not cae_tiles.pays(_maps(15, 2))
    assert cae_tiles.pays(_maps(16, 2))


@pytest.mark.parametrize("pool", ["max", "mean"])
@pytest.mark.parametrize("zero_bias", ["encoding", "never"])
def test_code_is_that_of_conv2d(pool: str, zero_bias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cae_tiles, "FILTERS_AT_ONCE", 8)
    cae = _cae(5, CaeSettings(filters=21, zero_bias=zero_bias))
    x = _maps(10, 5)
    with torch.enable_grad():
        expected = cae.encode(x, pool).detach()
    torch.testing.assert_close(
        torch.from_numpy(encode(cae, x.numpy(), CPU, pool)), expected, rtol=0, atol=1e-5
    )


def test_an_image_has_the_same_code_in_any_company() -> None:
    cae, x = _cae(32, CaeSettings(filters=300)), _maps(300, 32).numpy()
    whole = encode(cae, x, CPU)
    for rows in (slice(0, 1), slice(7, 70), slice(290, 300), slice(250, 260)):
        np.testing.assert_array_equal(encode(cae, x[rows], CPU), whole[rows])


def test_the_learning_curve_is_that_of_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _maps(96, 8).numpy()
    settings = CaeSettings(filters=32, epochs=8, batch_size=32, learning_rate=1e-3)

    def curve() -> list[tuple[float, float]]:
        records = [record for record, _ in train_cae(lambda rows: x[rows], len(x), settings, CPU)]
        return [(record.train_error, record.held_out_error) for record in records]

    ours = curve()
    monkeypatch.setattr(cae_tiles, "pays", lambda maps: False)
    np.testing.assert_allclose(ours, curve(), rtol=1e-4)
    assert ours[-1][1] < 0.8 * ours[0][1]


def test_reconstruction_of_more_images_than_fit_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cae_tiles, "LEAST_IMAGES", 1)
    cae, x = _cae(3, replace(CaeSettings(), filters=9)), _maps(11, 3).numpy()
    whole = reconstruct(cae, x, CPU)
    monkeypatch.setattr(cae_tiles, "IMAGES_AT_ONCE", 4)
    np.testing.assert_allclose(reconstruct(cae, x, CPU), whole, atol=1e-5)
    assert whole.shape == x.shape

"""The convolutional auto-encoder: equations worked by hand, and training that goes on as if never
stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from scipy.signal import correlate2d

from methods.settings import CaeSettings
from methods.training import cae as method
from methods.training.cae import (
    CaeEpoch,
    ConvAutoEncoder,
    encode,
    filter_statistics,
    load_cae,
    new_cae,
    reconstruct,
    split_held_out,
    train_cae,
)
from methods.training.loop import Checkpoint, DivergedError

CPU = torch.device("cpu")
SMALL = CaeSettings(filters=6, epochs=6, batch_size=16, learning_rate=1e-4, held_out_fraction=0.2)


def _rows(n: int = 50, channels: int = 4, size: int = 6, seed: int = 0) -> np.ndarray:
    """Rows with structure, not negative like features after a ReLU: sums of three fixed patterns, a
    little noise."""
    rng = np.random.default_rng(seed)
    patterns = np.maximum(rng.normal(0, 1, (3, channels, 1, 1)), 0) * np.maximum(
        rng.normal(0.5, 1, (3, 1, size, size)), 0
    )
    rows = np.tensordot(rng.exponential(1, (n, 3)), patterns, axes=1) + 0.05 * rng.random(
        (n, channels, size, size)
    )
    return rows.astype(np.float32)


def _train(
    rows: np.ndarray, settings: CaeSettings, resume: Checkpoint | None = None
) -> tuple[list[CaeEpoch], list[Checkpoint]]:
    records, checkpoints = [], []
    for record, take in train_cae(
        lambda positions: rows[positions], len(rows), settings, CPU, resume
    ):
        records.append(record)
        checkpoints.append(take())
    return records, checkpoints


def _with(cae: ConvAutoEncoder, **values: np.ndarray) -> ConvAutoEncoder:
    with torch.no_grad():
        for name, value in values.items():
            getattr(cae, name).copy_(torch.from_numpy(np.asarray(value, np.float32)))
    return cae


def _random_biases(settings: CaeSettings, channels: int = 3) -> ConvAutoEncoder:
    rng = np.random.default_rng(7)
    cae = ConvAutoEncoder(channels, settings)
    return _with(
        cae,
        encoder_bias=rng.normal(0, 1, settings.filters),
        decoder_bias=rng.normal(0, 0.1, channels),
    )


# Equations


def test_code_of_an_identity_kernel_by_hand() -> None:
    kernel = np.zeros((1, 1, 3, 3))
    kernel[0, 0, 1, 1] = 1
    cae = _with(ConvAutoEncoder(1, CaeSettings(filters=1)), encoder_weight=kernel)
    x = np.array([[[[1, 2, -5, -6], [3, 4, -7, -8], [0, -1, 9, -9], [-2, 8, 1, 2]]]], np.float32)
    np.testing.assert_array_equal(encode(cae, x, CPU), [[[[4, 0], [8, 9]]]])
    np.testing.assert_array_equal(encode(cae, x, CPU, "mean"), [[[[2.5, 0], [2, 3]]]])
    # The kernel and its transpose are both the identity: the reconstruction is ReLU(x).
    np.testing.assert_array_equal(reconstruct(cae, x, CPU), np.maximum(x, 0))


def test_shape_of_the_papers_code() -> None:
    cae = ConvAutoEncoder(256, CaeSettings(filters=8))
    code = encode(cae, np.zeros((2, 256, 6, 6), np.float32), CPU)
    assert code.shape == (2, 8, 3, 3)
    assert code.dtype == np.float32
    assert code.flags.c_contiguous


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("tied", [True, False])
def test_reconstruction_is_equations_1_and_2(activation: str, tied: bool) -> None:
    cae = _random_biases(replace(SMALL, decoder_activation=activation, tied=tied))
    if not tied:
        _with(cae, decoder_weight=np.random.default_rng(3).normal(0, 0.3, (6, 3, 3, 3)))
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 5, 4)).astype(np.float32)
    w, b, c = (
        t.detach().numpy().astype(np.float64)
        for t in (cae.encoder_weight, cae.encoder_bias, cae.decoder_bias)
    )
    turned = (w if tied else cae.decoder_weight.detach().numpy().astype(np.float64))[
        :, :, ::-1, ::-1
    ]
    expected = np.empty_like(x, np.float64)
    for image in range(2):
        z = [
            np.maximum(sum(correlate2d(x[image, j], w[k, j], "same") for j in range(3)) + b[k], 0)
            for k in range(6)
        ]
        for j in range(3):
            expected[image, j] = (
                sum(correlate2d(z[k], turned[k, j], "same") for k in range(6)) + c[j]
            )
    assert (expected < 0).any()
    if activation == "relu":
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(reconstruct(cae, x, CPU), expected, atol=1e-5)


def test_loss_of_equation_3_through_one_step() -> None:
    # One batch, plain SGD: the decoder's bias moves by -rate * d/dc of (1/m) sum over images of 1/2
    # ||x - y||^2.
    rows = _rows(20)
    settings = replace(SMALL, epochs=1, batch_size=64, momentum=0.0, learning_rate=1e-3)
    positions, held = split_held_out(20, settings)
    x = rows[positions].astype(np.float64)
    y = reconstruct(new_cae(4, settings, rows[positions], CPU), rows[positions], CPU).astype(
        np.float64
    )
    (record,), (checkpoint,) = _train(rows, settings)
    expected = -1e-3 * ((y - x) * (y > 0)).sum(axis=(0, 2, 3)) / len(x)
    np.testing.assert_allclose(checkpoint.last_weights()["decoder_bias"], expected, rtol=1e-4)
    energy = ((x - x.mean(axis=(0, 2, 3), keepdims=True)) ** 2).sum()
    assert record.train_error == pytest.approx(((x - y) ** 2).sum() / energy, rel=1e-5)
    after = reconstruct(load_cae(checkpoint.last_weights(), settings, CPU), rows[held], CPU)
    assert record.held_out_error == pytest.approx(
        ((rows[held] - after) ** 2).sum(dtype=np.float64) / len(held) / (energy / len(x)), rel=1e-5
    )


# Biases and weights


def test_zero_bias_modes() -> None:
    x = np.random.default_rng(0).normal(0, 1, (2, 3, 6, 6)).astype(np.float32)
    encoding, never = (
        _random_biases(replace(SMALL, zero_bias=mode)) for mode in ("encoding", "never")
    )
    without = _with(_random_biases(replace(SMALL, zero_bias="never")), encoder_bias=np.zeros(6))
    np.testing.assert_array_equal(encode(encoding, x, CPU), encode(without, x, CPU))
    assert not np.allclose(encode(never, x, CPU), encode(without, x, CPU))
    # forward uses them
    np.testing.assert_array_equal(reconstruct(encoding, x, CPU), reconstruct(never, x, CPU))
    assert not np.allclose(reconstruct(encoding, x, CPU), reconstruct(without, x, CPU))


@pytest.mark.parametrize("mode", ["encoding", "never", "always"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_biases_are_learned_unless_always_zero(mode: str, optimizer: str) -> None:
    _, checkpoints = _train(_rows(), replace(SMALL, zero_bias=mode, optimizer=optimizer, epochs=2))
    for name in ("encoder_bias", "decoder_bias"):
        assert bool(checkpoints[-1].last_weights()[name].any()) == (mode != "always")


def test_tied_shares_the_kernels_and_untied_does_not() -> None:
    tied, untied = ConvAutoEncoder(4, SMALL), ConvAutoEncoder(4, replace(SMALL, tied=False))
    assert set(dict(tied.named_parameters())) == {"encoder_weight", "encoder_bias", "decoder_bias"}
    assert untied.decoder_weight is not None
    assert untied.decoder_weight.data_ptr() != untied.encoder_weight.data_ptr()
    assert torch.equal(untied.decoder_weight, untied.encoder_weight)
    _, checkpoints = _train(_rows(), replace(SMALL, tied=False, epochs=1))
    assert not torch.equal(
        checkpoints[0].last_weights()["decoder_weight"],
        checkpoints[0].last_weights()["encoder_weight"],
    )
    assert "decoder_weight" not in _train(_rows(), replace(SMALL, epochs=1))[1][0].last_weights()


def test_fresh_kernels_depend_on_the_seed_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (
        ConvAutoEncoder(4, replace(SMALL, seed=s)).encoder_weight for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())
    assert float(first.detach().abs().max()) <= 1 / 6  # 1 / sqrt(9 * 4 inputs)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_least_squares_scale_is_the_best(tied: bool, activation: str) -> None:
    settings = replace(SMALL, filters=40, tied=tied, decoder_activation=activation)
    x = torch.from_numpy(_rows())
    cae = ConvAutoEncoder(4, settings)
    factor = cae.scale_by_least_squares(x)
    fresh = ConvAutoEncoder(4, settings)
    np.testing.assert_allclose(
        cae.encoder_weight.detach(), factor * fresh.encoder_weight.detach(), rtol=1e-6
    )

    def error(other: float) -> float:
        scaled = load_cae(
            {k: v * other if "weight" in k else v for k, v in cae.state_dict().items()},
            settings,
            CPU,
        )
        with torch.inference_mode():
            return float((scaled(x) - x).square().sum(dtype=torch.float64))

    errors = {other: error(other) for other in (0.5, 0.9, 0.99, 1.0, 1.01, 1.1, 2.0)}
    assert min(errors, key=errors.__getitem__) == 1.0
    assert abs(cae.scale_by_least_squares(x) - 1) < 1e-5  # nothing left to do


def test_scale_is_left_alone_where_nothing_comes_back() -> None:
    fresh = ConvAutoEncoder(4, SMALL)
    cae = new_cae(4, SMALL, np.zeros((3, 4, 6, 6), np.float32), CPU)
    assert torch.equal(cae.encoder_weight, fresh.encoder_weight)
    assert torch.equal(
        new_cae(4, replace(SMALL, init_scale="kaiming"), _rows(), CPU).encoder_weight,
        fresh.encoder_weight,
    )


def test_stored_weights_are_checked() -> None:
    stored = _random_biases(SMALL).state_dict()
    again = load_cae(stored, SMALL, CPU)
    assert all(torch.equal(tensor, stored[name]) for name, tensor in again.state_dict().items())
    for name in stored:
        with pytest.raises(RuntimeError, match=name):
            load_cae({k: v for k, v in stored.items() if k != name}, SMALL, CPU)
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_cae(stored, replace(SMALL, filters=7), CPU)


# Training


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e-3), ("adam", 1e-2)])
def test_training_explains_structured_data(optimizer: str, rate: float) -> None:
    settings = replace(SMALL, filters=16, epochs=30, optimizer=optimizer, learning_rate=rate)
    records, _ = _train(_rows(120), settings)
    assert [r.epoch for r in records] == list(range(1, 31))
    assert records[-1].train_error < 0.5
    assert records[-1].held_out_error < 0.5
    assert records[-1].held_out_error < 0.7 * records[0].held_out_error


def test_predicting_the_channel_means_is_an_error_of_one() -> None:
    rows = _rows()
    settings = replace(SMALL, epochs=1, learning_rate=0.0, zero_bias="never", init_scale="kaiming")
    positions, _ = split_held_out(len(rows), settings)
    _, (checkpoint,) = _train(rows, settings)
    mean = rows[positions].mean(axis=(0, 2, 3), keepdims=True, dtype=np.float64)
    energy = ((rows[positions] - mean) ** 2).sum() / len(positions)
    assert checkpoint.state["input_energy"] == pytest.approx(energy, rel=1e-6)


def test_plateau_lowers_the_rate() -> None:
    # Patience 1 at a rate too small to gain a thousandth: epoch 1 is the best so far, 2 and 3 are
    # stale, and so on.
    settings = replace(SMALL, learning_rate=1e-9, momentum=0.0, plateau_patience=1, batch_size=64)
    records, checkpoints = _train(_rows(), settings)
    np.testing.assert_allclose(
        [r.learning_rate for r in records], [1e-9, 1e-9, 1e-9, 1e-10, 1e-10, 1e-11]
    )
    bias = [c.last_weights()["decoder_bias"].double().numpy() for c in checkpoints]
    moved = [np.linalg.norm(b - a) for a, b in pairwise(bias)]  # the step itself is smaller too
    assert moved[2] / moved[1] == pytest.approx(0.1, rel=1e-2)
    assert moved[4] / moved[1] == pytest.approx(0.01, rel=1e-1)


def test_an_improving_run_keeps_its_rate() -> None:
    records, _ = _train(_rows(), replace(SMALL, plateau_patience=1))
    assert {r.learning_rate for r in records} == {1e-4}


@pytest.mark.parametrize("batch_size", [4, 512])
def test_absurd_rate_is_reported(batch_size: int) -> None:
    # With one batch an epoch the loss of epoch 1 is that of the fresh kernels: only the held-out
    # rows tell.
    settings = replace(
        SMALL, learning_rate=1e18, batch_size=batch_size, decoder_activation="linear"
    )
    with pytest.raises(DivergedError, match=r"epoch 1 at learning rate 1e\+18"):
        _train(_rows(), settings)


def test_a_run_whose_filters_all_died_is_reported() -> None:
    with pytest.raises(
        DivergedError, match="every filter is dead after epoch 1 at learning rate 1"
    ):
        _train(_rows(), replace(SMALL, learning_rate=1.0))


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e-8), ("adam", 1e-6)])
@pytest.mark.parametrize("zero_bias", ["encoding", "always"])
def test_resumed_run_has_the_bytes_of_an_unbroken_one(
    optimizer: str, rate: float, zero_bias: str
) -> None:
    rows = _rows()
    # A rate that plateaus on the way, so that the counter and the lowered rate have to survive.
    settings = replace(
        SMALL, optimizer=optimizer, zero_bias=zero_bias, learning_rate=rate, plateau_patience=1
    )
    straight_records, straight = _train(rows, settings)
    assert straight_records[-1].learning_rate < rate
    first_records, first = _train(rows, replace(settings, epochs=3))
    stored = save(first[-1].tensors), json.dumps(first[-1].state, allow_nan=False)
    back = Checkpoint(tensors=load(stored[0]), state=json.loads(stored[1]))
    for _ in range(2):  # a checkpoint in memory is not written into, so it serves again
        rest_records, rest = _train(rows, settings, resume=back)
        assert first_records + rest_records == straight_records
        assert rest[-1].state == straight[-1].state
        assert rest[-1].tensors.keys() == straight[-1].tensors.keys()
        for name, tensor in straight[-1].tensors.items():
            assert torch.equal(rest[-1].tensors[name], tensor), name
    moments = {"sgd": {"momentum_buffer"}, "adam": {"step", "exp_avg", "exp_avg_sq"}}[optimizer]
    names = [name.split(".") for name in back.tensors if name.startswith("optimizer.")]
    assert {name for _, _, name in names} == moments


def test_a_checkpoint_of_an_earlier_version_has_no_prefix_and_is_resumed() -> None:
    rows = _rows()
    settings = replace(SMALL, epochs=3)
    _, straight = _train(rows, settings)
    older = {name.removeprefix("network."): t for name, t in straight[0].tensors.items()}
    assert "encoder_weight" in older
    _, rest = _train(rows, settings, resume=Checkpoint(older, straight[0].state))
    assert rest[-1].state == straight[-1].state
    for name, tensor in straight[-1].tensors.items():
        assert torch.equal(rest[-1].tensors[name], tensor), name


def test_resume_of_a_finished_run_trains_no_more() -> None:
    _, checkpoints = _train(_rows(), replace(SMALL, epochs=2))
    assert _train(_rows(), replace(SMALL, epochs=2), resume=checkpoints[-1]) == ([], [])


def test_a_checkpoint_is_a_copy() -> None:
    rows = _rows()
    steps = train_cae(lambda positions: rows[positions], len(rows), SMALL, CPU)
    _, take = next(steps)
    checkpoint = take()
    kept = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    next(steps)
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in kept.items())
    assert checkpoint.state["epochs"] == len(checkpoint.state["curve"]) == 1


def test_two_runs_are_bit_equal_and_another_seed_is_not() -> None:
    rows = _rows()
    first, again, other = (_train(rows, replace(SMALL, epochs=2, seed=s)) for s in (0, 0, 1))
    assert first[0] == again[0] != other[0]
    for name, tensor in first[1][-1].tensors.items():
        assert torch.equal(again[1][-1].tensors[name], tensor)
    assert not torch.equal(
        other[1][-1].last_weights()["encoder_weight"], first[1][-1].last_weights()["encoder_weight"]
    )


@pytest.mark.parametrize(("n_rows", "n_held"), [(2, 1), (3, 1), (10, 2), (50, 10), (51, 10)])
def test_held_out_rows_are_apart(n_rows: int, n_held: int) -> None:
    train, held = split_held_out(n_rows, SMALL)
    assert len(held) == n_held
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held])), np.arange(n_rows))
    assert (np.diff(train) > 0).all()
    assert (np.diff(held) > 0).all()


def test_held_out_slice_depends_on_the_seed() -> None:
    np.testing.assert_array_equal(split_held_out(50, SMALL)[1], split_held_out(50, SMALL)[1])
    assert not np.array_equal(
        split_held_out(50, SMALL)[1], split_held_out(50, replace(SMALL, seed=1))[1]
    )


def test_held_out_rows_leave_no_trace_in_the_weights() -> None:
    rows = _rows()
    _, held = split_held_out(len(rows), SMALL)
    changed = rows.copy()
    changed[held] = 3 * changed[held] + 1
    (records, straight), (other_records, other) = _train(rows, SMALL), _train(changed, SMALL)
    assert {r.learning_rate for r in records + other_records} == {1e-4}
    assert [r.train_error for r in records] == [r.train_error for r in other_records]
    assert records[0].held_out_error != other_records[0].held_out_error
    for name, tensor in straight[-1].tensors.items():
        assert torch.equal(other[-1].tensors[name], tensor)


def test_filter_statistics_of_a_crafted_dead_filter() -> None:
    # Three identity kernels on two channels: of channel 0, of minus channel 0 (dead: the input is
    # not negative), of 1.
    kernel = np.zeros((3, 2, 3, 3))
    kernel[0, 0, 1, 1], kernel[1, 0, 1, 1], kernel[2, 1, 1, 1] = 1, -1, 2
    cae = _with(
        ConvAutoEncoder(2, CaeSettings(filters=3)), encoder_weight=kernel, encoder_bias=[-1, 5, -7]
    )
    x = np.zeros((2, 2, 2, 2), np.float32)
    x[:, 0] = [[[1, 2], [3, 4]], [[0, 0], [0, 6]]]  # 5 of 8 active, mean 2
    x[0, 1, 0, 0] = 4  # 1 of 8 active, mean 2 * 4 / 8
    result = filter_statistics(cae, x, CPU)
    np.testing.assert_allclose(result.active_fraction, [5 / 8, 0, 1 / 8])
    np.testing.assert_allclose(result.mean_response, [2, 0, 1])
    assert result.dead == 1
    assert result.sparsity == pytest.approx(1 - 6 / 24)
    # the learned one, though the responses are taken without
    assert result.mean_bias == pytest.approx(-1)
    biased = _with(
        ConvAutoEncoder(2, CaeSettings(filters=3, zero_bias="never")),
        encoder_weight=kernel,
        encoder_bias=[-1, 5, -7],
    )
    assert filter_statistics(biased, x, CPU).active_fraction.tolist() == [4 / 8, 7 / 8, 1 / 8]


def test_fresh_kernels_are_scaled_on_the_first_training_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(method, "INIT_BATCH", 8)
    rows = _rows()
    settings = replace(SMALL, epochs=1, learning_rate=0.0)
    positions, _ = split_held_out(len(rows), settings)
    expected = new_cae(4, settings, rows[positions[:8]], CPU)
    _, (checkpoint,) = _train(rows, settings)
    assert torch.equal(
        checkpoint.last_weights()["encoder_weight"], expected.encoder_weight.detach()
    )


def test_rows_that_lie_on_the_device_are_the_rows() -> None:
    rows, wanted = _rows(1100), np.array([1099, 0, 513, 512, 511, 0])
    there, each_time = (
        method._tensors(lambda some: rows[some], len(rows), CPU, resident)
        for resident in (True, False)
    )
    torch.testing.assert_close(there(wanted), torch.from_numpy(rows[wanted]), rtol=0, atol=0)
    torch.testing.assert_close(each_time(wanted), there(wanted), rtol=0, atol=0)
    assert there(wanted).is_contiguous(memory_format=torch.channels_last)

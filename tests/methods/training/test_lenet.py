"""One-vs-all networks: layers and steps against plain torch, and training that goes on as if never
stopped."""

from __future__ import annotations

import json
import math
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional

from methods.settings import LenetSettings
from methods.training.batching import epoch_batches
from methods.training.lenet import (
    LenetEpoch,
    LenetOneVsAll,
    load_networks,
    probabilities_and_features,
    train,
    validation_slice,
)
from methods.training.loop import Checkpoint, DivergedError

CPU = torch.device("cpu")
SIDE = 46  # 32, 16, 2 and 1 pixels a side: the smallest image
SMALL = LenetSettings(epochs=2, batch_size=4, learning_rate=0.05)
MODERN = replace(
    SMALL,
    rectifier=True,
    dropout=True,
    augment=True,
    momentum=0.9,
    early_stop=True,
    learning_rate=0.01,
    patience=50,
)


def _data(
    n: int = 8, n_labels: int = 2, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Noise, with a bright block on the left half at another height for each label an image has;
    half of them have it."""
    rng = np.random.default_rng(seed)
    targets = np.stack([rng.permutation(n) < n // 2 for _ in range(n_labels)], axis=1)
    images = rng.integers(0, 100, (n, SIDE, SIDE))
    for label in range(n_labels):
        images[targets[:, label], 2 + 12 * label : 12 + 12 * label, 2:20] += 150
    return images.astype(np.uint8), targets


def _groups(n: int) -> list[str]:
    return [f"g{i}" for i in range(n)]


def _train(
    images: NDArray[np.uint8],
    targets: NDArray[np.bool_],
    settings: LenetSettings,
    resume: Checkpoint | None = None,
) -> tuple[list[LenetEpoch], list[Checkpoint]]:
    records, checkpoints = [], []
    for record, take in train(
        lambda rows: images[rows], targets, _groups(len(targets)), settings, CPU, resume
    ):
        records.append(record)
        taken = take()
        checkpoints.append(
            replace(taken, tensors={name: tensor.clone() for name, tensor in taken.tensors.items()})
        )
    return records, checkpoints


def _network(checkpoint: Checkpoint) -> dict[str, Tensor]:
    return {
        k.removeprefix("network."): v
        for k, v in checkpoint.tensors.items()
        if k.startswith("network.")
    }


def _plain(network: LenetOneVsAll, label: int) -> nn.Sequential:
    """One label's network as the paper draws it: tanh before the pool, a softmax of two outputs."""
    places = network.hidden_weight.shape[2]
    with torch.random.fork_rng(devices=[]):
        plain = nn.Sequential(
            *(
                nn.Conv2d(1, 20, 15),
                nn.Tanh(),
                nn.MaxPool2d(2),
                nn.Conv2d(20, 50, 15),
                nn.Tanh(),
                nn.MaxPool2d(2),
            ),
            *(nn.Flatten(), nn.Linear(places, 500), nn.Tanh(), nn.Linear(500, 2)),
        )
    values = [tensor[label].clone() for tensor in network.state_dict().values()]
    plain.load_state_dict(dict(zip(plain.state_dict(), values, strict=True)))
    return plain


# Layers


def test_network_of_the_paper_by_hand() -> None:
    # 256 - 14 = 242, pooled 121, - 14 = 107, pooled 53: 50 * 53 * 53 = 140,450 inputs of the dense
    # layer.
    network = LenetOneVsAll(1, 256, LenetSettings())
    assert network.hidden_weight.shape == (1, 500, 140_450)
    expected = 20 * 225 + 20 + 50 * 20 * 225 + 50 + 140_450 * 500 + 500 + 500 * 2 + 2
    assert sum(parameter.numel() for parameter in network.parameters()) == expected == 70_456_072
    bounds = {
        "conv1_weight": math.sqrt(6 / (225 + 20 * 225 / 4)),
        "conv2_weight": math.sqrt(6 / (20 * 225 + 50 * 225 / 4)),
        "hidden_weight": math.sqrt(6 / (140_450 + 500)),
    }
    for name, parameter in network.named_parameters():
        if name in bounds:
            values = parameter.detach()
            assert 0.998 * bounds[name] < float(values.abs().max()) <= bounds[name] * (1 + 1e-6), (
                name
            )
            assert float(values.square().mean()) == pytest.approx(
                bounds[name] ** 2 / 3, rel=0.05
            ), name
        else:
            assert not bool(parameter.any()), name


def test_modern_weights_are_he_initialised() -> None:
    network = LenetOneVsAll(1, SIDE, MODERN)
    for weight, fan_in in (
        (network.conv1_weight, 225),
        (network.conv2_weight, 20 * 225),
        (network.hidden_weight, 50),
    ):
        assert float(weight.detach().square().mean()) == pytest.approx(2 / fan_in, rel=0.05)


def test_deeper_network_is_three_convolutions_and_a_dense_layer_more() -> None:
    network = LenetOneVsAll(2, SIDE, replace(SMALL, deeper=True)).eval()
    assert float(network.extra_weight.detach().square().mean()) == pytest.approx(
        6 / 900 / 3, rel=0.05
    )
    shallow = LenetOneVsAll(2, SIDE, SMALL)
    assert torch.equal(shallow.hidden_weight, network.hidden_weight), "the same draws come first"
    with torch.no_grad():
        network.output_weight.uniform_(-1, 1)
        network.extra_bias.uniform_(-1, 1)
    images = torch.from_numpy(_data()[0])
    logits = network(images)
    for label in range(2):
        plain = _plain(shallow, label)
        x = plain[:6](images.float()[:, None] / 255)
        for kernels, bias in zip(
            network.extra_weight[label], network.extra_bias[label], strict=True
        ):
            x = torch.tanh(functional.conv2d(x, kernels, bias, padding=1))
        x = torch.tanh(functional.linear(x.flatten(1), network.hidden_weight[label]))
        x = torch.tanh(functional.linear(x, network.second_weight[label]))
        torch.testing.assert_close(network.hidden_units(images)[label], x, rtol=1e-4, atol=1e-5)
        z = functional.linear(x, network.output_weight[label])
        torch.testing.assert_close(logits[:, label], z[:, 1] - z[:, 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("part", ["rectifier", "dropout", "augment", "deeper", "pretrain"])
def test_each_part_alone_changes_the_training_and_can_be_resumed(part: str) -> None:
    images, targets = _data(n=8)
    settings = replace(SMALL, **{part: True})
    records, checkpoints = _train(images, targets, settings)
    plain, _ = _train(images, targets, SMALL)
    assert [record.train_loss for record in records] != [record.train_loss for record in plain]
    assert records[-1].validation_loss is None, "no early stop"
    _, rest = _train(images, targets, settings, resume=checkpoints[0])
    for name, tensor in checkpoints[-1].tensors.items():
        assert torch.equal(rest[-1].tensors[name], tensor), name


def test_initial_weights_of_a_label_depend_on_seed_and_label_alone() -> None:
    three, one, other = (
        LenetOneVsAll(3, SIDE, SMALL),
        LenetOneVsAll(1, SIDE, SMALL),
        LenetOneVsAll(1, SIDE, replace(SMALL, seed=1)),
    )
    assert torch.equal(three.conv2_weight[:1], one.conv2_weight)
    assert not torch.equal(three.conv2_weight[1], three.conv2_weight[0])
    assert not torch.equal(other.conv2_weight, one.conv2_weight)


def test_images_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ValueError, match="at least 46 pixels a side for two layers of 15x15 filters, got 45"
    ):
        LenetOneVsAll(1, 45, SMALL)
    with pytest.raises(ValueError, match="at least one label, got 0"):
        LenetOneVsAll(0, SIDE, SMALL)
    network = LenetOneVsAll(1, SIDE, SMALL)
    with pytest.raises(ValueError, match=r"must be \(N, 46, 46\) uint8, got \(2, 47, 46\) uint8"):
        network(torch.zeros(2, 47, 46, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"got \(2, 46, 46\) float32"):
        network(torch.zeros(2, 46, 46))


# Steps


def test_training_is_that_of_plain_networks_one_by_one() -> None:
    images, targets = _data(n=10, n_labels=2)
    start = LenetOneVsAll(2, SIDE, SMALL)
    records, checkpoints = _train(images, targets, SMALL)
    ours = load_networks(checkpoints[-1].best_weights(), SIDE, SMALL, CPU)
    given, features = probabilities_and_features(ours, images, CPU, batch_size=3)
    assert (features.shape, features.dtype) == ((10, 2 * 500), np.float32)
    assert (given.shape, given.dtype) == ((10, 2), np.float64)
    x = torch.from_numpy(images)[:, None].float() / 255
    for label in range(2):
        plain = _plain(start, label)
        before = [parameter.detach().clone() for parameter in plain.parameters()]
        optimizer = torch.optim.SGD(plain.parameters(), lr=SMALL.learning_rate)
        y = torch.from_numpy(targets[:, label].astype(np.int64))
        for epoch, record in enumerate(records):
            total = 0.0
            for rows in epoch_batches(10, SMALL.batch_size, SMALL.seed, epoch):
                loss = functional.cross_entropy(plain(x[rows]), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(rows)
            assert record.train_loss[label] == pytest.approx(total / 10, abs=1e-5)
        for old, new, stacked in zip(before, plain.parameters(), ours.parameters(), strict=True):
            moved = float((new.detach() - old).abs().max())
            assert moved > 1e-4
            torch.testing.assert_close(
                stacked[label].detach(), new.detach(), rtol=0, atol=1e-3 * moved
            )
        np.testing.assert_allclose(
            given[:, label], plain(x).softmax(dim=1)[:, 1].detach().double(), atol=1e-5
        )


@pytest.mark.parametrize("settings", [SMALL, MODERN])
def test_a_label_beside_others_is_trained_as_if_alone(settings: LenetSettings) -> None:
    images, targets = _data(n=10, n_labels=1)
    targets = np.hstack([targets, ~targets, targets])  # all three accept the same slice
    chosen = [
        validation_slice(t, _groups(10), settings.validation_fraction, settings.seed)
        for t in (targets, targets[:, :1])
    ]
    np.testing.assert_array_equal(*chosen)
    together, alone = (_train(images, t, settings) for t in (targets, targets[:, :1]))
    start = LenetOneVsAll(1, SIDE, settings).state_dict()
    for name, tensor in _network(alone[1][-1]).items():
        moved = float((tensor - start[name]).abs().max())
        assert moved > 1e-4
        torch.testing.assert_close(
            _network(together[1][-1])[name][:1], tensor, rtol=0, atol=1e-3 * moved
        )
    assert [r.train_loss[0] for r in together[0]] == pytest.approx(
        [r.train_loss[0] for r in alone[0]], abs=1e-5
    )


def test_eight_images_are_learned_by_heart() -> None:
    images, targets = _data(n=8)
    records, checkpoints = _train(images, targets, replace(SMALL, epochs=25))
    assert records[0].train_loss == pytest.approx((math.log(2),) * 2, abs=0.1)
    assert max(records[-1].train_loss) < 0.2
    network = load_networks(checkpoints[-1].best_weights(), SIDE, SMALL, CPU)
    given, _ = probabilities_and_features(network, images, CPU, 8)
    np.testing.assert_array_equal(given > 0.5, targets)


@pytest.mark.parametrize(("rate", "settings"), [(1e38, SMALL), (1e6, MODERN)])
def test_absurd_rate_is_reported(rate: float, settings: LenetSettings) -> None:
    with pytest.raises(
        DivergedError,
        match=rf"label \[0, 1\] is not finite after epoch 1 at learning rate {rate:g}".replace(
            "+", r"\+"
        ),
    ):
        _train(*_data(), replace(settings, learning_rate=rate))


def test_momentum_is_of_the_modern_variant_alone() -> None:
    images, targets = _data()
    for settings, has in ((SMALL, False), (MODERN, True)):
        _, (checkpoint,) = _train(images, targets, replace(settings, epochs=1))
        assert any(name.endswith(".momentum_buffer") for name in checkpoint.tensors) == has


# The modern variant


def test_dropout_in_training_alone_by_hand() -> None:
    # Dense units of one, a weight of one for "has the label": the logit counts the units, and what
    # is kept counts double.
    network = LenetOneVsAll(2, SIDE, MODERN)
    with torch.no_grad():
        network.hidden_weight.zero_()
        network.hidden_bias.fill_(1)
        network.output_weight[:, 1] = 1
    images = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    assert bool((network.eval()(images) == 500).all())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = network.train()(images).detach() / 2
    assert bool((kept == kept.round()).all())
    assert bool(((kept > 200) & (kept < 300)).all())
    assert len(set(kept[:, 0].tolist())) > 1  # images have masks of their own
    assert torch.equal(kept[:, 0], kept[:, 1])  # labels have not
    plain = LenetOneVsAll(2, SIDE, SMALL)
    with torch.no_grad():
        plain.output_weight.fill_(0.1)
    assert torch.equal(plain.train()(images), plain.eval()(images))


def test_views_are_of_training_images_and_never_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = _data(n=20)
    images[:, :, :23] = 200
    images[:, :, 23:] = np.arange(20)[:, None, None]  # the right half tells which image it is
    seen: dict[bool, list[NDArray[np.uint8]]] = {True: [], False: []}
    forward = LenetOneVsAll.forward

    def record(self: LenetOneVsAll, given: Tensor) -> Tensor:
        seen[self.training].extend(given.numpy())
        return forward(self, given)

    monkeypatch.setattr(LenetOneVsAll, "forward", record)
    _train(images, targets, replace(MODERN, epochs=2))
    held = validation_slice(targets, _groups(20), MODERN.validation_fraction, MODERN.seed)
    assert held.sum() == 4
    assert len(seen[True]) == 2 * 16
    assert all((view[:, :15] == 200).all() and (view[:, 32:] < 20).all() for view in seen[True])
    assert {int(view[0, -1]) for view in seen[True]} == set(np.flatnonzero(~held).tolist())
    assert (
        len({view.tobytes() for view in seen[True]} | {image.tobytes() for image in images})
        == 32 + 20
    )
    np.testing.assert_array_equal(np.stack(seen[False]), np.concatenate([images[held]] * 2))
    seen[True].clear()
    # the paper's variant sees the images themselves, and all of them
    _train(images, targets, replace(SMALL, epochs=1))
    assert {view.tobytes() for view in seen[True]} == {image.tobytes() for image in images}


def test_validation_images_leave_no_trace_in_the_weights() -> None:
    images, targets = _data(n=10)
    held = validation_slice(targets, _groups(10), MODERN.validation_fraction, MODERN.seed)
    changed = images.copy()
    changed[held] = 255 - changed[held]
    first, other = (_train(given, targets, MODERN) for given in (images, changed))
    assert [record.train_loss for record in first[0]] == [record.train_loss for record in other[0]]
    assert first[0][0].validation_loss != other[0][0].validation_loss
    for name, tensor in _network(first[1][-1]).items():
        assert torch.equal(_network(other[1][-1])[name], tensor), name


def test_each_label_keeps_its_own_best_epoch() -> None:
    # The slice's second label is wrong on purpose: the better that network fits, the worse its
    # validation loss.
    images, targets = _data(n=12)
    settings = replace(MODERN, epochs=6, patience=4, learning_rate=0.005, seed=2)
    held = validation_slice(targets, _groups(12), settings.validation_fraction, settings.seed)
    targets[held, 1] ^= True
    np.testing.assert_array_equal(
        validation_slice(targets, _groups(12), settings.validation_fraction, settings.seed), held
    )
    records, checkpoints = _train(images, targets, settings)
    state = checkpoints[-1].state
    losses = np.array([record.validation_loss for record in records])
    best = losses.argmin(axis=0)
    assert best[0] > 3  # or the test shows nothing
    assert best[1] == 0
    assert state["best_epoch"] == (best + 1).tolist()
    assert state["best_loss"] == losses.min(axis=0).tolist()
    assert state["stale_epochs"] == (len(records) - 1 - best).tolist()
    for label in range(2):
        for name, tensor in checkpoints[-1].best_weights().items():
            assert torch.equal(tensor[label], _network(checkpoints[best[label]])[name][label]), name
    kept = load_networks(checkpoints[-1].best_weights(), SIDE, settings, CPU)
    p, _ = probabilities_and_features(kept, images[held], CPU, 4)
    np.testing.assert_allclose(
        -np.log(np.where(targets[held], p, 1 - p)).mean(axis=0), losses.min(axis=0), rtol=1e-4
    )


def test_a_label_that_stopped_stays_where_it_was() -> None:
    # Any loss would be better than the hundred nats noted here, but the first label's patience is
    # over.
    images, targets = _data(n=12)
    _, checkpoints = _train(images, targets, replace(MODERN, epochs=1, patience=3))
    state = checkpoints[0].state | {"best_loss": [100.0, 100.0], "stale_epochs": [3, 2]}
    _, later = _train(
        images,
        targets,
        replace(MODERN, epochs=2, patience=3),
        Checkpoint(checkpoints[0].tensors, state),
    )
    assert later[-1].state["best_epoch"] == [1, 2]
    assert later[-1].state["stale_epochs"][1] == 0
    for name, tensor in later[-1].best_weights().items():
        assert torch.equal(tensor[0], _network(checkpoints[0])[name][0]), name
        assert torch.equal(tensor[1], _network(later[-1])[name][1]), name


@pytest.mark.parametrize("overflows", [False, True])
def test_a_label_that_stopped_is_frozen_and_the_others_do_not_notice(overflows: bool) -> None:
    images, targets = _data(n=12)
    settings = replace(MODERN, epochs=3, patience=3)
    (first, *_), (checkpoint, *_) = _train(images, targets, replace(settings, epochs=1))
    rest = []
    for stale in ([0, 0], [3, 0]):
        tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
        if stale[0] and overflows:
            tensors |= {f"best.{name}": tensor for name, tensor in _network(checkpoint).items()}
            tensors["network.hidden_weight"][0] = 1e38  # finite, as it was when the label stopped
        state = checkpoint.state | {"stale_epochs": stale}
        rest.append((tensors, *_train(images, targets, settings, Checkpoint(tensors, state))))
    (_, learning, both), (start, stopped, one) = rest
    for name, tensor in _network(one[-1]).items():
        assert torch.equal(tensor[1], _network(both[-1])[name][1]), name
        if not overflows:
            assert torch.equal(tensor[0], start[f"network.{name}"][0]), name
            assert not torch.equal(_network(both[-1])[name][0], tensor[0]), name
        assert torch.equal(one[-1].best_weights()[name][0], _network(checkpoint)[name][0]), name
    for record, other in zip(stopped, learning, strict=True):
        assert record.validation_loss is not None
        assert other.validation_loss is not None
        assert (record.train_loss[1], record.validation_loss[1]) == (
            other.train_loss[1],
            other.validation_loss[1],
        )
        assert (record.train_loss[0], record.validation_loss[0]) == (
            first.train_loss[0],
            (first.validation_loss or ())[0],
        )


def test_run_ends_where_every_label_has_stopped() -> None:
    images, targets = _data(n=12)
    # nothing moves: no epoch is better than the first
    settings = replace(MODERN, epochs=5, patience=1, learning_rate=0.0)
    records, checkpoints = _train(images, targets, settings)
    assert len(records) == 2
    assert checkpoints[-1].state["best_epoch"] == [1, 1]
    assert _train(images, targets, settings, resume=checkpoints[-1]) == ([], [])


# The slice


def test_slice_takes_whole_groups_with_both_answers() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((60, 3)) < 0.4
    targets[:, 2] = False  # a label nobody has asks for nothing
    groups = np.array([f"p{g}" for g in rng.integers(0, 20, 60)])
    for seed in range(5):
        chosen = validation_slice(targets, groups, 0.2, seed)
        assert len(np.unique(groups[chosen])) == round(0.2 * len(np.unique(groups)))
        assert not set(groups[chosen]) & set(groups[~chosen])
        for side in (chosen, ~chosen):
            assert targets[side, :2].any(axis=0).all()
            assert not targets[side, :2].all(axis=0).any()


def test_slice_is_the_one_that_is_possible() -> None:
    # Only groups a and b have the label, and only with one of them beside c is it on both sides of
    # a half.
    targets = np.array([[True], [True], [False], [False]])
    for seed in range(5):
        chosen = validation_slice(targets, ["a", "b", "c", "d"], 0.5, seed)
        assert targets[chosen].sum() == 1
        assert chosen.sum() == 2


def test_a_rare_label_is_learned_from_and_takes_the_slice_from_no_other() -> None:
    targets = np.zeros((20, 3), np.bool_)
    targets[::2, 0] = True
    targets[7, 1] = True  # of one group only
    targets[:, 2] = True
    targets[13:15, 2] = False  # of one group only: 13 and 14
    groups = [f"g{min(i, 13) if i < 15 else i}" for i in range(20)]
    for seed in range(10):
        chosen = validation_slice(targets, groups, 0.3, seed)
        assert set(targets[chosen, 0]) == {True, False}
        assert not chosen[[7, 13, 14]].any()
    common = validation_slice(targets[:, :1], groups, 0.3, 0)
    np.testing.assert_array_equal(
        validation_slice(targets, groups, 0.3, 0), common & ~np.isin(groups, ["g7", "g13"])
    )


def test_a_label_that_cannot_be_validated_is_trained_to_the_end() -> None:
    images, targets = _data(n=12)
    targets[:, 1] = np.arange(12) == 3
    settings = replace(MODERN, epochs=4, patience=1)
    _, checkpoints = _train(images, targets, settings)
    best, final = checkpoints[-1].state["best_epoch"], checkpoints[-1].best_weights()
    assert best[1] == 4
    for name, tensor in _network(checkpoints[-1]).items():
        assert torch.equal(final[name][1], tensor[1]), name
    # nothing moves: one stops after two
    still = _train(images, targets, replace(settings, learning_rate=0.0))[1][-1].state
    assert (still["epochs"], still["best_epoch"]) == (4, [1, 4])


def test_slice_leaves_a_group_to_train_on() -> None:
    targets = np.array([[True], [False]] * 3)
    assert validation_slice(targets, list("aabbcc"), 0.95, 0).sum() == 4
    assert validation_slice(targets, list("aabbcc"), 0.05, 0).sum() == 2


@pytest.mark.parametrize(
    ("targets", "groups"),
    [([[True], [False]], "gg"), ([[True], [False], [False]], "abc"), ([[True]], "a")],
)
def test_slice_is_empty_where_no_draw_will_do(targets: list[list[bool]], groups: str) -> None:
    assert not validation_slice(np.array(targets), list(groups), 0.3, 0).any()


def test_without_a_slice_the_last_epoch_counts() -> None:
    images, targets = _data(n=4)
    targets[:] = np.array([True, False, False, False])[:, None]
    records, checkpoints = _train(images, targets, replace(MODERN, patience=1))
    assert [record.validation_loss for record in records] == [None, None]
    assert checkpoints[-1].state["best_epoch"] == [2, 2]
    assert not any(name.startswith("best.") for name in checkpoints[-1].tensors)


@pytest.mark.parametrize("fraction", [0.0, 1.0, math.nan])
def test_slice_refuses_a_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        validation_slice(np.ones((2, 1), np.bool_), ["a", "b"], fraction, 0)


# Bytes


@pytest.mark.parametrize(
    "settings",
    [replace(SMALL, epochs=3), replace(MODERN, epochs=4, patience=2, learning_rate=0.05)],
)
def test_resumed_run_has_the_bytes_of_an_unbroken_one(settings: LenetSettings) -> None:
    images, targets = _data(n=12)
    straight_records, straight = _train(images, targets, settings)
    for done in (1, len(straight) - 1):
        stored = (
            save(straight[done - 1].tensors),
            json.dumps(straight[done - 1].state, allow_nan=False),
        )
        back = Checkpoint(tensors=load(stored[0]), state=json.loads(stored[1]))
        for _ in range(2):  # a checkpoint in memory is not written into, so it serves again
            rest_records, rest = _train(images, targets, settings, resume=back)
            assert rest_records == straight_records[done:]
            assert json.dumps(rest[-1].state) == json.dumps(straight[-1].state)
            assert rest[-1].tensors.keys() == straight[-1].tensors.keys()
            for name, tensor in straight[-1].tensors.items():
                assert torch.equal(rest[-1].tensors[name], tensor), name


def test_a_checkpoint_of_an_earlier_version_names_its_momenta_and_is_resumed() -> None:
    images, targets = _data(n=12)
    settings = replace(MODERN, epochs=2)
    _, straight = _train(images, targets, settings)
    parameters = [name for name, _ in LenetOneVsAll(2, SIDE, settings).named_parameters()]
    older = {
        f"momentum.{parameters[int(name.split('.')[1])]}"
        if name.startswith("optimizer.")
        else name: t
        for name, t in straight[0].tensors.items()
    }
    assert "momentum.hidden_weight" in older
    _, rest = _train(images, targets, settings, Checkpoint(older, straight[0].state))
    for name, tensor in straight[-1].tensors.items():
        assert torch.equal(rest[-1].tensors[name], tensor), name


def test_global_random_numbers_are_neither_used_nor_changed() -> None:
    images, targets = _data()
    first = _train(images, targets, replace(MODERN, epochs=1))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(99)
        before = torch.random.get_rng_state()
        second = _train(images, targets, replace(MODERN, epochs=1))
        assert torch.equal(torch.random.get_rng_state(), before)
    assert first[0] == second[0]
    for name, tensor in first[1][-1].tensors.items():
        assert torch.equal(second[1][-1].tensors[name], tensor), name


def test_memory_is_that_of_one_training() -> None:
    images, targets = _data(n=12)
    settings = replace(MODERN, epochs=3)
    _, (checkpoint, *_) = _train(images, targets, replace(settings, epochs=1))
    epochs = train(lambda rows: images[rows], targets, _groups(12), settings, CPU, checkpoint)
    held = weakref.ref(checkpoint)
    del checkpoint
    _, take = next(epochs)
    assert held() is None, "what was restored is let go of"
    first, second = take().tensors, take().tensors
    assert all(second[name].data_ptr() == tensor.data_ptr() for name, tensor in first.items()), (
        "nothing is copied"
    )


# Errors


def test_inputs_that_do_not_fit_are_refused() -> None:
    images, targets = _data(n=4)
    cases = [
        (targets.astype(np.int64), 4, SMALL, r"targets must be \(n, L\) bool, got \(4, 2\) int64"),
        (targets[:, 0], 4, SMALL, r"targets must be \(n, L\) bool, got \(4,\) bool"),
        (targets[:0], 0, SMALL, "at least one image"),
        (targets, 3, SMALL, "4 rows of labels and 3 groups"),
        (targets, 4, replace(SMALL, batch_size=0), "batch_size must be at least 1, got 0"),
        (targets, 4, replace(SMALL, patience=0), "patience must be at least 1, got 0"),
    ]
    for given, n_groups, settings, message in cases:
        with pytest.raises(ValueError, match=message):
            next(train(lambda rows: images[rows], given, _groups(n_groups), settings, CPU))


def test_stored_weights_are_checked() -> None:
    stored = LenetOneVsAll(2, SIDE, SMALL).state_dict()
    again = load_networks(stored, SIDE, SMALL, CPU)
    assert not again.training
    assert all(torch.equal(tensor, stored[name]) for name, tensor in again.state_dict().items())
    for name in stored:
        with pytest.raises(RuntimeError, match=name):
            load_networks({k: v for k, v in stored.items() if k != name}, SIDE, SMALL, CPU)
    with pytest.raises(RuntimeError, match="size mismatch for hidden_weight"):
        load_networks(stored, 50, SMALL, CPU)


def test_probabilities_that_cannot_be_are_refused() -> None:
    network = LenetOneVsAll(1, SIDE, MODERN)
    images = np.zeros((2, SIDE, SIDE), np.uint8)
    given, _ = probabilities_and_features(network.train(), images, CPU, 8)
    np.testing.assert_array_equal(given, 0.5)
    assert not network.training
    with pytest.raises(ValueError, match="no image"):
        probabilities_and_features(network, images[:0], CPU, 8)
    with torch.no_grad():
        network.output_bias.fill_(math.inf)
    with pytest.raises(ValueError, match="not finite"):
        probabilities_and_features(network, images, CPU, 8)

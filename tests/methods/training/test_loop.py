"""What every training shares: checkpoints, seeds of an epoch, mean losses."""

import numpy as np
import pytest
import torch
from torch import nn

from methods.training import cae, fine_tuning, lenet, loop, ssae
from methods.training.loop import Checkpoint

CPU = torch.device("cpu")


def _trained(steps: int) -> tuple[nn.Linear, torch.optim.Optimizer]:
    network = nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, -2.0]]))
        network.bias.fill_(0.5)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        _step(network, optimizer)
    return network, optimizer


def _step(network: nn.Linear, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(network(torch.tensor([[1.0, 2.0]])).sum())  # gradient (1, 2), bias 1
    optimizer.step()


def test_a_checkpoint_names_weights_best_weights_and_momenta() -> None:
    network, optimizer = _trained(2)
    best = {"weight": torch.zeros(1, 2), "bias": torch.ones(1)}
    taken = loop.take_checkpoint(network, optimizer, {"epochs": 2}, best)
    assert sorted(taken.tensors) == [
        "best.bias",
        "best.weight",
        "network.bias",
        "network.weight",
        "optimizer.0.momentum_buffer",
        "optimizer.1.momentum_buffer",
    ]
    # momenta g and 1.9 g, so the weights moved by 0.1 * 2.9 g
    assert taken.tensors["optimizer.0.momentum_buffer"].tolist() == [
        [pytest.approx(1.9), pytest.approx(3.8)]
    ]
    assert taken.last_weights()["weight"].tolist() == [[pytest.approx(0.71), pytest.approx(-2.58)]]
    assert taken.best_weights()["bias"].tolist() == [1.0]
    assert taken.part("best.")["weight"].tolist() == [[0.0, 0.0]]


def test_the_last_weights_are_the_best_where_no_others_are_kept() -> None:
    taken = loop.take_checkpoint(*_trained(1), {"epochs": 1})
    assert taken.best_weights().keys() == taken.last_weights().keys() == {"weight", "bias"}
    for name, tensor in taken.last_weights().items():
        assert torch.equal(taken.best_weights()[name], tensor)


def test_names_without_a_prefix_are_read_as_weights() -> None:
    assert Checkpoint({"a": torch.ones(1), "optimizer.0.step": torch.ones(1)}).last_weights() == {
        "a": torch.ones(1)
    }


@pytest.mark.parametrize("copy", [True, False])
def test_only_a_copy_outlives_the_next_step(copy: bool) -> None:
    network, optimizer = _trained(1)
    taken = loop.take_checkpoint(network, optimizer, {}, copy=copy)
    before = {name: tensor.clone() for name, tensor in taken.tensors.items()}
    _step(network, optimizer)
    same = [torch.equal(tensor, before[name]) for name, tensor in taken.tensors.items()]
    assert same == [copy] * 4


def test_a_restored_training_goes_on_with_the_same_bytes() -> None:
    network, _ = _trained(3)
    taken = loop.take_checkpoint(*_trained(1), {})
    for _ in range(2):  # what is restored is not written into
        other, resumed = _trained(0)
        loop.restore(other, resumed, taken)
        _step(other, resumed)
        _step(other, resumed)
        assert torch.equal(other.weight, network.weight)
        assert torch.equal(other.bias, network.bias)


def test_a_checkpoint_of_another_network_is_refused() -> None:
    taken = loop.take_checkpoint(*_trained(1), {})
    other = nn.Linear(3, 1)
    with pytest.raises(RuntimeError, match="size mismatch"):
        loop.restore(other, torch.optim.SGD(other.parameters(), lr=0.1), taken)


def test_the_random_numbers_of_an_epoch_depend_on_seed_and_epoch_alone() -> None:
    def drawn(seed: int, epoch: int) -> list[float]:
        with loop.epoch_generators(seed, epoch, CPU) as views:
            return [float(torch.rand(1)), float(torch.rand(1, generator=views))]

    before = torch.random.get_rng_state()
    first = drawn(0, 1)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(5)
    assert drawn(0, 1) == first
    assert first[0] != first[1]
    assert drawn(0, 2) != first
    assert drawn(1, 1) != first


def test_the_mean_loss_weights_each_step_by_its_images() -> None:
    losses = [torch.tensor([1.0, 4.0]), torch.tensor([4.0, 1.0])]
    mean = loop.mean_loss(losses, [2, 1])
    assert mean.dtype == np.float64
    assert mean.tolist() == [2.0, 3.0]
    assert float(loop.mean_loss([torch.tensor(1.0), torch.tensor(4.0)], [1, 2])) == 3.0


def test_rows_become_tensors_of_their_shape_and_dtype() -> None:
    rows = np.arange(6, dtype=np.uint8).reshape(2, 3)[:, ::-1]
    tensor = loop.to_tensor(rows, CPU)
    assert tensor.dtype == torch.uint8
    assert tensor.tolist() == [[2, 1, 0], [5, 4, 3]]


def test_every_training_has_the_same_error_and_extends_the_same_record() -> None:
    for module in (cae, fine_tuning, lenet, ssae):
        assert module.DivergedError is loop.DivergedError
    for record in (cae.CaeEpoch, fine_tuning.FineTuneEpoch, lenet.LenetEpoch, ssae.SsaeEpoch):
        assert issubclass(record, loop.EpochRecord)

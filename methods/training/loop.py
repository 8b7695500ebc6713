"""Parts that all trainings share: records of epochs, checkpoints, seeds, the error of divergence.

A training is a generator that yields after every epoch its record and a function that takes a
checkpoint. A run that goes on from a checkpoint ends, on a CPU, with the bytes of an unbroken one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

NETWORK, BEST, OPTIMIZER = "network.", "best.", "optimizer."
"""Prefixes of a checkpoint's tensor names: last weights, best weights, optimiser state."""


class DivergedError(RuntimeError):
    """The loss or a weight is no longer a finite number, or no unit responds to anything."""


@dataclass(frozen=True)
class EpochRecord:
    """One line of a learning curve; each training adds the errors or losses that it measures.

    Attributes:
        epoch: counted from 1.
    """

    epoch: int


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a training needs to continue after it was stopped.

    Attributes:
        tensors: weights and buffers of the last epoch under ``network.<name>``, those of the best
            epoch under ``best.<name>`` where that is an earlier one, and the optimiser's state
            under ``optimizer.<number of the parameter>.<name>``.
        state: JSON-able state of the loop: epochs done, learning rate or best epoch, curve.
    """

    tensors: dict[str, Tensor]
    state: dict[str, Any] = field(default_factory=dict)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with ``prefix``, by the rest of their names."""
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }

    def last_weights(self) -> dict[str, Tensor]:
        """Return the state dict of the network after the last epoch.

        Checkpoints of the auto-encoder once had these names without a prefix; they are read, too.
        """
        return {
            name.removeprefix(NETWORK): tensor
            for name, tensor in self.tensors.items()
            if not name.startswith((BEST, OPTIMIZER))
        }

    def best_weights(self) -> dict[str, Tensor]:
        """Return the state dict of the network after its best epoch, by default the last one."""
        return self.part(BEST) or self.last_weights()


def copied_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the network's weights and buffers on the CPU, by name."""
    return {name: _on_cpu(tensor, True) for name, tensor in network.state_dict().items()}


def take_checkpoint(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    best: Mapping[str, Tensor] | None = None,
    copy: bool = True,
) -> Checkpoint:
    """Return a checkpoint of the network and its optimiser, on the CPU.

    Args:
        network: after the epoch.
        optimizer: after the epoch.
        state: of the loop.
        best: weights of an earlier epoch that was better, if there was one.
        copy: whether the checkpoint outlives the next epoch. Without a copy, and on a CPU, its
            tensors are those that are trained on: it must be stored before training goes on.
    """
    tensors = {f"{NETWORK}{name}": _on_cpu(t, copy) for name, t in network.state_dict().items()}
    tensors |= {f"{BEST}{name}": tensor for name, tensor in (best or {}).items()}
    for parameter, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{OPTIMIZER}{parameter}.{name}"] = _on_cpu(value, copy)
    return Checkpoint(tensors, state)


def restore(network: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Checkpoint) -> None:
    """Give the network and its optimiser the weights and the state of ``checkpoint``.

    Raises:
        RuntimeError: a weight is missing, superfluous or of another shape.
    """
    network.load_state_dict(checkpoint.last_weights())
    saved = optimizer.state_dict()
    for key, value in checkpoint.part(OPTIMIZER).items():
        parameter, name = key.split(".")
        # a clone, since the optimiser writes into it
        saved["state"].setdefault(int(parameter), {})[name] = value.clone()
    optimizer.load_state_dict(saved)


def _on_cpu(tensor: Tensor, copy: bool) -> Tensor:
    if copy:
        return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return tensor.detach().cpu()


def to_tensor(rows: NDArray[Any], device: torch.device) -> Tensor:
    """Return ``rows`` as a tensor of the same shape and dtype on ``device``."""
    return torch.from_numpy(np.ascontiguousarray(rows)).to(device)


@contextlib.contextmanager
def epoch_generators(seed: int, epoch: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed the random numbers of one epoch by (seed, epoch) alone, and restore them afterwards.

    Within it torch's global generators, which dropout draws from, are seeded.

    Yields:
        A generator of its own, on the CPU, for random views of the images.
    """
    dropout, views = np.random.SeedSequence([seed, epoch]).generate_state(2, np.uint64)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(dropout))
        yield torch.Generator().manual_seed(int(views))


def mean_loss(losses: Sequence[Tensor], sizes: Sequence[int]) -> NDArray[np.float64]:
    """Return the mean over an epoch's images of the losses of its steps, float64.

    Args:
        losses: mean loss of each step, all of one shape (...).
        sizes: images of each step.

    Returns:
        (...) float64.
    """
    values = torch.stack(list(losses)).cpu().numpy().astype(np.float64)
    mean: NDArray[np.float64] = np.average(values, axis=0, weights=sizes)
    return mean

"""Stacked sparse auto-encoder, the SSAE baseline of Ahn et al. 2019, Table 2.

Sigmoid units trained layer by layer, each with the cost of Ng's lecture notes "Sparse autoencoder"
(CS294A, 2011) ::

    J = 1/m sum_i 1/2 ||y_i - x_i||^2 + lambda/2 (||W||^2 + ||V||^2) + beta sum_j KL(rho || rho_j)
    KL(rho || rho_j) = rho log(rho / rho_j) + (1 - rho) log((1 - rho) / (1 - rho_j))

with h = sigmoid(W x + b), rho_j the mean of unit j over the m rows, and y = V h + c in the first
layer, whose input is whitened and so not bounded (the notes' linear decoder), y = sigmoid(V h + c)
above it. The code is the h of the last layer.

Deviations from the notes: Adam on batches, over each of which rho_j is taken, in place of L-BFGS on
all rows; and biases start where a sigmoid gives rho, not at zero, as a pass or more would otherwise
only bring the units down from a half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from methods.settings import SsaeSettings
from methods.training.loop import DivergedError, EpochRecord, to_tensor

ROWS_AT_ONCE = 4096
"""Number of rows that are encoded at a time; bounds the memory."""


@dataclass(frozen=True)
class SsaeEpoch(EpochRecord):
    """One line of the learning curve, means over the rows of an epoch while the weights move.

    Attributes:
        layer: counted from 1.
        cost: J.
        error: sum of squared reconstruction errors over that of the layer's input around its mean.
        mean_activation: of all units; near ``sparsity`` where the penalty holds.
    """

    layer: int
    cost: float
    error: float
    mean_activation: float


@dataclass(frozen=True)
class SsaeFit:
    """Result of a fit.

    Attributes:
        tensors: for layer l (from 1) ``l.weight`` (units, inputs) and ``l.bias`` (units,), float32
            on the CPU.
        curve: one record for each layer and epoch.
    """

    tensors: dict[str, Tensor]
    curve: list[SsaeEpoch]


@dataclass(frozen=True)
class Cost:
    """Cost of a batch, a scalar that can be differentiated, and two of its parts.

    Attributes:
        total: J.
        squared_error: sum over the batch of ||y - x||^2.
        activation: (units,) rho_j.
    """

    total: Tensor
    squared_error: Tensor
    activation: Tensor


class SparseAutoEncoder(nn.Module):
    """One layer: sigmoid encoder, linear or sigmoid decoder with weights of its own."""

    def __init__(
        self,
        inputs: int,
        units: int,
        linear_decoder: bool,
        sparsity: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        bound = math.sqrt(6 / (inputs + units + 1))
        self.weight = nn.Parameter(
            torch.empty(units, inputs).uniform_(-bound, bound, generator=generator)
        )
        at_sparsity = math.log(sparsity / (1 - sparsity))
        self.bias = nn.Parameter(torch.full((units,), at_sparsity))
        self.decoder_weight = nn.Parameter(
            torch.empty(inputs, units).uniform_(-bound, bound, generator=generator)
        )
        self.decoder_bias = nn.Parameter(
            torch.full((inputs,), 0.0 if linear_decoder else at_sparsity)
        )
        self.linear_decoder = linear_decoder

    def cost(self, x: Tensor, settings: SsaeSettings) -> Cost:
        """Return J on the rows ``x`` (m, inputs)."""
        h = torch.sigmoid(nn.functional.linear(x, self.weight, self.bias))
        y = nn.functional.linear(h, self.decoder_weight, self.decoder_bias)
        squared_error = ((y if self.linear_decoder else torch.sigmoid(y)) - x).square().sum()
        rho, activation = settings.sparsity, h.mean(dim=0)
        divergence = (
            rho * (rho / activation).log() + (1 - rho) * ((1 - rho) / (1 - activation)).log()
        )
        decay = self.weight.square().sum() + self.decoder_weight.square().sum()
        total = (
            0.5 * squared_error / len(x)
            + 0.5 * settings.weight_decay * decay
            + settings.sparsity_weight * divergence.sum()
        )
        return Cost(total, squared_error.detach(), activation.detach())


def _hidden(tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Return the activations of the last layer of ``tensors``, or ``x`` where there is none."""
    for layer in range(1, len(tensors) // 2 + 1):
        x = torch.sigmoid(
            nn.functional.linear(x, tensors[f"{layer}.weight"], tensors[f"{layer}.bias"])
        )
    return x


def _energy(tensors: Mapping[str, Tensor], patches: Tensor) -> float:
    """Return the sum of squares of the input of the next layer around its column means."""
    total, squares = np.zeros(()), 0.0
    for block in torch.split(patches, ROWS_AT_ONCE):
        x = _hidden(tensors, block).cpu().numpy().astype(np.float64)
        total, squares = total + x.sum(axis=0), squares + float((x * x).sum())
    return max(squares - float((total * total).sum()) / len(patches), 1e-30)


def _check_inputs(patches: NDArray[np.floating], settings: SsaeSettings) -> None:
    """Raise ValueError where there is nothing to train, or nothing to train on."""
    if not len(patches):
        raise ValueError("a sparse auto-encoder needs at least one patch")
    if not np.isfinite(patches).all():
        raise ValueError(
            "a sparse auto-encoder needs finite patches, some value is NaN or infinite"
        )
    if not settings.hidden:
        raise ValueError("a stacked sparse auto-encoder needs at least one layer")
    if not 0 < settings.sparsity < 1:
        raise ValueError(
            f"the sparsity is a mean activation inside 0..1, got {settings.sparsity:g}"
        )


def _train_epoch(
    autoencoder: SparseAutoEncoder,
    optimizer: torch.optim.Optimizer,
    below: Mapping[str, Tensor],
    rows: Tensor,
    order: NDArray[np.int64],
    settings: SsaeSettings,
) -> tuple[float, float, float]:
    """Make one pass over ``rows``; return the sums of cost, squared error and mean activation."""
    cost = error = activation = 0.0
    for positions in np.array_split(order, math.ceil(len(rows) / settings.batch_size)):
        chosen = rows[to_tensor(positions, rows.device)]
        batch = autoencoder.cost(_hidden(below, chosen), settings)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(batch.total)
        optimizer.step()
        cost += float(batch.total.detach()) * len(positions)
        error += float(batch.squared_error)
        activation += float(batch.activation.mean()) * len(positions)
    return cost, error, activation


def train_ssae(
    patches: NDArray[np.floating],
    settings: SsaeSettings,
    device: torch.device,
    on_epoch: Callable[[SsaeEpoch], None] = lambda record: None,
) -> SsaeFit:
    """Train the layers one after the other, each on the code of the layers below it.

    Args:
        patches: (n, k) whitened patches, held on the device.
        settings: see :class:`SsaeSettings`.
        device: where to compute.
        on_epoch: function that is called with the record of each epoch.

    Raises:
        ValueError: no patch, a patch that is not finite, no layer, or a sparsity that is not inside
            0..1.
        DivergedError: the cost became NaN or infinite.
    """
    _check_inputs(patches, settings)
    generator = torch.Generator().manual_seed(settings.seed)
    rows = to_tensor(np.asarray(patches, np.float32), device)
    tensors: dict[str, Tensor] = {}
    curve: list[SsaeEpoch] = []
    inputs = rows.shape[1]
    for layer, units in enumerate(settings.hidden, 1):
        autoencoder = SparseAutoEncoder(inputs, units, layer == 1, settings.sparsity, generator).to(
            device
        )
        optimizer = torch.optim.Adam(autoencoder.parameters(), lr=settings.learning_rate)
        energy = _energy(tensors, rows)
        for epoch in range(1, settings.epochs + 1):
            order = np.random.default_rng([settings.seed, layer, epoch]).permutation(len(rows))
            cost, error, activation = _train_epoch(
                autoencoder, optimizer, tensors, rows, order, settings
            )
            if not math.isfinite(cost):
                raise DivergedError(
                    f"the cost of layer {layer} is not finite after epoch {epoch} "
                    f"at learning rate {settings.learning_rate:g}"
                )
            curve.append(
                SsaeEpoch(epoch, layer, cost / len(rows), error / energy, activation / len(rows))
            )
            on_epoch(curve[-1])
        tensors |= {
            f"{layer}.weight": autoencoder.weight.detach(),
            f"{layer}.bias": autoencoder.bias.detach(),
        }
        inputs = units
    return SsaeFit({name: tensor.cpu() for name, tensor in tensors.items()}, curve)


@torch.inference_mode()
def encode(
    tensors: Mapping[str, Tensor], patches: NDArray[np.floating], device: torch.device
) -> NDArray[np.float32]:
    """Return the activations of the last layer, (m, hidden[-1]) float32 in 0..1.

    Args:
        tensors: weights of a :class:`SsaeFit`.
        patches: (m, k), whitened like those of the training.
        device: where to compute.
    """
    weights = {name: tensor.to(device) for name, tensor in tensors.items()}
    rows = torch.from_numpy(np.ascontiguousarray(patches, dtype=np.float32))
    code: NDArray[np.float32] = torch.cat(
        [_hidden(weights, x.to(device)).cpu() for x in torch.split(rows, ROWS_AT_ONCE)]
    ).numpy()
    return code

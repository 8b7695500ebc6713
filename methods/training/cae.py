"""Zero-bias convolutional auto-encoder (Ahn et al. 2019, sections 2.2, 2.3 and Table 1).

Encoder ``z = ReLU(x * W + b)`` (equation 1), decoder ``y = ReLU(z * W~ + c)`` with the same kernels
turned by 180 degrees (equation 2, tied weights), loss ``1/2 sum (x - y)^2`` (equation 3), summed
over an image and averaged over the batch. At encoding time both biases are set to zero (section
2.3) and the maps are pooled by 2 to the code.

Deviations, each recorded in ``docs/adr``: the initial scale of the kernels is set by least squares
on one batch, since with thousands of tied filters a fan-in scale starts with an error tens of times
the input's energy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from methods.kernels import cae_tiles, winograd
from methods.settings import CaeSettings
from methods.training.batching import epoch_batches
from methods.training.loop import (
    Checkpoint,
    DivergedError,
    EpochRecord,
    restore,
    take_checkpoint,
    to_tensor,
)

ReadRows = Callable[[NDArray[np.int64]], NDArray[np.floating]]
"""Function that reads rows by position: (m,) int64 -> (m, C, H, W) numbers."""

INIT_BATCH = 512
"""Number of rows on which the scale of fresh kernels is set."""
PROBE_ROWS = 32
"""Number of held-out rows on which it is checked that some filter still responds."""
MAX_RESPONSES = 2**26
"""Maximum responses before the pool in memory while encoding (0.3 GB)."""


@dataclass(frozen=True)
class CaeEpoch(EpochRecord):
    """One line of the learning curve of an auto-encoder.

    Errors are sums of squared residuals, divided by the sum of squares of the input around its
    channel means.

    Attributes:
        train_error: mean over the training rows while the weights move.
        held_out_error: of the held-out rows after the epoch.
        learning_rate: of the epoch.
    """

    train_error: float
    held_out_error: float
    learning_rate: float


class ConvAutoEncoder(nn.Module):
    """Tied (by default) one-layer convolutional auto-encoder, 3x3 kernels, stride 1, padding 1."""

    def __init__(self, channels: int, settings: CaeSettings) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(settings.seed)
        bound = 1.0 / math.sqrt(9 * channels)
        weight = torch.empty(settings.filters, channels, 3, 3).uniform_(
            -bound, bound, generator=generator
        )
        self.encoder_weight = nn.Parameter(weight.to(memory_format=torch.channels_last))
        self.decoder_weight = None if settings.tied else nn.Parameter(weight.clone())
        learn_bias = settings.zero_bias != "always"
        self.encoder_bias = nn.Parameter(torch.zeros(settings.filters), requires_grad=learn_bias)
        self.decoder_bias = nn.Parameter(torch.zeros(channels), requires_grad=learn_bias)
        self._settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction with the learned biases, (N, C, H, W) -> (N, C, H, W)."""
        if not torch.is_grad_enabled() and cae_tiles.pays(x):
            return cae_tiles.reconstruct(x, self._tile_weights())
        z = functional.relu(functional.conv2d(x, self.encoder_weight, self.encoder_bias, padding=1))
        weight = self.encoder_weight if self.decoder_weight is None else self.decoder_weight
        # conv_transpose2d with the encoder's weight is the convolution with its 180-degree-turned
        # kernels.
        y = functional.conv_transpose2d(z, weight, self.decoder_bias, padding=1)
        return functional.relu(y) if self._settings.decoder_activation == "relu" else y

    def encode(self, x: Tensor, pool: Literal["max", "mean"] = "max") -> Tensor:
        """Return the code of ``x`` (Table 1, pool 2), (N, C, H, W) -> (N, K, H // 2, W // 2).

        Biases are zero or learned as ``zero_bias`` says.
        """
        bias = (
            self.encoder_bias
            if self._settings.zero_bias == "never"
            else torch.zeros_like(self.encoder_bias)
        )
        if not torch.is_grad_enabled() and cae_tiles.fits(x):
            return cae_tiles.encode(x, winograd.taps_first(self.encoder_weight), bias, pool)
        z = functional.relu(functional.conv2d(x, self.encoder_weight, bias, padding=1))
        return functional.max_pool2d(z, 2) if pool == "max" else functional.avg_pool2d(z, 2)

    def backward_of_loss(self, x: Tensor) -> float:
        """Set the gradients of the loss of ``x``, and return the loss (equation 3).

        The loss is half the squared error, summed over the images; the gradients are those of its
        mean over the images.
        """
        if not cae_tiles.pays(x):
            loss = 0.5 * (self(x) - x).square().sum()
            (loss / len(x)).backward()
            return float(loss.detach())
        with torch.no_grad():
            loss_value, gradients = cae_tiles.squared_error_and_gradients(x, self._tile_weights())
        self.encoder_weight.grad = winograd.taps_last(gradients.encoder)
        if self.decoder_weight is not None and gradients.decoder is not None:
            self.decoder_weight.grad = winograd.taps_last(gradients.decoder)
        if self.encoder_bias.requires_grad:
            self.encoder_bias.grad, self.decoder_bias.grad = (
                gradients.encoder_bias,
                gradients.decoder_bias,
            )
        return loss_value

    def _tile_weights(self) -> cae_tiles.Weights:
        encoder = winograd.taps_first(self.encoder_weight)
        decoder = (
            encoder if self.decoder_weight is None else winograd.taps_first(self.decoder_weight)
        )
        relu = self._settings.decoder_activation == "relu"
        return cae_tiles.Weights(encoder, decoder, self.encoder_bias, self.decoder_bias, relu)

    @torch.no_grad()
    def scale_by_least_squares(self, x: Tensor) -> float:
        """Scale the fresh kernels so that ``x`` is reconstructed with the least squared error.

        With zero biases the reconstruction is homogeneous of degree two in the kernels, so the best
        factor has a closed form.

        Returns:
            The factor applied to the kernels: 1 where the reconstruction is zero everywhere, as no
            factor changes it.
        """
        y = self(x)
        if not bool(y.any()):
            return 1.0
        factor = math.sqrt(max(float((x * y).sum() / (y * y).sum().clamp_min(1e-30)), 1e-12))
        self.encoder_weight.mul_(factor)
        if self.decoder_weight is not None:
            self.decoder_weight.mul_(factor)
        return factor


def _to_tensor(rows: NDArray[np.floating], device: torch.device) -> Tensor:
    tensor = to_tensor(np.asarray(rows, np.float32), device)
    return tensor.to(memory_format=torch.channels_last)


def _tensors(
    read: ReadRows, n_rows: int, device: torch.device, resident: bool
) -> Callable[[NDArray[np.int64]], Tensor]:
    """Return a function that gives rows by position as tensors on ``device``.

    With ``resident`` all rows are copied there now, and none later.
    """
    if not resident:
        return lambda rows: _to_tensor(read(rows), device)
    parts = [
        read(np.arange(start, min(start + INIT_BATCH, n_rows)))
        for start in range(0, n_rows, INIT_BATCH)
    ]
    everything = torch.cat([_to_tensor(part, device) for part in parts])
    return lambda rows: everything[torch.from_numpy(rows).to(device)].contiguous(
        memory_format=torch.channels_last
    )


def _fit_on_card(row: NDArray[np.floating], n_rows: int, device: torch.device) -> bool:
    """Whether ``n_rows`` rows take less than a third of the free memory of a CUDA device."""
    return device.type == "cuda" and 4 * row.size * n_rows < torch.cuda.mem_get_info(device)[0] / 3


def new_cae(
    channels: int, settings: CaeSettings, first_rows: NDArray[np.floating], device: torch.device
) -> ConvAutoEncoder:
    """Return an untrained auto-encoder.

    Args:
        channels: C, number of input channels.
        settings: see :class:`CaeSettings`; ``init_scale`` says whether the kernels are scaled.
        first_rows: (m, C, H, W) rows that the kernels are scaled on.
        device: where to compute.
    """
    cae = ConvAutoEncoder(channels, settings).to(device)
    if settings.init_scale == "least_squares":
        cae.scale_by_least_squares(_to_tensor(first_rows, device))
    return cae


def load_cae(
    weights: Mapping[str, Tensor], settings: CaeSettings, device: torch.device
) -> ConvAutoEncoder:
    """Return the auto-encoder of stored ``weights``, in eval mode.

    Raises:
        RuntimeError: a tensor is missing or has another shape than the settings ask for.
    """
    if "encoder_weight" not in weights:
        raise RuntimeError(f"tensor encoder_weight is missing, there are {sorted(weights)}")
    channels = weights["encoder_weight"].shape[1]
    cae = ConvAutoEncoder(channels, settings)
    cae.load_state_dict(dict(weights))
    return cae.to(device).eval()


def split_held_out(
    n_rows: int, settings: CaeSettings
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sorted positions of the rows trained on, and of the held-out rows.

    Each has at least one row where there are two or more; a single row is in both.
    """
    order = np.random.default_rng(settings.seed).permutation(n_rows)
    n_held = (
        min(max(round(n_rows * settings.held_out_fraction), 1), n_rows - 1) if n_rows > 1 else 0
    )
    held = order[:n_held] if n_held else order
    return np.sort(order[n_held:]), np.sort(held)


def _input_energy(read: ReadRows, rows: NDArray[np.int64], batch_size: int) -> float:
    """Return the error of predicting each channel's mean: the sum of squares, mean over images."""
    total, squares, count, positions = 0.0, 0.0, 0, 1
    for start in range(0, len(rows), batch_size):
        x = np.asarray(read(rows[start : start + batch_size]), np.float64)
        total = total + x.sum(axis=(0, 2, 3))
        squares += float((x * x).sum())
        count, positions = count + len(x), x.shape[2] * x.shape[3]
    mean = np.asarray(total) / (count * positions)
    return max(squares / count - positions * float((mean * mean).sum()), 1e-30)


def _optimizer(cae: ConvAutoEncoder, settings: CaeSettings) -> torch.optim.Optimizer:
    """Return the optimiser of the parameters that are learned."""
    parameters = [p for p in cae.parameters() if p.requires_grad]
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=settings.learning_rate)
    return torch.optim.SGD(parameters, lr=settings.learning_rate, momentum=settings.momentum)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.inference_mode()
def _squared_error(
    cae: ConvAutoEncoder,
    take: Callable[[NDArray[np.int64]], Tensor],
    rows: NDArray[np.int64],
    batch_size: int,
) -> float:
    """Return the squared reconstruction error of an image, mean over ``rows``."""
    total = 0.0
    for start in range(0, len(rows), batch_size):
        x = take(rows[start : start + batch_size])
        total += float((cae(x) - x).square().sum(dtype=torch.float64))
    return total / len(rows)


@torch.inference_mode()
def _check_alive(
    cae: ConvAutoEncoder, errors: tuple[float, float], probe: Tensor, epoch: int, rate: float
) -> None:
    """Raise DivergedError where an error is not finite or no filter responds to ``probe``."""
    if not all(math.isfinite(error) for error in errors):
        raise DivergedError(f"the loss is not finite after epoch {epoch} at learning rate {rate:g}")
    if not bool((cae.encode(probe) > 0).any()):
        raise DivergedError(f"every filter is dead after epoch {epoch} at learning rate {rate:g}")


def _after(state: dict[str, Any], record: CaeEpoch, patience: int) -> dict[str, Any]:
    """Return the state of the loop after an epoch; a plateau divides the learning rate by 10."""
    best, rate = float(state["best"]), float(state["learning_rate"])
    improved = record.held_out_error < best * (1 - 1e-3)
    stale = 0 if improved else int(state["stale_epochs"]) + 1
    if stale > patience:
        rate, stale = rate / 10, 0
    return {
        **state,
        "epochs": record.epoch,
        "learning_rate": rate,
        "best": min(record.held_out_error, best),
        "stale_epochs": stale,
        "curve": [*state["curve"], asdict(record)],
    }


def train_cae(
    read: ReadRows,
    n_rows: int,
    settings: CaeSettings,
    device: torch.device,
    resume: Checkpoint | None = None,
) -> Iterator[tuple[CaeEpoch, Callable[[], Checkpoint]]]:
    """Train an auto-encoder on the rows ``0 .. n_rows - 1``.

    The order of the rows depends on (seed, epoch) alone, so a run resumed from a checkpoint ends
    with the same bytes on a CPU as one that was never stopped.

    Args:
        read: gives rows by position, (m, C, H, W).
        n_rows: number of rows that may be trained on, at least 2.
        settings: see :class:`CaeSettings`.
        device: where to compute.
        resume: an earlier checkpoint of the same settings and rows.

    Yields:
        After every epoch its record, and a function that takes a checkpoint.

    Raises:
        DivergedError: the loss became NaN or infinite, or every filter died.
    """
    train_rows, held_rows = split_held_out(n_rows, settings)
    first = read(train_rows[:INIT_BATCH])
    cae = new_cae(first.shape[1], settings, first, device)
    take = _tensors(read, n_rows, device, resident=_fit_on_card(first[0], n_rows, device))
    optimizer = _optimizer(cae, settings)
    if resume is None:
        state: dict[str, Any] = {
            "epochs": 0,
            "learning_rate": settings.learning_rate,
            "best": math.inf,
            "stale_epochs": 0,
            "input_energy": _input_energy(read, train_rows, settings.batch_size),
            "curve": [],
        }
    else:
        state = resume.state
        restore(cae, optimizer, resume)
        _set_rate(optimizer, float(state["learning_rate"]))
    energy = float(state["input_energy"])
    for epoch in range(int(state["epochs"]), settings.epochs):
        rate = float(state["learning_rate"])
        total = 0.0
        for rows in epoch_batches(len(train_rows), settings.batch_size, settings.seed, epoch):
            x = take(train_rows[rows])
            optimizer.zero_grad(set_to_none=True)
            total += 2 * cae.backward_of_loss(x)
            optimizer.step()
        train_error = total / len(train_rows) / energy
        held_out = _squared_error(cae, take, held_rows, settings.batch_size) / energy
        _check_alive(cae, (train_error, held_out), take(held_rows[:PROBE_ROWS]), epoch + 1, rate)
        record = CaeEpoch(epoch + 1, train_error, held_out, rate)
        state = _after(state, record, settings.plateau_patience)
        _set_rate(optimizer, state["learning_rate"])
        yield record, partial(take_checkpoint, cae, optimizer, state)


@dataclass(frozen=True)
class FilterStatistics:
    """Statistics of the filters of a fitted auto-encoder on a sample, biases as when encoding.

    Attributes:
        active_fraction: (K,) share of positions where a filter's response is above zero.
        mean_response: (K,) mean response over images and positions.
        dead: number of filters that never respond.
        sparsity: share of zeros among all responses before pooling.
        mean_bias: mean of the learned encoder biases (the paper's section 2.3 expects it to be
            negative).
    """

    active_fraction: NDArray[np.float64]
    mean_response: NDArray[np.float64]
    dead: int
    sparsity: float
    mean_bias: float


@torch.inference_mode()
def filter_statistics(
    cae: ConvAutoEncoder, rows: NDArray[np.floating], device: torch.device
) -> FilterStatistics:
    """Return statistics of the responses to ``rows`` (m, C, H, W) before the pool."""
    bias = cae.encoder_bias if cae._settings.zero_bias == "never" else None
    z = functional.relu(
        functional.conv2d(_to_tensor(rows, device), cae.encoder_weight, bias, padding=1)
    )
    active = (z > 0).to(torch.float64).mean(dim=(0, 2, 3)).cpu().numpy()
    return FilterStatistics(
        active_fraction=active,
        mean_response=z.mean(dim=(0, 2, 3), dtype=torch.float64).cpu().numpy(),
        dead=int((active == 0).sum()),
        sparsity=float(1 - active.mean()),
        mean_bias=float(cae.encoder_bias.mean()),
    )


@torch.inference_mode()
def encode(
    cae: ConvAutoEncoder,
    rows: NDArray[np.floating],
    device: torch.device,
    pool: Literal["max", "mean"] = "max",
) -> NDArray[np.float32]:
    """Return the codes of ``rows`` (m, C, H, W), (m, K, H // 2, W // 2) float32."""
    filters, places = cae.encoder_weight.shape[0], int(np.prod(rows.shape[2:]))
    at_once = max(MAX_RESPONSES // (filters * places), 1)
    parts = [rows[first : first + at_once] for first in range(0, max(len(rows), 1), at_once)]
    return np.concatenate(
        [cae.encode(_to_tensor(part, device), pool).contiguous().cpu().numpy() for part in parts]
    )


@torch.inference_mode()
def reconstruct(
    cae: ConvAutoEncoder, rows: NDArray[np.floating], device: torch.device
) -> NDArray[np.float32]:
    """Return the reconstructions of ``rows`` (m, C, H, W), of the same shape, float32."""
    y: NDArray[np.float32] = cae(_to_tensor(rows, device)).contiguous().cpu().numpy()
    return y

"""One-vs-all convolutional networks trained from scratch (Lyndon et al. 2015, section 3.2).

Tables 1 and 2 of the paper give their layers and settings. There is one network for each label: 20
filters of 15x15, max-pool 2, tanh; 50 filters of 15x15, max-pool 2, tanh; 500 tanh units; logistic
regression. An image that every network rejects has none of the labels. Input is one grey channel
scaled to 0..1. With 256 x 256 pixels the maps are 242, 121, 107 and 53 a side, and a network has
4,520 + 225,050 + 70,225,500 + 1,002 = 70,456,072 parameters: 0.28 GB, and as much again for each of
the gradients, the momenta and the best epoch where there are any. A checkpoint that is written
takes as much as what is in it.

What the paper leaves open follows the code it names, the LeNet tutorial of deeplearning.net:
pooling before bias and tanh, weights uniform with the bound sqrt(6 / (fan_in + fan_out)), where
fan_out of a convolution is divided by the area of the pool, biases and the whole logistic
regression zero, a softmax of two outputs, mean negative log-likelihood, plain SGD. Deviations: the
last batch of an epoch may be smaller (the tutorial drops it), and the order of the images is drawn
anew in each epoch.

What the paper's section 5 hopes for are settings: ReLU with He's initial weights, dropout of half
the dense units, random views of the images, a deeper network, and unsupervised pre-training of the
first layer (:mod:`methods.training.lenet_pretraining`); and momentum and an early stop, which it
does not name. ``deeper`` is the section's example, Krizhevsky et al. 2012, at this network's width:
two convolutions with pools, three of 3x3 without, and three fully connected layers with the
logistic regression. The networks share nothing but the images of a step, their views and dropout
masks, the pre-trained filters and the validation slice, so each is, within rounding, what it would
be if it were trained alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from methods.curation.splits import fairest, on_both_sides
from methods.imaging.augmentation import random_transforms, warped
from methods.kernels.fft_convolution import POOL, Correlation, PooledConvolution
from methods.settings import LenetSettings
from methods.training.batching import epoch_batches
from methods.training.lenet_pretraining import KERNEL, pretrained_filters
from methods.training.loop import (
    OPTIMIZER,
    Checkpoint,
    DivergedError,
    EpochRecord,
    epoch_generators,
    mean_loss,
    restore,
    take_checkpoint,
    to_tensor,
)

Positions = NDArray[np.int64]
ReadImages = Callable[[Positions], NDArray[np.uint8]]
"""Function that reads images by position: (m,) int64 -> (m, side, side) uint8."""

FILTERS = (20, 50)
"""Number of filters of the two convolutions."""
HIDDEN = 500
"""Number of units of a dense layer."""
EXTRA_LAYERS = 3
"""Number of convolutions that ``deeper`` adds behind the second pool."""
EXTRA_KERNEL = 3
"""Height and width of their filters, in pixels; the maps keep their size."""

DROPOUT = 0.5
"""Share of the units of each dense layer that ``dropout`` sets to zero in training."""
MOMENTA = "momentum."
"""Prefix of the momenta in the checkpoints of earlier versions."""
MAX_DRAWS = 100
"""Maximum number of validation slices that are drawn and compared."""


@dataclass(frozen=True)
class LenetEpoch(EpochRecord):
    """One line of the learning curves, one for each label.

    Losses are mean negative log-likelihoods in nats.

    Attributes:
        train_loss: (L,) over the epoch's steps while the weights move, dropout and random views on;
            of a network that has stopped that of its last epoch.
        validation_loss: (L,) after the epoch, or its last; None without a validation slice.
    """

    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...] | None


def _last_maps(side: int) -> int:
    """Return the side of the second pooled layer, in pixels."""
    for _ in FILTERS:
        side = (side - KERNEL + 1) // POOL
    return side


class LenetOneVsAll(nn.Module):
    """L networks side by side; the first axis of every parameter is the label.

    Args:
        n_labels: L, at least 1.
        side: of the square images, pixels; at least 46.
        settings: ``rectifier``, ``dropout`` and ``deeper`` decide the layers; ``seed`` decides the
            initial weights, each label's by a seed of its own.

    Raises:
        ValueError: no label, or images too small for the two layers.
    """

    def __init__(self, n_labels: int, side: int, settings: LenetSettings) -> None:
        super().__init__()
        places = _last_maps(side) ** 2
        if n_labels < 1:
            raise ValueError(f"there must be at least one label, got {n_labels}")
        if _last_maps(side) < 1:
            raise ValueError(
                "images must be at least 46 pixels a side for two layers of 15x15 filters, got "
                f"{side}"
            )
        self.side = side
        self.settings = settings
        first, second = FILTERS
        self.conv1_weight = nn.Parameter(torch.empty(n_labels, first, 1, KERNEL, KERNEL))
        self.conv1_bias = nn.Parameter(torch.zeros(n_labels, first))
        self.conv2_weight = nn.Parameter(torch.empty(n_labels, second, first, KERNEL, KERNEL))
        self.conv2_bias = nn.Parameter(torch.zeros(n_labels, second))
        self.hidden_weight = nn.Parameter(torch.empty(n_labels, HIDDEN, second * places))
        self.hidden_bias = nn.Parameter(torch.zeros(n_labels, HIDDEN))
        self.output_weight = nn.Parameter(torch.zeros(n_labels, 2, HIDDEN))
        self.output_bias = nn.Parameter(torch.zeros(n_labels, 2))
        area = KERNEL**2
        fans: list[tuple[Tensor, float, float]] = [
            (self.conv1_weight, area, first * area / POOL**2),
            (self.conv2_weight, first * area, second * area / POOL**2),
            (self.hidden_weight, second * places, HIDDEN),
        ]
        if settings.deeper:
            k, extra_fan = EXTRA_KERNEL, second * EXTRA_KERNEL**2
            shape = (n_labels, EXTRA_LAYERS, second)
            self.extra_weight = nn.Parameter(torch.empty(*shape, second, k, k))
            self.extra_bias = nn.Parameter(torch.zeros(shape))
            self.second_weight = nn.Parameter(torch.empty(n_labels, HIDDEN, HIDDEN))
            self.second_bias = nn.Parameter(torch.zeros(n_labels, HIDDEN))
            fans += [
                (self.extra_weight, extra_fan, extra_fan),
                (self.second_weight, HIDDEN, HIDDEN),
            ]
        self._draw_weights(fans)

    def _draw_weights(self, fans: Sequence[tuple[Tensor, float, float]]) -> None:
        """Draw the initial weights: each tensor (L, ...) with its fan_in and fan_out."""
        for label in range(len(self.output_bias)):
            words = np.random.SeedSequence(self.settings.seed, spawn_key=(label,)).generate_state(
                1, np.uint64
            )
            generator = torch.Generator().manual_seed(int(words[0]))
            for weight, fan_in, fan_out in fans:
                # He et al. 2015 look at fan_in alone
                bound = math.sqrt(6 / (fan_in + (0 if self.settings.rectifier else fan_out)))
                nn.init.uniform_(weight[label], -bound, bound, generator=generator)

    def _activated(self, x: Tensor) -> Tensor:
        """Return the outputs of a layer's units."""
        return torch.relu(x) if self.settings.rectifier else torch.tanh(x)

    def _dense(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return the outputs of a dense layer, (L, N, inputs) -> (L, N, HIDDEN)."""
        # The weight comes first so that its gradient has the layout of the weight; a quarter of a
        # step went into turning it.
        h = self._activated(torch.baddbmm(bias[..., None], weight, rows.mT).mT)
        if self.settings.dropout:
            h = h * functional.dropout(torch.ones_like(h[0]), DROPOUT, self.training)
        return h

    def hidden_units(self, images: Tensor) -> Tensor:
        """Return the outputs of the last dense layer, (N, side, side) uint8 -> (L, N, HIDDEN).

        They are what the paper calls the features of an image (section 3.2).

        Raises:
            ValueError: the images are not (N, side, side) uint8.
        """
        if (
            images.dtype != torch.uint8
            or images.ndim != 3
            or images.shape[1:] != (self.side, self.side)
        ):
            raise ValueError(
                f"images must be (N, {self.side}, {self.side}) uint8, got {tuple(images.shape)} "
                f"{str(images.dtype).split('.')[1]}"
            )
        x = (images.to(torch.float32) / 255)[:, None]
        # the filters of all labels at once
        x = PooledConvolution.apply(x, self.conv1_weight.flatten(0, 1))
        x = self._activated(x + self.conv1_bias.view(1, -1, 1, 1))
        rows = []
        for label, maps in enumerate(x.view(len(x), -1, FILTERS[0], *x.shape[2:]).unbind(1)):
            y: Tensor = Correlation.apply(maps, self.conv2_weight[label])
            bias = self.conv2_bias[label].view(1, -1, 1, 1)
            y = self._activated(functional.max_pool2d(y, POOL) + bias)
            if self.settings.deeper:
                for kernels, of_layer in zip(
                    self.extra_weight[label], self.extra_bias[label], strict=True
                ):
                    y = self._activated(functional.conv2d(y, kernels, of_layer, padding="same"))
            rows.append(y.flatten(1))
        h = self._dense(torch.stack(rows), self.hidden_weight, self.hidden_bias)
        return self._dense(h, self.second_weight, self.second_bias) if self.settings.deeper else h

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of having each label, (N, side, side) uint8 -> (N, L) float32.

        Raises:
            ValueError: the images are not (N, side, side) uint8.
        """
        return self.logits(self.hidden_units(images))

    def logits(self, h: Tensor) -> Tensor:
        """Return the logits of having each label, (L, N, HIDDEN) -> (N, L) float32."""
        z = torch.baddbmm(self.output_bias[:, None], h, self.output_weight.mT)
        return (z[..., 1] - z[..., 0]).T  # their logistic function is the softmax of the two


def load_networks(
    weights: Mapping[str, Tensor], side: int, settings: LenetSettings, device: torch.device
) -> LenetOneVsAll:
    """Return the networks of stored ``weights``, in eval mode.

    Raises:
        RuntimeError: a tensor is missing or has another shape than ``side`` asks for.
    """
    if "output_bias" not in weights:
        raise RuntimeError(f"tensor output_bias is missing, there are {sorted(weights)}")
    network = LenetOneVsAll(len(weights["output_bias"]), side, settings)
    network.load_state_dict(dict(weights))
    return network.to(device).eval()


def validation_slice(
    targets: NDArray[np.bool_], groups: Sequence[str] | NDArray[np.str_], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Draw the training images that decide when to stop: a random draw of whole groups.

    Groups of a draw without which a label could not be learned go back to the training. Of
    MAX_DRAWS draws it is the one that :func:`methods.curation.splits.fairest` takes; the loss of a
    label that is not on both sides is not used. Where no label that some images have and others
    lack is on both sides, the slice is empty: the images are worth more in the training.

    Args:
        targets: (n, L) whether each training image has each label.
        groups: (n,) group of each training image; a group is never on both sides.
        fraction: share of the groups to draw, between 0 and 1; at least one group is drawn, and
            never all.
        seed: of the draws.

    Returns:
        (n,) bool, True for validation.

    Raises:
        ValueError: ``fraction`` is not between 0 and 1, or targets and groups differ in length.
    """
    from sklearn.model_selection import GroupShuffleSplit  # a second to import

    if not 0 < fraction < 1:
        raise ValueError(f"the validation fraction must lie between 0 and 1, got {fraction}")
    if len(targets) != len(groups):
        raise ValueError(
            f"each image has labels and a group, got {len(targets)} rows of labels and "
            f"{len(groups)} groups"
        )
    nothing = np.zeros(len(targets), np.bool_)
    names, codes = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    if len(names) < 2:
        return nothing
    n_held = min(max(round(fraction * len(names)), 1), len(names) - 1)
    draws = GroupShuffleSplit(MAX_DRAWS, test_size=n_held, random_state=seed).split(
        codes, groups=codes
    )
    chosen = fairest(targets, codes, (_learnable(targets, codes, trained) for trained, _ in draws))
    both = targets.any(axis=0) & ~targets.all(axis=0)
    return chosen if on_both_sides(targets, chosen)[both].any() else nothing


def _learnable(
    targets: NDArray[np.bool_], codes: Positions, trained: Positions
) -> NDArray[np.bool_]:
    """Return the images that are not trained on and need not be, (n,) bool.

    Groups with a label that no trained image has, or without one that all have, are left out.
    """
    held = np.ones(len(targets), np.bool_)
    held[trained] = False
    new = (targets & ~targets[trained].any(axis=0)) | (~targets & targets[trained].all(axis=0))
    return held & ~np.isin(codes, codes[new.any(axis=1)])


def _views(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random view of each image that is not mirrored, as left and right may be labels.

    The views are those of :mod:`methods.imaging.augmentation`.
    """
    n_images, height, width = images.shape
    transforms = random_transforms(n_images, height, width, generator)
    transforms[:, :, 0] *= transforms[:, 0, :1].sign()
    return warped(images[..., None], transforms)[..., 0]


def _losses(logits: Tensor, targets: NDArray[np.bool_]) -> Tensor:
    """Return the mean negative log-likelihood of each label, (L,)."""
    y = torch.from_numpy(targets.astype(np.float32)).to(logits.device)
    return functional.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(dim=0)


def _train_epoch(
    network: LenetOneVsAll,
    optimizer: torch.optim.Optimizer,
    read: ReadImages,
    targets: NDArray[np.bool_],
    train: Positions,
    settings: LenetSettings,
    device: torch.device,
    epoch: int,
    stopped: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Make one pass over the training images, and return the mean loss of each label, (L,).

    Networks that have ``stopped`` keep their weights.
    """
    losses, sizes = [], []
    network.train()
    _clear_momenta(optimizer, stopped)
    learning = np.flatnonzero(~stopped).tolist()
    with epoch_generators(settings.seed, epoch, device) as views:
        for rows in epoch_batches(len(train), settings.batch_size, settings.seed, epoch):
            images = to_tensor(read(train[rows]), device)
            loss = _losses(
                network(_views(images, views) if settings.augment else images), targets[train[rows]]
            )
            optimizer.zero_grad(set_to_none=True)
            # Each network has its own parameters, so its own gradient; of a stopped one it is zero.
            torch.autograd.backward(loss[learning].sum())
            optimizer.step()
            losses.append(loss.detach())
            sizes.append(len(rows))
    optimizer.zero_grad(set_to_none=True)  # as large as the weights, and of no use to a checkpoint
    return mean_loss(losses, sizes)


def _frozen(
    losses: NDArray[np.float64],
    stopped: NDArray[np.bool_],
    curve: Sequence[Mapping[str, Any]],
    name: str,
) -> NDArray[np.float64]:
    """Return the losses, with those of stopped networks taken from the end of the curve."""
    return np.where(stopped, curve[-1][name], losses) if stopped.any() else losses


def _clear_momenta(optimizer: torch.optim.Optimizer, stopped: NDArray[np.bool_]) -> None:
    """Set the momenta of networks that have stopped to zero, so that their weights stay."""
    for state in optimizer.state.values():
        if "momentum_buffer" in state:
            state["momentum_buffer"][np.flatnonzero(stopped).tolist()] = 0


@torch.inference_mode()
def _logits(
    network: LenetOneVsAll, batches: Iterator[NDArray[np.uint8]], device: torch.device
) -> Tensor:
    """Return the logits in eval mode, (n, L) float64 on the CPU."""
    network.eval()
    return torch.cat([network(to_tensor(images, device)).cpu() for images in batches]).to(
        torch.float64
    )


def _with_current_names(checkpoint: Checkpoint, network: LenetOneVsAll) -> Checkpoint:
    """Rename the momenta, which earlier versions stored as ``momentum.<parameter>``."""
    names = [name for name, _ in network.named_parameters()]
    tensors = {name: t for name, t in checkpoint.tensors.items() if not name.startswith(MOMENTA)}
    for name, momentum in checkpoint.part(MOMENTA).items():
        tensors[f"{OPTIMIZER}{names.index(name)}.momentum_buffer"] = momentum
    return Checkpoint(tensors, checkpoint.state)


def _check_inputs(
    targets: NDArray[np.bool_], groups: Sequence[str] | NDArray[np.str_], settings: LenetSettings
) -> None:
    if targets.ndim != 2 or targets.dtype != np.bool_:
        raise ValueError(f"targets must be (n, L) bool, got {targets.shape} {targets.dtype}")
    if not len(targets):
        raise ValueError("training needs at least one image")
    if len(targets) != len(groups):
        raise ValueError(
            f"each image has labels and a group, got {len(targets)} rows of labels and "
            f"{len(groups)} groups"
        )
    for name in ("batch_size", "patience"):
        if getattr(settings, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(settings, name)}")


def _validation_losses(
    network: LenetOneVsAll,
    read: ReadImages,
    targets: NDArray[np.bool_],
    validation: Positions,
    batch_size: int,
    device: torch.device,
) -> NDArray[np.float64]:
    """Return the mean loss of each label on the validation slice, (L,) float64."""
    starts = range(0, len(validation), batch_size)
    logits = _logits(network, (read(validation[s : s + batch_size]) for s in starts), device)
    losses: NDArray[np.float64] = _losses(logits, targets[validation]).numpy()
    return losses


def _check_finite(
    network: LenetOneVsAll,
    train_loss: NDArray[np.float64],
    validation_loss: NDArray[np.float64] | None,
    stopped: NDArray[np.bool_],
    epoch: int,
    settings: LenetSettings,
) -> None:
    """Raise DivergedError, naming the labels, where a loss or weight of theirs is not finite.

    Networks that have stopped are not looked at: their best weights are kept elsewhere.
    """
    finite = np.isfinite(train_loss)
    if validation_loss is not None:
        finite &= np.isfinite(validation_loss)
    for tensor in network.state_dict().values():
        finite &= tensor.isfinite().flatten(1).all(dim=1).cpu().numpy()
    finite |= stopped
    if not finite.all():
        raise DivergedError(
            f"the loss or a weight of label {np.flatnonzero(~finite).tolist()} is not finite "
            f"after epoch {epoch} at learning rate {settings.learning_rate:g}"
        )


def _lowest_losses(state: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the lowest validation loss of each label, (L,), infinite before the first epoch."""
    return np.array([math.inf if loss is None else loss for loss in state["best_loss"]])


def _better(
    state: Mapping[str, Any],
    validation_loss: NDArray[np.float64] | None,
    stopped: NDArray[np.bool_],
    stops: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Return which labels have their best weights after this epoch, (L,) bool.

    Without a validation slice, and for labels that it cannot judge, those are the latest.
    """
    if validation_loss is None:
        return np.ones(len(stops), np.bool_)
    better: NDArray[np.bool_] = ((validation_loss < _lowest_losses(state)) & ~stopped) | ~stops
    return better


def _keep_best(best: dict[str, Tensor], network: LenetOneVsAll, better: NDArray[np.bool_]) -> None:
    """Copy into ``best`` the weights of the labels that are ``better``; all where it is empty."""
    for name, tensor in network.state_dict().items():
        if name not in best:
            best[name] = tensor.to("cpu", copy=True)
        for label in np.flatnonzero(better):
            best[name][label].copy_(tensor[label])


def _after(state: dict[str, Any], record: LenetEpoch, better: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the state of the loop after an epoch."""
    epoch, losses = record.epoch, record.validation_loss
    state = {**state, "epochs": epoch, "curve": [*state["curve"], asdict(record)]}
    if losses is None:
        return state | {"best_epoch": [epoch] * len(better)}
    return state | {
        "best_epoch": np.where(better, epoch, state["best_epoch"]).tolist(),
        "best_loss": np.where(better, losses, _lowest_losses(state)).tolist(),
        "stale_epochs": np.where(better, 0, np.array(state["stale_epochs"]) + 1).tolist(),
    }


def _started(
    n_labels: int,
    read: ReadImages,
    trained: Positions,
    settings: LenetSettings,
    device: torch.device,
    resume: Checkpoint | None,
) -> tuple[LenetOneVsAll, torch.optim.Optimizer, dict[str, Any], dict[str, Tensor]]:
    """Return network, optimiser, state of the loop and best weights, fresh or as in ``resume``."""
    side = read(trained[:1]).shape[1]
    network = LenetOneVsAll(n_labels, side, settings).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=settings.learning_rate, momentum=settings.momentum
    )
    if resume is None:
        if settings.pretrain:
            filters, biases = pretrained_filters(read, trained, FILTERS[0], settings, device)
            with torch.no_grad():
                network.conv1_weight.copy_(filters)  # the same for every label
                network.conv1_bias.copy_(biases)
        state: dict[str, Any] = {
            "epochs": 0,
            "best_epoch": [0] * n_labels,
            "best_loss": [None] * n_labels,
            "stale_epochs": [0] * n_labels,
            "curve": [],
        }
        return network, optimizer, state, {}
    resume = _with_current_names(resume, network)
    restore(network, optimizer, resume)
    best = {name: tensor.clone() for name, tensor in resume.best_weights().items()}
    return network, optimizer, resume.state, best


def train(
    read: ReadImages,
    targets: NDArray[np.bool_],
    groups: Sequence[str] | NDArray[np.str_],
    settings: LenetSettings,
    device: torch.device,
    resume: Checkpoint | None = None,
) -> Iterator[tuple[LenetEpoch, Callable[[], Checkpoint]]]:
    """Train one network for each label, all in one pass over the images.

    All labels see the same batches. With ``early_stop`` each keeps the weights of its own best
    epoch, stops after its own ``patience``, and the run ends when all have stopped; a label that is
    not on both sides of the validation slice is trained for all epochs and keeps the last. Order,
    views and dropout depend on (seed, epoch) alone, so a run resumed from a checkpoint ends with
    the same bytes as one that was never stopped, on a CPU with as many threads. A checkpoint must
    be taken, and stored, before the next epoch is asked for: on a CPU its tensors are those that
    are trained on.

    Args:
        read: gives images by position 0 .. n - 1, (m, side, side) uint8.
        targets: (n, L) whether each image has each label.
        groups: (n,) group of each image, never divided by the validation slice.
        settings: see :class:`LenetSettings`.
        device: where to compute.
        resume: an earlier checkpoint of the same images and settings.

    Yields:
        After every epoch its record, and a function that takes a checkpoint.

    Raises:
        ValueError: no image or label, shapes that do not fit, images too small, or settings out of
            range.
        DivergedError: a loss or a weight became NaN or infinite.
    """
    _check_inputs(targets, groups, settings)
    n_labels = targets.shape[1]
    held = np.zeros(len(targets), np.bool_)
    if settings.early_stop:
        held = validation_slice(targets, groups, settings.validation_fraction, settings.seed)
    trained, validation = np.flatnonzero(~held), np.flatnonzero(held)
    stops = on_both_sides(targets, held)
    network, optimizer, state, best = _started(n_labels, read, trained, settings, device, resume)
    del resume  # as large as all that was restored from it

    while state["epochs"] < settings.epochs and min(state["stale_epochs"]) < settings.patience:
        epoch, curve = int(state["epochs"]), state["curve"]
        stopped = np.array(state["stale_epochs"]) >= settings.patience
        losses = _train_epoch(
            network, optimizer, read, targets, trained, settings, device, epoch, stopped
        )
        train_loss = _frozen(losses, stopped, curve, "train_loss")
        validation_loss = None
        if len(validation):
            losses = _validation_losses(
                network, read, targets, validation, settings.batch_size, device
            )
            validation_loss = _frozen(losses, stopped, curve, "validation_loss")
        _check_finite(network, train_loss, validation_loss, stopped, epoch + 1, settings)
        record = LenetEpoch(
            epoch + 1,
            tuple(train_loss.tolist()),
            None if validation_loss is None else tuple(validation_loss.tolist()),
        )
        better = _better(state, validation_loss, stopped, stops)
        if validation_loss is not None:
            _keep_best(best, network, better)
        state = _after(state, record, better)
        earlier = best if min(state["best_epoch"]) < state["epochs"] else None
        yield record, partial(take_checkpoint, network, optimizer, state, earlier, copy=False)


def probabilities_and_features(
    network: LenetOneVsAll, images: NDArray[np.uint8], device: torch.device, batch_size: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the probability of having each label, and the features behind it.

    Args:
        network: the trained networks, which are put in eval mode.
        images: (n, side, side) uint8.
        device: device of the networks.
        batch_size: number of images that are classified at a time.

    Returns:
        (n, L) float64, and (n, L * HIDDEN) float32: the last dense layers of all networks.

    Raises:
        ValueError: no image, images of another shape, or a logit that is not finite.
    """
    if not len(images):
        raise ValueError("there is no image to classify")
    network.eval()
    features, logits = [], []
    with torch.inference_mode():
        for start in range(0, len(images), batch_size):
            h = network.hidden_units(to_tensor(images[start : start + batch_size], device))
            features.append(h.transpose(0, 1).flatten(1).cpu())
            logits.append(network.logits(h).cpu())
    of_all = torch.cat(logits).to(torch.float64)
    if not bool(of_all.isfinite().all()):
        raise ValueError("the networks give logits that are not finite")
    return torch.sigmoid(of_all).numpy(), torch.cat(features).numpy()

"""Fine-tuning of a pre-trained network (rows "fine-tuned" of Ahn et al. 2019, Table 2).

The method is that of Kumar et al. 2017. The last layer is replaced by a new linear one for the
classes of the dataset, every layer is trained on the labelled training images, and the output of
the layer before the last is the features of a classifier. The probabilities of several networks are
averaged for the ensembles.

The papers leave the schedule open. Chosen here: softmax cross-entropy, SGD with momentum, a higher
rate for the new layer, a rate that follows a cosine down to zero over the steps of all epochs, and
the epoch with the lowest loss on a slice of the training images that is not trained on, or the last
epoch where the images are too few for such a slice.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn
from torch.nn import functional

from methods.curation.splits import stratified_group_split
from methods.imaging.augmentation import augmented
from methods.settings import FineTuneSettings
from methods.training.batching import epoch_batches
from methods.training.loop import (
    Checkpoint,
    DivergedError,
    EpochRecord,
    copied_weights,
    epoch_generators,
    mean_loss,
    restore,
    take_checkpoint,
    to_tensor,
)

Float64 = NDArray[np.float64]
Positions = NDArray[np.int64]
ReadImages = Callable[[Positions], NDArray[np.uint8]]
"""Function that reads images by position: (m,) int64 -> (m, H, W, 3) uint8."""

HEAD_SCALE = 0.01
"""Standard deviation of a new head's weights (Krizhevsky et al. 2012, section 5)."""

LARGEST_SLICE = 1.5
"""Maximum size of a validation slice, as a multiple of the share of images asked for.

A larger one would take too much from the training.
"""


@dataclass(frozen=True)
class FineTuneEpoch(EpochRecord):
    """One line of the learning curve of a fine-tuned network.

    Attributes:
        train_loss: mean cross-entropy in nats over the epoch's steps, dropout and augmentation on.
        validation_loss: mean cross-entropy after the epoch; None without a validation slice.
        validation_accuracy: share of validation images classified correctly; None without a
            validation slice.
        learning_rate: of the pre-trained layers, at the epoch's first step.
    """

    train_loss: float
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float


class HeadedNetwork(nn.Module):
    """A pre-trained body under a new linear head, with dropout between them.

    Args:
        body: maps (N, H, W, 3) uint8 images to (N, ...) float features; all its parameters will be
            trained.
        n_features: features an image, D.
        n_classes: K.
        dropout: share of the features set to zero in training.
        seed: of the head's weights; its biases start at zero.
    """

    def __init__(
        self, body: nn.Module, n_features: int, n_classes: int, dropout: float, seed: int
    ) -> None:
        super().__init__()
        self.body = body.requires_grad_(True)
        self.dropout = nn.Dropout(dropout)
        # a linear layer's own initialisation draws global random numbers
        with torch.random.fork_rng(devices=[]):
            self.head = nn.Linear(n_features, n_classes)
        nn.init.normal_(
            self.head.weight, std=HEAD_SCALE, generator=torch.Generator().manual_seed(seed)
        )
        nn.init.zeros_(self.head.bias)

    def penultimate(self, images: Tensor) -> Tensor:
        """Return the features before dropout and head, (N, H, W, 3) uint8 -> (N, D).

        Raises:
            ValueError: the body gives another number of features than the head takes.
        """
        features: Tensor = self.body(images).flatten(1)
        if features.shape[1] != self.head.in_features:
            raise ValueError(
                f"the body gives {features.shape[1]} features an image, the head takes "
                f"{self.head.in_features}"
            )
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, (N, H, W, 3) uint8 -> (N, K)."""
        logits: Tensor = self.head(self.dropout(self.penultimate(images)))
        return logits


def _divisible(labels: NDArray[np.str_], groups: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Return which rows a split can divide, (n,) bool.

    Classes with a single group, and every group that they appear in, are removed until no such
    class is left.
    """
    kept = np.ones(len(labels), np.bool_)
    while True:
        thin = [
            name
            for name in np.unique(labels[kept])
            if len(np.unique(groups[kept & (labels == name)])) < 2
        ]
        if not thin:
            return kept
        kept &= ~np.isin(groups, groups[np.isin(labels, thin)])


def validation_slice(
    labels: Sequence[str] | NDArray[np.str_], groups: Sequence[str], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Draw the training images that decide when to stop: a stratified draw of whole groups.

    The draw is that of :mod:`methods.curation.splits`. A class with a single group is trained on
    entirely, as is every group it shares images with. The slice is empty where no draw has all
    other classes on both sides, or where it would have more than LARGEST_SLICE times ``fraction``
    of the images: with few labels an image is worth more in the training.

    Args:
        labels: (n,) class of each training image.
        groups: (n,) group of each training image; a group is never on both sides.
        fraction: share of the images to draw, between 0 and 1.
        seed: of the draw.

    Returns:
        (n,) bool, True for validation. Every class keeps a training image.

    Raises:
        ValueError: ``fraction`` is not between 0 and 1, or labels and groups differ in length.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the validation fraction must lie between 0 and 1, got {fraction}")
    if len(labels) != len(groups):
        raise ValueError(
            f"each image has a label and a group, got {len(labels)} labels and {len(groups)} groups"
        )
    names, group_names = np.asarray(labels, np.str_), np.asarray(groups, np.str_)
    divisible = _divisible(names, group_names)
    chosen = np.zeros(len(names), np.bool_)
    if divisible.any():
        with contextlib.suppress(ValueError):  # some class was never on both sides
            chosen[divisible] = stratified_group_split(
                names[divisible].tolist(), group_names[divisible].tolist(), fraction, seed
            )
    return (
        chosen if chosen.sum() <= LARGEST_SLICE * fraction * len(names) else np.zeros_like(chosen)
    )


def _training_batches(n_rows: int, settings: FineTuneSettings, epoch: int) -> list[Positions]:
    """Return batches of at least two rows, as batch normalisation needs.

    A single last row joins the batch before; a single training row is used twice.
    """
    batches = list(epoch_batches(n_rows, settings.batch_size, settings.seed, epoch))
    if len(batches[-1]) == 1:
        last = batches.pop()
        batches.append(np.concatenate([batches.pop() if batches else last, last]))
    return batches


def _train_epoch(
    network: HeadedNetwork,
    optimizer: torch.optim.Optimizer,
    read: ReadImages,
    codes: NDArray[np.int64],
    train: Positions,
    settings: FineTuneSettings,
    device: torch.device,
    epoch: int,
) -> float:
    """Make one pass over the training images, and return its mean loss."""
    mixed = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    losses, sizes = [], []
    network.train()
    with epoch_generators(settings.seed, epoch, device) as views:
        batches = _training_batches(len(train), settings, epoch)
        for step, rows in enumerate(batches):
            for group, factor in zip(
                optimizer.param_groups, (1.0, settings.head_factor), strict=True
            ):
                group["lr"] = factor * _cosine_rate(settings, epoch + step / len(batches))
            positions = train[rows]
            images = to_tensor(read(positions), device)
            if settings.augment:
                images = augmented(images, views)
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
                logits = network(images)
            loss = functional.cross_entropy(
                logits.to(torch.float32), torch.from_numpy(codes[positions]).to(device)
            )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.detach())
            sizes.append(len(rows))
    return float(mean_loss(losses, sizes))


@torch.inference_mode()
def _evaluate(
    network: HeadedNetwork,
    read: ReadImages,
    codes: NDArray[np.int64],
    positions: Positions,
    batch_size: int,
    device: torch.device,
) -> tuple[float, float]:
    """Return mean cross-entropy and accuracy, computed in float32 on every device."""
    network.eval()
    starts = range(0, len(positions), batch_size)
    logits = torch.cat(
        [network(to_tensor(read(positions[s : s + batch_size]), device)).cpu() for s in starts]
    ).double()
    targets = torch.from_numpy(codes[positions])
    accuracy = (logits.argmax(dim=1) == targets).to(torch.float64).mean()
    return float(functional.cross_entropy(logits, targets)), float(accuracy)


def _cosine_rate(settings: FineTuneSettings, epochs_done: float) -> float:
    """Return the learning rate of the pre-trained layers after a number of epochs."""
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * epochs_done / settings.epochs))


def _check_inputs(
    codes: NDArray[np.int64],
    train: Positions,
    validation: Positions,
    settings: FineTuneSettings,
    n_classes: int,
) -> None:
    if settings.batch_size < 2:
        raise ValueError(
            f"batch_size must be at least 2 for batch normalisation, got {settings.batch_size}"
        )
    if settings.patience < 1:
        raise ValueError(f"patience must be at least 1 epoch, got {settings.patience}")
    if not len(train):
        raise ValueError("fine-tuning needs at least one training image")
    shared = np.intersect1d(train, validation)
    if len(shared):
        raise ValueError(f"{len(shared)} images are in both training and validation")
    used = codes[np.concatenate([train, validation])]
    if used.min() < 0 or used.max() >= n_classes:
        raise ValueError(
            f"class codes must lie in 0..{n_classes - 1}, got {used.min()}..{used.max()}"
        )


def _check_finite(network: HeadedNetwork, record: FineTuneEpoch) -> None:
    """Raise DivergedError where a loss or a weight is not finite."""
    losses = (record.train_loss, record.validation_loss or 0.0)
    if not all(math.isfinite(loss) for loss in losses) or not all(
        bool(tensor.isfinite().all()) for tensor in network.state_dict().values()
    ):
        raise DivergedError(
            f"the loss or a weight is not finite after epoch {record.epoch} "
            f"at learning rate {record.learning_rate:g}"
        )


def _after(state: dict[str, Any], record: FineTuneEpoch) -> dict[str, Any]:
    """Return the state of the loop after an epoch; without a slice the last epoch is the best."""
    state = {**state, "epochs": record.epoch, "curve": [*state["curve"], asdict(record)]}
    loss = record.validation_loss
    if loss is None:
        return state | {"best_epoch": record.epoch}
    if state["best_loss"] is None or loss < state["best_loss"]:
        return state | {"best_epoch": record.epoch, "best_loss": loss, "stale_epochs": 0}
    return state | {"stale_epochs": state["stale_epochs"] + 1}


def fine_tune(
    network: HeadedNetwork,
    read: ReadImages,
    codes: NDArray[np.int64],
    train: Positions,
    validation: Positions,
    settings: FineTuneSettings,
    device: torch.device,
    resume: Checkpoint | None = None,
) -> Iterator[tuple[FineTuneEpoch, Callable[[], Checkpoint]]]:
    """Train ``network`` in place.

    The run stops after ``patience`` epochs in which the validation loss was never lower than
    before. Order, views and dropout depend on (seed, epoch) alone, so a run resumed from a
    checkpoint ends with the same bytes on a CPU as one that was never stopped. On a GPU that has
    bfloat16 the training steps use mixed precision. The network is left with the weights of the
    last epoch: the best ones are in the checkpoint, which must be taken before the next epoch is
    asked for.

    Args:
        network: pre-trained body under a fresh head.
        read: gives images by position, (m, H, W, 3) uint8.
        codes: (n,) class of each image, 0 .. K - 1.
        train: positions of the training images.
        validation: positions of the images that decide when to stop; may be empty.
        settings: see :class:`FineTuneSettings`.
        device: where to compute.
        resume: an earlier checkpoint of the same network, images and settings.

    Yields:
        After every epoch its record, and a function that takes a checkpoint.

    Raises:
        ValueError: no training image, an image on both sides, a class code without an output, or
            settings out of range.
        DivergedError: a loss or a weight became NaN or infinite.
    """
    _check_inputs(codes, train, validation, settings, network.head.out_features)
    network.to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        [{"params": list(network.body.parameters())}, {"params": list(network.head.parameters())}],
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    best: dict[str, Tensor] = {}
    if resume is None:
        state: dict[str, Any] = {
            "epochs": 0,
            "best_epoch": 0,
            "best_loss": None,
            "stale_epochs": 0,
            "curve": [],
        }
    else:
        state, best = resume.state, resume.best_weights()
        restore(network, optimizer, resume)

    while state["epochs"] < settings.epochs and state["stale_epochs"] < settings.patience:
        epoch = int(state["epochs"])
        rate = _cosine_rate(settings, epoch)
        train_loss = _train_epoch(network, optimizer, read, codes, train, settings, device, epoch)
        loss, accuracy = None, None
        if len(validation):
            loss, accuracy = _evaluate(
                network, read, codes, validation, settings.batch_size, device
            )
        record = FineTuneEpoch(epoch + 1, train_loss, loss, accuracy, rate)
        _check_finite(network, record)
        state = _after(state, record)
        is_best = state["best_epoch"] == state["epochs"]
        if is_best and loss is not None:
            best = copied_weights(network)
        yield (
            record,
            partial(take_checkpoint, network, optimizer, state, None if is_best else best),
        )


@torch.inference_mode()
def penultimate_features(
    network: HeadedNetwork, images: NDArray[np.uint8], device: torch.device, batch_size: int
) -> NDArray[np.float32]:
    """Return the features of (n, H, W, 3) uint8 images in their order, (n, D) float32.

    ``network``, which is on ``device``, is put in eval mode.

    Raises:
        ValueError: a feature is not a finite number.
    """
    network.eval()
    features = np.empty((len(images), network.head.in_features), np.float32)
    for start in range(0, len(images), batch_size):
        batch = network.penultimate(to_tensor(images[start : start + batch_size], device))
        features[start : start + batch_size] = batch.to(torch.float32).cpu().numpy()
    if not np.isfinite(features).all():
        raise ValueError("the network gives features that are not finite")
    return features


def class_probabilities(
    features: NDArray[np.floating],
    head_weight: NDArray[np.floating],
    head_bias: NDArray[np.floating],
) -> Float64:
    """Return the softmax of the head's logits, (n, K) float64.

    Args:
        features: (n, D) penultimate features.
        head_weight: (K, D).
        head_bias: (K,).

    Raises:
        ValueError: the shapes do not fit, or a feature or a weight is not finite.
    """
    if features.ndim != 2 or head_weight.shape != (len(head_bias), features.shape[1]):
        raise ValueError(
            f"features {features.shape} do not fit a head with weight {head_weight.shape} and "
            f"bias {head_bias.shape}"
        )
    if not all(np.isfinite(array).all() for array in (features, head_weight, head_bias)):
        raise ValueError("a feature or a weight of the head is not finite")
    logits = features.astype(np.float64) @ head_weight.astype(np.float64).T + head_bias
    probabilities: Float64 = softmax(logits, axis=1)
    return probabilities


def mean_probabilities(members: Sequence[NDArray[np.floating]]) -> Float64:
    """Return the mean of the class probabilities of an ensemble's members, (n, K) float64.

    This is the soft vote of Ahn et al. 2019, Table 2.

    Args:
        members: each (n, K), images and classes in the same order.

    Raises:
        ValueError: no member, members of different shapes, or a probability that is not finite.
    """
    if not members:
        raise ValueError("an ensemble needs at least one member")
    if len({member.shape for member in members}) > 1:
        raise ValueError(
            "members of an ensemble must have the same shape, got "
            f"{[member.shape for member in members]}"
        )
    if not all(np.isfinite(member).all() for member in members):
        raise ValueError("a member's probability is not finite")
    mean: Float64 = np.mean(np.stack(members), axis=0, dtype=np.float64)
    return mean

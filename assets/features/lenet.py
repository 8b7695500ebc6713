"""One-vs-all networks trained from scratch on padded images (Lyndon et al. 2015, section 3)."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from assets.core.checkpoints import SpacedCheckpoints
from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.manifest_rows import scored_ids
from assets.core.originals import Originals
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import DicomWindowSetting, SeedSetting
from assets.core.stage import stage
from assets.features.fine_tuned_networks import pixels_of
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.notices import NO_EARLY_STOP
from data_contracts.studies.lyndon2015 import (
    AUGMENTED,
    DEEPER,
    DROPOUT,
    LENET,
    LYNDON2015,
    MODERN,
    NETWORKS,
    PRETRAINED,
    RELU,
    SQUARE_PIXELS,
)
from data_contracts.studies.study import Method
from methods.curation.manifest_rows import label_matrix
from methods.imaging.preprocessing import PreprocessingSettings
from methods.settings import LenetSettings
from resources.compute import reuse_freed_memory
from resources.progress import progress
from resources.store.feature_store import FeatureReader, FeatureStore

if TYPE_CHECKING:
    from methods.training.loop import Checkpoint

log = logging.getLogger("medfeat.lenet")

GROUP = "several_labels"
CODE_VERSION = "1"
NETWORKS_CODE_VERSION = "5"
SHOWN = 24
"""Number of images in the picture of a sample."""
PARTS: dict[Method, dict[str, Any]] = {
    LENET: {},
    MODERN: {
        "rectifier": True,
        "dropout": True,
        "augment": True,
        "momentum": 0.9,
        "early_stop": True,
    },
    RELU: {"rectifier": True},
    DROPOUT: {"dropout": True},
    AUGMENTED: {"augment": True},
    DEEPER: {"deeper": True},
    PRETRAINED: {"pretrain": True},
}
"""The settings of a training in which each row differs from the paper's networks."""


class SquareConfig(DicomWindowSetting):
    """Settings of `square_images`."""


class LenetConfig(SeedSetting):
    """Settings of the networks; by default the paper's."""

    lenet_epochs: PositiveInt = LenetSettings.epochs
    """Passes over the training images; the maximum for the modern variant."""
    lenet_batch_size: PositiveInt = LenetSettings.batch_size
    """Images in a step."""
    lenet_learning_rate: PositiveFloat = LenetSettings.learning_rate
    """Learning rate, constant."""
    lenet_patience: PositiveInt = LenetSettings.patience
    """Epochs without a lower validation loss before a label's network stops; modern variant
    only."""
    validation_fraction: float = Field(default=LenetSettings.validation_fraction, gt=0, lt=1)
    """Share of the training groups that decides when to stop; modern variant only."""

    def lenet_settings(self, method: Method) -> LenetSettings:
        """The settings of the training of one row."""
        return LenetSettings(
            epochs=self.lenet_epochs,
            batch_size=self.lenet_batch_size,
            learning_rate=self.lenet_learning_rate,
            seed=self.seed,
            validation_fraction=self.validation_fraction,
            patience=self.lenet_patience,
            **PARTS[method],
        )


@stage(
    SquareConfig,
    group=GROUP,
    order=2,
    kinds={"python", "hdf5"},
    code_version=CODE_VERSION,
    inputs=(names.IMAGE_MANIFEST,),
    features_of=scored_ids,
)
def square_images(here: Stage[SquareConfig]) -> Plan:
    """First channel of the labelled images, padded with black to a square and resized.

    (N, 256, 256) uint8 in HDF5 shards.
    """
    voi = here.config.voi
    ids = scored_ids(here.store, here.dataset)
    settings = PreprocessingSettings(resize="pad", size=SQUARE_PIXELS, voi=voi)
    features = FeatureSet(
        kind=here.asset,
        dtype="uint8",
        row_shape=(SQUARE_PIXELS, SQUARE_PIXELS),
        preprocessing={"resize": "pad", "size": SQUARE_PIXELS, "voi": voi, "channel": "red"},
        code_version=CODE_VERSION,
    )
    shards = FeatureStore(here.store, here.dataset, features)
    originals = Originals(here.store, here.dataset)

    def produce(batch: list[str]) -> np.ndarray:
        squares = originals.squares(
            batch, settings, lambda files, n: progress(files, "square images", n)
        )
        return np.ascontiguousarray(squares[..., 0])

    def compute(work: Work) -> Output:
        computed = shards.fill(ids, produce, {}, force=here.config.force)
        return Output.of_shards(
            shards,
            ids,
            pictures=[("sample of square images", _sample(shards, ids))],
            summary={
                "images": len(ids),
                "newly prepared": computed,
                "stored MB": shards.stored_megabytes(),
            },
        )

    return Plan.of_shards(shards, ids, compute)


def _sample(shards: FeatureStore, ids: list[str]) -> bytes:
    """PNG of some of the images, evenly spaced."""
    from methods.reporting import figures

    reader = shards.reader(ids)
    shown = np.unique(np.linspace(0, len(ids) - 1, min(SHOWN, len(ids))).astype(np.int64))
    pictures = [np.repeat(square[..., None], 3, axis=2) for square in reader.take(shown)]
    reader.close()
    return figures.sample_grid(pictures, [""] * len(pictures))


@dataclass(frozen=True)
class _Training:
    """The training images of a set of one-vs-all networks.

    Attributes:
        images: reader over the square images of all rows.
        rows: the labelled rows.
        labels: names of the labels, one network each.
        truth: (n training images, labels) bool.
        groups: group of each training image.
    """

    images: FeatureReader
    rows: LabelledRows
    labels: list[str]
    truth: np.ndarray
    groups: list[str]


def _networks(method: Method) -> dg.AssetsDefinition:
    """The paper's networks, or a variant of its future work."""

    @stage(
        LenetConfig,
        name=method.features,
        description=f"{method.title}: one network for each label, trained side by side on the "
        "padded grey images.",
        group=GROUP,
        order=4,
        kinds={"pytorch", "safetensors"},
        code_version=NETWORKS_CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, names.SQUARE_IMAGES),
        is_model=True,
        uses_device=True,
    )
    def networks(here: Stage[LenetConfig]) -> Plan:
        settings, device = here.config.lenet_settings(method), here.device
        rows = scorable_rows(here.store, here.dataset, LYNDON2015)
        images = here.features(names.SQUARE_IMAGES, rows.ids)
        labels, truth = label_matrix(rows.labels.tolist())
        groups = [rows.groups[i] for i in rows.train]
        training = _Training(images, rows, labels, truth[rows.train], groups)

        def compute(work: Work) -> Output:
            return _trained(work, method, settings, training, device)

        identity = {
            "images": images.feature_set.key,
            "train": [
                [rows.ids[i] for i in rows.train],
                rows.labels[rows.train].tolist(),
                groups,
            ],
            "labels": labels,
        }
        return Plan(compute, identity=identity)

    return networks


def _trained(
    work: Work, method: Method, settings: LenetSettings, training: _Training, device: str
) -> Output:
    """Train the networks side by side and store them.

    Raises:
        InputError: the training diverged.
    """
    from methods.reporting import figures

    labels, checkpoints = training.labels, SpacedCheckpoints(work)
    last = _last_checkpoint(work, method, settings, training, checkpoints, device)
    curve = last.state["curve"]
    sidecar = ModelSidecar(
        architecture="methods.training.lenet.LenetOneVsAll",
        settings={**asdict(settings), "labels": labels},
        input_shape=training.images.feature_set.row_shape,
        fitted_on=work.inputs[names.SQUARE_IMAGES].data_version,
        curve=[
            {"epoch": line["epoch"], **dict(zip(labels, line["train_loss"], strict=True))}
            for line in curve
        ],
    )
    files = work.write_model(last.best_weights(), sidecar)
    checkpoints.drop()
    train_loss = np.array([line["train_loss"] for line in curve])
    picture = figures.label_curves(labels, train_loss, _validation_losses(curve))
    return Output.of_model(
        files,
        pictures=[("loss over the epochs", picture)],
        summary={
            "training images": len(training.truth),
            "labels": len(labels),
            "epochs": len(curve),
            "training loss at the end": float(train_loss[-1].mean()),
        },
        notices=_unstopped(method, settings, training) if settings.early_stop else [],
        rows=len(training.truth),
        device=device,
    )


def _last_checkpoint(
    work: Work,
    method: Method,
    settings: LenetSettings,
    training: _Training,
    checkpoints: SpacedCheckpoints,
    device: str,
) -> "Checkpoint":
    """The end of a training that continues from its last checkpoint, if any.

    Raises:
        InputError: it diverged.
    """
    import torch

    from methods.training.lenet import train
    from methods.training.loop import DivergedError

    last = checkpoints.load()
    done = int(last.state["epochs"]) if last else 0
    read = pixels_of(training.images, training.rows.train)
    epochs = train(read, training.truth, training.groups, settings, torch.device(device), last)
    del last  # the training lets go of it, too: it is up to three times the weights
    take: Any = None
    try:
        for record, take in progress(
            reuse_freed_memory(epochs),
            f"training {method.title}",
            settings.epochs,
            unit="epoch",
            done=done,
            describe=lambda item: f"loss {float(np.mean(item[0].train_loss)):.4f}",
        ):
            checkpoints.offer(take, record.epoch)
    except DivergedError as error:
        raise InputError(
            f"the training of {work.asset} diverged: {error}", "Set a smaller lenet_learning_rate"
        ) from error
    end = take() if take is not None else checkpoints.load()
    assert end is not None  # noqa: S101 - epochs is above 0
    return end


def _validation_losses(curve: Sequence[dict[str, Any]]) -> np.ndarray | None:
    """Validation loss of each epoch and label; None without a validation slice."""
    if curve[0]["validation_loss"] is None:
        return None
    return np.array([line["validation_loss"] for line in curve])


def _unstopped(method: Method, settings: LenetSettings, training: _Training) -> list[str]:
    """A notice of the labels whose networks cannot stop early, where there are any."""
    from methods.curation.splits import on_both_sides
    from methods.training.lenet import validation_slice

    held_out = validation_slice(
        training.truth, training.groups, settings.validation_fraction, settings.seed
    )
    alone = np.flatnonzero(~on_both_sides(training.truth, held_out))
    if not len(alone):
        return []
    labels = ", ".join(training.labels[k] for k in alone)
    return [
        f"{NO_EARLY_STOP.words} of {labels}: too few groups have the label, or lack it, to set "
        f"some aside ({method.title})"
    ]


ASSETS = [square_images, *map(_networks, NETWORKS)]

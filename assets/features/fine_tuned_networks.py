"""Networks fine-tuned on the labelled training images, and their penultimate features: rows of
table 2.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import dagster as dg
import numpy as np
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from assets.core.checkpoints import SpacedCheckpoints
from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.manifest_rows import scored_ids
from assets.core.partitions import DATASETS
from assets.core.shards import READ_ROWS, in_blocks, open_features
from assets.core.stage import (
    Output,
    StageConfig,
    Work,
    materialize,
    materialize_nothing,
    plain_failures,
)
from assets.features.frozen_networks import (
    FrozenNetwork,
    frozen_network,
    materialize_shards,
    network_up_to,
    side_of,
)
from assets.images import image_manifest, prepared_images
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.studies.ahn2019 import AHN2019
from resources.compute import Compute, reuse_freed_memory
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.store.model_store import load_model, save_model
from resources.weights import WeightsMissingError

if TYPE_CHECKING:
    from torch import Tensor

    from methods.settings import FineTuneSettings
    from methods.training.fine_tuning import HeadedNetwork

log = logging.getLogger("medfeat.fine_tuning")
GROUP = "fine_tuning"
FEATURES_CODE_VERSION = "1"
PIXELS_IN_MEMORY = 4 * 2**30
"""Bytes of training images that are held rather than read for every batch: 27,000 of them."""


class FineTuneConfig(StageConfig):
    """Settings of every fine-tuned network."""

    fine_tune_epochs: PositiveInt = 30
    """At most so many; it stops early where the validation slice no longer gains."""
    fine_tune_patience: PositiveInt = 5
    """Epochs without a better validation loss before it stops."""
    fine_tune_batch_size: int = Field(default=32, ge=2)
    fine_tune_learning_rate: PositiveFloat = 2.5e-4
    """Of the pre-trained layers; the new head learns ten times as fast. Scale it with the batch."""
    fine_tune_weight_decay: NonNegativeFloat = 1e-4
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    """Share of the training images (whole groups) that decides when to stop."""
    augment: bool = True
    """Mild zoom, shift, rotation and mirror of the training images."""
    seed: NonNegativeInt = 0

    def fine_tune_settings(self) -> "FineTuneSettings":
        """What `methods.training.fine_tuning` wants."""
        from methods.settings import FineTuneSettings

        return FineTuneSettings(
            epochs=self.fine_tune_epochs,
            patience=self.fine_tune_patience,
            batch_size=self.fine_tune_batch_size,
            learning_rate=self.fine_tune_learning_rate,
            weight_decay=self.fine_tune_weight_decay,
            validation_fraction=self.validation_fraction,
            augment=self.augment,
            seed=self.seed,
        )


class FineTuneAlexNetConfig(FineTuneConfig):
    """Settings of a fine-tuned AlexNet."""

    weights: str = "auto"
    """As for `alexnet_conv5`."""


class FineTuneGoogLeNetConfig(FineTuneConfig):
    """Settings of a fine-tuned GoogLeNet."""

    googlenet_weights: str = "auto"
    """As `weights`, for GoogLeNet."""


class FineTuneResNet50Config(FineTuneConfig):
    """Settings of a fine-tuned ResNet-50."""

    resnet50_weights: str = "auto"
    """As `weights`, for ResNet-50."""


class TunedFeaturesConfig(StageConfig):
    """Settings of a fine-tuned network's features."""

    speed_only: ClassVar[frozenset[str]] = frozenset({"force", "batch_size"})

    batch_size: PositiveInt = 64
    """Images a forward pass; changes speed, not results beyond rounding."""


@dataclass(frozen=True)
class Tunable:
    """A network that can be fine-tuned.

    Attributes:
        name: as torchvision has it.
        title: for people.
        layers: penultimate layer, and one to take in its place where the weights hold no more.
        dropout: before the new head, as the network has it.
        config_type: settings of its asset.
        source: the weights that such settings name.
    """

    name: str
    title: str
    layers: tuple[str, ...]
    dropout: float
    config_type: type[FineTuneConfig]
    source: Callable[[Any], str]

    def pre_trained(self, source: str, side: int) -> FrozenNetwork:
        """The network up to its penultimate layer, for images of ``side`` pixels.

        Raises:
            WeightsMissingError: there are no weights for any of its layers.
            InputError: the weights are not of this network.
        """
        for layer in self.layers[:-1]:
            try:
                return frozen_network(self.name, layer, source, side)
            except WeightsMissingError:
                log.info("%s: no weights up to %s", self.name, layer)
        return frozen_network(self.name, self.layers[-1], source, side)


ALEXNET = Tunable(
    "alexnet",
    "AlexNet",
    ("fc7", "conv5"),
    0.5,
    FineTuneAlexNetConfig,
    lambda config: str(config.weights),
)
TUNABLE = (
    ALEXNET,
    Tunable(
        "googlenet",
        "GoogLeNet",
        ("pool5",),
        0.2,
        FineTuneGoogLeNetConfig,
        lambda config: str(config.googlenet_weights),
    ),
    Tunable(
        "resnet50",
        "ResNet-50",
        ("pool5",),
        0.0,
        FineTuneResNet50Config,
        lambda config: str(config.resnet50_weights),
    ),
)


def pixels_of(images: FeatureReader, positions: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Reads some of the images at ``positions``, by their places in it, as often as a training
    does.

    They are kept in memory where they fit: stored chunks hold many images, and every batch would
    unpack one for each of its own.
    """
    if len(positions) * int(np.prod(images.feature_set.row_shape)) > PIXELS_IN_MEMORY:
        return lambda chosen: images.take(positions[chosen])
    pixels = images.take(positions)
    return lambda chosen: pixels[chosen]


def _tune(
    checkpoints: SpacedCheckpoints,
    network: "HeadedNetwork",
    images: FeatureReader,
    rows: LabelledRows,
    settings: "FineTuneSettings",
    device: Any,
) -> tuple[dict[str, "Tensor"], list[dict[str, Any]], int]:
    """Best weights, learning curve and size of the validation slice; goes on from the last
    checkpoint, if any.
    """
    from methods.training import fine_tuning as method
    from methods.training.loop import Checkpoint

    labels = rows.labels[rows.train]
    codes = np.unique(labels, return_inverse=True)[1]
    held = method.validation_slice(
        labels, [rows.groups[i] for i in rows.train], settings.validation_fraction, settings.seed
    )
    last = checkpoints.load()
    curve: list[dict[str, Any]] = list(last.state["curve"]) if last else []
    epochs = method.fine_tune(
        network,
        pixels_of(images, rows.train),
        codes,
        np.flatnonzero(~held),
        np.flatnonzero(held),
        settings,
        device,
        last,
    )
    take: Callable[[], Checkpoint] | None = None
    for record, take in progress(
        reuse_freed_memory(epochs), "fine-tuning", settings.epochs - len(curve)
    ):
        checkpoints.offer(take)
        curve.append(asdict(record))
        log.info(
            "epoch %d of at most %d: loss %.4f, validation loss %s, rate %g",
            record.epoch,
            settings.epochs,
            record.train_loss,
            "-" if record.validation_loss is None else f"{record.validation_loss:.4f}",
            record.learning_rate,
        )
    last = take() if take else last
    assert last is not None  # noqa: S101 - epochs is above 0
    return last.best_weights(), curve, int(held.sum())


def fine_tuned_network(tunable: Tunable) -> dg.AssetsDefinition:
    """A network fine-tuned on the labelled training images."""
    if TYPE_CHECKING:
        config_type: TypeAlias = FineTuneConfig
    else:  # Dagster reads the annotation
        config_type = tunable.config_type

    @dg.asset(
        name=f"fine_tuned_{tunable.name}",
        description=f"{tunable.title} with a new head, fine-tuned on the labelled training images with mild augmentation, "
        "stopped early on a slice of them. Goes on from its last epoch after a kill.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, prepared_images],
        kinds={"pytorch", "safetensors"},
        code_version="1",
        pool="gpu",
        tags={"stage": "4"},
    )
    def model(
        context: dg.AssetExecutionContext,
        config: config_type,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        dataset, inputs = context.partition_key, ("image_manifest", "prepared_images")
        with plain_failures():
            device = compute.resolve()
            settings = config.fine_tune_settings()
            rows = scorable_rows(store, dataset, AHN2019)
            try:
                body = tunable.pre_trained(tunable.source(config), side_of(store, dataset))
            except WeightsMissingError as error:
                return materialize_nothing(context, store, config, error.what, inputs)
            images = open_features(store, dataset, "prepared_images", rows.ids)

        def work_out(work: Work) -> Output:
            import torch

            from methods.reporting import figures
            from methods.training.fine_tuning import HeadedNetwork
            from methods.training.loop import DivergedError

            classes = np.unique(rows.labels[rows.train]).tolist()
            checkpoints = SpacedCheckpoints(work)
            network = HeadedNetwork(
                body.network,
                math.prod(body.row_shape),
                len(classes),
                tunable.dropout,
                settings.seed,
            )
            try:
                tensors, curve, n_held = _tune(
                    checkpoints, network, images, rows, settings, torch.device(device)
                )
            except DivergedError as error:
                raise InputError(
                    f"the fine-tuning of {tunable.title} diverged: {error}",
                    "Set a smaller fine_tune_learning_rate",
                ) from error
            sidecar = ModelSidecar(
                architecture="methods.training.fine_tuning.HeadedNetwork",
                settings={
                    **asdict(settings),
                    "network": body.name,
                    "layer": body.layer,
                    "dropout": tunable.dropout,
                    "classes": classes,
                    "pre_trained_sha256": body.weights.sha256,
                },
                input_shape=images.feature_set.row_shape,
                fitted_on=work.inputs["prepared_images"].data_version,
                curve=[{k: v for k, v in line.items() if v is not None} for line in curve],
            )
            files = save_model(store, dataset, work.asset, work.fingerprint, tensors, sidecar)
            checkpoints.drop()
            notices = [body.weights.notice] if body.weights.notice else []
            if not n_held:
                notices.append(
                    f"NO EARLY STOP: too few groups for a validation slice ({tunable.title})"
                )
            return Output(
                content=files[0].sha256,
                files=files,
                pictures=[("loss over the epochs", figures.fine_tuning_curve(curve))],
                summary={
                    "network": body.name,
                    "layer": body.layer,
                    "weights": body.weights.origin,
                    "training images": len(rows.train) - n_held,
                    "validation images": n_held,
                    "epochs": len(curve),
                },
                notices=notices,
                rows=len(rows.train),
                device=device,
            )

        try:
            return materialize(
                context,
                store,
                config,
                work_out,
                inputs=inputs,
                known_by={
                    "images": images.feature_set.key,
                    "weights": body.weights.sha256,
                    "layer": body.layer,
                    "train": [
                        [rows.ids[i] for i in rows.train],
                        rows.labels[rows.train].tolist(),
                        [rows.groups[i] for i in rows.train],
                    ],
                },
            )
        finally:
            images.close()

    return model


def fine_tuned_features(tunable: Tunable) -> dg.AssetsDefinition:
    """Penultimate features of a fine-tuned network."""
    name, model_name = f"fine_tuned_{tunable.name}_features", f"fine_tuned_{tunable.name}"

    @dg.asset(
        name=name,
        description=f"Penultimate features of the labelled images under the fine-tuned {tunable.title}, (N, D) in HDF5 shards.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, prepared_images, dg.AssetKey(model_name)],
        kinds={"pytorch", "hdf5"},
        code_version=FEATURES_CODE_VERSION,
        pool="gpu",
        tags={"stage": "5"},
    )
    def features(
        context: dg.AssetExecutionContext,
        config: TunedFeaturesConfig,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        dataset, inputs = context.partition_key, ("prepared_images", model_name)
        with plain_failures():
            device = compute.resolve()
            reason = store.need_record(dataset, model_name).unavailable
            if reason:
                return materialize_nothing(context, store, config, reason, inputs)
            ids = scored_ids(store, dataset)
            images = open_features(store, dataset, "prepared_images", ids)
            tensors, sidecar = load_model(store, dataset, model_name)
        shards = FeatureStore(
            store,
            dataset,
            FeatureSet(
                kind=name,
                dtype="float32",
                row_shape=(tensors["head.weight"].shape[1],),
                preprocessing=images.feature_set.preparation,
                backbone=sidecar.settings["network"],
                weights_sha256=sidecar.weights_sha256,
                layer=sidecar.settings["layer"],
                method={"fine_tuned": True},
                code_version=FEATURES_CODE_VERSION,
            ),
        )

        def work_out(work: Work) -> Output:
            import torch

            from methods.training.fine_tuning import HeadedNetwork, penultimate_features

            n_classes, width = tensors["head.weight"].shape
            body = network_up_to(sidecar.settings["network"], sidecar.settings["layer"])
            network = HeadedNetwork(body, width, n_classes, sidecar.settings["dropout"], seed=0)
            network.load_state_dict(tensors)
            target = torch.device(device)
            network.to(target)
            produce = in_blocks(
                lambda pixels: penultimate_features(network, pixels, target, config.batch_size),
                images,
                shards.feature_set,
                READ_ROWS,
                f"features of the fine-tuned {tunable.title}",
            )
            computed = shards.fill(
                ids, produce, {"torch": torch.__version__, "device": device}, force=config.force
            )
            return Output(
                content=shards.data_version(ids),
                summary={
                    "images": len(ids),
                    "newly computed": computed,
                    "stored MB": round(shards.stored_bytes() / 1e6, 1),
                },
                rows=len(ids),
                device=device,
                feature_set=shards.feature_set,
            )

        try:
            return materialize_shards(context, config, shards, ids, work_out, inputs)
        finally:
            images.close()

    return features


fine_tuned_networks = [
    asset
    for tunable in TUNABLE
    for asset in (fine_tuned_network(tunable), fine_tuned_features(tunable))
]

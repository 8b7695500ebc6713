"""Networks fine-tuned on the labelled training images, and their penultimate features.

They are rows of table 2 of Ahn et al. 2019.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from assets.core.checkpoints import SpacedCheckpoints
from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.manifest_rows import scored_ids, usable_ids
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.settings import (
    AlexNetWeightsSetting,
    ForwardBatchSetting,
    SeedSetting,
    weights_named_in,
    with_weights_of,
)
from assets.core.shards import READ_ROWS, in_blocks
from assets.core.stage import stage
from assets.features.frozen_networks import (
    FrozenNetwork,
    frozen_network,
    network_up_to,
    side_of,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.notices import NO_EARLY_STOP
from data_contracts.studies.ahn2019 import AHN2019
from methods.settings import FineTuneSettings
from resources.compute import reuse_freed_memory
from resources.progress import progress
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.store.model_store import load_model
from resources.weights import WeightsMissingError

if TYPE_CHECKING:
    import torch

    from methods.features.frozen_network import ImageNetwork
    from methods.training.fine_tuning import HeadedNetwork

log = logging.getLogger("medfeat.fine_tuning")

GROUP = "fine_tuning"
MODEL_CODE_VERSION = "1"
FEATURES_CODE_VERSION = "1"
PIXELS_IN_MEMORY = 4 * 2**30
"""Maximum bytes of training images that are kept in memory (27,000 images); more are read for
every batch."""


class FineTuneConfig(SeedSetting):
    """Settings of every fine-tuned network."""

    fine_tune_epochs: PositiveInt = FineTuneSettings.epochs
    """Maximum number of epochs; fine-tuning stops early without gain on the validation slice."""
    fine_tune_patience: PositiveInt = FineTuneSettings.patience
    """Epochs without a lower validation loss before fine-tuning stops."""
    fine_tune_batch_size: int = Field(default=FineTuneSettings.batch_size, ge=2)
    """Images in a step of fine-tuning."""
    fine_tune_learning_rate: PositiveFloat = FineTuneSettings.learning_rate
    """Initial learning rate of the pre-trained layers; the new head learns ten times as fast. Scale
    it with the batch."""
    fine_tune_weight_decay: NonNegativeFloat = FineTuneSettings.weight_decay
    """Weight of the L2 penalty of fine-tuning."""
    validation_fraction: float = Field(default=FineTuneSettings.validation_fraction, gt=0, lt=1)
    """Share of the training images (whole groups) that decides when to stop."""
    augment: bool = FineTuneSettings.augment
    """Zoom, shift, rotate and mirror the training images a little."""

    def fine_tune_settings(self) -> FineTuneSettings:
        """The settings of a training."""
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


class FineTuneAlexNetConfig(AlexNetWeightsSetting, FineTuneConfig):
    """Settings of a fine-tuned AlexNet."""


class TunedFeaturesConfig(ForwardBatchSetting):
    """Settings of a fine-tuned network's features."""


@dataclass(frozen=True)
class Tunable:
    """A network that can be fine-tuned.

    Attributes:
        name: name in torchvision or timm.
        title: name in reports.
        layers: penultimate layer, then a layer to use in its place where its weights are missing.
        dropout: dropout rate before the new head, as the network has it.
    """

    name: str
    title: str
    layers: tuple[str, ...]
    dropout: float

    @property
    def asset(self) -> str:
        """Asset of the fine-tuned network."""
        return f"fine_tuned_{self.name}"

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


ALEXNET = Tunable("alexnet", "AlexNet", ("fc7", "conv5"), 0.5)
TUNABLE = (
    ALEXNET,
    Tunable("googlenet", "GoogLeNet", ("pool5",), 0.2),
    Tunable("resnet50", "ResNet-50", ("pool5",), 0.0),
)
"""The fine-tuned networks: a new one is an entry here and a row in its study."""


def pixels_of(images: FeatureReader, positions: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A function that reads images by their index into ``positions``, again in every epoch.

    The images are kept in memory where they fit: a stored chunk contains many images, so a batch of
    scattered ones would unpack a chunk for each of them.
    """
    if len(positions) * int(np.prod(images.feature_set.row_shape)) > PIXELS_IN_MEMORY:
        return lambda chosen: images.take(positions[chosen])
    pixels = images.take(positions)
    return lambda chosen: pixels[chosen]


@dataclass(frozen=True)
class _Tuned:
    """A fine-tuned network.

    Attributes:
        tensors: weights of the best epoch.
        curve: a record an epoch.
        held_out: images of the validation slice.
    """

    tensors: dict[str, "torch.Tensor"]
    curve: list[dict[str, Any]]
    held_out: int


def _tune(
    checkpoints: SpacedCheckpoints,
    network: "HeadedNetwork",
    images: FeatureReader,
    rows: LabelledRows,
    settings: FineTuneSettings,
    device: str,
) -> _Tuned:
    """Fine-tune a network; continue from its last checkpoint, if any.

    Raises:
        DivergedError: the loss is no longer finite.
    """
    import torch

    from methods.training import fine_tuning
    from methods.training.loop import Checkpoint

    labels = rows.labels[rows.train]
    codes = np.unique(labels, return_inverse=True)[1]
    held_out = fine_tuning.validation_slice(
        labels, [rows.groups[i] for i in rows.train], settings.validation_fraction, settings.seed
    )
    last = checkpoints.load()
    curve: list[dict[str, Any]] = list(last.state["curve"]) if last else []
    epochs = fine_tuning.fine_tune(
        network,
        pixels_of(images, rows.train),
        codes,
        np.flatnonzero(~held_out),
        np.flatnonzero(held_out),
        settings,
        torch.device(device),
        last,
    )
    take: Callable[[], Checkpoint] | None = None
    for record, take in progress(
        reuse_freed_memory(epochs),
        "fine-tuning",
        settings.epochs,
        unit="epoch",
        done=len(curve),
        describe=lambda item: _losses(asdict(item[0])),
    ):
        checkpoints.offer(take, record.epoch)
        curve.append(asdict(record))
    last = take() if take else last
    assert last is not None  # noqa: S101 - epochs is above 0
    return _Tuned(last.best_weights(), curve, int(held_out.sum()))


def _losses(line: dict[str, Any]) -> str:
    """The losses after an epoch, in words."""
    loss = line["validation_loss"]
    validation = "-" if loss is None else f"{loss:.4f}"
    return (
        f"loss {line['train_loss']:.4f}, validation loss {validation}, "
        f"rate {line['learning_rate']:g}"
    )


def fine_tuned_network(tunable: Tunable) -> dg.AssetsDefinition:
    """A network fine-tuned on the labelled training images."""

    @stage(
        with_weights_of(tunable.name, FineTuneConfig),
        name=tunable.asset,
        description=f"{tunable.title} with a new head, fine-tuned on the labelled training images "
        "with mild augmentation, stopped early on a slice of them. Goes on from its last epoch "
        "after a kill.",
        group=GROUP,
        order=4,
        kinds={"pytorch", "safetensors"},
        code_version=MODEL_CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES),
        is_model=True,
        uses_device=True,
    )
    def model(here: Stage[FineTuneConfig]) -> Plan:
        return _network_plan(here, tunable)

    return model


def _network_plan(here: Stage[FineTuneConfig], tunable: Tunable) -> Plan:
    """The plan of a fine-tuned network; unavailable without weights to start from."""
    device = here.device
    rows = scorable_rows(here.store, here.dataset, AHN2019)
    source = weights_named_in(here.config, tunable.name)
    try:
        body = tunable.pre_trained(source, side_of(here.store, here.dataset))
    except WeightsMissingError as error:
        raise UnavailableError(error.what) from error
    images = here.features(names.PREPARED_IMAGES, rows.ids)

    def compute(work: Work) -> Output:
        return _tuned_output(work, here.config, tunable, body, images, rows, device)

    identity = {
        "images": images.feature_set.key,
        "weights": body.weights.sha256,
        "layer": body.layer,
        "train": [
            [rows.ids[i] for i in rows.train],
            rows.labels[rows.train].tolist(),
            [rows.groups[i] for i in rows.train],
        ],
    }
    return Plan(compute, identity=identity)


def _tuned_output(
    work: Work,
    config: FineTuneConfig,
    tunable: Tunable,
    body: FrozenNetwork,
    images: FeatureReader,
    rows: LabelledRows,
    device: str,
) -> Output:
    """Fine-tune a network and store it.

    Raises:
        InputError: the training diverged.
    """
    from methods.reporting import figures
    from methods.training.fine_tuning import HeadedNetwork
    from methods.training.loop import DivergedError

    settings, checkpoints = config.fine_tune_settings(), SpacedCheckpoints(work)
    classes = np.unique(rows.labels[rows.train]).tolist()
    network = HeadedNetwork(
        body.network, math.prod(body.row_shape), len(classes), tunable.dropout, settings.seed
    )
    try:
        tuned = _tune(checkpoints, network, images, rows, settings, device)
    except DivergedError as error:
        raise InputError(
            f"the fine-tuning of {tunable.title} diverged: {error}",
            "Set a smaller fine_tune_learning_rate",
        ) from error
    described = asdict(settings) | _described(tunable, body, classes)
    files = work.write_model(tuned.tensors, _sidecar(work, described, images, tuned))
    checkpoints.drop()
    return Output.of_model(
        files,
        pictures=[("loss over the epochs", figures.fine_tuning_curve(tuned.curve))],
        summary={
            "network": body.name,
            "layer": body.layer,
            "weights": body.weights.origin,
            "training images": len(rows.train) - tuned.held_out,
            "validation images": tuned.held_out,
            "epochs": len(tuned.curve),
        },
        notices=_notices(tunable, body, tuned),
        rows=len(rows.train),
        device=device,
    )


def _described(tunable: Tunable, body: FrozenNetwork, classes: list[str]) -> dict[str, Any]:
    """What the sidecar says of a network beside the settings of its training."""
    return {
        "network": body.name,
        "layer": body.layer,
        "dropout": tunable.dropout,
        "classes": classes,
        "pre_trained_sha256": body.weights.sha256,
        "variant": body.variant.name if body.variant else "",
    }


def _sidecar(
    work: Work, settings: dict[str, Any], images: FeatureReader, tuned: _Tuned
) -> ModelSidecar:
    """The sidecar of a fine-tuned network; its curve lacks losses that were not measured."""
    return ModelSidecar(
        architecture="methods.training.fine_tuning.HeadedNetwork",
        settings=settings,
        input_shape=images.feature_set.row_shape,
        fitted_on=work.inputs[names.PREPARED_IMAGES].data_version,
        curve=[{k: v for k, v in line.items() if v is not None} for line in tuned.curve],
    )


def _notices(tunable: Tunable, body: FrozenNetwork, tuned: _Tuned) -> list[str]:
    """What a reader of any result on these features must know."""
    notices = [body.weights.notice] if body.weights.notice else []
    if not tuned.held_out:
        notices.append(
            NO_EARLY_STOP.says(f"too few groups for a validation slice ({tunable.title})")
        )
    return notices


def fine_tuned_features(tunable: Tunable) -> dg.AssetsDefinition:
    """Penultimate features of a fine-tuned network."""

    @stage(
        TunedFeaturesConfig,
        name=f"{tunable.asset}_features",
        description="Penultimate features of the labelled images under the fine-tuned "
        f"{tunable.title}, (N, D) in HDF5 shards.",
        group=GROUP,
        order=5,
        kinds={"pytorch", "hdf5"},
        code_version=FEATURES_CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES, tunable.asset),
        features_of=scored_ids,
        uses_device=True,
    )
    def features(here: Stage[TunedFeaturesConfig]) -> Plan:
        here.needs(tunable.asset)
        tensors, sidecar = load_model(here.store, here.dataset, tunable.asset)
        shape = (tensors["head.weight"].shape[1],)
        ids, device, size = (
            scored_ids(here.store, here.dataset),
            here.device,
            here.config.batch_size,
        )
        return _rows_plan(
            here,
            ids,
            sidecar,
            sidecar.settings["layer"],
            shape,
            lambda: _penultimate(tensors, sidecar, device, size),
        )

    return features


@stage(
    TunedFeaturesConfig,
    name=names.FINE_TUNED_MAPS,
    group=GROUP,
    order=5,
    kinds={"pytorch", "hdf5"},
    code_version=FEATURES_CODE_VERSION,
    inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES, ALEXNET.asset),
    features_of=usable_ids,
    uses_device=True,
)
def fine_tuned_maps(here: Stage[TunedFeaturesConfig]) -> Plan:
    """Conv5 maps of all usable images under the fine-tuned AlexNet, (N, 256, 6, 6) in HDF5 shards.

    What an auto-encoder atop it is fitted on.
    """
    here.needs(ALEXNET.asset)
    tensors, sidecar = load_model(here.store, here.dataset, ALEXNET.asset)
    network = _conv5(tensors, sidecar)
    ids = usable_ids(here.store, here.dataset)
    side = here.features(names.PREPARED_IMAGES, ids).feature_set.row_shape[0]
    device, size = here.device, here.config.batch_size

    def forward() -> Callable[[np.ndarray], np.ndarray]:
        import torch

        from methods.features.frozen_network import extract

        target = torch.device(device)
        network.to(target)
        return lambda pixels: extract(network, pixels, target, size)

    return _rows_plan(here, ids, sidecar, "conv5", network.row_shape(side), forward)


def _conv5(tensors: "dict[str, torch.Tensor]", sidecar: ModelSidecar) -> "ImageNetwork":
    """A stored fine-tuned AlexNet up to conv5, whatever layer it was tuned under."""
    settings = sidecar.settings
    network = network_up_to(settings["network"], "conv5", settings.get("variant", ""))

    def bare(name: str) -> str:
        return name.removeprefix("body.").removeprefix("network.")

    stored = {bare(name): tensor for name, tensor in tensors.items()}
    network.load_state_dict({name: stored[bare(name)] for name in network.state_dict()})
    return network


def _rows_plan(
    here: Stage[TunedFeaturesConfig],
    ids: list[str],
    sidecar: ModelSidecar,
    layer: str,
    row_shape: tuple[int, ...],
    forward: Callable[[], Callable[[np.ndarray], np.ndarray]],
) -> Plan:
    """The plan of the rows of some images.

    ``forward`` gives the function from pixels to rows, once they are to be computed.
    """
    device = here.device
    images = here.features(names.PREPARED_IMAGES, ids)
    feature_set = FeatureSet(
        kind=here.asset,
        dtype="float32",
        row_shape=row_shape,
        preprocessing=images.feature_set.preparation,
        backbone=sidecar.settings["network"],
        weights_sha256=sidecar.weights_sha256,
        layer=layer,
        method={"fine_tuned": True},
        code_version=FEATURES_CODE_VERSION,
    )
    shards = FeatureStore(here.store, here.dataset, feature_set)

    def compute(work: Work) -> Output:
        import torch

        caption = f"{layer} features of the fine-tuned {feature_set.backbone}"
        produce = in_blocks(forward(), images, feature_set, READ_ROWS, caption)
        attributes = {"torch": torch.__version__, "device": device}
        computed = shards.fill(ids, produce, attributes, force=here.config.force)
        return Output.of_shards(
            shards,
            ids,
            summary={
                "images": len(ids),
                "newly computed": computed,
                "stored MB": shards.stored_megabytes(),
            },
            device=device,
        )

    return Plan.of_shards(shards, ids, compute)


def _penultimate(
    tensors: dict[str, "torch.Tensor"], sidecar: ModelSidecar, device: str, batch_size: int
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from (n, side, side, 3) uint8 to the features (n, D) of a stored network."""
    import torch

    from methods.training.fine_tuning import HeadedNetwork, penultimate_features

    n_classes, width = tensors["head.weight"].shape
    settings = sidecar.settings
    body = network_up_to(settings["network"], settings["layer"], settings.get("variant", ""))
    network = HeadedNetwork(body, width, n_classes, settings["dropout"], seed=0)
    network.load_state_dict(tensors)
    target = torch.device(device)
    network.to(target)
    return lambda pixels: penultimate_features(network, pixels, target, batch_size)


ASSETS = [
    *(
        asset
        for tunable in TUNABLE
        for asset in (fine_tuned_network(tunable), fine_tuned_features(tunable))
    ),
    fine_tuned_maps,
]

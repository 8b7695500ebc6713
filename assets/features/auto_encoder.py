"""The convolutional auto-encoder, learned without labels on frozen features, and its codes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import PositiveInt

from assets.core.checkpoints import SpacedCheckpoints
from assets.core.manifest_rows import label_in_words, usable_ids, usable_images
from assets.core.plan import ConfigT_co, Output, Plan, Stage, Work
from assets.core.settings import (
    CaeTrainingSettings,
    CodePoolSetting,
    CodePrecisionSetting,
    StageConfig,
)
from assets.core.shards import READ_ROWS, in_blocks
from assets.core.stage import stage
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.output_record import StoredFile
from methods.settings import CaeSettings
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.store.model_store import load_model

if TYPE_CHECKING:
    import torch

    from methods.training.cae import CaeEpoch, ConvAutoEncoder

log = logging.getLogger("medfeat.cae")

GROUP = "representations"
MODEL_CODE_VERSION = "3"
CODES_CODE_VERSION = "3"
SHOWN = 4
"""Number of images in the picture of reconstructions."""
MORE_TO_FIT_ON = "Add training images, or set fit_on"


class CaeModelConfig(CaeTrainingSettings):
    """Settings of an auto-encoder; its control has the same."""

    filters: PositiveInt = CaeSettings.filters
    """Number of 3 x 3 filters of the auto-encoder."""


class EncodeConfig(CodePrecisionSetting, CodePoolSetting):
    """Settings of an asset of codes."""


def fitting_ids(
    store: DatasetStore, dataset: str, fit_on: str, model: str, remedy: str
) -> list[str]:
    """Ids of the images that an unsupervised model is fitted on, sorted.

    Args:
        store: of the home.
        dataset: partition key.
        fit_on: which images, see :class:`CaeTrainingSettings`.
        model: the model in words, for the error.
        remedy: what to do about the error.

    Raises:
        InputError: there are fewer than two.
    """
    splits = {
        "train": ("train",),
        "train+drops": ("train",),
        "train+unlabelled": ("train", "unlabelled", "held"),
        "all": ("train", "unlabelled", "held", "test"),
    }[fit_on]
    images = usable_images(store, dataset)
    fitting = pc.is_in(images["split"], value_set=pa.array(splits))
    if fit_on == "train":
        fitting = pc.and_(fitting, images["drop"].is_null())
    ids: list[str] = images["image_id"].filter(fitting).to_pylist()
    if len(ids) < 2:
        raise InputError(f"{dataset} has {len(ids)} images to fit {model} on", remedy)
    return ids


def _cae_asset(name: str, description: str, source: str) -> dg.AssetsDefinition:
    """An auto-encoder on the maps of ``source``."""

    @stage(
        CaeModelConfig,
        name=name,
        description=description,
        group=GROUP,
        order=4,
        kinds={"pytorch", "safetensors"},
        code_version=MODEL_CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, source),
        is_model=True,
        uses_device=True,
    )
    def cae(here: Stage[CaeModelConfig]) -> Plan:
        settings = here.config.cae_settings(here.config.filters, here.config.seed)
        return _cae_plan(here, settings, here.config.fit_on, source, identity={"trained": True})

    return cae


def _cae_plan(
    here: Stage[ConfigT_co],
    settings: CaeSettings,
    fit_on: str,
    source: str,
    identity: Mapping[str, object],
    notices: Sequence[str] = (),
) -> Plan:
    """The plan of an auto-encoder, or of its control, whose settings have no epochs."""
    device = here.device
    ids = fitting_ids(here.store, here.dataset, fit_on, "the auto-encoder", MORE_TO_FIT_ON)
    here.needs(source)
    maps = here.features(source, ids)

    def compute(work: Work) -> Output:
        fitted_on = work.inputs[source].data_version
        files, pictures, summary = _fitted(work, settings, maps, fitted_on, device)
        return Output.of_model(
            files,
            pictures=pictures,
            summary={"training images": len(ids), "filters": settings.filters, **summary},
            notices=list(notices),
            rows=len(ids),
            device=device,
        )

    return Plan(compute, identity={"features": maps.feature_set.key, "images": ids, **identity})


def _fitted(
    work: Work, settings: CaeSettings, maps: FeatureReader, fitted_on: str, device: str
) -> tuple[list[StoredFile], list[tuple[str, bytes]], dict[str, float | int | str]]:
    """Fit and store an auto-encoder; give its files, pictures of it and figures.

    ``fitted_on`` is the data version of the maps.
    """
    import torch

    from methods.training.cae import load_cae, split_held_out

    target, checkpoints = torch.device(device), SpacedCheckpoints(work)
    if settings.epochs:
        tensors, state = _train(checkpoints, work.asset, settings, maps, target)
    else:
        tensors, state = initial_weights(settings, maps, target), {}
    sidecar = ModelSidecar(
        architecture="methods.training.cae.ConvAutoEncoder",
        settings=asdict(settings),
        input_shape=maps.feature_set.row_shape,
        fitted_on=fitted_on,
        curve=state.get("curve", []),
    )
    files = work.write_model(tensors, sidecar)
    checkpoints.drop()
    held_out = split_held_out(len(maps), settings)[1][:READ_ROWS]
    sample = maps.take(held_out).astype(np.float32)
    model = load_cae(tensors, settings, target)
    return files, *_describe(model, sample, sidecar, target)


def initial_weights(
    settings: CaeSettings, maps: FeatureReader, device: "torch.device"
) -> dict[str, "torch.Tensor"]:
    """The weights that a training would start from, scaled on its first images."""
    from methods.training.cae import INIT_BATCH, new_cae, split_held_out

    first = maps.take(split_held_out(len(maps), settings)[0][:INIT_BATCH])
    model = new_cae(first.shape[1], settings, first, device)
    return {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}


def _train(
    checkpoints: SpacedCheckpoints,
    asset: str,
    settings: CaeSettings,
    maps: FeatureReader,
    device: "torch.device",
) -> tuple[dict[str, "torch.Tensor"], dict[str, Any]]:
    """Weights and last state of a training that continues from its last checkpoint, if any.

    Raises:
        InputError: it diverged.
    """
    from methods.training.cae import train_cae
    from methods.training.loop import DivergedError

    last = checkpoints.load()
    done = int(last.state["epochs"]) if last else 0
    if last:
        log.info("resuming after epoch %d of %d", done, settings.epochs)
    try:
        epochs = train_cae(maps.take, len(maps), settings, device, last)
        for record, take_checkpoint in progress(
            epochs,
            f"training {settings.filters} filters",
            settings.epochs,
            unit="epoch",
            done=done,
            describe=_errors,
        ):
            checkpoints.offer(take_checkpoint, record.epoch)
            if record.epoch == settings.epochs:
                last = take_checkpoint()
    except DivergedError as error:
        raise InputError(
            f"the training of {asset} diverged: {error}", "Set a smaller learning_rate"
        ) from error
    assert last is not None  # noqa: S101 - epochs is above 0
    return last.last_weights(), last.state


def _errors(item: "tuple[CaeEpoch, Any]") -> str:
    """The errors after an epoch, as shares of the input's variance, in words."""
    record = item[0]
    return (
        f"error {record.train_error:.4f}, held out {record.held_out_error:.4f} of the input's "
        f"variance, rate {record.learning_rate:g}"
    )


def _describe(
    model: "ConvAutoEncoder", held_out: np.ndarray, sidecar: ModelSidecar, device: "torch.device"
) -> tuple[list[tuple[str, bytes]], dict[str, float | int | str]]:
    """Pictures and figures of a fitted auto-encoder on held-out rows."""
    from methods.reporting import figures
    from methods.training.cae import CaeEpoch, filter_statistics, reconstruct

    statistics = filter_statistics(model, held_out, device)
    pictures = [
        (
            "reconstructions of held-out images",
            figures.reconstructions(held_out[:SHOWN], reconstruct(model, held_out[:SHOWN], device)),
        ),
        (
            "how the filters respond",
            figures.filter_overview(
                statistics, model.encoder_weight.detach().cpu().contiguous().numpy()
            ),
        ),
    ]
    summary: dict[str, float | int | str] = {
        "dead filters": statistics.dead,
        "sparsity": round(statistics.sparsity, 4),
        "mean bias": round(statistics.mean_bias, 6),
    }
    if sidecar.curve:
        records = [
            CaeEpoch(**{**line, "epoch": int(line["epoch"])})  # type: ignore[arg-type]
            for line in sidecar.curve
        ]
        pictures.insert(0, ("learning curve", figures.learning_curve(records)))
        summary["error at the end (share of variance)"] = round(records[-1].train_error, 5)
        summary["held-out error (share of variance)"] = round(records[-1].held_out_error, 5)
        summary["epochs"] = records[-1].epoch
    return pictures, summary


cae_model = _cae_asset(
    names.CAE_MODEL,
    "Zero-bias convolutional auto-encoder fitted without labels on the backbone's maps (Ahn et al. "
    "2019, sections 2.2 and 2.3). Goes on from its last epoch after a kill.",
    names.BACKBONE_FEATURES,
)


@stage(
    StageConfig,
    group=GROUP,
    order=4,
    kinds={"pytorch", "safetensors"},
    code_version=MODEL_CODE_VERSION,
    inputs=(names.IMAGE_MANIFEST, names.BACKBONE_FEATURES, names.CAE_MODEL),
    is_model=True,
    uses_device=True,
)
def random_cae_model(here: Stage[StageConfig]) -> Plan:
    """Control: the filters of the auto-encoder before any training, under its settings.

    What the CAE gains over this is what it has learned.
    """
    config = CaeModelConfig(**here.record(names.CAE_MODEL).settings)
    settings = replace(config.cae_settings(config.filters, config.seed), epochs=0)
    return _cae_plan(
        here,
        settings,
        config.fit_on,
        names.BACKBONE_FEATURES,
        identity={"settings": asdict(settings)},
        notices=config.notices(),
    )


def _codes_asset(name: str, model: str, description: str, source: str) -> dg.AssetsDefinition:
    """Codes of all usable images under one auto-encoder, from the maps of ``source``."""

    @stage(
        EncodeConfig,
        name=name,
        description=description,
        group=GROUP,
        order=5,
        kinds={"pytorch", "hdf5"},
        code_version=CODES_CODE_VERSION,
        inputs=(source, model),
        features_of=usable_ids,
        uses_device=True,
    )
    def codes(here: Stage[EncodeConfig]) -> Plan:
        return _codes_plan(here, here.config, model, source)

    return codes


def _codes_plan(here: Stage[ConfigT_co], config: EncodeConfig, model: str, source: str) -> Plan:
    """The plan that encodes the maps of all usable images under ``model``."""
    here.needs(source, model)
    device = here.device
    ids = usable_ids(here.store, here.dataset)
    maps = here.features(source, ids)
    tensors, sidecar = load_model(here.store, here.dataset, model)
    features = _code_set(here.asset, config, maps.feature_set, sidecar)
    shards = FeatureStore(here.store, here.dataset, features)

    def compute(work: Work) -> Output:
        import torch

        from methods.training.cae import encode, load_cae

        target, pool = torch.device(device), config.pool
        network = load_cae(tensors, CaeSettings(**sidecar.settings), target)
        produce = in_blocks(
            lambda rows: encode(network, rows, target, pool),
            maps,
            features,
            READ_ROWS,
            "encoding",
        )
        attributes = {"torch": torch.__version__, "device": device}
        computed = shards.fill(ids, produce, attributes, force=here.config.force)
        picture, zeros = _code_examples(here, shards, ids)
        return Output.of_shards(
            shards,
            ids,
            pictures=[("codes of a few images", picture)],
            summary={
                "images": len(ids),
                "newly encoded": computed,
                "numbers an image": int(np.prod(features.row_shape)),
                "share of zeros in the sample": zeros,
                "stored MB": shards.stored_megabytes(),
            },
            device=device,
        )

    return Plan.of_shards(shards, ids, compute)


def _code_set(
    asset: str, config: EncodeConfig, maps: FeatureSet, sidecar: ModelSidecar
) -> FeatureSet:
    """The codes of ``maps`` under a model: (filters, height // 2, width // 2)."""
    _, height, width = sidecar.input_shape
    method = {
        "features": maps.key,
        "model_sha256": sidecar.weights_sha256,
        "pool": config.pool,
    }
    shape = (sidecar.settings["filters"], height // 2, width // 2)
    return maps.derived(asset, config.dtype, shape, method, CODES_CODE_VERSION)


def _code_examples(
    here: Stage[ConfigT_co], shards: FeatureStore, ids: list[str]
) -> tuple[bytes, float]:
    """PNG of the codes of the first images, and the share of zeros in them."""
    from methods.reporting import figures

    reader = shards.reader(ids)
    sample = reader.rows(0, SHOWN * 2).astype(np.float32)
    reader.close()
    labels = _labels(here.store, here.dataset, ids[: len(sample)])
    return figures.code_examples(sample, labels), round(float((sample == 0).mean()), 4)


def _labels(store: DatasetStore, dataset: str, ids: Sequence[str]) -> list[str]:
    """The labels of some usable images, for captions."""
    images = usable_images(store, dataset)
    shown = images.filter(pc.is_in(images["image_id"], value_set=pa.array(ids))).to_pylist()
    label_of = {row["image_id"]: label_in_words(row["label"]) for row in shown}
    return [label_of[image_id] for image_id in ids]


cae_features = _codes_asset(
    names.CAE_FEATURES,
    names.CAE_MODEL,
    "Codes of all images under the trained auto-encoder, (N, K, 3, 3) in HDF5 shards (Table 1, "
    "pool 2).",
    names.BACKBONE_FEATURES,
)


@stage(
    StageConfig,
    group=GROUP,
    order=5,
    kinds={"pytorch", "hdf5"},
    code_version=CODES_CODE_VERSION,
    inputs=(names.BACKBONE_FEATURES, names.RANDOM_CAE_MODEL, names.CAE_FEATURES),
    features_of=usable_ids,
    uses_device=True,
)
def random_cae_features(here: Stage[StageConfig]) -> Plan:
    """Control: codes under the untrained filters, (N, K, 3, 3) in HDF5 shards.

    They are pooled and stored as those of the trained filters are.
    """
    config = EncodeConfig(**here.record(names.CAE_FEATURES).settings)
    return _codes_plan(here, config, names.RANDOM_CAE_MODEL, names.BACKBONE_FEATURES)


fine_tuned_cae_model = _cae_asset(
    names.FINE_TUNED_CAE_MODEL,
    "The auto-encoder fitted on the conv5 maps of the fine-tuned AlexNet, without labels of its "
    "own: Ahn et al. 2019 name fine-tuned networks with their framework as future work.",
    names.FINE_TUNED_MAPS,
)
fine_tuned_cae_features = _codes_asset(
    names.FINE_TUNED_CAE_FEATURES,
    names.FINE_TUNED_CAE_MODEL,
    "Codes of all images under the auto-encoder atop the fine-tuned AlexNet, (N, K, 3, 3) in HDF5 "
    "shards.",
    names.FINE_TUNED_MAPS,
)

ASSETS = [
    cae_model,
    random_cae_model,
    fine_tuned_cae_model,
    cae_features,
    random_cae_features,
    fine_tuned_cae_features,
]

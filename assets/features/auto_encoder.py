"""Representations learned without labels on frozen features: the convolutional auto-encoder and its
codes.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from assets.core.checkpoints import SpacedCheckpoints
from assets.core.manifest_rows import label_in_words, manifest_of, usable_ids
from assets.core.partitions import DATASETS
from assets.core.shards import READ_ROWS, in_blocks, open_features
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.features.frozen_networks import backbone_features, materialize_shards
from assets.images import image_manifest
from data_contracts.errors import InputError
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.tables.manifest import ok_rows
from resources.compute import Compute
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.model_store import load_model, save_model

if TYPE_CHECKING:
    from methods.training.cae import CaeSettings

log = logging.getLogger("medfeat.cae")

GROUP = "representations"
MODEL_CODE_VERSION = "3"
CODES_CODE_VERSION = "3"
SHOWN = 4


MORE_TO_FIT_ON = "Add training images, or set fit_on"


class CaeTrainingConfig(StageConfig):
    """Settings of a training of the auto-encoder. The names are those of
    `methods.training.cae.CaeSettings`.
    """

    epochs: PositiveInt = 100
    batch_size: PositiveInt = 512
    learning_rate: PositiveFloat = 1e-5
    momentum: float = Field(default=0.9, ge=0, lt=1)
    optimizer: Literal["sgd", "adam"] = "sgd"
    plateau_patience: NonNegativeInt = 5
    held_out_fraction: float = Field(default=0.1, gt=0, lt=1)
    zero_bias: Literal["encoding", "never", "always"] = "encoding"
    tied: bool = True
    decoder_activation: Literal["relu", "linear"] = "relu"
    init_scale: Literal["least_squares", "kaiming"] = "least_squares"
    seed: NonNegativeInt = 0
    fit_on: Literal["train", "train+drops", "train+unlabelled", "all"] = "train"
    """Which images train the auto-encoder. "train" is the training images of the first load, so
    that a drop trains nothing anew; "train+drops" has those of drops as well. "all" includes test
    images (transductive); the report then says so."""

    def cae_settings(self, filters: int, seed: int) -> "CaeSettings":
        """What `methods.training.cae` wants."""
        from methods.training.cae import CaeSettings

        values = self.model_dump() | {"filters": filters, "seed": seed}
        return CaeSettings(**{field.name: values[field.name] for field in fields(CaeSettings)})


class CaeModelConfig(CaeTrainingConfig):
    """Settings of `cae_model`, and of the filters of its control."""

    filters: PositiveInt = 4096


class EncodeConfig(StageConfig):
    """Settings of an asset of codes."""

    dtype: Literal["float16", "float32"] = "float16"
    """Stored precision."""
    pool: Literal["max", "mean"] = "max"
    """Pooling of the maps by 2."""


def fitting_ids(
    store: DatasetStore, dataset: str, fit_on: str, model: str, remedy: str
) -> list[str]:
    """Ids of the images that an unsupervised model may see, sorted.

    Args:
        store: of the home.
        dataset: partition key.
        fit_on: see :class:`CaeTrainingConfig`.
        model: in words, for the error.
        remedy: of the error.

    Raises:
        InputError: there are fewer than two.
    """
    splits = {
        "train": ("train",),
        "train+drops": ("train",),
        "train+unlabelled": ("train", "unlabelled", "held"),
        "all": ("train", "unlabelled", "held", "test"),
    }[fit_on]
    rows = ok_rows(manifest_of(store, dataset)).to_pylist()
    ids = [
        row["image_id"]
        for row in rows
        if row["split"] in splits and (fit_on != "train" or row["drop"] is None)
    ]
    if len(ids) < 2:
        raise InputError(f"{dataset} has {len(ids)} images to fit {model} on", remedy)
    return ids


def _cae_asset(name: str, description: str, trained: bool) -> dg.AssetsDefinition:
    """The auto-encoder itself, or its untrained control with the same initial filters."""

    @dg.asset(
        name=name,
        description=description,
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, backbone_features],
        kinds={"pytorch", "safetensors"},
        code_version=MODEL_CODE_VERSION,
        pool="gpu",
        tags={"stage": "4"},
    )
    def cae(
        context: dg.AssetExecutionContext,
        config: CaeModelConfig,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        from methods.training import cae as method

        dataset = context.partition_key
        with plain_failures():
            device = compute.resolve()
            settings = config.cae_settings(config.filters, config.seed)
            ids = fitting_ids(store, dataset, config.fit_on, "the auto-encoder", MORE_TO_FIT_ON)
            features = open_features(store, dataset, "backbone_features", ids)
        if not trained:
            settings = replace(settings, epochs=0)

        def work_out(work: Work) -> Output:
            import torch

            target, checkpoints = torch.device(device), SpacedCheckpoints(store, work)
            if trained:
                tensors, state = _train(
                    checkpoints, work.asset, settings, features.take, len(ids), target
                )
            else:
                first = features.take(
                    method.split_held_out(len(ids), settings)[0][: method.INIT_BATCH]
                )
                fresh = method.new_cae(first.shape[1], settings, first, target)
                tensors, state = (
                    {k: v.detach().cpu().contiguous() for k, v in fresh.state_dict().items()},
                    {},
                )
            sidecar = ModelSidecar(
                architecture="methods.training.cae.ConvAutoEncoder",
                settings=asdict(settings),
                input_shape=features.feature_set.row_shape,
                fitted_on=work.inputs["backbone_features"].data_version,
                curve=state.get("curve", []),
            )
            files = save_model(store, work.dataset, work.asset, work.fingerprint, tensors, sidecar)
            checkpoints.drop()
            held = features.take(method.split_held_out(len(ids), settings)[1][:READ_ROWS]).astype(
                np.float32
            )
            pictures, summary = _describe(
                method.load_cae(tensors, settings, target), held, sidecar, target
            )
            return Output(
                content=files[0].sha256,
                files=files,
                pictures=pictures,
                summary={"training images": len(ids), "filters": settings.filters, **summary},
                notices=["TRANSDUCTIVE: test images trained the auto-encoder (without labels)"]
                if config.fit_on == "all"
                else [],
                rows=len(ids),
                device=device,
            )

        try:
            return materialize(
                context,
                store,
                config,
                work_out,
                inputs=("image_manifest", "backbone_features"),
                known_by={"features": features.feature_set.key, "images": ids, "trained": trained},
            )
        finally:
            features.close()

    return cae


def _train(
    checkpoints: SpacedCheckpoints,
    asset: str,
    settings: "CaeSettings",
    read: Any,
    n_rows: int,
    device: Any,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights and last state of a training that goes on from its last checkpoint, if any."""
    from methods.training import cae as method
    from methods.training.loop import DivergedError

    last = checkpoints.load()
    done = int(last.state["epochs"]) if last else 0
    if last:
        log.info("resuming after epoch %d of %d", done, settings.epochs)
    try:
        epochs = method.train_cae(read, n_rows, settings, device, last)
        for record, take_checkpoint in progress(
            epochs, f"training {settings.filters} filters", settings.epochs - done
        ):
            checkpoints.offer(take_checkpoint)
            if record.epoch == settings.epochs:
                last = take_checkpoint()
            log.info(
                "epoch %d/%d: error %.4f, held out %.4f of the input's variance, rate %g",
                record.epoch,
                settings.epochs,
                record.train_error,
                record.held_out_error,
                record.learning_rate,
            )
    except DivergedError as error:
        raise InputError(
            f"the training of {asset} diverged: {error}", "Set a smaller learning_rate"
        ) from error
    assert last is not None  # noqa: S101 - epochs is above 0
    return last.last_weights(), last.state


def _describe(
    model: Any, held: np.ndarray, sidecar: ModelSidecar, device: Any
) -> tuple[list[tuple[str, bytes]], dict[str, float | int | str]]:
    """Pictures and figures of a fitted auto-encoder on held-out rows."""
    from methods.reporting import figures
    from methods.training import cae as method

    statistics = method.filter_statistics(model, held, device)
    pictures = [
        (
            "reconstructions of held-out images",
            figures.reconstructions(held[:SHOWN], method.reconstruct(model, held[:SHOWN], device)),
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
            method.CaeEpoch(**{**line, "epoch": int(line["epoch"])})  # type: ignore[arg-type]
            for line in sidecar.curve
        ]
        pictures.insert(0, ("learning curve", figures.learning_curve(records)))
        summary["error at the end (share of variance)"] = round(records[-1].train_error, 5)
        summary["held-out error (share of variance)"] = round(records[-1].held_out_error, 5)
        summary["epochs"] = records[-1].epoch
    return pictures, summary


cae_model = _cae_asset(
    "cae_model",
    "Zero-bias convolutional auto-encoder fitted without labels on the backbone's maps (Ahn et al. 2019, sections 2.2 and 2.3). "
    "Goes on from its last epoch after a kill.",
    trained=True,
)
random_cae_model = _cae_asset(
    "random_cae_model",
    "Control: the same filters before any training. What the CAE gains over this is what it has learned.",
    trained=False,
)


def _codes_asset(name: str, model: dg.AssetsDefinition, description: str) -> dg.AssetsDefinition:
    """Codes of all usable images under one auto-encoder."""
    model_name = model.key.path[-1]

    @dg.asset(
        name=name,
        description=description,
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[backbone_features, model],
        kinds={"pytorch", "hdf5"},
        code_version=CODES_CODE_VERSION,
        pool="gpu",
        tags={"stage": "5"},
    )
    def codes(
        context: dg.AssetExecutionContext,
        config: EncodeConfig,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        from methods.training import cae as method

        dataset = context.partition_key
        with plain_failures():
            device = compute.resolve()
            ids = usable_ids(store, dataset)
            features = open_features(store, dataset, "backbone_features")
            tensors, sidecar = load_model(store, dataset, model_name)
        settings = method.CaeSettings(**sidecar.settings)
        _, height, width = sidecar.input_shape
        source = features.feature_set
        shards = FeatureStore(
            store,
            dataset,
            source.derived(
                kind=name,
                dtype=config.dtype,
                row_shape=(settings.filters, height // 2, width // 2),
                method={
                    "features": source.key,
                    "model_sha256": sidecar.weights_sha256,
                    "pool": config.pool,
                },
                code_version=CODES_CODE_VERSION,
            ),
        )

        def work_out(work: Work) -> Output:
            import torch

            from methods.reporting import figures

            target = torch.device(device)
            model = method.load_cae(tensors, settings, target)
            produce = in_blocks(
                lambda rows: method.encode(model, rows, target, config.pool),
                features,
                shards.feature_set,
                READ_ROWS,
                "encoding",
            )
            computed = shards.fill(
                ids, produce, {"torch": torch.__version__, "device": device}, force=config.force
            )
            reader = shards.reader(ids)
            sample = reader.rows(0, SHOWN * 2).astype(np.float32)
            reader.close()
            labels = _labels(store, dataset, ids[: len(sample)])
            return Output(
                content=shards.data_version(ids),
                pictures=[("codes of a few images", figures.code_examples(sample, labels))],
                summary={
                    "images": len(ids),
                    "newly encoded": computed,
                    "numbers an image": int(np.prod(shards.feature_set.row_shape)),
                    "share of zeros in the sample": round(float((sample == 0).mean()), 4),
                    "stored MB": round(shards.stored_bytes() / 1e6, 1),
                },
                rows=len(ids),
                device=device,
                feature_set=shards.feature_set,
            )

        try:
            return materialize_shards(
                context, config, shards, ids, work_out, ("backbone_features", model_name)
            )
        finally:
            features.close()

    return codes


def _labels(store: DatasetStore, dataset: str, ids: Sequence[str]) -> list[str]:
    label_of = {
        row["image_id"]: label_in_words(row["label"])
        for row in ok_rows(manifest_of(store, dataset)).to_pylist()
    }
    return [label_of[image_id] for image_id in ids]


cae_features = _codes_asset(
    "cae_features",
    cae_model,
    "Codes of all images under the trained auto-encoder, (N, K, 3, 3) in HDF5 shards (Table 1, pool 2).",
)
random_cae_features = _codes_asset(
    "random_cae_features",
    random_cae_model,
    "Control: codes under the untrained filters, (N, K, 3, 3) in HDF5 shards.",
)

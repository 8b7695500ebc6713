"""One-vs-all networks trained from scratch on padded grey images (Lyndon et al. 2015, section
3).
"""

import logging
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from assets.core.checkpoints import SpacedCheckpoints
from assets.core.labelled_rows import scorable_rows
from assets.core.manifest_rows import manifest_of, scored_ids
from assets.core.originals import Originals
from assets.core.partitions import DATASETS
from assets.core.shards import open_features
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.features.fine_tuned_networks import pixels_of
from assets.features.frozen_networks import materialize_shards
from assets.images import image_manifest
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.studies.lyndon2015 import LENET, LYNDON2015, MODERN, SQUARE_PIXELS
from data_contracts.studies.study import Method
from data_contracts.tables.manifest import ok_rows
from methods.curation.manifest_rows import label_matrix
from methods.imaging.preprocessing import PreprocessingSettings
from resources.compute import Compute, reuse_freed_memory
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.model_store import save_model

if TYPE_CHECKING:
    from methods.settings import LenetSettings

log = logging.getLogger("medfeat.lenet")

GROUP = "several_labels"
CODE_VERSION = "1"
NETWORKS_CODE_VERSION = "4"
SQUARES = "square_images"


class SquareConfig(StageConfig):
    """Settings of `square_images`."""

    voi: Literal["file", "full"] = "file"
    """Grey values of DICOM: "file" takes the file's own window, "full" all of its range."""


class LenetConfig(StageConfig):
    """Settings of the networks; by default the paper's."""

    lenet_epochs: PositiveInt = 100
    """Passes over the training images; of the modern variant at most so many."""
    lenet_batch_size: PositiveInt = 20
    lenet_learning_rate: PositiveFloat = 0.005
    lenet_patience: PositiveInt = 10
    """Epochs without a lower validation loss before a label's network stops; modern variant
    only."""
    validation_fraction: float = Field(default=0.2, gt=0, lt=1)
    """Share of the training groups that decides when to stop; modern variant only."""
    seed: NonNegativeInt = 0

    def lenet_settings(self, modern: bool) -> "LenetSettings":
        """What `methods.training.lenet` wants."""
        from methods.settings import LenetSettings

        return LenetSettings(
            epochs=self.lenet_epochs,
            batch_size=self.lenet_batch_size,
            learning_rate=self.lenet_learning_rate,
            seed=self.seed,
            modern=modern,
            validation_fraction=self.validation_fraction,
            patience=self.lenet_patience,
        )


@dg.asset(
    name=SQUARES,
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[image_manifest],
    kinds={"python", "hdf5"},
    code_version=CODE_VERSION,
    tags={"stage": "2"},
)
def square_images(
    context: dg.AssetExecutionContext, config: SquareConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """First channel of the labelled images, padded with black to a square and resized, (N, 256,
    256) uint8 in HDF5 shards.
    """
    dataset = context.partition_key
    with plain_failures():
        ids = scored_ids(store, dataset)
    settings = PreprocessingSettings(resize="pad", size=SQUARE_PIXELS, voi=config.voi)
    shards = FeatureStore(
        store,
        dataset,
        FeatureSet(
            kind=SQUARES,
            dtype="uint8",
            row_shape=(SQUARE_PIXELS, SQUARE_PIXELS),
            preprocessing={
                "resize": "pad",
                "size": SQUARE_PIXELS,
                "voi": config.voi,
                "channel": "red",
            },
            code_version=CODE_VERSION,
        ),
    )

    def work_out(work: Work) -> Output:
        from methods.reporting import figures

        originals = cache(
            lambda: Originals(store, dataset, ok_rows(manifest_of(store, dataset)).to_pylist())
        )

        def produce(wanted: list[str]) -> np.ndarray:
            squares = originals().squares(
                wanted, settings, lambda files, n: progress(files, "square images", n)
            )
            return np.ascontiguousarray(squares[..., 0])

        computed = shards.fill(ids, produce, {}, force=config.force)
        reader = shards.reader(ids)
        shown = np.unique(np.linspace(0, len(ids) - 1, min(24, len(ids))).astype(np.int64))
        sample = [np.repeat(square[..., None], 3, axis=2) for square in reader.take(shown)]
        reader.close()
        return Output(
            content=shards.data_version(ids),
            pictures=[("sample of square images", figures.sample_grid(sample, [""] * len(sample)))],
            summary={
                "images": len(ids),
                "newly prepared": computed,
                "stored MB": round(shards.stored_bytes() / 1e6, 1),
            },
            rows=len(ids),
            feature_set=shards.feature_set,
        )

    return materialize_shards(context, config, shards, ids, work_out, ("image_manifest",))


def _networks(method: Method, modern: bool) -> dg.AssetsDefinition:
    """The paper's networks, or the variant of its future work."""

    @dg.asset(
        name=method.features,
        description=f"{method.title}: one network for each label, trained side by side on the padded grey images.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, square_images],
        kinds={"pytorch", "safetensors"},
        code_version=NETWORKS_CODE_VERSION,
        pool="gpu",
        tags={"stage": "4"},
    )
    def networks(
        context: dg.AssetExecutionContext,
        config: LenetConfig,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            device = compute.resolve()
            settings = config.lenet_settings(modern)
            rows = scorable_rows(store, dataset, LYNDON2015)
            images = open_features(store, dataset, SQUARES, rows.ids)
        names, truth = label_matrix(rows.labels.tolist())
        groups = [rows.groups[i] for i in rows.train]

        def work_out(work: Work) -> Output:
            import torch

            from methods.curation.splits import on_both_sides
            from methods.reporting import figures
            from methods.training import lenet
            from methods.training.loop import DivergedError

            checkpoints = SpacedCheckpoints(work)

            last = checkpoints.load()
            done = int(last.state["epochs"]) if last else 0
            epochs = lenet.train(
                pixels_of(images, rows.train),
                truth[rows.train],
                groups,
                settings,
                torch.device(device),
                last,
            )
            del last  # the training lets go of it, too: it is up to three times the weights
            take: Any = None
            try:
                for record, take in progress(
                    reuse_freed_memory(epochs), f"training {method.title}", settings.epochs - done
                ):
                    checkpoints.offer(take)
                    log.info(
                        "epoch %d of %d: loss %.4f",
                        record.epoch,
                        settings.epochs,
                        float(np.mean(record.train_loss)),
                    )
            except DivergedError as error:
                raise InputError(
                    f"the training of {work.asset} diverged: {error}",
                    "Set a smaller lenet_learning_rate",
                ) from error
            last = take() if take is not None else checkpoints.load()
            assert last is not None  # noqa: S101 - epochs is above 0
            curve = last.state["curve"]
            train = np.array([line["train_loss"] for line in curve])
            held = (
                None
                if curve[0]["validation_loss"] is None
                else np.array([line["validation_loss"] for line in curve])
            )
            sidecar = ModelSidecar(
                architecture="methods.training.lenet.LenetOneVsAll",
                settings={**asdict(settings), "labels": names},
                input_shape=images.feature_set.row_shape,
                fitted_on=work.inputs[SQUARES].data_version,
                curve=[
                    {"epoch": line["epoch"], **dict(zip(names, line["train_loss"], strict=True))}
                    for line in curve
                ],
            )
            files = save_model(
                store, dataset, work.asset, work.fingerprint, last.best_weights(), sidecar
            )
            checkpoints.drop()
            notices = []
            if modern:
                chosen = lenet.validation_slice(
                    truth[rows.train], groups, settings.validation_fraction, settings.seed
                )
                unstopped = [
                    names[k] for k in np.flatnonzero(~on_both_sides(truth[rows.train], chosen))
                ]
                if unstopped:
                    notices.append(
                        f"NO EARLY STOP of {', '.join(unstopped)}: too few groups have the label, or lack it, to set some aside "
                        f"({method.title})"
                    )
            return Output(
                content=files[0].sha256,
                files=files,
                pictures=[("loss over the epochs", figures.label_curves(names, train, held))],
                summary={
                    "training images": len(rows.train),
                    "labels": len(names),
                    "epochs": len(curve),
                    "training loss at the end": float(train[-1].mean()),
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
                inputs=("image_manifest", SQUARES),
                known_by={
                    "images": images.feature_set.key,
                    "train": [
                        [rows.ids[i] for i in rows.train],
                        rows.labels[rows.train].tolist(),
                        groups,
                    ],
                    "labels": names,
                },
            )
        finally:
            images.close()

    return networks


lenet_assets = [square_images, _networks(LENET, False), _networks(MODERN, True)]

"""Features learned without labels on image patches: sparse coding, ICA and the stacked sparse
auto-encoder of table 2.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import dagster as dg
import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from assets.core.manifest_rows import scored_ids
from assets.core.partitions import DATASETS
from assets.core.shards import in_blocks, open_features
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.features.auto_encoder import fitting_ids
from assets.features.frozen_networks import materialize_shards
from assets.images import image_manifest, prepared_images
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.model_sidecar import ModelSidecar
from resources.compute import Compute
from resources.cores import cores
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.model_store import load_model, save_model

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger("medfeat.patches")

GROUP = "patch_baselines"
FEATURES_CODE_VERSION = "1"
PYRAMID = (1, 2, 4)
ROWS_A_SHARD = 128
"""Images encoded before they are stored: a code takes seconds an image, and a kill loses at most so
many."""
ROWS_AT_ONCE = 4
"""Images whose patches are in memory at once."""


class PatchConfig(StageConfig):
    """Settings of every model of patches."""

    patch_size: int = Field(default=16, ge=2)
    """Side of a patch in pixels."""
    patches: int = Field(default=100_000, ge=2)
    """Patches of training images that it learns from."""
    components: int = Field(default=256, ge=2)
    """Principal components that whitening keeps."""
    seed: NonNegativeInt = 0


class SparseCodingConfig(PatchConfig):
    """Settings of `sparse_coding_model`."""

    atoms: int = Field(default=1024, ge=2)
    """Atoms of the dictionary."""
    sparse_alpha: PositiveFloat = 1.0
    """Weight of the l1 penalty."""
    dictionary_passes: PositiveInt = 3
    """Passes over the patches."""


class IcaConfig(PatchConfig):
    """Settings of `ica_model`."""

    ica_iterations: PositiveInt = 500
    """At most so many."""
    ica_tolerance: PositiveFloat = 1e-4
    """Change of the unmixing at which it stops."""


class SsaeConfig(PatchConfig):
    """Settings of `ssae_model`."""

    hidden: list[PositiveInt] = Field(default=[512, 256], min_length=1)
    """Units of the layers."""
    sparsity: float = Field(default=0.05, gt=0, lt=1)
    """Wished mean activation of a unit."""
    ssae_epochs: PositiveInt = 10
    """Passes over the patches, each layer."""


class PooledConfig(StageConfig):
    """Settings of every asset of pooled responses."""

    patch_stride: PositiveInt = 4
    """Pixels between neighbouring patches."""
    pyramid_pool: Literal["max", "mean"] = "max"
    """Pooling over the cells of the pyramid 1 x 1, 2 x 2, 4 x 4."""


@dataclass(frozen=True)
class Fitted:
    """A model of whitened patches.

    Attributes:
        tensors: its numbers.
        filters: rows of ``components`` numbers, to be shown as patches.
        responses: K, numbers that a patch is encoded to.
        curve: learning curve, if it has one.
        summary: figures.
        notices: what a reader must know.
    """

    tensors: Mapping[str, "Tensor"]
    filters: np.ndarray
    responses: int
    curve: tuple[dict[str, float], ...] = ()
    summary: Mapping[str, float | int | str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class PatchMethod:
    """One of the three methods.

    Attributes:
        name: in asset names.
        title: for people.
        config_type: settings of its model.
        uses_device: computes on the device rather than with scikit-learn.
        fit: (settings, whitened patches (n, k), device) -> model.
        encode: (tensors, settings of the model, whitened patches (m, k), device) -> responses (m,
            K), and how many of them did not converge.
    """

    name: str
    title: str
    config_type: type[PatchConfig]
    uses_device: bool
    fit: Callable[[Any, np.ndarray, str], Fitted]
    encode: Callable[
        [Mapping[str, "Tensor"], Mapping[str, Any], np.ndarray, str], tuple[np.ndarray, int]
    ]


def _fit_sparse_coding(config: SparseCodingConfig, patches: np.ndarray, device: str) -> Fitted:
    import torch

    from methods.features.sparse_coding import fit_dictionary

    fit = fit_dictionary(
        patches, config.atoms, config.sparse_alpha, config.dictionary_passes, config.seed
    )
    return Fitted(
        {"dictionary": torch.from_numpy(fit.dictionary)},
        fit.dictionary,
        len(fit.dictionary),
        notices=(f"NOT CONVERGED: {fit.unconverged} codes while the dictionary was learned",)
        if fit.unconverged
        else (),
    )


def _encode_sparse_coding(
    tensors: Any, settings: Mapping[str, Any], patches: np.ndarray, device: str
) -> tuple[np.ndarray, int]:
    from methods.features.sparse_coding import encode

    codes = encode(patches, tensors["dictionary"].numpy(), settings["sparse_alpha"], cores())
    return codes.magnitudes, codes.unconverged


def _fit_ica(config: IcaConfig, patches: np.ndarray, device: str) -> Fitted:
    import torch

    from methods.features.ica import fit_ica

    fit = fit_ica(
        patches, patches.shape[1], config.seed, config.ica_iterations, config.ica_tolerance
    )
    notices = (
        () if fit.converged else (f"NOT CONVERGED: ICA stopped after {fit.iterations} iterations",)
    )
    return Fitted(
        {"unmixing": torch.from_numpy(fit.unmixing)},
        fit.unmixing,
        len(fit.unmixing),
        summary={"iterations": fit.iterations},
        notices=notices,
    )


def _encode_ica(
    tensors: Any, settings: Mapping[str, Any], patches: np.ndarray, device: str
) -> tuple[np.ndarray, int]:
    from methods.features.ica import encode

    return encode(patches, tensors["unmixing"].numpy()), 0


def _fit_ssae(config: SsaeConfig, patches: np.ndarray, device: str) -> Fitted:
    import torch

    from methods.settings import SsaeSettings
    from methods.training.ssae import train_ssae

    settings = SsaeSettings(
        hidden=tuple(config.hidden),
        sparsity=config.sparsity,
        epochs=config.ssae_epochs,
        seed=config.seed,
    )
    fit = train_ssae(
        patches,
        settings,
        torch.device(device),
        lambda r: log.info(
            "layer %d, epoch %d/%d: error %.4f, mean activation %.4f", *_shown(r, settings.epochs)
        ),
    )
    last = fit.curve[-1]
    return Fitted(
        fit.tensors,
        fit.tensors["1.weight"].numpy(),
        config.hidden[-1],
        curve=tuple(asdict(record) for record in fit.curve),
        summary={
            "error of the last layer (share of variance)": last.error,
            "mean activation": last.mean_activation,
        },
    )


def _shown(record: Any, epochs: int) -> tuple[int, int, int, float, float]:
    return record.layer, record.epoch, epochs, record.error, record.mean_activation


def _encode_ssae(
    tensors: Any, settings: Mapping[str, Any], patches: np.ndarray, device: str
) -> tuple[np.ndarray, int]:
    import torch

    from methods.training.ssae import encode

    return encode(tensors, patches, torch.device(device)), 0


PATCH_METHODS = (
    PatchMethod(
        "sparse_coding",
        "Sparse coding",
        SparseCodingConfig,
        False,
        _fit_sparse_coding,
        _encode_sparse_coding,
    ),
    PatchMethod("ica", "ICA", IcaConfig, False, _fit_ica, _encode_ica),
    PatchMethod("ssae", "Stacked sparse auto-encoder", SsaeConfig, True, _fit_ssae, _encode_ssae),
)


def patch_model(method: PatchMethod) -> dg.AssetsDefinition:
    """A model of patches, learned without labels on training images only."""
    if TYPE_CHECKING:
        config_type: TypeAlias = PatchConfig
    else:  # Dagster reads the annotation
        config_type = method.config_type

    @dg.asset(
        name=f"{method.name}_model",
        description=f"{method.title}: learned without labels on whitened patches of training images.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, prepared_images],
        kinds={"pytorch", "safetensors"} if method.uses_device else {"scikitlearn", "safetensors"},
        code_version="2",
        pool="gpu" if method.uses_device else None,
        tags={"stage": "4"},
    )
    def model(
        context: dg.AssetExecutionContext,
        config: config_type,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            device = compute.resolve()
            ids = fitting_ids(
                store,
                dataset,
                "train",
                method.title,
                "Add training images to the first load: drops do not count",
            )
            images = open_features(store, dataset, "prepared_images", ids)

        def work_out(work: Work) -> Output:
            import torch

            from methods.features.patches import fit_whitening, sample_patches

            try:
                sample = sample_patches(
                    images.take, len(ids), config.patches, config.patch_size, config.seed
                )
                whitening = fit_whitening(sample, config.components)
                fitted = method.fit(config, whitening.apply(sample), device)
            except ValueError as error:
                raise InputError(
                    f"{method.title} cannot be learned on {dataset}: {error}", "Change that setting"
                ) from error
            tensors = {
                **{f"model.{name}": tensor.contiguous() for name, tensor in fitted.tensors.items()},
                "whitening.mean": torch.from_numpy(whitening.mean),
                "whitening.matrix": torch.from_numpy(whitening.matrix).contiguous(),
            }
            sidecar = ModelSidecar(
                architecture=f"methods.{method.name}",
                settings={**config.settings(), "responses": fitted.responses},
                input_shape=(config.patch_size, config.patch_size),
                fitted_on=work.inputs["prepared_images"].data_version,
                curve=list(fitted.curve),
            )
            files = save_model(store, dataset, work.asset, work.fingerprint, tensors, sidecar)
            return Output(
                content=files[0].sha256,
                files=files,
                pictures=[
                    (
                        f"what {method.title} looks for",
                        _filters_picture(fitted.filters, whitening.matrix),
                    )
                ],
                summary={"training images": len(ids), "patches": len(sample), **fitted.summary},
                notices=list(fitted.notices),
                rows=len(sample),
                device=device if method.uses_device else "cpu",
            )

        try:
            return materialize(
                context,
                store,
                config,
                work_out,
                inputs=("image_manifest", "prepared_images"),
                known_by={"images": images.feature_set.key, "ids": ids},
            )
        finally:
            images.close()

    return model


def _filters_picture(filters: np.ndarray, matrix: np.ndarray) -> bytes:
    """The first filters as patches: what a patch must look like to be answered most strongly."""
    from methods.reporting import figures

    shown = filters[: figures.MAX_TILES] @ matrix.T
    side = round(shown.shape[1] ** 0.5)
    low, high = shown.min(axis=1, keepdims=True), shown.max(axis=1, keepdims=True)
    grey = (
        (255 * (shown - low) / np.maximum(high - low, 1e-12))
        .astype(np.uint8)
        .reshape(-1, side, side)
    )
    large = np.repeat(np.repeat(grey, 6, axis=1), 6, axis=2)
    return figures.sample_grid(
        [np.stack([tile] * 3, axis=-1) for tile in large],
        [f"filter {k}" for k in range(len(large))],
    )


def patch_features(method: PatchMethod) -> dg.AssetsDefinition:
    """Responses of a model of patches, pooled over a spatial pyramid."""
    name, model_name = f"{method.name}_features", f"{method.name}_model"

    @dg.asset(
        name=name,
        description=f"{method.title}: responses on a grid of patches, pooled over a spatial pyramid 1 x 1, 2 x 2, 4 x 4 "
        "(Yang et al. 2009), (N, 21, K) in HDF5 shards, of the labelled images.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, prepared_images, dg.AssetKey(model_name)],
        kinds={"pytorch", "hdf5"} if method.uses_device else {"scikitlearn", "hdf5"},
        code_version=FEATURES_CODE_VERSION,
        pool="gpu" if method.uses_device else None,
        tags={"stage": "5"},
    )
    def features(
        context: dg.AssetExecutionContext,
        config: PooledConfig,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            device = compute.resolve()
            ids = scored_ids(store, dataset)
            images = open_features(store, dataset, "prepared_images", ids)
            tensors, sidecar = load_model(store, dataset, model_name)

        shards = FeatureStore(
            store,
            dataset,
            FeatureSet(
                kind=name,
                dtype="float32",
                row_shape=(sum(level * level for level in PYRAMID), sidecar.settings["responses"]),
                preprocessing=images.feature_set.preparation,
                method={"model_sha256": sidecar.weights_sha256, **config.settings()},
                code_version=FEATURES_CODE_VERSION,
            ),
        )

        def work_out(work: Work) -> Output:
            from methods.features.patches import Whitening, grid_patches, spatial_pyramid
            from methods.imaging.grey import luma

            whitening = Whitening(
                tensors["whitening.mean"].numpy(), tensors["whitening.matrix"].numpy()
            )
            model = {
                key.removeprefix("model."): tensor
                for key, tensor in tensors.items()
                if key.startswith("model.")
            }
            unconverged: list[int] = []

            def encode(pixels: np.ndarray) -> np.ndarray:
                grid = grid_patches(
                    luma(pixels), sidecar.settings["patch_size"], config.patch_stride
                )
                n, high, wide, _ = grid.shape
                flat = whitening.apply(grid.reshape(n * high * wide, -1))
                responses, failed = method.encode(model, sidecar.settings, flat, device)
                unconverged.append(failed)
                return spatial_pyramid(
                    responses.reshape(n, high, wide, -1), PYRAMID, config.pyramid_pool
                )

            produce = in_blocks(
                encode, images, shards.feature_set, ROWS_AT_ONCE, f"{method.title} features"
            )
            attributes = {"device": device}
            starts = range(0, len(ids), ROWS_A_SHARD)
            computed = sum(
                shards.fill(ids[i : i + ROWS_A_SHARD], produce, attributes, force=config.force)
                for i in starts
            )
            reader = shards.reader(ids)
            sample = reader.rows(0, ROWS_A_SHARD)
            reader.close()
            return Output(
                content=shards.data_version(ids),
                summary={
                    "images": len(ids),
                    "newly computed": computed,
                    "numbers an image": int(np.prod(shards.feature_set.row_shape)),
                    "share of zeros in the sample": round(float((sample == 0).mean()), 4),
                    "stored MB": round(shards.stored_bytes() / 1e6, 1),
                },
                notices=[f"NOT CONVERGED: {sum(unconverged)} codes of {method.title}"]
                if any(unconverged)
                else [],
                rows=len(ids),
                device=device if method.uses_device else "cpu",
                feature_set=shards.feature_set,
            )

        try:
            return materialize_shards(
                context, config, shards, ids, work_out, ("prepared_images", model_name)
            )
        finally:
            images.close()

    return features


patch_baselines = [
    asset for method in PATCH_METHODS for asset in (patch_model(method), patch_features(method))
]

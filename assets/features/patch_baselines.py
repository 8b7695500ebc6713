"""Features learned without labels on image patches (Ahn et al. 2019, table 2).

Three models of whitened patches: sparse coding, ICA and the stacked sparse auto-encoder.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from assets.core.manifest_rows import scored_ids
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import SeedSetting, StageConfig
from assets.core.shards import in_blocks
from assets.core.stage import stage
from assets.features.auto_encoder import fitting_ids
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.notices import NOT_CONVERGED
from methods.settings import ICA_ITERATIONS, ICA_TOLERANCE, WHITENED_COMPONENTS, SsaeSettings
from resources.cores import cores
from resources.progress import seldom
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.store.model_store import load_model

if TYPE_CHECKING:
    from torch import Tensor

    from methods.features.patches import Whitening
    from methods.training.ssae import SsaeEpoch

log = logging.getLogger("medfeat.patches")

GROUP = "patch_baselines"
MODEL_CODE_VERSION = "2"
FEATURES_CODE_VERSION = "1"
PYRAMID = (1, 2, 4)
"""Cells a side of each level of the spatial pyramid."""
ROWS_A_SHARD = 128
"""Images in a shard: encoding one takes seconds, and a kill loses a whole shard at most."""
ROWS_AT_ONCE = 4
"""Images whose patches are in memory at once."""


class PatchConfig(SeedSetting):
    """Settings of every model of patches."""

    patch_size: int = Field(default=16, ge=2)
    """Side of a patch in pixels."""
    patches: int = Field(default=100_000, ge=2)
    """Number of patches of training images that a model learns from."""
    components: int = Field(default=WHITENED_COMPONENTS, ge=2)
    """Principal components that whitening keeps."""


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

    ica_iterations: PositiveInt = ICA_ITERATIONS
    """Maximum number of FastICA iterations."""
    ica_tolerance: PositiveFloat = ICA_TOLERANCE
    """Change of the unmixing matrix below which FastICA stops."""


class SsaeConfig(PatchConfig):
    """Settings of `ssae_model`."""

    hidden: list[PositiveInt] = Field(default=list(SsaeSettings.hidden), min_length=1)
    """Units of each layer."""
    sparsity: float = Field(default=SsaeSettings.sparsity, gt=0, lt=1)
    """Target of the mean activation of a unit."""
    ssae_epochs: PositiveInt = SsaeSettings.epochs
    """Passes over the patches, each layer."""


class PooledConfig(StageConfig):
    """Settings of every asset of pooled responses."""

    patch_stride: PositiveInt = 4
    """Pixels between neighbouring patches."""
    pyramid_pool: Literal["max", "mean"] = "max"
    """Pooling over the cells of the pyramid 1 x 1, 2 x 2, 4 x 4."""


@dataclass(frozen=True)
class FittedPatchModel:
    """A model of whitened patches.

    Attributes:
        tensors: weights by name.
        filters: (K, components) filters, to be shown as patches.
        responses: K, numbers that a patch is encoded to.
        curve: learning curve; empty where the model is not trained by epochs.
        summary: figures by caption.
        notices: warnings for every reader of a result.
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
        name: name in asset names.
        title: name in reports.
        config_type: class of the settings of its model.
        uses_device: whether it computes on the device rather than with scikit-learn.
        fit: (settings, whitened patches (n, k), device) -> model.
        encode: (tensors, settings of the model, whitened patches (m, k), device) -> responses (m,
            K), and how many of them did not converge.
    """

    name: str
    title: str
    config_type: type[PatchConfig]
    uses_device: bool
    fit: Callable[[Any, np.ndarray, str], FittedPatchModel]
    encode: Callable[
        [Mapping[str, "Tensor"], Mapping[str, Any], np.ndarray, str], tuple[np.ndarray, int]
    ]


def _fit_sparse_coding(
    config: SparseCodingConfig, patches: np.ndarray, device: str
) -> FittedPatchModel:
    import torch

    from methods.features.sparse_coding import fit_dictionary

    fit = fit_dictionary(
        patches, config.atoms, config.sparse_alpha, config.dictionary_passes, config.seed
    )
    return FittedPatchModel(
        {"dictionary": torch.from_numpy(fit.dictionary)},
        fit.dictionary,
        len(fit.dictionary),
        notices=(NOT_CONVERGED.says(f"{fit.unconverged} codes while the dictionary was learned"),)
        if fit.unconverged
        else (),
    )


def _encode_sparse_coding(
    tensors: Any, settings: Mapping[str, Any], patches: np.ndarray, device: str
) -> tuple[np.ndarray, int]:
    from methods.features.sparse_coding import encode

    codes = encode(patches, tensors["dictionary"].numpy(), settings["sparse_alpha"], cores())
    return codes.magnitudes, codes.unconverged


def _fit_ica(config: IcaConfig, patches: np.ndarray, device: str) -> FittedPatchModel:
    import torch

    from methods.features.ica import fit_ica

    fit = fit_ica(
        patches, patches.shape[1], config.seed, config.ica_iterations, config.ica_tolerance
    )
    notices = (
        ()
        if fit.converged
        else (NOT_CONVERGED.says(f"ICA stopped after {fit.iterations} iterations"),)
    )
    return FittedPatchModel(
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


def _fit_ssae(config: SsaeConfig, patches: np.ndarray, device: str) -> FittedPatchModel:
    import torch

    from methods.settings import SsaeSettings
    from methods.training.ssae import train_ssae

    settings = SsaeSettings(
        hidden=tuple(config.hidden),
        sparsity=config.sparsity,
        epochs=config.ssae_epochs,
        seed=config.seed,
    )

    def say(record: "SsaeEpoch") -> None:
        _logged(record, settings.epochs)

    fit = train_ssae(patches, settings, torch.device(device), seldom(say))
    last = fit.curve[-1]
    return FittedPatchModel(
        fit.tensors,
        fit.tensors["1.weight"].numpy(),
        config.hidden[-1],
        curve=tuple(asdict(record) for record in fit.curve),
        summary={
            "error of the last layer (share of variance)": last.error,
            "mean activation": last.mean_activation,
        },
    )


def _logged(record: "SsaeEpoch", epochs: int) -> None:
    log.info(
        "layer %d, epoch %d/%d: error %.4f, mean activation %.4f",
        record.layer,
        record.epoch,
        epochs,
        record.error,
        record.mean_activation,
    )


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

    @stage(
        method.config_type,
        name=f"{method.name}_model",
        description=f"{method.title}: learned without labels on whitened patches of training "
        "images.",
        group=GROUP,
        order=4,
        kinds={"pytorch" if method.uses_device else "scikitlearn", "safetensors"},
        code_version=MODEL_CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES),
        is_model=True,
        uses_device=method.uses_device,
    )
    def model(here: Stage[PatchConfig]) -> Plan:
        return _model_plan(here, method)

    return model


def _model_plan(here: Stage[PatchConfig], method: PatchMethod) -> Plan:
    """The plan of a model of the patches of the training images."""
    config, device = here.config, _device(here, method)
    remedy = "Add training images to the first load: drops do not count"
    ids = fitting_ids(here.store, here.dataset, "train", method.title, remedy)
    images = here.features(names.PREPARED_IMAGES, ids)

    def compute(work: Work) -> Output:
        fitted, whitening, sampled = _fit(here, method, images, device)
        sidecar = ModelSidecar(
            architecture=f"methods.{method.name}",
            settings={**config.settings(), "responses": fitted.responses},
            input_shape=(config.patch_size, config.patch_size),
            fitted_on=work.inputs[names.PREPARED_IMAGES].data_version,
            curve=list(fitted.curve),
        )
        picture = _filters_picture(fitted.filters, whitening.matrix)
        return Output.of_model(
            work.write_model(_tensors(fitted, whitening), sidecar),
            pictures=[(f"what {method.title} looks for", picture)],
            summary={"training images": len(ids), "patches": sampled, **fitted.summary},
            notices=list(fitted.notices),
            rows=sampled,
            device=device,
        )

    return Plan(compute, identity={"images": images.feature_set.key, "ids": ids})


def _device(here: Stage[StageConfig], method: PatchMethod) -> str:
    """The device that a method computes on; scikit-learn has only the processor."""
    return here.device if method.uses_device else "cpu"


def _fit(
    here: Stage[PatchConfig], method: PatchMethod, images: FeatureReader, device: str
) -> tuple[FittedPatchModel, "Whitening", int]:
    """A model of a sample of patches, their whitening, and the size of the sample.

    Raises:
        InputError: a setting does not fit the patches.
    """
    from methods.features.patches import fit_whitening, sample_patches

    config = here.config
    try:
        sample = sample_patches(
            images.take, len(images), config.patches, config.patch_size, config.seed
        )
        whitening = fit_whitening(sample, config.components)
        return method.fit(config, whitening.apply(sample), device), whitening, len(sample)
    except ValueError as error:
        raise InputError(
            f"{method.title} cannot be learned on {here.dataset}: {error}", "Change that setting"
        ) from error


def _tensors(fitted: FittedPatchModel, whitening: "Whitening") -> dict[str, "Tensor"]:
    """The stored weights of a model and its whitening."""
    import torch

    return {
        **{f"model.{name}": tensor.contiguous() for name, tensor in fitted.tensors.items()},
        "whitening.mean": torch.from_numpy(whitening.mean),
        "whitening.matrix": torch.from_numpy(whitening.matrix).contiguous(),
    }


def _filters_picture(filters: np.ndarray, matrix: np.ndarray) -> bytes:
    """PNG of the first filters as patches: what each responds to most strongly."""
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
    model_name = f"{method.name}_model"

    @stage(
        PooledConfig,
        name=f"{method.name}_features",
        description=f"{method.title}: responses on a grid of patches, pooled over a spatial "
        "pyramid 1 x 1, 2 x 2, 4 x 4 (Yang et al. 2009), (N, 21, K) in HDF5 shards, of the "
        "labelled images.",
        group=GROUP,
        order=5,
        kinds={"pytorch" if method.uses_device else "scikitlearn", "hdf5"},
        code_version=FEATURES_CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES, model_name),
        features_of=scored_ids,
        uses_device=method.uses_device,
    )
    def features(here: Stage[PooledConfig]) -> Plan:
        return _features_plan(here, method)

    return features


def _features_plan(here: Stage[PooledConfig], method: PatchMethod) -> Plan:
    """The plan of the pooled responses of the labelled images."""
    model_name = f"{method.name}_model"
    config, device = here.config, _device(here, method)
    ids = scored_ids(here.store, here.dataset)
    images = here.features(names.PREPARED_IMAGES, ids)
    tensors, sidecar = load_model(here.store, here.dataset, model_name)
    shards = FeatureStore(
        here.store, here.dataset, _response_set(here, images.feature_set, sidecar)
    )

    def compute(work: Work) -> Output:
        encoder = _Encoder(method, tensors, sidecar, config, device)
        caption = f"{method.title} features"
        produce = in_blocks(encoder, images, shards.feature_set, ROWS_AT_ONCE, caption)
        computed = shards.fill(
            ids, produce, {"device": device}, force=config.force, rows_a_shard=ROWS_A_SHARD
        )
        unconverged = NOT_CONVERGED.says(f"{encoder.unconverged} codes of {method.title}")
        return Output.of_shards(
            shards,
            ids,
            summary={
                "images": len(ids),
                "newly computed": computed,
                "numbers an image": int(np.prod(shards.feature_set.row_shape)),
                "share of zeros in the sample": _share_of_zeros(shards, ids),
                "stored MB": shards.stored_megabytes(),
            },
            notices=[unconverged] if encoder.unconverged else [],
            device=device,
        )

    return Plan.of_shards(shards, ids, compute)


def _response_set(
    here: Stage[PooledConfig], images: FeatureSet, sidecar: ModelSidecar
) -> FeatureSet:
    """Pooled responses of prepared images under a model: (cells of the pyramid, K)."""
    return FeatureSet(
        kind=here.asset,
        dtype="float32",
        row_shape=(sum(level * level for level in PYRAMID), sidecar.settings["responses"]),
        preprocessing=images.preparation,
        method={"model_sha256": sidecar.weights_sha256, **here.config.settings()},
        code_version=FEATURES_CODE_VERSION,
    )


class _Encoder:
    """From images to their pooled responses under a stored model.

    Attributes:
        unconverged: codes that have not converged so far.
    """

    def __init__(
        self,
        method: PatchMethod,
        tensors: Mapping[str, "Tensor"],
        sidecar: ModelSidecar,
        config: PooledConfig,
        device: str,
    ) -> None:
        from methods.features.patches import Whitening

        self.unconverged = 0
        self._method, self._config, self._device = method, config, device
        self._settings = sidecar.settings
        self._whitening = Whitening(
            tensors["whitening.mean"].numpy(), tensors["whitening.matrix"].numpy()
        )
        self._model = {
            name.removeprefix("model."): tensor
            for name, tensor in tensors.items()
            if name.startswith("model.")
        }

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Responses of (n, side, side, 3) uint8 pixels, (n, cells, K) float32."""
        from methods.features.patches import grid_patches, spatial_pyramid
        from methods.imaging.grey import luma

        grid = grid_patches(luma(pixels), self._settings["patch_size"], self._config.patch_stride)
        n, height, width, _ = grid.shape
        patches = self._whitening.apply(grid.reshape(n * height * width, -1))
        responses, failed = self._method.encode(self._model, self._settings, patches, self._device)
        self.unconverged += failed
        return spatial_pyramid(
            responses.reshape(n, height, width, -1), PYRAMID, self._config.pyramid_pool
        )


def _share_of_zeros(shards: FeatureStore, ids: list[str]) -> float:
    """Share of zeros in the first rows, 0 to 1."""
    reader = shards.reader(ids)
    sample = reader.rows(0, ROWS_A_SHARD)
    reader.close()
    return round(float((sample == 0).mean()), 4)


ASSETS = [
    asset for method in PATCH_METHODS for asset in (patch_model(method), patch_features(method))
]

"""Codebooks of local descriptors, and VLAD rows (Farhat and Sicre, section 6.3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import dagster as dg
import numpy as np
from pydantic import PositiveInt

from assets.core.manifest_rows import scored_ids
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import CodePrecisionSetting, SeedSetting, StageConfig
from assets.core.shards import in_blocks
from assets.core.stage import stage
from assets.features.auto_encoder import MORE_TO_FIT_ON, fitting_ids
from assets.features.local_descriptors import (
    GROUP,
    LocalDescriptors,
    descriptors_asset,
    open_descriptors,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.notices import NOT_CONVERGED
from data_contracts.studies.farhat_vlad import (
    CODEBOOK_SIZES,
    FARHAT_VLAD,
    SCALES,
    codebook_asset,
    vlad_at,
)
from methods.settings import KMEANS_ITERATIONS
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.store.model_store import load_model

if TYPE_CHECKING:
    from methods.features.codebook import Codebook
    from methods.features.descriptors import LocalTransform

CODE_VERSION = "5"
PLUS_COMPONENTS = 100
"""Principal components of local descriptors with vlad_plus, as in VLFeat's recognition demo."""
SHOWN_IMAGES, SHOWN_CENTROIDS, SHOWN_REGIONS = 64, 6, 7
"""Numbers of training images, of centroids, and of regions of each in the picture of regions."""


class CodebookSettings(SeedSetting):
    """How a codebook is fitted to given descriptors."""

    descriptor_sample: PositiveInt = 200_000
    """Training descriptors that k-means gets, as many of each image."""
    max_iterations: PositiveInt = KMEANS_ITERATIONS
    """Maximum number of iterations of k-means."""
    local_l2: bool = False
    """Scale each local descriptor to unit length, before everything else."""
    local_components: PositiveInt | None = None
    """Principal components that take the place of each local descriptor, fitted on the training
    descriptors that k-means gets."""
    local_whiten: bool = False
    """Scale these components to unit variance; a hundredth of the largest variance is added to
    each."""
    vlad_plus: bool = False
    """All that is known to help VLAD at once (VLFeat's recipe): local_l2, 100 local_components,
    local_whiten, signed_sqrt and intra_normalisation."""

    @property
    def components(self) -> int | None:
        """Principal components of the local descriptors; None for the descriptors themselves."""
        return self.local_components or (PLUS_COMPONENTS if self.vlad_plus else None)

    @property
    def unit_length(self) -> bool:
        """Whether local descriptors are scaled to unit length."""
        return self.vlad_plus or self.local_l2


class CodebookConfig(CodebookSettings):
    """Settings of `vlad*_codebook_*`."""

    fit_on: Literal["train", "train+drops"] = "train"
    """Images whose descriptors k-means gets. "train" is the training images of the first load, so
    that a drop fits nothing anew; "train+drops" has those of drops as well. Other images have no
    local descriptors."""


class VladSettings(StageConfig):
    """How descriptors become a row by a given codebook."""

    signed_sqrt: bool = False
    """Take the signed square root of every number, before the norm."""
    intra_normalisation: bool = False
    """Scale each centroid's residual to unit length, before the norm of the row."""
    vlad_plus: bool = False
    """All that is known to help VLAD at once (VLFeat's recipe): local_l2, 100 local_components,
    local_whiten, signed_sqrt and intra_normalisation."""

    @property
    def switches(self) -> dict[str, bool]:
        """The arguments of ``methods.features.vlad.encode`` that the settings ask for."""
        names = ("signed_sqrt", "intra_normalisation")
        return {name: self.vlad_plus or getattr(self, name) for name in names}


class VladConfig(VladSettings, CodePrecisionSetting):
    """Settings of `vlad*_descriptors_*`."""


def in_words(scales: Sequence[int]) -> str:
    """Scales in words, for captions."""
    if len(scales) == 1:
        return f"scale {scales[0]}"
    return f"scales {', '.join(map(str, scales))}, pooled"


def codebook(clusters: int, *scales: int) -> dg.AssetsDefinition:
    """Centroids of the training descriptors at one scale, or of all scales pooled."""

    @stage(
        CodebookConfig,
        name=codebook_asset(clusters, *scales),
        description=f"{clusters} centroids (k-means) of a sample of the training images' local "
        f"descriptors at {in_words(scales)}.",
        group=GROUP,
        order=4,
        kinds={"numpy", "safetensors"},
        code_version=CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES, *map(descriptors_asset, scales)),
        is_model=True,
    )
    def centroids(here: Stage[CodebookConfig]) -> Plan:
        return _codebook_plan(here, clusters, scales)

    return centroids


def _codebook_plan(here: Stage[CodebookConfig], clusters: int, scales: Sequence[int]) -> Plan:
    """The plan of the centroids of the training descriptors."""
    sources = [descriptors_asset(scale) for scale in scales]
    here.needs(*sources)
    ids = fitting_ids(here.store, here.dataset, here.config.fit_on, "the codebook", MORE_TO_FIT_ON)
    descriptors = open_descriptors(here, scales, ids)

    def compute(work: Work) -> Output:
        import torch

        fitted = fit_vlad_model(here.config, here.dataset, descriptors, clusters)
        files = work.write_model(
            {name: torch.from_numpy(array) for name, array in fitted.arrays.items()},
            ModelSidecar(
                architecture="methods.features.codebook",
                settings=here.config.settings(),
                input_shape=(descriptors.width,),
                fitted_on=" ".join(work.inputs[source].data_version for source in sources),
                curve=[],
            ),
        )
        fit = fitted.codebook
        title = f"image regions that feed the centroids, {in_words(scales[:1])}"
        stopped = f"k-means with {clusters} centroids stopped after {fit.iterations} iterations"
        return Output.of_model(
            files,
            pictures=[(title, _regions(here, descriptors.readers[0], fitted))],
            summary={
                "training images": len(ids),
                "descriptors": fitted.sampled,
                "numbers of a descriptor": fit.centroids.shape[1],
                "iterations": fit.iterations,
                "mean squared distance": fit.inertia,
            },
            notices=[] if fit.converged else [NOT_CONVERGED.says(f"{stopped}")],
            rows=fitted.sampled,
        )

    return Plan(
        compute,
        identity={"descriptors": descriptors.keys, "ids": ids},
        inputs=(names.IMAGE_MANIFEST, *sources),
    )


@dataclass(frozen=True)
class VladModel:
    """A codebook, and the transformation of local descriptors that was fitted with it.

    Attributes:
        codebook: of transformed descriptors.
        transform: of local descriptors.
        sampled: descriptors that both were fitted to.
    """

    codebook: "Codebook"
    transform: "LocalTransform"
    sampled: int

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that are stored."""
        arrays = {
            "centroids": self.codebook.centroids,
            "local_mean": self.transform.mean,
            "local_projection": self.transform.projection,
        }
        return {name: array for name, array in arrays.items() if array is not None}


def fit_vlad_model(
    config: CodebookSettings,
    dataset: str,
    descriptors: LocalDescriptors,
    clusters: int,
    positions: np.ndarray | None = None,
) -> VladModel:
    """The codebook of a sample of local descriptors.

    Args:
        config: how it is fitted.
        dataset: name of the dataset, for messages.
        descriptors: of the images.
        clusters: number of centroids.
        positions: images that are fitted to; all of them by default.

    Raises:
        InputError: there are fewer different descriptors than centroids.
    """
    from methods.features.codebook import fit_codebook
    from methods.features.descriptors import fit_local_transform, sample_descriptors

    chosen = np.arange(len(descriptors.image_ids)) if positions is None else positions
    try:
        sample = sample_descriptors(
            lambda images: descriptors.take(chosen[images]),
            len(chosen),
            descriptors.places,
            config.descriptor_sample,
            descriptors.at_once,
            config.seed,
        )
        whiten = config.vlad_plus or config.local_whiten
        transform = fit_local_transform(sample, config.unit_length, config.components, whiten)
        fit = fit_codebook(transform(sample), clusters, config.seed, config.max_iterations)
    except ValueError as error:
        raise InputError(
            f"no codebook can be learned on {dataset}: {error}", "Change that setting"
        ) from error
    return VladModel(fit, transform, len(sample))


def _regions(here: Stage[CodebookConfig], maps: FeatureReader, fitted: VladModel) -> bytes:
    """PNG of the image regions nearest to the most frequent centroids, one region of an image."""
    from methods.features.descriptors import as_descriptors
    from methods.features.vlad import assign
    from methods.reporting import figures

    shown = np.unique(np.linspace(0, len(maps) - 1, min(SHOWN_IMAGES, len(maps))).astype(np.int64))
    images = here.features(names.PREPARED_IMAGES, maps.image_ids).take(shown)
    high, wide = maps.feature_set.row_shape[1:]
    centroids = fitted.codebook.centroids
    descriptors = fitted.transform(as_descriptors(maps.take(shown)))
    flat = descriptors.reshape(-1, descriptors.shape[2])
    nearest = assign(flat, centroids)
    distances = np.square(flat - centroids[nearest]).sum(axis=1)
    counts = np.bincount(nearest, minlength=len(centroids))
    rows = []
    for centroid in np.argsort(-counts, kind="stable")[:SHOWN_CENTROIDS]:
        members = np.flatnonzero(nearest == centroid)
        members = members[np.argsort(distances[members], kind="stable")]
        _, first = np.unique(members // (high * wide), return_index=True)
        places = members[np.sort(first)[:SHOWN_REGIONS]]
        regions = [
            _region(
                images[place // (high * wide)],
                int(place // wide % high),
                int(place % wide),
                high,
                wide,
            )
            for place in places
        ]
        rows.append((f"centroid {centroid}: {counts[centroid] / len(flat):.1%}", regions))
    return figures.codebook_regions(rows)


def _region(image: np.ndarray, row: int, column: int, high: int, wide: int) -> np.ndarray:
    """The image around a place of its map: three places wide, as far as it goes."""
    side = image.shape[0]
    top, bottom = max(row - 1, 0) * side // high, -(-min(row + 2, high) * side // high)
    left, right = max(column - 1, 0) * side // wide, -(-min(column + 2, wide) * side // wide)
    return np.asarray(image[top:bottom, left:right])


def vlad_rows(clusters: int, *scales: int) -> dg.AssetsDefinition:
    """VLAD of the labelled images at one scale, or of all scales pooled."""
    model = codebook_asset(clusters, *scales)

    @stage(
        VladConfig,
        name=FARHAT_VLAD.method(vlad_at(clusters, *scales)).features,
        description="VLAD of the local descriptors of each labelled image at "
        f"{in_words(scales)}, with {clusters} centroids, (N, {clusters} C) in HDF5 shards.",
        group=GROUP,
        order=5,
        kinds={"numpy", "hdf5"},
        code_version=CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, *map(descriptors_asset, scales), model),
        features_of=scored_ids,
    )
    def rows(here: Stage[VladConfig]) -> Plan:
        return _vlad_plan(here, clusters, scales)

    return rows


def _vlad_plan(here: Stage[VladConfig], clusters: int, scales: Sequence[int]) -> Plan:
    """The plan of the VLAD of the labelled images."""
    model = codebook_asset(clusters, *scales)
    here.needs(*(descriptors_asset(scale) for scale in scales))
    ids = scored_ids(here.store, here.dataset)
    descriptors = open_descriptors(here, scales, ids)
    tensors, sidecar = load_model(here.store, here.dataset, model)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    unit_length = any(sidecar.settings.get(name, False) for name in ("local_l2", "vlad_plus"))
    width = arrays["centroids"].size
    method = {"model_sha256": sidecar.weights_sha256, **here.config.switches}
    features = descriptors.derived(here.asset, here.config.dtype, width, method, CODE_VERSION)
    shards = FeatureStore(here.store, here.dataset, features)

    def compute(work: Work) -> Output:
        encode = encoder(arrays, unit_length, here.config.switches)
        caption = f"VLAD with {clusters} centroids"
        produce = in_blocks(encode, descriptors, features, descriptors.at_once, caption)
        computed = shards.fill(ids, produce, {}, force=here.config.force)
        return Output.of_shards(
            shards,
            ids,
            summary={
                "images": len(ids),
                "newly computed": computed,
                "numbers an image": width,
                "stored MB": shards.stored_megabytes(),
            },
        )

    return Plan.of_shards(shards, ids, compute)


def encoder(
    model: dict[str, np.ndarray], unit_length: bool, switches: dict[str, bool]
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from descriptors (n, L, C) to VLAD rows, by the arrays of a stored codebook."""
    from methods.features.descriptors import LocalTransform
    from methods.features.vlad import encode

    transform = LocalTransform(unit_length, model.get("local_mean"), model.get("local_projection"))
    return lambda descriptors: encode(transform(descriptors), model["centroids"], **switches)


ASSETS = [
    asset
    for scales in (*((scale,) for scale in SCALES), SCALES)
    for clusters in CODEBOOK_SIZES
    for asset in (codebook(clusters, *scales), vlad_rows(clusters, *scales))
]

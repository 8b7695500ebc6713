"""Codebooks of local descriptors, and VLAD rows (Farhat and Sicre, section 6.3)."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import numpy as np
from pydantic import PositiveInt

from assets.core.manifest_rows import scored_ids
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import CodePrecisionSetting, SeedSetting
from assets.core.shards import in_blocks
from assets.core.stage import stage
from assets.features.auto_encoder import MORE_TO_FIT_ON, fitting_ids
from assets.features.local_descriptors import (
    GROUP,
    descriptors_asset,
    maps_at_once,
    open_descriptors,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.model_sidecar import ModelSidecar
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

CODE_VERSION = "5"
SHOWN_IMAGES, SHOWN_CENTROIDS, SHOWN_REGIONS = 64, 6, 7
"""Numbers of training images, of centroids, and of regions of each in the picture of regions."""


class CodebookConfig(SeedSetting):
    """Settings of `vlad*_codebook_scale*`."""

    descriptor_sample: PositiveInt = 200_000
    """Training descriptors that k-means gets, as many of each image."""
    max_iterations: PositiveInt = KMEANS_ITERATIONS
    """Maximum number of iterations of k-means."""
    fit_on: Literal["train", "train+drops"] = "train"
    """Images whose descriptors k-means gets. "train" is the training images of the first load, so
    that a drop fits nothing anew; "train+drops" has those of drops as well. Other images have no
    local descriptors."""


class VladConfig(CodePrecisionSetting):
    """Settings of `vlad*_descriptors_scale*`."""

    signed_sqrt: bool = False
    """Take the signed square root of every number, before the norm."""
    intra_normalisation: bool = False
    """Scale each centroid's residual to unit length, before the norm of the row."""


def codebook(clusters: int, scale: int) -> dg.AssetsDefinition:
    """Centroids of the training descriptors at one scale."""
    source = descriptors_asset(scale)

    @stage(
        CodebookConfig,
        name=codebook_asset(clusters, scale),
        description=f"{clusters} centroids (k-means) of a sample of the training images' local "
        f"descriptors at scale {scale}.",
        group=GROUP,
        order=4,
        kinds={"numpy", "safetensors"},
        code_version=CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES, source),
        is_model=True,
    )
    def centroids(here: Stage[CodebookConfig]) -> Plan:
        return _codebook_plan(here, clusters, scale)

    return centroids


def _codebook_plan(here: Stage[CodebookConfig], clusters: int, scale: int) -> Plan:
    """The plan of the centroids of the training descriptors."""
    source = descriptors_asset(scale)
    here.needs(source)
    ids = fitting_ids(here.store, here.dataset, here.config.fit_on, "the codebook", MORE_TO_FIT_ON)
    maps = open_descriptors(here, scale, ids)

    def compute(work: Work) -> Output:
        import torch

        fit, sampled = _fit(here, maps, clusters)
        files = work.write_model(
            {"centroids": torch.from_numpy(fit.centroids)},
            ModelSidecar(
                architecture="methods.features.codebook",
                settings=here.config.settings(),
                input_shape=maps.feature_set.row_shape[:1],
                fitted_on=work.inputs[source].data_version,
                curve=[],
            ),
        )
        title = f"image regions that feed the centroids, scale {scale}"
        stopped = f"k-means with {clusters} centroids stopped after {fit.iterations} iterations"
        return Output.of_model(
            files,
            pictures=[(title, _regions(here, maps, fit.centroids))],
            summary={
                "training images": len(ids),
                "descriptors": sampled,
                "iterations": fit.iterations,
                "mean squared distance": fit.inertia,
            },
            notices=[] if fit.converged else [f"NOT CONVERGED: {stopped}"],
            rows=sampled,
        )

    return Plan(
        compute,
        identity={"descriptors": maps.feature_set.key, "ids": ids},
        inputs=(names.IMAGE_MANIFEST, source),
    )


def _fit(here: Stage[CodebookConfig], maps: FeatureReader, clusters: int) -> tuple["Codebook", int]:
    """The codebook of a sample of the descriptors in ``maps``, and the size of the sample.

    Raises:
        InputError: there are fewer different descriptors than centroids.
    """
    from methods.features.codebook import fit_codebook
    from methods.features.descriptors import sample_descriptors

    config, of_maps = here.config, maps.feature_set
    try:
        sample = sample_descriptors(
            maps.take,
            len(maps),
            int(np.prod(of_maps.row_shape[1:])),
            config.descriptor_sample,
            maps_at_once(of_maps),
            config.seed,
        )
        fit = fit_codebook(sample, clusters, config.seed, config.max_iterations)
    except ValueError as error:
        raise InputError(
            f"no codebook can be learned on {here.dataset}: {error}", "Change that setting"
        ) from error
    return fit, len(sample)


def _regions(here: Stage[CodebookConfig], maps: FeatureReader, centroids: np.ndarray) -> bytes:
    """PNG of the image regions nearest to the most frequent centroids, one region of an image."""
    from methods.features.descriptors import as_descriptors
    from methods.features.vlad import assign
    from methods.reporting import figures

    shown = np.unique(np.linspace(0, len(maps) - 1, min(SHOWN_IMAGES, len(maps))).astype(np.int64))
    images = here.features(names.PREPARED_IMAGES, maps.image_ids).take(shown)
    high, wide = maps.feature_set.row_shape[1:]
    descriptors = as_descriptors(maps.take(shown))
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


def vlad_rows(clusters: int, scale: int) -> dg.AssetsDefinition:
    """VLAD of the labelled images at one scale."""
    model, source = codebook_asset(clusters, scale), descriptors_asset(scale)

    @stage(
        VladConfig,
        name=FARHAT_VLAD.method(vlad_at(clusters, scale)).features,
        description=f"VLAD of the local descriptors of each labelled image at scale {scale} with "
        f"{clusters} centroids, (N, {clusters} C) in HDF5 shards.",
        group=GROUP,
        order=5,
        kinds={"numpy", "hdf5"},
        code_version=CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, source, model),
        features_of=scored_ids,
    )
    def rows(here: Stage[VladConfig]) -> Plan:
        return _vlad_plan(here, clusters, scale)

    return rows


def _vlad_plan(here: Stage[VladConfig], clusters: int, scale: int) -> Plan:
    """The plan of the VLAD of the labelled images."""
    model, source = codebook_asset(clusters, scale), descriptors_asset(scale)
    here.needs(source)
    ids = scored_ids(here.store, here.dataset)
    maps = open_descriptors(here, scale, ids)
    tensors, sidecar = load_model(here.store, here.dataset, model)
    centroids = tensors["centroids"].numpy()
    switches = here.config.model_dump(include={"signed_sqrt", "intra_normalisation"})
    method = {
        "descriptors": maps.feature_set.key,
        "model_sha256": sidecar.weights_sha256,
        **switches,
    }
    features = maps.feature_set.derived(
        here.asset, here.config.dtype, (centroids.size,), method, CODE_VERSION
    )
    shards = FeatureStore(here.store, here.dataset, features)

    def compute(work: Work) -> Output:
        encode = _encoder(centroids, switches)
        caption = f"VLAD with {clusters} centroids"
        produce = in_blocks(encode, maps, features, maps_at_once(maps.feature_set), caption)
        computed = shards.fill(ids, produce, {}, force=here.config.force)
        return Output.of_shards(
            shards,
            ids,
            summary={
                "images": len(ids),
                "newly computed": computed,
                "numbers an image": centroids.size,
                "stored MB": shards.stored_megabytes(),
            },
        )

    return Plan.of_shards(shards, ids, compute)


def _encoder(centroids: np.ndarray, switches: dict[str, Any]) -> Callable[[np.ndarray], np.ndarray]:
    """A function from maps (n, C, h, w) to VLAD rows (n, k C)."""
    from methods.features.descriptors import as_descriptors
    from methods.features.vlad import encode

    return lambda maps: encode(as_descriptors(maps), centroids, **switches)


ASSETS = [
    asset
    for scale in SCALES
    for clusters in CODEBOOK_SIZES
    for asset in (codebook(clusters, scale), vlad_rows(clusters, scale))
]

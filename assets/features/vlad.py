"""VLAD of local descriptors: the codebook, and the rows encoded with it (Farhat and Sicre, section
6.3).
"""

from typing import Literal

import dagster as dg
import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from assets.core.manifest_rows import scored_ids
from assets.core.partitions import DATASETS
from assets.core.shards import in_blocks, open_features
from assets.core.stage import (
    Output,
    StageConfig,
    Work,
    materialize,
    materialize_nothing,
    plain_failures,
)
from assets.features.auto_encoder import MORE_TO_FIT_ON, fitting_ids
from assets.features.frozen_networks import materialize_shards
from assets.features.local_descriptors import (
    GROUP,
    descriptors_asset,
    maps_at_once,
    open_descriptors,
)
from assets.images import image_manifest, prepared_images
from data_contracts.errors import InputError
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.studies.farhat_vlad import CODEBOOK_SIZES, FARHAT_VLAD, SCALES, vlad_at
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.store.model_store import load_model, save_model

CODE_VERSION = "5"
SHOWN_IMAGES, SHOWN_CENTROIDS, SHOWN_REGIONS = 64, 6, 7
"""Of the picture of regions: training images looked at, centroids, and regions of each."""


class CodebookConfig(StageConfig):
    """Settings of `vlad*_codebook_scale*`."""

    descriptor_sample: PositiveInt = 200_000
    """Training descriptors that k-means sees, as many of each image."""
    max_iterations: PositiveInt = 300
    """Of k-means, at most."""
    seed: NonNegativeInt = 0
    fit_on: Literal["train", "train+drops"] = "train"
    """Which images' descriptors k-means sees. "train" is the training images of the first load, so
    that a drop fits nothing anew; "train+drops" has those of drops as well. Other images have no
    local descriptors."""


class VladConfig(StageConfig):
    """Settings of `vlad*_descriptors_scale*`."""

    signed_sqrt: bool = False
    """Signed square root of every number, before the norm."""
    intra_normalisation: bool = False
    """Each centroid's residual to unit length, before the norm of the row."""
    dtype: Literal["float16", "float32"] = "float16"
    """Stored precision."""


def codebook_asset(clusters: int, scale: int) -> str:
    """Asset of so many centroids at a scale."""
    return f"vlad{clusters}_codebook_scale{scale}"


def codebook(clusters: int, scale: int) -> dg.AssetsDefinition:
    """Centroids of the training descriptors at one scale."""
    source = descriptors_asset(scale)

    @dg.asset(
        name=codebook_asset(clusters, scale),
        description=f"{clusters} centroids (k-means) of a sample of the training images' local descriptors at scale {scale}.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, prepared_images, dg.AssetKey(source)],
        kinds={"numpy", "safetensors"},
        code_version=CODE_VERSION,
        tags={"stage": "4"},
    )
    def centroids(
        context: dg.AssetExecutionContext, config: CodebookConfig, store: DatasetStore
    ) -> dg.MaterializeResult:
        dataset, inputs = context.partition_key, ("image_manifest", source)
        with plain_failures():
            if reason := store.need_record(dataset, source).unavailable:
                return materialize_nothing(context, store, config, reason, inputs)
            ids = fitting_ids(store, dataset, config.fit_on, "the codebook", MORE_TO_FIT_ON)
            maps = open_descriptors(store, dataset, scale, ids)

        def work_out(work: Work) -> Output:
            import torch

            from methods.features.codebook import fit_codebook
            from methods.features.descriptors import sample_descriptors

            of = maps.feature_set
            try:
                sample = sample_descriptors(
                    maps.take,
                    len(ids),
                    int(np.prod(of.row_shape[1:])),
                    config.descriptor_sample,
                    maps_at_once(of),
                    config.seed,
                )
                fit = fit_codebook(sample, clusters, config.seed, config.max_iterations)
            except ValueError as error:
                raise InputError(
                    f"no codebook can be learned on {dataset}: {error}", "Change that setting"
                ) from error
            sidecar = ModelSidecar(
                architecture="methods.features.codebook",
                settings=config.settings(),
                input_shape=of.row_shape[:1],
                fitted_on=work.inputs[source].data_version,
                curve=[],
            )
            files = save_model(
                store,
                dataset,
                work.asset,
                work.fingerprint,
                {"centroids": torch.from_numpy(fit.centroids)},
                sidecar,
            )
            return Output(
                content=files[0].sha256,
                files=files,
                pictures=[
                    (
                        f"image regions that feed the centroids, scale {scale}",
                        _regions(store, dataset, maps, fit.centroids),
                    )
                ],
                summary={
                    "training images": len(ids),
                    "descriptors": len(sample),
                    "iterations": fit.iterations,
                    "mean squared distance": fit.inertia,
                },
                notices=[]
                if fit.converged
                else [
                    f"NOT CONVERGED: k-means with {clusters} centroids stopped after {fit.iterations} iterations"
                ],
                rows=len(sample),
            )

        try:
            return materialize(
                context,
                store,
                config,
                work_out,
                inputs=inputs,
                known_by={"descriptors": maps.feature_set.key, "ids": ids},
            )
        finally:
            maps.close()

    return centroids


def _regions(
    store: DatasetStore, dataset: str, maps: FeatureReader, centroids: np.ndarray
) -> bytes:
    """For the centroids that take most of some training images' descriptors, the regions nearest to
    them, one of an image.
    """
    from methods.features.descriptors import as_descriptors
    from methods.features.vlad import assign
    from methods.reporting import figures

    shown = np.unique(np.linspace(0, len(maps) - 1, min(SHOWN_IMAGES, len(maps))).astype(np.int64))
    prepared = open_features(store, dataset, "prepared_images", maps.image_ids)
    images = prepared.take(shown)
    prepared.close()
    high, wide = maps.feature_set.row_shape[1:]
    found = as_descriptors(maps.take(shown))
    flat = found.reshape(-1, found.shape[2])
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
    name = FARHAT_VLAD.method(vlad_at(clusters, scale)).features
    model, source = codebook_asset(clusters, scale), descriptors_asset(scale)

    @dg.asset(
        name=name,
        description=f"VLAD of the local descriptors of each labelled image at scale {scale} with {clusters} centroids, "
        f"(N, {clusters} C) in HDF5 shards.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, dg.AssetKey(source), dg.AssetKey(model)],
        kinds={"numpy", "hdf5"},
        code_version=CODE_VERSION,
        tags={"stage": "5"},
    )
    def rows(
        context: dg.AssetExecutionContext, config: VladConfig, store: DatasetStore
    ) -> dg.MaterializeResult:
        dataset, inputs = context.partition_key, (source, model)
        with plain_failures():
            if reason := store.need_record(dataset, source).unavailable:
                return materialize_nothing(context, store, config, reason, inputs)
            ids = scored_ids(store, dataset)
            maps = open_descriptors(store, dataset, scale, ids)
            tensors, sidecar = load_model(store, dataset, model)
        of, centroids = maps.feature_set, tensors["centroids"].numpy()
        switches = {
            "signed_sqrt": config.signed_sqrt,
            "intra_normalisation": config.intra_normalisation,
        }
        shards = FeatureStore(
            store,
            dataset,
            of.derived(
                kind=name,
                dtype=config.dtype,
                row_shape=(centroids.size,),
                method={"descriptors": of.key, "model_sha256": sidecar.weights_sha256, **switches},
                code_version=CODE_VERSION,
            ),
        )

        def work_out(work: Work) -> Output:
            from methods.features.descriptors import as_descriptors
            from methods.features.vlad import encode

            produce = in_blocks(
                lambda some: encode(as_descriptors(some), centroids, **switches),
                maps,
                shards.feature_set,
                maps_at_once(of),
                f"VLAD with {clusters} centroids",
            )
            computed = shards.fill(ids, produce, {}, force=config.force)
            return Output(
                content=shards.data_version(ids),
                summary={
                    "images": len(ids),
                    "newly computed": computed,
                    "numbers an image": centroids.size,
                    "stored MB": round(shards.stored_bytes() / 1e6, 1),
                },
                rows=len(ids),
                feature_set=shards.feature_set,
            )

        try:
            return materialize_shards(context, config, shards, ids, work_out, inputs)
        finally:
            maps.close()

    return rows


vlad_assets = [
    asset
    for scale in SCALES
    for clusters in CODEBOOK_SIZES
    for asset in (codebook(clusters, scale), vlad_rows(clusters, scale))
]

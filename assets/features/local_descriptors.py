"""Local descriptors of a frozen network at three image sizes, and their averages (Farhat and Sicre,
sections 6.1 and 6.2).
"""

from functools import cache
from typing import Literal

import dagster as dg
import numpy as np
from pydantic import PositiveInt

from assets.core.manifest_rows import manifest_of, scored_ids
from assets.core.originals import Originals
from assets.core.partitions import DATASETS
from assets.core.shards import in_blocks, open_features
from assets.core.stage import Output, StageConfig, Work, materialize_nothing, plain_failures
from assets.features.frozen_networks import (
    BackboneConfig,
    Pixels,
    extract_features_of,
    frozen_network,
    materialize_shards,
)
from assets.images import PreparedImagesConfig, image_manifest
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.studies.farhat_vlad import FARHAT_VLAD, SCALES, average_at, side_of_scale
from data_contracts.tables.manifest import ok_rows
from resources.compute import Compute
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore

GROUP = "descriptors"
CODE_VERSION = "1"
MEMORY_BYTES = 2**29
"""Maps held at once, as float32."""
IMAGES_AT_ONCE = 32
"""Images decoded at once: 70 MB of them at the largest scale."""


class DescriptorConfig(BackboneConfig, PreparedImagesConfig):
    """Settings of `local_descriptors_scale*`."""

    backbone: str = "vgg19"
    """Network of torchvision, or of timm ("timm/...")."""
    layer: str = "block5_pool"
    """Its layer: a module path, or a name that the network is known by (block1_pool to block5_pool,
    conv5)."""
    backbone_weights: str = "auto"
    """"auto" (MEDFEAT_WEIGHTS_DIR, torch's cache, download), a .safetensors or .pth file, or
    "random"."""
    dtype: Literal["float16", "float32"] = "float16"
    """Stored precision."""
    batch_size: PositiveInt = 16
    """Images of 224 x 224 pixels a forward pass, fewer of larger ones; changes speed, not results
    beyond rounding."""


def maps_at_once(features: FeatureSet) -> int:
    """Images whose maps fit the memory that a stage takes."""
    return max(MEMORY_BYTES // (4 * int(np.prod(features.row_shape))), 1)


def descriptors_asset(scale: int) -> str:
    """Asset of the local descriptors at a scale."""
    return f"local_descriptors_scale{scale}"


def open_descriptors(
    store: DatasetStore, dataset: str, scale: int, ids: list[str]
) -> FeatureReader:
    """Reader over maps (C, h, w).

    Raises:
        InputError: as `open_features`, or the layer gives a vector.
    """
    reader = open_features(store, dataset, descriptors_asset(scale), ids)
    if len(reader.feature_set.row_shape) != 3:
        raise InputError(
            f"{reader.feature_set.backbone} {reader.feature_set.layer} gives a vector for an image, not local descriptors",
            "Name a layer of maps",
        )
    return reader


def local_descriptors(scale: int) -> dg.AssetsDefinition:
    """Maps of the labelled images at one scale."""
    side = side_of_scale(scale)

    @dg.asset(
        name=descriptors_asset(scale),
        description=f"VGG-19 block5_pool, or another network and layer, of the labelled images at {side} x {side} pixels, "
        "(N, C, h, w) in HDF5 shards: a local descriptor for each place. Resized from the original files.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest],
        kinds={"pytorch", "hdf5"},
        code_version=CODE_VERSION,
        pool="gpu",
        tags={"stage": "3"},
    )
    def descriptors(
        context: dg.AssetExecutionContext,
        config: DescriptorConfig,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        from methods.imaging.preprocessing import PreprocessingSettings

        dataset = context.partition_key
        with plain_failures():
            device = compute.resolve()
            ids = scored_ids(store, dataset)
            frozen = frozen_network(config.backbone, config.layer, config.backbone_weights, side)
            if frozen.input_side not in (None, side):
                reason = f"{frozen.name} sees every image at {frozen.input_side} x {frozen.input_side} pixels, not at {side}"
                # without these rows there is nothing to report
                if FARHAT_VLAD.method(average_at(scale)).in_main_job:
                    raise InputError(
                        reason, "Name a network that takes images of any size, or of this one"
                    )
                return materialize_nothing(context, store, config, reason, ("image_manifest",))
        settings = PreprocessingSettings(config.resize, side, config.voi, config.decode)
        originals = cache(
            lambda: Originals(store, dataset, ok_rows(manifest_of(store, dataset)).to_pylist())
        )
        pixels = Pixels(
            take=lambda some: originals().squares(some, settings),
            preprocessing={
                "resize": config.resize,
                "voi": config.voi,
                "decode": config.decode,
                "size": side,
            },
            inputs=("image_manifest",),
            at_once=IMAGES_AT_ONCE,
        )
        batch_size = max(config.batch_size * side_of_scale(0) ** 2 // side**2, 1)
        return extract_features_of(pixels, context, config, store, device, frozen, ids, batch_size)

    return descriptors


def average_descriptors(scale: int) -> dg.AssetsDefinition:
    """Mean descriptor of each labelled image at one scale."""
    name, source = FARHAT_VLAD.method(average_at(scale)).features, descriptors_asset(scale)

    @dg.asset(
        name=name,
        description=f"Mean of the local descriptors of each labelled image at scale {scale}, (N, C) in HDF5 shards.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, dg.AssetKey(source)],
        kinds={"numpy", "hdf5"},
        code_version=CODE_VERSION,
        tags={"stage": "5"},
    )
    def averages(
        context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            if reason := store.need_record(dataset, source).unavailable:
                return materialize_nothing(context, store, config, reason, (source,))
            ids = scored_ids(store, dataset)
            maps = open_descriptors(store, dataset, scale, ids)
        of = maps.feature_set
        shards = FeatureStore(
            store,
            dataset,
            of.derived(
                kind=name,
                dtype="float32",
                row_shape=of.row_shape[:1],
                method={"descriptors": of.key},
                code_version=CODE_VERSION,
            ),
        )

        def work_out(work: Work) -> Output:
            from methods.features.descriptors import average

            produce = in_blocks(
                average, maps, shards.feature_set, maps_at_once(of), "average descriptors"
            )
            computed = shards.fill(ids, produce, {}, force=config.force)
            return Output(
                content=shards.data_version(ids),
                summary={"images": len(ids), "newly computed": computed},
                rows=len(ids),
                feature_set=shards.feature_set,
            )

        try:
            return materialize_shards(context, config, shards, ids, work_out, (source,))
        finally:
            maps.close()

    return averages


descriptor_assets = [
    asset for scale in SCALES for asset in (local_descriptors(scale), average_descriptors(scale))
]

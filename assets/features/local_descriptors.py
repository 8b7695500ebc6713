"""Local descriptors of a frozen network at three image sizes, and their averages.

Farhat and Sicre, sections 6.1 and 6.2.
"""

import dagster as dg
import numpy as np
from pydantic import PositiveInt

from assets.core.manifest_rows import scored_ids
from assets.core.originals import Originals
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.settings import CodePrecisionSetting, StageConfig
from assets.core.shards import in_blocks
from assets.core.stage import stage
from assets.features.frozen_networks import (
    BackboneConfig,
    FrozenNetwork,
    Pixels,
    frozen_network,
    network_plan,
)
from assets.images import PreparedImagesConfig
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import NetworkFacts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.studies.farhat_vlad import FARHAT_VLAD, SCALES, average_at, side_of_scale
from resources.store.feature_store import FeatureReader, FeatureStore

GROUP = "descriptors"
CODE_VERSION = "1"
MEMORY_BYTES = 2**29
"""Maximum bytes of maps in memory at once, as float32."""
IMAGES_AT_ONCE = 32
"""Images decoded at once (70 MB of them at the largest scale)."""


class DescriptorConfig(CodePrecisionSetting, BackboneConfig, PreparedImagesConfig):
    """Settings of `local_descriptors_scale*`."""

    backbone: str = "vgg19"
    """Network of torchvision, or of timm ("timm/...")."""
    layer: str = "block5_pool"
    """Layer of the network: a module path, or a name that it is known by (block1_pool to
    block5_pool, conv5)."""
    backbone_weights: str = "auto"
    """Weights of the network: "auto" (MEDFEAT_WEIGHTS_DIR, torch's cache, download), a .safetensors
    or .pth file, or "random"."""
    batch_size: PositiveInt = 16
    """Images of 224 x 224 pixels in a forward pass, fewer of larger ones; changes speed, not
    results beyond rounding."""


def maps_at_once(features: FeatureSet) -> int:
    """Number of images whose maps fit into MEMORY_BYTES."""
    return max(MEMORY_BYTES // (4 * int(np.prod(features.row_shape))), 1)


def descriptors_asset(scale: int) -> str:
    """Asset of the local descriptors at a scale."""
    return f"local_descriptors_scale{scale}"


def open_descriptors(here: Stage[StageConfig], scale: int, ids: list[str]) -> FeatureReader:
    """Reader over the maps (C, h, w) of ``ids`` at a scale.

    Raises:
        InputError: they have not been materialised, or the layer gives a vector.
    """
    reader = here.features(descriptors_asset(scale), ids)
    if len(reader.feature_set.row_shape) != 3:
        raise InputError(
            f"{reader.feature_set.backbone} {reader.feature_set.layer} gives a vector for an image,"
            " not local descriptors",
            "Name a layer of maps",
        )
    return reader


def local_descriptors(scale: int) -> dg.AssetsDefinition:
    """Maps of the labelled images at one scale."""
    side = side_of_scale(scale)

    @stage(
        DescriptorConfig,
        name=descriptors_asset(scale),
        description="VGG-19 block5_pool, or another network and layer, of the labelled images at "
        f"{side} x {side} pixels, (N, C, h, w) in HDF5 shards: a local descriptor for each place. "
        "Resized from the original files.",
        group=GROUP,
        order=3,
        kinds={"pytorch", "hdf5"},
        code_version=CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST,),
        facts=NetworkFacts,
        features_of=scored_ids,
        uses_device=True,
    )
    def descriptors(here: Stage[DescriptorConfig]) -> Plan:
        config = here.config
        ids = scored_ids(here.store, here.dataset)
        frozen = frozen_network(config.backbone, config.layer, config.backbone_weights, side)
        _check_side(frozen, scale)
        batch_size = max(config.batch_size * side_of_scale(0) ** 2 // side**2, 1)
        return network_plan(here, frozen, _resized_pixels(here, side), ids, batch_size)

    return descriptors


def _check_side(frozen: FrozenNetwork, scale: int) -> None:
    """Refuse a scale at which a network would resize the images itself.

    Raises:
        UnavailableError: it resizes every image to one other size.
        InputError: the same, at the scale without which there is nothing to report.
    """
    side = side_of_scale(scale)
    if frozen.input_side in (None, side):
        return
    reason = (
        f"{frozen.name} sees every image at {frozen.input_side} x {frozen.input_side} pixels, "
        f"not at {side}"
    )
    if FARHAT_VLAD.method(average_at(scale)).in_main_job:
        raise InputError(reason, "Name a network that takes images of any size, or of this one")
    raise UnavailableError(reason)


def _resized_pixels(here: Stage[DescriptorConfig], side: int) -> Pixels:
    """The original images at ``side`` x ``side`` pixels."""
    from methods.imaging.preprocessing import PreprocessingSettings

    config = here.config
    settings = PreprocessingSettings(config.resize, side, config.voi, config.decode)
    originals = Originals(here.store, here.dataset)
    return Pixels(
        take=lambda batch: originals.squares(batch, settings),
        preprocessing={
            "resize": config.resize,
            "voi": config.voi,
            "decode": config.decode,
            "size": side,
        },
        images_at_once=IMAGES_AT_ONCE,
    )


def average_descriptors(scale: int) -> dg.AssetsDefinition:
    """Mean descriptor of each labelled image at one scale."""
    source = descriptors_asset(scale)

    @stage(
        StageConfig,
        name=FARHAT_VLAD.method(average_at(scale)).features,
        description="Mean of the local descriptors of each labelled image at scale "
        f"{scale}, (N, C) in HDF5 shards.",
        group=GROUP,
        order=5,
        kinds={"numpy", "hdf5"},
        code_version=CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, source),
        features_of=scored_ids,
    )
    def averages(here: Stage[StageConfig]) -> Plan:
        return _average_plan(here, scale)

    return averages


def _average_plan(here: Stage[StageConfig], scale: int) -> Plan:
    """The plan of the mean descriptors of the labelled images."""
    source = descriptors_asset(scale)
    here.needs(source)
    ids = scored_ids(here.store, here.dataset)
    maps = open_descriptors(here, scale, ids)
    of_maps = maps.feature_set
    features = of_maps.derived(
        here.asset, "float32", of_maps.row_shape[:1], {"descriptors": of_maps.key}, CODE_VERSION
    )
    shards = FeatureStore(here.store, here.dataset, features)

    def compute(work: Work) -> Output:
        from methods.features.descriptors import average

        caption = "average descriptors"
        produce = in_blocks(average, maps, features, maps_at_once(of_maps), caption)
        computed = shards.fill(ids, produce, {}, force=here.config.force)
        return Output.of_shards(
            shards, ids, summary={"images": len(ids), "newly computed": computed}
        )

    return Plan.of_shards(shards, ids, compute)


ASSETS = [
    asset for scale in SCALES for asset in (local_descriptors(scale), average_descriptors(scale))
]

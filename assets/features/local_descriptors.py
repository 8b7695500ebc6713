"""Local descriptors of a frozen network at three image sizes, and their averages.

Farhat and Sicre, sections 6.1 and 6.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
from data_contracts.records.feature_shard import FeatureDtype, FeatureSet
from data_contracts.records.notices import OTHER_NETWORK
from data_contracts.studies.farhat_vlad import FARHAT_VLAD, SCALES, average_at, side_of_scale
from resources.store.feature_store import FeatureReader, FeatureStore
from resources.weights import WeightsMissingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUP = "descriptors"
CODE_VERSION = "1"
MEMORY_BYTES = 2**29
"""Maximum bytes of maps in memory at once, as float32."""
IMAGES_AT_ONCE = 32
"""Images decoded at once (70 MB of them at the largest scale)."""


VGG19, STAND_IN = "vgg19", "vgg16"
"""The paper's network, and the one by the same authors, three convolutions less deep, with as many
channels in each block, that takes its place where only its weights are there."""


class DescriptorConfig(CodePrecisionSetting, BackboneConfig, PreparedImagesConfig):
    """Settings of `local_descriptors_scale*`."""

    backbone: str = VGG19
    """Network of torchvision, or of timm ("timm/..."). VGG-16 takes the place of VGG-19 where there
    are no weights of the latter up to the layer; titles and a notice say so."""
    layer: str = "block5_pool"
    """Layer of the network: a module path, or a name that it is known by (block1_pool to
    block5_pool, conv5)."""
    backbone_weights: str = "auto"
    """Weights of the network: "auto" (MEDFEAT_WEIGHTS_DIR, torch's cache, download), a .safetensors
    or .pth file, or "random"."""
    batch_size: PositiveInt = 16
    """Images of 224 x 224 pixels in a forward pass, fewer of larger ones; changes speed, not
    results beyond rounding."""


def descriptors_asset(scale: int) -> str:
    """Asset of the local descriptors at a scale."""
    return f"local_descriptors_scale{scale}"


@dataclass(frozen=True)
class LocalDescriptors:
    """Local descriptors of images, at one scale or at several.

    Attributes:
        readers: reader over the maps (C, h, w) at each scale, of the same images.
    """

    readers: tuple[FeatureReader, ...]

    @property
    def image_ids(self) -> list[str]:
        """Ids of the images, in the order of the rows."""
        return self.readers[0].image_ids

    @property
    def width(self) -> int:
        """Numbers of a descriptor, C."""
        return self.readers[0].feature_set.row_shape[0]

    @property
    def places(self) -> int:
        """Descriptors of an image."""
        return sum(int(np.prod(maps.feature_set.row_shape[1:])) for maps in self.readers)

    @property
    def at_once(self) -> int:
        """Number of images whose descriptors fit into MEMORY_BYTES."""
        return max(MEMORY_BYTES // (4 * self.width * self.places), 1)

    @property
    def keys(self) -> str | list[str]:
        """Key of the set of maps; of each where there are several scales."""
        keys = [maps.feature_set.key for maps in self.readers]
        return keys[0] if len(keys) == 1 else keys

    def take(self, positions: "Sequence[int] | NDArray[np.int64]") -> np.ndarray:
        """Return descriptors by the positions of images, (m, places, C) float32."""
        from methods.features.descriptors import as_descriptors

        parts = [as_descriptors(maps.take(positions)) for maps in self.readers]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def derived(
        self, kind: str, dtype: FeatureDtype, width: int, method: dict[str, Any], version: str
    ) -> FeatureSet:
        """The set of the rows, ``width`` numbers each, that are computed from these descriptors."""
        first = self.readers[0].feature_set
        rows = first.derived(kind, dtype, (width,), {"descriptors": self.keys, **method}, version)
        if len(self.readers) == 1:
            return rows
        sizes = [maps.feature_set.preprocessing.get("size") for maps in self.readers]
        return rows.model_copy(update={"preprocessing": {**rows.preprocessing, "size": sizes}})


def open_descriptors(
    here: Stage[StageConfig], scales: Sequence[int], ids: list[str]
) -> LocalDescriptors:
    """Local descriptors of ``ids`` at these scales.

    Raises:
        InputError: they have not been materialised, or the layer gives a vector.
    """
    readers = tuple(here.features(descriptors_asset(scale), ids) for scale in scales)
    for maps in readers:
        if len(maps.feature_set.row_shape) != 3:
            raise InputError(
                f"{maps.feature_set.backbone} {maps.feature_set.layer} gives a vector for an "
                "image, not local descriptors",
                "Name a layer of maps",
            )
    return LocalDescriptors(readers)


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
        ready=_network_is_there,
    )
    def descriptors(here: Stage[DescriptorConfig]) -> Plan:
        config = here.config
        ids = scored_ids(here.store, here.dataset)
        frozen = _network(config, side)
        _check_side(frozen, scale)
        batch_size = max(config.batch_size * side_of_scale(0) ** 2 // side**2, 1)
        return network_plan(here, frozen, _resized_pixels(here, side), ids, batch_size)

    return descriptors


def _network(config: DescriptorConfig, side: int) -> FrozenNetwork:
    """The network of the settings, or VGG-16 where VGG-19 has no weights up to the layer.

    Raises:
        InputError: see :func:`frozen_network`.
    """
    backbone, layer, source = config.backbone, config.layer, config.backbone_weights
    try:
        return frozen_network(backbone, layer, source, side)
    except WeightsMissingError as error:
        if (backbone, source) != (VGG19, "auto"):
            raise
        try:
            found = frozen_network(STAND_IN, layer, source, side)
        except InputError:
            raise error from None
        reason = OTHER_NETWORK.says(f"VGG-16 takes the place of VGG-19 ({error.what})")
        return replace(found, stands_in=reason)


def _network_is_there(config: DescriptorConfig) -> None:
    """Check that the network of the settings has weights up to its layer, at the first scale.

    Raises:
        InputError: see :func:`frozen_network`.
    """
    _network(config, side_of_scale(0))


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
    here.needs(descriptors_asset(scale))
    ids = scored_ids(here.store, here.dataset)
    descriptors = open_descriptors(here, (scale,), ids)
    features = descriptors.derived(here.asset, "float32", descriptors.width, {}, CODE_VERSION)
    shards = FeatureStore(here.store, here.dataset, features)

    def compute(work: Work) -> Output:
        from methods.features.descriptors import average

        caption = "average descriptors"
        produce = in_blocks(average, descriptors, features, descriptors.at_once, caption)
        computed = shards.fill(ids, produce, {}, force=here.config.force)
        return Output.of_shards(
            shards, ids, summary={"images": len(ids), "newly computed": computed}
        )

    return Plan.of_shards(shards, ids, compute)


ASSETS = [
    asset for scale in SCALES for asset in (local_descriptors(scale), average_descriptors(scale))
]

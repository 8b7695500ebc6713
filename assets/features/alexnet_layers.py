"""Outputs of all layers of AlexNet for regions of interest (Huynh et al. 2016, section 2.3)."""

from itertools import accumulate
from math import prod

import numpy as np

from assets.core.manifest_rows import scored_ids
from assets.core.originals import Originals
from assets.core.plan import Plan, Stage
from assets.core.settings import CodePrecisionSetting, DicomWindowSetting
from assets.core.stage import stage
from assets.features.frozen_networks import AlexNetConfig, FrozenNetwork, Pixels, network_plan
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import NetworkFacts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.studies.huynh2016 import LAYER_SHAPES, NETWORK_PIXELS
from resources.weights import network_weights

GROUP = "lesions"
IMAGES_AT_ONCE = 64
"""Images whose layers are in memory as float32 at once (about 3 MB each)."""


class AlexNetLayersConfig(CodePrecisionSetting, DicomWindowSetting, AlexNetConfig):
    """Settings of `alexnet_layers`."""


def layer_columns(features: FeatureSet) -> dict[str, tuple[int, int]]:
    """First column of each stored layer, and the one after its last."""
    layers = str(features.layer).split()
    stops = list(accumulate(prod(LAYER_SHAPES[layer]) for layer in layers))
    return dict(zip(layers, zip([0, *stops[:-1]], stops, strict=True), strict=True))


def _layers_are_there(config: AlexNetLayersConfig) -> None:
    """Check that there are weights of AlexNet; raises as :func:`_all_layers`."""
    _all_layers(config.weights)


@stage(
    AlexNetLayersConfig,
    group=GROUP,
    order=3,
    kinds={"pytorch", "hdf5"},
    code_version="2",
    inputs=(names.IMAGE_MANIFEST,),
    facts=NetworkFacts,
    features_of=scored_ids,
    uses_device=True,
    ready=_layers_are_there,
)
def alexnet_layers(here: Stage[AlexNetLayersConfig]) -> Plan:
    """All layers of AlexNet from one forward pass on the grey 256 x 256 image.

    They follow each other in a row, (N, D) in HDF5 shards.
    """
    ids = scored_ids(here.store, here.dataset)
    return network_plan(here, _all_layers(here.config.weights), _grey_pixels(here), ids)


def _all_layers(source: str) -> FrozenNetwork:
    """AlexNet with the weights that ``source`` names, and all of its layers as one row.

    Raises:
        InputError: the weights are missing, or are another network's.
    """
    from methods.features.alexnet_layers import AlexNetLayers, fresh_alexnet
    from methods.features.frozen_network import WrongWeightsError
    from methods.features.networks import load_tensors

    weights = network_weights("alexnet", source)
    whole = fresh_alexnet()
    try:
        network = AlexNetLayers(whole, load_tensors(whole, weights.tensors))
    except WrongWeightsError as error:
        raise InputError(
            f"{weights.origin} does not hold AlexNet: {error}", "Name the right file"
        ) from None
    width = sum(prod(LAYER_SHAPES[layer]) for layer in network.layers)
    return FrozenNetwork("alexnet", " ".join(network.layers), weights, network, (width,))


def _grey_pixels(here: Stage[AlexNetLayersConfig]) -> Pixels:
    """The original images at 256 x 256, grey in three channels."""
    from methods.imaging.grey import luma_uint8
    from methods.imaging.preprocessing import PreprocessingSettings

    voi = here.config.voi
    settings = PreprocessingSettings(size=NETWORK_PIXELS, voi=voi)
    originals = Originals(here.store, here.dataset)

    def grey_images(batch: list[str]) -> np.ndarray:
        grey = luma_uint8(originals.squares(batch, settings))
        return np.repeat(grey[..., None], 3, axis=3)

    return Pixels(
        take=grey_images,
        preprocessing={"size": NETWORK_PIXELS, "voi": voi, "colour": "luma"},
        images_at_once=IMAGES_AT_ONCE,
    )


ASSETS = [alexnet_layers]

"""What every layer of AlexNet gives for the grey regions of interest (Huynh et al. 2016, section
2.3).
"""

from functools import cache
from itertools import accumulate
from math import prod
from typing import Literal

import dagster as dg
import numpy as np

from assets.core.manifest_rows import manifest_of, scored_ids
from assets.core.originals import Originals
from assets.core.partitions import DATASETS
from assets.core.stage import plain_failures
from assets.features.frozen_networks import AlexNetConfig, Frozen, Pixels, extract_features_of
from assets.images import image_manifest
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.studies.huynh2016 import LAYER_SHAPES, NETWORK_PIXELS
from data_contracts.tables.manifest import ok_rows
from resources.compute import Compute
from resources.store.dataset_store import DatasetStore
from resources.weights import network_weights

GROUP = "lesions"
IMAGES_AT_ONCE = 64
"""Images whose layers are held as float32: 3 MB each."""


class AlexNetLayersConfig(AlexNetConfig):
    """Settings of `alexnet_layers`."""

    dtype: Literal["float16", "float32"] = "float16"
    """Stored precision."""
    voi: Literal["file", "full"] = "file"
    """Grey values of DICOM: "file" takes the file's own window, "full" all of its range."""


def layer_columns(features: FeatureSet) -> dict[str, tuple[int, int]]:
    """First column of each stored layer, and the one after its last."""
    layers = str(features.layer).split()
    stops = list(accumulate(prod(LAYER_SHAPES[layer]) for layer in layers))
    return dict(zip(layers, zip([0, *stops[:-1]], stops, strict=True), strict=True))


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[image_manifest],
    kinds={"pytorch", "hdf5"},
    code_version="1",
    pool="gpu",
    tags={"stage": "3"},
)
def alexnet_layers(
    context: dg.AssetExecutionContext,
    config: AlexNetLayersConfig,
    store: DatasetStore,
    compute: Compute,
) -> dg.MaterializeResult:
    """All of AlexNet's layers from one forward pass on the grey 256 x 256 image, one after another
    in a row, (N, D).
    """
    from methods.features.alexnet_layers import AlexNetLayers, fresh_alexnet, grey_copied
    from methods.features.frozen_network import WrongWeightsError
    from methods.features.networks import load_tensors
    from methods.imaging.preprocessing import PreprocessingSettings

    dataset = context.partition_key
    with plain_failures():
        device = compute.resolve()
        ids = scored_ids(store, dataset)
        weights = network_weights("alexnet", config.weights)
        whole = fresh_alexnet()
        try:
            network = AlexNetLayers(whole, load_tensors(whole, weights.tensors))
        except WrongWeightsError as error:
            raise InputError(
                f"{weights.origin} does not hold AlexNet: {error}", "Name the right file"
            ) from None
    width = sum(prod(LAYER_SHAPES[layer]) for layer in network.layers)
    frozen = Frozen("alexnet", " ".join(network.layers), weights, network, (width,))
    settings = PreprocessingSettings(size=NETWORK_PIXELS, voi=config.voi)
    originals = cache(
        lambda: Originals(store, dataset, ok_rows(manifest_of(store, dataset)).to_pylist())
    )

    def grey_images(some: list[str]) -> np.ndarray:
        return grey_copied(originals().squares(some, settings))

    pixels = Pixels(
        take=grey_images,
        preprocessing={"size": NETWORK_PIXELS, "voi": config.voi, "colour": "grey"},
        inputs=("image_manifest",),
        at_once=IMAGES_AT_ONCE,
    )
    return extract_features_of(pixels, context, config, store, device, frozen, ids)

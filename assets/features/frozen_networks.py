"""Features of frozen, pre-trained networks."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import dagster as dg
import numpy as np
from pydantic import PositiveInt

from assets.core.manifest_rows import scored_ids, usable_ids
from assets.core.partitions import DATASETS
from assets.core.shards import READ_ROWS, open_features
from assets.core.stage import (
    Output,
    StageConfig,
    Work,
    materialize,
    materialize_nothing,
    plain_failures,
)
from assets.images import image_manifest, prepared_images
from data_contracts.errors import ContractError, InputError
from data_contracts.records.facts import NetworkFacts
from data_contracts.records.feature_shard import FeatureSet
from resources.compute import Compute
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.weights import Weights, WeightsMissingError, alexnet_weights, network_weights

if TYPE_CHECKING:
    from torch import nn

    from methods.features.networks import NetworkInput

CODE_VERSION = "3"
CONV5_CODE_VERSION = "4"
"""Code version of AlexNet's conv5 features, whose layers are computed by code of our own."""
CONV5 = ("alexnet", "conv5")


class NetworkConfig(StageConfig):
    """Settings of every asset of a network's features."""

    speed_only: ClassVar[frozenset[str]] = frozenset({"force", "batch_size"})

    dtype: Literal["float16", "float32"] = "float32"
    """Stored precision."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the network's products; "bfloat16" where the processor or the card has units for it, at a
    loss of digits."""
    batch_size: PositiveInt = 64
    """Images a forward pass; changes speed, not results beyond rounding."""


class AlexNetConfig(NetworkConfig):
    """Settings of `alexnet_conv5` and `alexnet_fc7`."""

    weights: str = "auto"
    """"auto" (MEDFEAT_WEIGHTS_DIR, torch's cache, download), a .safetensors or .pth file, or
    "random"."""


class GoogLeNetConfig(NetworkConfig):
    """Settings of `googlenet_pool5`."""

    googlenet_weights: str = "auto"
    """As `weights`, for GoogLeNet."""


class BackboneConfig(NetworkConfig):
    """Settings of `backbone_features`."""

    backbone: str = "alexnet"
    """Network of torchvision, or of timm ("timm/..."), that the auto-encoder sits on."""
    layer: str = "conv5"
    """Its layer: a module path ("layer4", "blocks.11"), or a name that the network is known by
    (conv5, fc7, pool5)."""
    backbone_weights: str = "auto"
    """As `weights`, for a backbone other than AlexNet conv5."""


@dataclass(frozen=True)
class Frozen:
    """A pre-trained network up to one layer.

    Attributes:
        name: of the network.
        layer: as asked for.
        weights: where they came from.
        network: (N, H, W, 3) uint8 -> rows of ``row_shape``.
        row_shape: of one image.
        own_input: what the weights want, where that is not what the network wants in its library.
        input_side: height and width that it resizes every image to, or None where it takes any.
    """

    name: str
    layer: str
    weights: Weights
    network: "nn.Module"
    row_shape: tuple[int, ...]
    own_input: "NetworkInput | None" = None
    input_side: int | None = None


def frozen_network(name: str, layer: str, source: str, side: int) -> Frozen:
    """The network ``name`` up to ``layer`` with the weights that ``source`` names, for images of
    ``side`` pixels.

    Raises:
        WeightsMissingError: no weights were found, or those that were lack tensors that the layer
            needs.
        InputError: unknown network or layer, or the weights are of another network.
    """
    from methods.features import frozen_network

    if (name, layer) == CONV5:
        weights = alexnet_weights(source)
        network = frozen_network.Conv5Extractor(weights.tensors)
        return Frozen(name, layer, weights, network, network.row_shape(side))
    from methods.features import networks

    try:
        whole = networks.new_network(name)
        weights = network_weights(name, source)
        tensors, own_input = networks.for_rgb(name, weights.tensors)
        missing = networks.load_tensors(whole, tensors)
    except networks.UnknownNetworkError as error:
        raise InputError(
            str(error), "Name a network of torchvision.models, or timm/NAME with timm installed"
        ) from None
    except frozen_network.WrongWeightsError as error:
        raise InputError(
            f"{weights.origin} does not hold {name}: {error}", "Name the right file"
        ) from None
    wants = own_input or networks.network_input(name)
    try:
        tap = networks.LayerTap(whole, layer, wants, missing, name)
    except networks.UnknownLayerError as error:
        raise InputError(str(error), "Name one of these layers") from None
    except frozen_network.WrongWeightsError as error:
        raise WeightsMissingError(
            f"{weights.origin}: {error}",
            f"Put a file of the whole {name} into the folder of MEDFEAT_WEIGHTS_DIR",
        ) from None
    return Frozen(name, layer, weights, tap, tap.row_shape(side), own_input, wants.size)


def network_up_to(name: str, layer: str) -> "nn.Module":
    """The network of :func:`frozen_network` with fresh weights, for those of a stored model."""
    from methods.features import frozen_network, networks

    if (name, layer) == CONV5:
        return frozen_network.Conv5Extractor(frozen_network.random_alexnet())
    return networks.LayerTap(
        networks.new_network(name), layer, networks.network_input(name), name=name
    )


@dataclass(frozen=True)
class Pixels:
    """Images that a network is given.

    Attributes:
        take: identifiers of images -> (n, side, side, 3) uint8, in their order.
        preprocessing: what was done to them.
        inputs: assets that they come from.
        at_once: images a call, bounds the memory.
    """

    take: Callable[[list[str]], np.ndarray]
    preprocessing: dict[str, Any]
    inputs: tuple[str, ...]
    at_once: int


def materialize_shards(
    context: dg.AssetExecutionContext,
    config: StageConfig,
    shards: FeatureStore,
    ids: list[str],
    compute: Callable[[Work], Output],
    inputs: tuple[str, ...],
) -> dg.MaterializeResult[Any]:
    """Run ``compute``, which fills ``shards`` with the rows of ``ids``, unless they are all there
    and verified.
    """
    return materialize(
        context,
        shards.store,
        config,
        compute,
        inputs=inputs,
        known_by={"set": shards.feature_set.key, "images": ids},
        still_whole=lambda: not shards.missing(ids),
    )


def extract_features(
    context: dg.AssetExecutionContext,
    config: NetworkConfig,
    store: DatasetStore,
    device: str,
    frozen: Frozen,
    ids: list[str],
) -> dg.MaterializeResult[Any]:
    """Store the rows of prepared images under a frozen network as the output of this asset."""
    with plain_failures():
        images = open_features(store, context.partition_key, "prepared_images", ids)
    position = {image_id: i for i, image_id in enumerate(ids)}
    pixels = Pixels(
        take=lambda some: images.take([position[image_id] for image_id in some]),
        preprocessing=images.feature_set.preparation,
        inputs=("prepared_images",),
        at_once=READ_ROWS,
    )
    try:
        return extract_features_of(pixels, context, config, store, device, frozen, ids)
    finally:
        images.close()


def extract_features_of(
    pixels: Pixels,
    context: dg.AssetExecutionContext,
    config: NetworkConfig,
    store: DatasetStore,
    device: str,
    frozen: Frozen,
    ids: list[str],
    batch_size: int | None = None,
) -> dg.MaterializeResult[Any]:
    """Store the rows of ``ids`` under a frozen network as this asset's output; ``batch_size``
    replaces the configured one.
    """
    dataset, asset = context.partition_key, context.asset_key.path[-1]
    shards = FeatureStore(
        store,
        dataset,
        FeatureSet(
            kind=asset,
            dtype=config.dtype,
            row_shape=frozen.row_shape,
            preprocessing=pixels.preprocessing,
            backbone=frozen.name,
            weights_sha256=frozen.weights.sha256,
            layer=frozen.layer,
            method=({} if config.precision == "float32" else {"precision": config.precision})
            | ({"input": asdict(frozen.own_input)} if frozen.own_input else {}),
            code_version=CONV5_CODE_VERSION
            if (frozen.name, frozen.layer) == CONV5
            else CODE_VERSION,
        ),
    )

    def work_out(work: Work) -> Output:
        import torch

        from methods.features import frozen_network

        network, target = frozen.network.to(device), torch.device(device)

        def produce(wanted: list[str]) -> np.ndarray:
            rows = np.empty((len(wanted), *shards.feature_set.row_shape), shards.feature_set.dtype)
            for start in progress(
                range(0, len(wanted), pixels.at_once), f"{frozen.name} {frozen.layer} features"
            ):
                some = pixels.take(wanted[start : start + pixels.at_once])
                made = frozen_network.extract(
                    network, some, target, batch_size or config.batch_size, config.precision
                )
                rows[start : start + len(some)] = made
            return rows

        origin = frozen.weights.origin + (
            " (BGR, 0 to 255 less the mean colour)" if frozen.own_input else ""
        )
        computed = shards.fill(
            ids, produce, {"torch": torch.__version__, "device": device}, force=config.force
        )
        return Output(
            content=shards.data_version(ids),
            pictures=_pictures(pixels, shards, ids, frozen),
            summary={
                "images": len(ids),
                "newly computed": computed,
                "network": frozen.name,
                "layer": frozen.layer,
                "row of an image": " x ".join(map(str, frozen.row_shape)),
                "weights": origin,
                "weights sha256": frozen.weights.sha256,
                "stored MB": round(shards.stored_bytes() / 1e6, 1),
            },
            notices=[frozen.weights.notice] if frozen.weights.notice else [],
            rows=len(ids),
            device=device,
            feature_set=shards.feature_set,
            facts=NetworkFacts(
                network=frozen.name,
                layer=frozen.layer,
                weights=origin,
                weights_sha256=frozen.weights.sha256,
            ),
        )

    return materialize_shards(context, config, shards, ids, work_out, pixels.inputs)


def _pictures(
    pixels: Pixels, shards: FeatureStore, ids: list[str], frozen: Frozen
) -> list[tuple[str, bytes]]:
    """Of a network's maps; vectors have none."""
    if len(frozen.row_shape) != 3:
        return []
    from methods.reporting import figures

    reader = shards.reader(ids)
    first, sample = pixels.take(ids[:1])[0], reader.rows(0, pixels.at_once).astype(np.float32)
    reader.close()
    name = (
        "AlexNet conv5" if (frozen.name, frozen.layer) == CONV5 else f"{frozen.name} {frozen.layer}"
    )
    return [
        (
            f"strongest {frozen.layer} maps of one image",
            figures.feature_maps(first, sample[0], name),
        ),
        (f"{frozen.layer} activations", figures.activation_summary(sample)),
    ]


def side_of(store: DatasetStore, dataset: str) -> int:
    """Height and width of a dataset's prepared images, in pixels."""
    record = store.need_record(dataset, "prepared_images")
    if record.feature_set is None:
        raise ContractError(
            f"prepared_images of {dataset} stores no images", "Materialise it again with force"
        )
    return record.feature_set.row_shape[0]


@dg.asset(
    partitions_def=DATASETS,
    group_name="features",
    deps=[prepared_images],
    kinds={"pytorch", "hdf5"},
    code_version=CONV5_CODE_VERSION,
    pool="gpu",
    tags={"stage": "3"},
)
def alexnet_conv5(
    context: dg.AssetExecutionContext, config: AlexNetConfig, store: DatasetStore, compute: Compute
) -> dg.MaterializeResult:
    """AlexNet conv5 features after ReLU and max-pool, (N, 256, 6, 6) in HDF5 shards (Ahn et al.
    2019, section 2.4).
    """
    dataset = context.partition_key
    with plain_failures():
        device = compute.resolve()
        frozen = frozen_network(*CONV5, config.weights, side_of(store, dataset))
        ids = usable_ids(store, dataset)
    return extract_features(context, config, store, device, frozen, ids)


@dg.asset(
    partitions_def=DATASETS,
    group_name="features",
    deps=[prepared_images, alexnet_conv5],
    kinds={"pytorch", "hdf5"},
    code_version=CODE_VERSION,
    pool="gpu",
    tags={"stage": "3"},
)
def backbone_features(
    context: dg.AssetExecutionContext, config: BackboneConfig, store: DatasetStore, compute: Compute
) -> dg.MaterializeResult:
    """Maps that the auto-encoder sits on: AlexNet conv5's own shards, or those of any other network
    and layer, (N, C, h, w).
    """
    dataset = context.partition_key
    if (config.backbone, config.layer) != CONV5:
        with plain_failures():
            device = compute.resolve()
            frozen = frozen_network(
                config.backbone, config.layer, config.backbone_weights, side_of(store, dataset)
            )
            if len(frozen.row_shape) != 3 or min(frozen.row_shape[1:]) < 2:
                raise InputError(
                    f"{config.layer} of {config.backbone} gives rows of shape {frozen.row_shape}",
                    "The auto-encoder wants maps of at least 2 x 2: choose an earlier layer",
                )
            ids = usable_ids(store, dataset)
        return extract_features(context, config, store, device, frozen, ids)
    with plain_failures():
        if config.backbone_weights != "auto":
            raise InputError(
                "backbone_weights is of a backbone other than AlexNet conv5",
                "Set weights for AlexNet",
            )
        source = store.need_record(dataset, "alexnet_conv5")

    def same_shards(work: Work) -> Output:
        return Output(
            content=source.data_version,
            summary={
                "network": CONV5[0],
                "layer": CONV5[1],
                "shards": "those of alexnet_conv5",
                "images": source.rows or 0,
            },
            rows=source.rows,
            feature_set=source.feature_set,
        )

    return materialize(
        context,
        store,
        config,
        same_shards,
        inputs=("alexnet_conv5",),
        known_by={"features": source.data_version},
    )


def _row_features(
    context: dg.AssetExecutionContext,
    config: NetworkConfig,
    store: DatasetStore,
    compute: Compute,
    network: str,
    layer: str,
    source: str,
) -> dg.MaterializeResult[Any]:
    """Features of the labelled images for a row of a table; the reason in their place where there
    are no weights for it.
    """
    dataset = context.partition_key
    with plain_failures():
        device = compute.resolve()
        ids = scored_ids(store, dataset)
        try:
            frozen = frozen_network(network, layer, source, side_of(store, dataset))
        except WeightsMissingError as error:
            return materialize_nothing(
                context, store, config, error.what, inputs=("prepared_images",)
            )
    return extract_features(context, config, store, device, frozen, ids)


@dg.asset(
    partitions_def=DATASETS,
    group_name="features",
    deps=[image_manifest, prepared_images],
    kinds={"pytorch", "hdf5"},
    code_version=CODE_VERSION,
    pool="gpu",
    tags={"stage": "3"},
)
def alexnet_fc7(
    context: dg.AssetExecutionContext, config: AlexNetConfig, store: DatasetStore, compute: Compute
) -> dg.MaterializeResult:
    """AlexNet fc7 features after ReLU, (N, 4096), of the labelled images: the transfer-learned
    AlexNet of table 2.
    """
    return _row_features(context, config, store, compute, "alexnet", "fc7", config.weights)


@dg.asset(
    partitions_def=DATASETS,
    group_name="features",
    deps=[image_manifest, prepared_images],
    kinds={"pytorch", "hdf5"},
    code_version=CODE_VERSION,
    pool="gpu",
    tags={"stage": "3"},
)
def googlenet_pool5(
    context: dg.AssetExecutionContext,
    config: GoogLeNetConfig,
    store: DatasetStore,
    compute: Compute,
) -> dg.MaterializeResult:
    """GoogLeNet pool5 features, (N, 1024), of the labelled images: the transfer-learned GoogLeNet
    of table 2.
    """
    return _row_features(
        context, config, store, compute, "googlenet", "pool5", config.googlenet_weights
    )

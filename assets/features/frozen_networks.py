"""Features of frozen, pre-trained networks.

A new backbone of torchvision or timm needs no code as the base of the auto-encoder (``--set
backbone=... layer=...``), and one entry ``Method.of_network`` in its study as a row of a table: its
asset is made of that entry.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
import numpy as np

from assets.core.manifest_rows import scored_ids, usable_ids
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.settings import (
    AlexNetWeightsSetting,
    FeaturePrecisionSetting,
    ForwardBatchSetting,
    StageConfig,
    weights_named_in,
    with_weights_of,
)
from assets.core.shards import READ_ROWS
from assets.core.stage import stage
from data_contracts import asset_names as names
from data_contracts.errors import ContractError, InputError
from data_contracts.records.facts import NetworkFacts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.studies.registry import STUDIES
from data_contracts.studies.study import Method
from methods.imaging.preprocessing import PreprocessingSettings
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore, Produce
from resources.weights import Weights, WeightsMissingError, alexnet_weights, network_weights

if TYPE_CHECKING:
    from torch import nn

    from methods.features.frozen_network import ImageNetwork
    from methods.features.variants import Variant

GROUP = "features"
CODE_VERSION = "3"
CONV5_CODE_VERSION = "4"
"""Code version of AlexNet's conv5 features, whose layers are computed by code of our own."""
CONV5 = ("alexnet", "conv5")
"""Network and layer of the paper, whose convolutions have a module of their own."""


class NetworkConfig(ForwardBatchSetting, FeaturePrecisionSetting):
    """Settings of every asset of a network's features."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the network's products; "bfloat16" is faster where the processor or the card
    has units for it, and loses digits."""


class AlexNetConfig(AlexNetWeightsSetting, NetworkConfig):
    """Settings of `alexnet_conv5`."""


class BackboneConfig(NetworkConfig):
    """Settings of `backbone_features`."""

    backbone: str = "alexnet"
    """Network of torchvision, or of timm ("timm/..."), that the auto-encoder is fitted on."""
    layer: str = "conv5"
    """Layer of the network: a module path ("layer4", "blocks.11"), or a name that it is known by
    (conv5, fc7, pool5)."""
    backbone_weights: str = "auto"
    """Weights of a backbone other than AlexNet conv5: "auto" (MEDFEAT_WEIGHTS_DIR, torch's cache,
    download), a .safetensors or .pth file, or "random"."""


@dataclass(frozen=True)
class FrozenNetwork:
    """A pre-trained network up to one layer.

    Attributes:
        name: name in torchvision or timm.
        layer: name of the layer whose output is taken.
        weights: the weights and where they came from.
        network: module from (N, H, W, 3) uint8 to rows of ``row_shape``.
        row_shape: shape of the features of one image.
        variant: what the weights are of, where that is not the library's network; else None.
        input_side: height and width that it resizes every image to; None where it takes any.
        stands_in: what a reader must know where it takes the place of the network asked for.
    """

    name: str
    layer: str
    weights: Weights
    network: "nn.Module"
    row_shape: tuple[int, ...]
    variant: "Variant | None" = None
    input_side: int | None = None
    stands_in: str = ""

    @property
    def notices(self) -> list[str]:
        """What a reader of any result on its features must know."""
        return [notice for notice in (self.stands_in, self.weights.notice) if notice]


def frozen_network(name: str, layer: str, source: str, side: int) -> FrozenNetwork:
    """Load a network up to one layer, with the weights that a setting names.

    Args:
        name: name in torchvision or timm.
        layer: module path, or a name that the network's layers are known by.
        source: "auto", "random" or a file of weights.
        side: height and width of the images in pixels.

    Raises:
        WeightsMissingError: no weights were found, or those that were lack tensors that the layer
            needs.
        InputError: unknown network or layer, or the weights are of another network.
    """
    from methods.features import frozen_network, networks, variants

    is_conv5 = (name, layer) == CONV5
    weights = alexnet_weights(source) if is_conv5 else network_weights(name, source)
    variant = variants.variant_of(weights.tensors)
    if is_conv5 and variant is None:
        network = frozen_network.Conv5Extractor(weights.tensors)
        return FrozenNetwork(name, layer, weights, network, network.row_shape(side))
    whole, missing = _loaded(name, weights, variant)
    network_input = variant.wants if variant else networks.network_input(name)
    known_as = variant.name if variant else name
    try:
        tap = networks.LayerTap(whole, layer, network_input, missing, known_as)
    except networks.UnknownLayerError as error:
        raise InputError(str(error), "Name one of these layers") from None
    except frozen_network.WrongWeightsError as error:
        raise WeightsMissingError(
            f"{weights.origin}: {error}",
            f"Put a file of the whole {name} into the folder of MEDFEAT_WEIGHTS_DIR, or name a "
            "layer that the file holds",
        ) from None
    row_shape = tap.row_shape(side)
    return FrozenNetwork(name, layer, weights, tap, row_shape, variant, network_input.size)


def _loaded(
    name: str, weights: Weights, variant: "Variant | None"
) -> tuple["nn.Module", frozenset[str]]:
    """The network ``name`` with these weights, and the names of its tensors that they lack.

    Raises:
        InputError: the weights are of another network.
    """
    from methods.features import frozen_network, networks

    if variant and not variant.is_called(name):
        raise InputError(
            f"{weights.origin} holds {variant.title}, not {name}",
            f"Ask for {variant.networks[0]}, or name the right file",
        )
    whole = variant.fresh() if variant else networks.new_network(name)
    tensors = variant.for_rgb(weights.tensors) if variant else weights.tensors
    try:
        return whole, networks.load_tensors(whole, tensors)
    except frozen_network.WrongWeightsError as error:
        raise InputError(
            f"{weights.origin} does not hold {name}: {error}", "Name the right file"
        ) from None


def network_up_to(name: str, layer: str, variant: str = "") -> "ImageNetwork":
    """Build the network of :func:`frozen_network` with random weights, to load a stored model.

    ``variant`` names one of ``methods.features.variants``; "" is the library's own network.
    """
    from methods.features import frozen_network, networks, variants

    if variant:
        own = variants.variant_called(variant)
        return networks.LayerTap(own.fresh(), layer, own.wants, name=own.name)
    if (name, layer) == CONV5:
        return frozen_network.Conv5Extractor(frozen_network.random_alexnet())
    return networks.LayerTap(
        networks.new_network(name), layer, networks.network_input(name), name=name
    )


@dataclass(frozen=True)
class Pixels:
    """Images that a network gets.

    Attributes:
        take: from ids of images to (n, side, side, 3) uint8, in their order.
        preprocessing: how they were prepared.
        images_at_once: images a call; bounds the memory.
    """

    take: Callable[[list[str]], np.ndarray]
    preprocessing: dict[str, Any]
    images_at_once: int


def prepared_pixels(here: Stage[StageConfig], ids: list[str]) -> Pixels:
    """The prepared images of ``ids``.

    Raises:
        InputError: they have not been prepared.
    """
    images = here.features(names.PREPARED_IMAGES, ids)
    position = {image_id: i for i, image_id in enumerate(ids)}
    return Pixels(
        take=lambda batch: images.take([position[image_id] for image_id in batch]),
        preprocessing=images.feature_set.preparation,
        images_at_once=READ_ROWS,
    )


def network_plan(
    here: Stage[NetworkConfig],
    frozen: FrozenNetwork,
    pixels: Pixels,
    ids: list[str],
    batch_size: int | None = None,
) -> Plan:
    """The plan that stores the features of ``ids`` under a frozen network.

    Args:
        here: stage of the features.
        frozen: the network.
        pixels: what it gets.
        ids: ids of the images, sorted.
        batch_size: images a forward pass; the configured number by default.
    """
    config, device = here.config, here.device
    shards = FeatureStore(here.store, here.dataset, _feature_set(here, frozen, pixels))

    def compute(work: Work) -> Output:
        import torch

        produce = _forward(
            frozen, pixels, shards.feature_set, config, device, batch_size or config.batch_size
        )
        attributes = {"torch": torch.__version__, "device": device}
        computed = shards.fill(ids, produce, attributes, force=config.force)
        facts = _network_facts(frozen)
        return Output.of_shards(
            shards,
            ids,
            pictures=_pictures(pixels, shards, ids, frozen),
            summary={
                "images": len(ids),
                "newly computed": computed,
                "network": frozen.name,
                "layer": frozen.layer,
                "row of an image": " x ".join(map(str, frozen.row_shape)),
                "weights": facts.weights,
                "weights sha256": facts.weights_sha256,
                "stored MB": shards.stored_megabytes(),
            },
            notices=frozen.notices,
            device=device,
            facts=facts,
        )

    return Plan.of_shards(shards, ids, compute)


def _feature_set(here: Stage[NetworkConfig], frozen: FrozenNetwork, pixels: Pixels) -> FeatureSet:
    """The rows that a frozen network gives; a setting at its default leaves no trace."""
    method: dict[str, Any] = {}
    if here.config.precision != "float32":
        method["precision"] = here.config.precision
    if frozen.variant:
        method["input"] = asdict(frozen.variant.wants)
    return FeatureSet(
        kind=here.asset,
        dtype=here.config.dtype,
        row_shape=frozen.row_shape,
        preprocessing=pixels.preprocessing,
        backbone=frozen.name,
        weights_sha256=frozen.weights.sha256,
        layer=frozen.layer,
        method=method,
        code_version=CONV5_CODE_VERSION if _is_conv5(frozen) else CODE_VERSION,
    )


def _is_conv5(frozen: FrozenNetwork) -> bool:
    """Whether a network is the paper's, up to the paper's layer."""
    return (frozen.name, frozen.layer) == CONV5 and frozen.variant is None


def _forward(
    frozen: FrozenNetwork,
    pixels: Pixels,
    features: FeatureSet,
    config: NetworkConfig,
    device: str,
    batch_size: int,
) -> Produce:
    """A function that fills shards of ``features`` by the network."""
    import torch

    from methods.features import frozen_network

    network, target = frozen.network.to(device), torch.device(device)

    def produce(batch: list[str]) -> np.ndarray:
        rows = np.empty((len(batch), *features.row_shape), features.dtype)
        starts = range(0, len(batch), pixels.images_at_once)
        caption = f"{frozen.name} {frozen.layer} features"
        for start in progress(starts, caption, len(batch), size=pixels.images_at_once):
            images = pixels.take(batch[start : start + pixels.images_at_once])
            rows[start : start + len(images)] = frozen_network.extract(
                network, images, target, batch_size, config.precision
            )
        return rows

    return produce


def _network_facts(frozen: FrozenNetwork) -> NetworkFacts:
    """The network, the layer and the weights, for the reports."""
    weights = frozen.weights.origin
    if variant := frozen.variant:
        colours = ", BGR, 0 to 255 less the mean colour" if variant.bgr else ""
        weights = f"{weights} ({variant.title}{colours})"
    return NetworkFacts(
        network=frozen.name,
        layer=frozen.layer,
        weights=weights,
        weights_sha256=frozen.weights.sha256,
    )


def _pictures(
    pixels: Pixels, shards: FeatureStore, ids: list[str], frozen: FrozenNetwork
) -> list[tuple[str, bytes]]:
    """Pictures of a network's maps; none where its features are vectors."""
    if len(frozen.row_shape) != 3:
        return []
    from methods.reporting import figures

    reader = shards.reader(ids)
    first = pixels.take(ids[:1])[0]
    sample = reader.rows(0, pixels.images_at_once).astype(np.float32)
    reader.close()
    name = "AlexNet conv5" if _is_conv5(frozen) else f"{frozen.name} {frozen.layer}"
    return [
        (
            f"strongest {frozen.layer} maps of one image",
            figures.feature_maps(first, sample[0], name),
        ),
        (f"{frozen.layer} activations", figures.activation_summary(sample)),
    ]


def side_of(store: DatasetStore, dataset: str) -> int:
    """Height and width of a dataset's prepared images, in pixels.

    Raises:
        InputError: they have not been prepared.
    """
    record = store.need_record(dataset, names.PREPARED_IMAGES)
    if record.feature_set is None:
        raise ContractError(
            f"prepared_images of {dataset} stores no images", "Materialise it again with force"
        )
    return record.feature_set.row_shape[0]


def _conv5_is_there(config: AlexNetConfig) -> None:
    """Check that there are weights of AlexNet conv5; raises as :func:`frozen_network`."""
    frozen_network(*CONV5, config.weights, PreprocessingSettings.size)


@stage(
    AlexNetConfig,
    group=GROUP,
    order=3,
    kinds={"pytorch", "hdf5"},
    code_version=CONV5_CODE_VERSION,
    inputs=(names.PREPARED_IMAGES,),
    facts=NetworkFacts,
    features_of=usable_ids,
    uses_device=True,
    ready=_conv5_is_there,
)
def alexnet_conv5(here: Stage[AlexNetConfig]) -> Plan:
    """AlexNet conv5 features after ReLU and max-pool (Ahn et al. 2019, section 2.4).

    One row of every usable image, (N, 256, 6, 6) in HDF5 shards.
    """
    side = side_of(here.store, here.dataset)
    frozen = frozen_network(*CONV5, here.config.weights, side)
    ids = usable_ids(here.store, here.dataset)
    return network_plan(here, frozen, prepared_pixels(here, ids), ids)


def _backbone_is_there(config: BackboneConfig) -> None:
    """Check that the auto-encoder can be fitted on the network and layer of the settings.

    Raises:
        InputError: see :func:`frozen_network`, or the layer gives no maps.
    """
    if (config.backbone, config.layer) != CONV5:
        _maps_network(config, PreprocessingSettings.size)


@stage(
    BackboneConfig,
    group=GROUP,
    order=3,
    kinds={"pytorch", "hdf5"},
    code_version=CODE_VERSION,
    inputs=(names.PREPARED_IMAGES, names.ALEXNET_CONV5),
    features_of=usable_ids,
    uses_device=True,
    ready=_backbone_is_there,
)
def backbone_features(here: Stage[BackboneConfig]) -> Plan:
    """Maps that the auto-encoder is fitted on, (N, C, h, w) in HDF5 shards.

    They are the shards of AlexNet conv5, or those of any other network and layer.
    """
    config = here.config
    if (config.backbone, config.layer) == CONV5:
        return _same_shards(here)
    frozen = _maps_network(config, side_of(here.store, here.dataset))
    ids = usable_ids(here.store, here.dataset)
    plan = network_plan(here, frozen, prepared_pixels(here, ids), ids)
    return replace(plan, inputs=(names.PREPARED_IMAGES,))


def _maps_network(config: BackboneConfig, side: int) -> FrozenNetwork:
    """The network of the settings, whose layer gives maps.

    Raises:
        InputError: see :func:`frozen_network`, or the layer gives no maps of 2 x 2 or more.
    """
    frozen = frozen_network(config.backbone, config.layer, config.backbone_weights, side)
    if len(frozen.row_shape) != 3 or min(frozen.row_shape[1:]) < 2:
        raise InputError(
            f"{config.layer} of {config.backbone} gives rows of shape {frozen.row_shape}",
            "The auto-encoder wants maps of at least 2 x 2: choose an earlier layer. For a vector "
            "and the SVM, make it a row of a study (docs/extending.md)",
        )
    return frozen


def _same_shards(here: Stage[BackboneConfig]) -> Plan:
    """The plan that refers to the shards of ``alexnet_conv5``.

    Raises:
        InputError: weights are set that would not be used.
    """
    if here.config.backbone_weights != "auto":
        raise InputError(
            "backbone_weights is of a backbone other than AlexNet conv5",
            "Set weights for AlexNet",
        )
    source = here.record(names.ALEXNET_CONV5)

    def compute(work: Work) -> Output:
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

    return Plan(compute, identity={"features": source.data_version}, inputs=(names.ALEXNET_CONV5,))


def network_features(method: Method) -> dg.AssetsDefinition:
    """The asset of the features that a row of a table takes from a frozen network.

    Args:
        method: an entry made by ``Method.of_network``.
    """
    assert method.network is not None  # noqa: S101 - the caller's choice of methods
    network, layer = method.network

    @stage(
        with_weights_of(network, NetworkConfig),
        name=method.features,
        description=f"Output of {network} {layer} for the labelled images, in HDF5 shards, for "
        f'the row "{method.title}".',
        group=GROUP,
        order=3,
        kinds={"pytorch", "hdf5"},
        code_version=CODE_VERSION,
        inputs=(names.IMAGE_MANIFEST, names.PREPARED_IMAGES),
        facts=NetworkFacts,
        features_of=scored_ids,
        uses_device=True,
    )
    def features(here: Stage[NetworkConfig]) -> Plan:
        ids = scored_ids(here.store, here.dataset)
        side = side_of(here.store, here.dataset)
        try:
            frozen = frozen_network(network, layer, weights_named_in(here.config, network), side)
        except WeightsMissingError as error:
            raise UnavailableError(error.what) from error
        return network_plan(here, frozen, prepared_pixels(here, ids), ids)

    return features


ROWS = {
    method.features: method
    for study in STUDIES.values()
    for method in study.methods
    if method.network is not None
}
"""Methods of all studies whose features a frozen network gives, by asset."""

ASSETS = [alexnet_conv5, backbone_features, *(network_features(row) for row in ROWS.values())]

"""Features of pre-trained networks."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import dagster as dg
import numpy as np

from assets.images import prepared_images, usable_ids
from assets.partitions import DATASETS
from assets.stage import Output, StageConfig, Work, materialize, plain_failures
from data_contracts.errors import ContractError
from data_contracts.feature_shard import FeatureSet
from resources.compute import Compute
from resources.dataset_store import DatasetStore
from resources.feature_store import FeatureReader, FeatureStore
from resources.progress import progress
from resources.weights import alexnet_weights

CONV5_CODE_VERSION = "1"
READ_ROWS = 256
"""Images read and computed at once: bounds the memory of every feature stage."""


class Conv5Config(StageConfig):
    """Settings of `alexnet_conv5`."""

    speed_only: ClassVar[frozenset[str]] = frozenset({"force", "batch_size"})

    weights: str = "auto"
    """"auto" (MEDFEAT_WEIGHTS_DIR, torch's cache, download), a .safetensors or .pth file, or "random"."""
    dtype: Literal["float16", "float32"] = "float32"
    """Stored precision."""
    batch_size: int = 64
    """Images a forward pass; changes speed, not results beyond rounding."""


def open_features(store: DatasetStore, dataset: str, asset: str, image_ids: Sequence[str] | None = None) -> FeatureReader:
    """Reader over the current shards of ``asset``: of all usable images, or of ``image_ids``.

    Raises:
        InputError: the asset has not been materialised, or is of another set of images.
    """
    record = store.need_record(dataset, asset)
    if record.feature_set is None:
        raise ContractError(f"{asset} of {dataset} stores no features", "Name an asset that does")
    ids = list(image_ids) if image_ids is not None else usable_ids(store, dataset)
    return FeatureStore(store, dataset, record.feature_set).reader(ids)


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
    context: dg.AssetExecutionContext, config: Conv5Config, store: DatasetStore, compute: Compute
) -> dg.MaterializeResult:
    """AlexNet conv5 features after ReLU and max-pool, (N, 256, 6, 6) in HDF5 shards (Ahn et al. 2019, section 2.4)."""
    from methods import backbones

    dataset = context.partition_key
    with plain_failures():
        device = compute.resolve()
        weights = alexnet_weights(config.weights)
        ids = usable_ids(store, dataset)
        images = open_features(store, dataset, "prepared_images")
    shards = FeatureStore(
        store,
        dataset,
        FeatureSet(
            kind="alexnet_conv5",
            dtype=config.dtype,
            row_shape=backbones.CONV5_SHAPE,
            preprocessing={**images.feature_set.preprocessing, "prepared_by": images.feature_set.key},
            backbone="alexnet",
            weights_sha256=weights.sha256,
            layer="conv5",
            code_version=CONV5_CODE_VERSION,
        ),
    )

    def work_out(work: Work) -> Output:
        import torch

        from methods import figures

        network = backbones.Conv5Extractor(weights.tensors).to(device)
        position = {image_id: i for i, image_id in enumerate(ids)}

        def produce(batch: list[str]) -> np.ndarray:
            features = np.empty((len(batch), *backbones.CONV5_SHAPE), config.dtype)
            for start in progress(range(0, len(batch), READ_ROWS), "conv5 features"):
                rows = images.take([position[i] for i in batch[start : start + READ_ROWS]])
                features[start : start + len(rows)] = backbones.extract(network, rows, torch.device(device), config.batch_size)
            return features

        computed = shards.fill(ids, produce, {"torch": torch.__version__, "device": device}, force=config.force)
        reader = shards.reader(ids)
        first, sample = images.rows(0, 1)[0], reader.rows(0, READ_ROWS).astype(np.float32)
        reader.close()
        return Output(
            content=shards.data_version(ids),
            pictures=[
                ("strongest conv5 maps of one image", figures.feature_maps(first, sample[0], "AlexNet conv5")),
                ("conv5 activations", figures.activation_summary(sample)),
            ],
            summary={
                "images": len(ids),
                "newly computed": computed,
                "weights": weights.origin,
                "weights sha256": weights.sha256,
                "stored MB": round(shards.stored_bytes() / 1e6, 1),
            },
            notices=[weights.notice] if weights.notice else [],
            rows=len(ids),
            device=device,
            feature_set=shards.feature_set,
        )

    try:
        return materialize(
            context,
            store,
            config,
            work_out,
            inputs=("prepared_images",),
            known_by={"set": shards.feature_set.key, "images": ids},
            still_whole=lambda: not shards.missing(ids),
        )
    finally:
        images.close()

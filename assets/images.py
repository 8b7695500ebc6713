"""Stages on images: the manifest of a dataset's folder, and the prepared 227 x 227 pictures."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.partitions import DATASETS
from assets.stage import Output, StageConfig, Work, materialize, plain_failures
from data_contracts.errors import InputError
from data_contracts.feature_shard import FeatureSet
from data_contracts.manifest import MANIFEST, ok_rows
from data_contracts.output_record import content_hash
from resources.dataset_store import DatasetStore
from resources.feature_store import FeatureStore
from resources.image_folder import read_image, scan
from resources.progress import progress

GROUP = "images"
SAMPLE = 24
PREPARED_CODE_VERSION = "1"


class ManifestConfig(StageConfig):
    """Settings of `image_manifest`: those of the dataset's specification."""


class PreparedImagesConfig(StageConfig):
    """Settings of `prepared_images`."""

    resize: Literal["direct", "pad"] = "direct"
    """"direct" stretches to the square (the paper); "pad" keeps the aspect ratio on black."""


def manifest_of(store: DatasetStore, dataset: str) -> pa.Table:
    """The current image manifest."""
    return store.main_table(dataset, "image_manifest", ".parquet", MANIFEST)


def usable_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the usable images, sorted."""
    ids: list[str] = ok_rows(manifest_of(store, dataset))["image_id"].to_pylist()
    return ids


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    kinds={"parquet"},
    code_version="1",
    tags={"stage": "1"},
)
def image_manifest(context: dg.AssetExecutionContext, config: ManifestConfig, store: DatasetStore) -> dg.MaterializeResult:
    """Every file under the dataset's folder: SHA-256, label, split, group, size, mode, and whether it can be used.

    Files that cannot be used are listed with the reason. Known bytes are hashed again but not decoded again.
    """
    with plain_failures():
        spec = store.spec(context.partition_key)

    def compute(work: Work) -> Output:
        from methods import figures

        earlier = store.record(work.dataset, work.asset)
        known = manifest_of(store, work.dataset) if earlier and not config.force else None
        table = scan(spec, known, progress=lambda items: progress(items, "reading files"))
        rows = table.to_pylist()
        version = content_hash(rows)
        counts: dict[str, Counter[str]] = {}
        for row in rows:
            where = row["split"] if row["status"] == "ok" else row["status"]
            counts.setdefault(row["label"] or "(no label)", Counter())[where] += 1
        status = Counter(row["status"] for row in rows)
        splits = Counter(row["split"] for row in rows if row["status"] == "ok")
        notices = []
        if spec.synthetic:
            notices.append("SYNTHETIC IMAGES: these are generated phantoms, not medical data")
        if not any(row["group_id"] for row in rows if row["status"] == "ok"):
            notices.append("IMAGE-LEVEL SPLIT: no groups (patients) were given, so the figures are optimistic")
        if status["rejected"] or status["duplicate"]:
            notices.append(
                f"FILES LEFT OUT: {status['rejected']} rejected, {status['duplicate']} duplicates of {len(rows)} files"
            )
        return Output(
            content=rows,
            files=[store.write_table(work.dataset, work.asset, f"{version}.parquet", table, MANIFEST)],
            pictures=[("class balance", figures.class_balance({label: dict(c) for label, c in sorted(counts.items())}))],
            summary={
                "usable images": status["ok"],
                "training images": splits["train"],
                "test images": splits["test"],
                "unlabelled images": splits["unlabelled"],
                "classes": len({row["label"] for row in rows if row["status"] == "ok" and row["label"]}),
                "duplicates": status["duplicate"],
                "rejected files": status["rejected"],
            },
            notices=notices,
            rows=len(rows),
        )

    return materialize(context, store, config, compute, known_by={"spec": spec.model_dump(mode="json")}, always=True)


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[image_manifest],
    kinds={"hdf5", "python"},
    code_version=PREPARED_CODE_VERSION,
    tags={"stage": "2"},
)
def prepared_images(context: dg.AssetExecutionContext, config: PreparedImagesConfig, store: DatasetStore) -> dg.MaterializeResult:
    """Usable images as 227 x 227 RGB, (N, 227, 227, 3) uint8 in HDF5 shards (Ahn et al. 2019, section 2.4)."""
    from methods.preprocessing import PreprocessingSettings, UndecodableImageError, prepare_image

    dataset = context.partition_key
    settings = PreprocessingSettings(resize=config.resize)
    with plain_failures():
        spec, images = store.spec(dataset), ok_rows(manifest_of(store, dataset)).to_pylist()
    path_of = {row["image_id"]: row["path"] for row in images}
    shards = FeatureStore(
        store,
        dataset,
        FeatureSet(
            kind="prepared_images",
            dtype="uint8",
            row_shape=(settings.size, settings.size, 3),
            preprocessing=config.settings(),
            code_version=PREPARED_CODE_VERSION,
        ),
    )

    def prepare(image_id: str) -> np.ndarray:
        try:
            return prepare_image(read_image(spec.root, path_of[image_id], image_id), settings)
        except UndecodableImageError as error:
            raise InputError(
                f"{path_of[image_id]} can no longer be decoded ({error})", "Materialise image_manifest again"
            ) from error

    def compute(work: Work) -> Output:
        from methods import figures

        ids = sorted(path_of)
        with ThreadPoolExecutor(os.cpu_count()) as pool:

            def produce(batch: list[str]) -> np.ndarray:
                return np.stack(list(progress(pool.map(prepare, batch), "preparing images", len(batch))))

            computed = shards.fill(ids, produce, {}, force=config.force)
        reader = shards.reader(ids)
        shown = np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64)
        label_of = {row["image_id"]: row["label"] or "(no label)" for row in images}
        grid = figures.sample_grid(list(reader.take(shown)), [label_of[ids[i]] for i in shown])
        reader.close()
        return Output(
            content=shards.data_version(ids),
            pictures=[("sample of prepared images", grid)],
            summary={"images": len(ids), "newly prepared": computed, "stored MB": round(shards.stored_bytes() / 1e6, 1)},
            rows=len(ids),
            feature_set=shards.feature_set,
        )

    return materialize(
        context,
        store,
        config,
        compute,
        inputs=("image_manifest",),
        known_by={"images": sorted(path_of)},
        still_whole=lambda: not shards.missing(sorted(path_of)),
    )

"""Stages on images: the manifest of a dataset's folder, and the prepared 227 x 227 pictures."""

import logging
from collections import Counter
from functools import cache
from typing import Literal

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.core.originals import Originals
from assets.core.partitions import DATASETS
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from data_contracts.errors import ContractError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.output_record import content_hash
from data_contracts.tables.manifest import MANIFEST, ok_rows
from methods.curation.manifest_rows import labels_of, one_sided_labels
from resources.intake.arrivals import find_arrivals
from resources.intake.scan import scan
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore

log = logging.getLogger("medfeat.images")

GROUP = "images"
SAMPLE = 24
MANIFEST_CODE_VERSION = "3"
PREPARED_CODE_VERSION = "3"
ARRIVAL = "arrival"
"""Entry of the manifest's summary: signature of what had arrived when it was made."""


class ManifestConfig(StageConfig):
    """Settings of `image_manifest`: those of the dataset's specification."""


class PreparedImagesConfig(StageConfig):
    """Settings of `prepared_images`."""

    resize: Literal["direct", "pad"] = "direct"
    """"direct" stretches to the square (the paper); "pad" keeps the aspect ratio on black."""
    voi: Literal["file", "full"] = "file"
    """Grey values of DICOM: "file" takes the file's own window, "full" all of its range."""
    decode: Literal["scaled", "exact"] = "scaled"
    """Of JPEGs at least four times as large as needed: "scaled" has libjpeg shrink them on the way,
    "exact" makes every pixel."""


def manifest_of(store: DatasetStore, dataset: str) -> pa.Table:
    """The current image manifest."""
    return store.main_table(dataset, "image_manifest", ".parquet", MANIFEST)


def label_in_words(label: str | None) -> str:
    """For a caption: "" is none of several labels, None an unknown one."""
    return "(no label)" if label is None else label or "(none of them)"


def usable_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the usable images, sorted."""
    ids: list[str] = ok_rows(manifest_of(store, dataset))["image_id"].to_pylist()
    return ids


def scored_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the usable images that train or test a classifier, sorted."""
    rows = ok_rows(manifest_of(store, dataset)).to_pylist()
    return [row["image_id"] for row in rows if row["split"] in ("train", "test")]


def _earlier_manifest(store: DatasetStore, dataset: str) -> pa.Table | None:
    """The manifest of an earlier run, where there is one that this version made and that is
    whole.
    """
    try:
        earlier = store.record(dataset, "image_manifest")
        return (
            manifest_of(store, dataset)
            if earlier and earlier.code_version == MANIFEST_CODE_VERSION
            else None
        )
    except ContractError as error:
        log.warning("%s; every file is looked at again", error.what)
        return None


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    kinds={"parquet"},
    code_version=MANIFEST_CODE_VERSION,
    tags={"stage": "1"},
)
def image_manifest(
    context: dg.AssetExecutionContext, config: ManifestConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Every file of the dataset and its drops: SHA-256, label, split, group, size, mode, and
    whether it can be used.

    Files that cannot be used are listed with the reason. Known bytes are hashed again but not
    decoded again.
    """
    with plain_failures():
        spec = store.spec(context.partition_key)

    def compute(work: Work) -> Output:
        from methods.reporting import figures

        known = None if config.force else _earlier_manifest(store, work.dataset)
        arrival = find_arrivals(store, spec)
        if arrival.waiting:
            log.info(
                "%d drops of %s have not settled yet and count in a later run",
                arrival.waiting,
                work.dataset,
            )
        table = scan(arrival.intake, known, progress=lambda items: progress(items, "reading files"))
        rows = table.to_pylist()
        version = content_hash(rows)
        counts: dict[str, Counter[str]] = {}
        for row in rows:
            where = row["split"] if row["status"] == "ok" else row["status"]
            counts.setdefault(label_in_words(row["label"]), Counter())[where] += 1
        status = Counter(row["status"] for row in rows)
        usable = [row for row in rows if row["status"] == "ok"]
        splits = Counter(row["split"] for row in usable)
        notices = []
        if spec.synthetic:
            notices.append("SYNTHETIC IMAGES: these are generated phantoms, not medical data")
        divided = [row for row in usable if row["split"] in ("train", "test")]
        alone = sum(row["group_id"] is None for row in divided)
        if alone and alone == len(divided):
            notices.append(
                "IMAGE-LEVEL SPLIT: no groups (patients) were given, so the figures are optimistic"
            )
        elif alone:
            notices.append(
                f"IMAGE-LEVEL SPLIT IN PART: {alone} of {len(divided)} images have no group (patient): figures may be optimistic"
            )
        if divided and spec.task == "multi-label":
            one_sided = one_sided_labels(
                [row["label"] for row in divided], [row["split"] for row in divided]
            )
            if one_sided:
                notices.append(
                    f"LABELS ON ONE SIDE: only training or only test images have, or lack, {', '.join(one_sided)}"
                )
        if status["rejected"] or status["duplicate"]:
            notices.append(
                f"FILES LEFT OUT: {status['rejected']} rejected, {status['duplicate']} duplicates of {len(rows)} files"
            )
        if splits["held"]:
            notices.append(
                f"IMAGES HELD: {splits['held']} labelled images of drops neither train nor test (new_labels={spec.new_labels})"
            )
        return Output(
            content=rows,
            files=[
                store.write_table(work.dataset, work.asset, f"{version}.parquet", table, MANIFEST)
            ],
            pictures=[
                (
                    "class balance",
                    figures.class_balance({label: dict(c) for label, c in sorted(counts.items())}),
                )
            ],
            summary={
                "usable images": status["ok"],
                "training images": splits["train"],
                "test images": splits["test"],
                "unlabelled images": splits["unlabelled"],
                "held images": splits["held"],
                "images from drops": sum(row["drop"] is not None for row in usable),
                "drops": len(arrival.intake.drops),
                "drops not settled": arrival.waiting,
                "classes": len(
                    {name for row in usable for name in labels_of(row["label"], spec.task)}
                ),
                "duplicates": status["duplicate"],
                "rejected files": status["rejected"],
                ARRIVAL: arrival.signature,
            },
            notices=notices,
            rows=len(rows),
        )

    return materialize(
        context,
        store,
        config,
        compute,
        known_by={"spec": spec.model_dump(mode="json")},
        always=True,
    )


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[image_manifest],
    kinds={"hdf5", "python"},
    code_version=PREPARED_CODE_VERSION,
    tags={"stage": "2"},
)
def prepared_images(
    context: dg.AssetExecutionContext, config: PreparedImagesConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Usable images as 227 x 227 RGB, (N, 227, 227, 3) uint8 in HDF5 shards (Ahn et al. 2019,
    section 2.4).
    """
    from methods.imaging.preprocessing import PreprocessingSettings

    dataset = context.partition_key
    settings = PreprocessingSettings(resize=config.resize, voi=config.voi, decode=config.decode)
    with plain_failures():
        images = ok_rows(manifest_of(store, dataset)).to_pylist()
    row_of = {row["image_id"]: row for row in images}
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

    def compute(work: Work) -> Output:
        from methods.reporting import figures

        ids = sorted(row_of)
        # listing an archive or a drop takes time
        originals = cache(lambda: Originals(store, dataset, images))

        def produce(batch: list[str]) -> np.ndarray:
            return originals().squares(
                batch, settings, lambda files, n: progress(files, "preparing images", n)
            )

        computed = shards.fill(ids, produce, {}, force=config.force)
        reader = shards.reader(ids)
        shown = np.linspace(0, len(ids) - 1, min(SAMPLE, len(ids))).astype(np.int64)
        label_of = {row["image_id"]: label_in_words(row["label"]) for row in images}
        grid = figures.sample_grid(list(reader.take(shown)), [label_of[ids[i]] for i in shown])
        reader.close()
        return Output(
            content=shards.data_version(ids),
            pictures=[("sample of prepared images", grid)],
            summary={
                "images": len(ids),
                "newly prepared": computed,
                "stored MB": round(shards.stored_bytes() / 1e6, 1),
            },
            rows=len(ids),
            feature_set=shards.feature_set,
        )

    return materialize(
        context,
        store,
        config,
        compute,
        inputs=("image_manifest",),
        known_by={"images": sorted(row_of)},
        still_whole=lambda: not shards.missing(sorted(row_of)),
    )

"""Lesions in their regions of interest: contours, and features calculated from them (Huynh et al.
2016, section 2.4).
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Literal

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import PositiveFloat

from assets.core.manifest_rows import manifest_of, scored_ids
from assets.core.originals import Originals
from assets.core.partitions import DATASETS
from assets.core.shards import open_features
from assets.core.stage import Output, StageConfig, Work, plain_failures
from assets.features.alexnet_layers import GROUP
from assets.features.frozen_networks import materialize_shards
from assets.images import image_manifest
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.hashing import content_hash
from data_contracts.studies.huynh2016 import ANALYTIC, ROI_PIXELS
from data_contracts.tables.lesions import LESIONS
from data_contracts.tables.manifest import ok_rows
from methods.imaging.preprocessing import PreprocessingSettings
from resources.cores import cores
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore

CODE_VERSION = "1"
IMAGES_AT_ONCE = 64
SHOWN = 24
OUTSIDE = "the marked centre is outside of the image"


class SegmentationConfig(StageConfig):
    """Settings of `lesion_segmentation`."""

    voi: Literal["file", "full"] = "file"
    """Grey values of DICOM: "file" takes the file's own window, "full" all of its range."""


class AnalyticConfig(SegmentationConfig):
    """Settings of `analytic_features`."""

    pixel_mm: PositiveFloat = 0.1
    """Side of a pixel of the 512 x 512 region of interest, in mm (the paper's)."""


def _blocks(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + IMAGES_AT_ONCE] for start in range(0, len(ids), IMAGES_AT_ONCE)]


def _centre(row: Mapping[str, Any]) -> tuple[float, float]:
    """Row and column of a lesion's centre in its region of interest: as marked, else the middle."""
    if row["center_x"] is None:
        return (ROI_PIXELS - 1) / 2, (ROI_PIXELS - 1) / 2
    # The centre of a pixel stays the centre of what it becomes.
    y, x = (
        (row[f"center_{axis}"] + 0.5) * ROI_PIXELS / row[side] - 0.5
        for axis, side in (("y", "height"), ("x", "width"))
    )
    return y, x


def _is_inside(centre: tuple[float, float]) -> bool:
    return all(0 <= place <= ROI_PIXELS - 1 for place in centre)


class _Regions:
    """The regions of interest of a dataset in grey, and where their lesions' centres are."""

    def __init__(self, store: DatasetStore, dataset: str, voi: Literal["file", "full"]) -> None:
        rows = ok_rows(manifest_of(store, dataset)).to_pylist()
        self.row_of = {row["image_id"]: row for row in rows}
        self._settings = PreprocessingSettings(size=ROI_PIXELS, voi=voi)
        self._originals = cache(lambda: Originals(store, dataset, rows))

    def grey(self, ids: list[str]) -> np.ndarray:
        """(n, 512, 512) uint8."""
        from methods.features.alexnet_layers import grey_copied

        return grey_copied(self._originals().squares(ids, self._settings))[..., 0]

    def contours(self, ids: list[str]) -> tuple[np.ndarray, list[str]]:
        """Masks (n, 512, 512) uint8, all 0 where there is no contour, and why there is none."""
        from methods.features.lesion_segmentation import SegmentationSettings, segment_lesion

        def contour(image_id: str, picture: np.ndarray) -> tuple[np.ndarray, str]:
            centre = _centre(self.row_of[image_id])
            if not _is_inside(centre):
                return np.zeros(picture.shape, np.bool_), OUTSIDE
            found = segment_lesion(picture, centre, SegmentationSettings())
            return found.mask, found.fault

        with ThreadPoolExecutor(cores()) as pool:
            masks, faults = zip(*pool.map(contour, ids, self.grey(ids)), strict=True)
        return np.stack(masks).astype(np.uint8), list(faults)


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[image_manifest],
    kinds={"python", "hdf5"},
    code_version=CODE_VERSION,
    tags={"stage": "3"},
)
def lesion_segmentation(
    context: dg.AssetExecutionContext, config: SegmentationConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Mask of the lesion in each 512 x 512 region of interest, (N, 512, 512), grown from its
    centre; none where unsure.
    """
    dataset = context.partition_key
    with plain_failures():
        ids = scored_ids(store, dataset)
        regions = _Regions(store, dataset, config.voi)
    centres = {image_id: _centre(regions.row_of[image_id]) for image_id in ids}
    shards = FeatureStore(
        store,
        dataset,
        FeatureSet(
            kind="lesion_segmentation",
            dtype="uint8",
            row_shape=(ROI_PIXELS, ROI_PIXELS),
            preprocessing={"size": ROI_PIXELS, "voi": config.voi},
            # A centre that is marked anew makes another set; without marks a new image is the only
            # one computed.
            method={
                "marked centres": content_hash(
                    {i: c for i, c in centres.items() if regions.row_of[i]["center_x"] is not None}
                )
            },
            code_version=CODE_VERSION,
        ),
    )

    def work_out(work: Work) -> Output:
        def produce(wanted: list[str]) -> np.ndarray:
            return np.concatenate(
                [regions.contours(some)[0] for some in progress(_blocks(wanted), "lesion contours")]
            )

        computed = shards.fill(ids, produce, {}, force=config.force)
        reader = shards.reader(ids)
        areas = np.concatenate(
            [_areas(reader.rows(i, i + IMAGES_AT_ONCE)) for i in range(0, len(ids), IMAGES_AT_ONCE)]
        )
        without = [image_id for image_id, area in zip(ids, areas, strict=True) if not area]
        fault_of: dict[str, str] = {}
        for some in _blocks(without):
            fault_of |= dict(zip(some, regions.contours(some)[1], strict=True))
        table = pa.Table.from_pylist(
            [
                {
                    "image_id": image_id,
                    "center_row": max(centres[image_id][0], 0.0),
                    "center_column": max(centres[image_id][1], 0.0),
                    "marked": regions.row_of[image_id]["center_x"] is not None,
                    "area_pixels": int(area),
                    "fault": fault_of.get(image_id, ""),
                }
                for image_id, area in zip(ids, areas, strict=True)
            ],
            schema=LESIONS.schema,
        )
        pictures = [
            (
                "contours of lesions",
                _overlays(regions, reader, ids, centres, np.flatnonzero(areas), fault_of),
            )
        ]
        if without:
            pictures.append(
                (
                    "regions without a contour",
                    _overlays(regions, reader, ids, centres, np.flatnonzero(areas == 0), fault_of),
                )
            )
        reader.close()
        said = {
            fault: list(fault_of.values()).count(fault) for fault in sorted(set(fault_of.values()))
        }
        marked = sum(regions.row_of[image_id]["center_x"] is not None for image_id in ids)
        return Output(
            content=shards.data_version(ids),
            files=[
                store.write_table(
                    dataset, work.asset, f"{work.fingerprint}.lesions.parquet", table, LESIONS
                )
            ],
            pictures=pictures,
            summary={
                "images": len(ids),
                "newly segmented": computed,
                "with a contour": len(ids) - len(without),
                "with a marked centre": marked,
                **{f"without: {fault}": count for fault, count in said.items()},
            },
            notices=[
                f"LESIONS WITHOUT A CONTOUR: {len(without)} of {len(ids)} images, left out wherever a contour is needed"
            ]
            if without
            else [],
            rows=len(ids),
            feature_set=shards.feature_set,
        )

    return materialize_shards(context, config, shards, ids, work_out, ("image_manifest",))


def _areas(masks: np.ndarray) -> np.ndarray:
    return np.asarray(masks.sum(axis=(1, 2), dtype=np.int64))


def _overlays(
    regions: _Regions,
    reader: Any,
    ids: list[str],
    centres: Mapping[str, tuple[float, float]],
    among: np.ndarray,
    fault_of: Mapping[str, str],
) -> bytes:
    from methods.reporting import figures

    shown = among[
        np.unique(np.linspace(0, len(among) - 1, min(SHOWN, len(among))).astype(np.int64))
    ]
    names = [ids[i] for i in shown]
    labels = [fault_of.get(name) or str(regions.row_of[name]["label"]) for name in names]
    return figures.contours(
        regions.grey(names), reader.take(shown), [centres[name] for name in names], labels
    )


def contoured_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the images whose lesion has a contour, sorted.

    Raises:
        InputError: there is none.
    """
    rows = store.main_table(dataset, "lesion_segmentation", LESIONS).to_pylist()
    ids = sorted(row["image_id"] for row in rows if not row["fault"])
    if not ids:
        raise InputError(
            f"no lesion of {dataset} has a contour",
            "Give regions of interest with the lesion in the middle, or its place in the columns center_x and center_y",
        )
    return ids


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[image_manifest, lesion_segmentation],
    kinds={"python", "hdf5"},
    code_version=CODE_VERSION,
    tags={"stage": "4"},
)
def analytic_features(
    context: dg.AssetExecutionContext, config: AnalyticConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Size, shape, intensity, texture and margin of each lesion that has a contour, (N, F) in HDF5
    shards.
    """
    from methods.features.radiomics import FEATURES, analytic_features

    dataset = context.partition_key
    with plain_failures():
        ids = contoured_ids(store, dataset)
        masks = open_features(store, dataset, "lesion_segmentation", ids)
        regions = _Regions(store, dataset, config.voi)
    shards = FeatureStore(
        store,
        dataset,
        FeatureSet(
            kind=ANALYTIC.features,
            dtype="float32",
            row_shape=(len(FEATURES),),
            preprocessing={"size": ROI_PIXELS, "voi": config.voi},
            method={
                "masks": masks.feature_set.key,
                "pixel_mm": config.pixel_mm,
                "features": [f.name for f in FEATURES],
            },
            code_version=CODE_VERSION,
        ),
    )

    def work_out(work: Work) -> Output:
        from methods.reporting import figures

        def produce(wanted: list[str]) -> np.ndarray:
            position = {image_id: i for i, image_id in enumerate(ids)}
            rows = []
            for some in progress(_blocks(wanted), "analytic features"):
                lesions = masks.take([position[image_id] for image_id in some]) > 0
                for picture, lesion in zip(regions.grey(some), lesions, strict=True):
                    rows.append(analytic_features(picture, lesion, config.pixel_mm))
            return np.array(rows, np.float32)

        computed = shards.fill(ids, produce, {}, force=config.force)
        reader = shards.reader(ids)
        values = reader.rows(0, len(ids))
        reader.close()
        labels = [str(regions.row_of[image_id]["label"]) for image_id in ids]
        return Output(
            content=shards.data_version(ids),
            pictures=[
                (
                    "features by class",
                    figures.features_by_class(
                        values, labels, [feature.name for feature in FEATURES]
                    ),
                )
            ],
            summary={
                "images": len(ids),
                "newly computed": computed,
                "features": len(FEATURES),
                "pixel, mm": config.pixel_mm,
            },
            rows=len(ids),
            feature_set=shards.feature_set,
        )

    try:
        return materialize_shards(
            context, config, shards, ids, work_out, ("image_manifest", "lesion_segmentation")
        )
    finally:
        masks.close()

"""Contours of lesions, and features calculated from them (Huynh et al. 2016, section 2.4)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import sqrt
from typing import Any, Literal

import numpy as np
from pydantic import PositiveFloat

from assets.core.manifest_rows import scored_ids, usable_images
from assets.core.originals import Originals
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import DicomWindowSetting
from assets.core.stage import stage
from assets.features.alexnet_layers import GROUP
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import PixelSizeFacts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.hashing import content_hash
from data_contracts.records.notices import LESIONS_WITHOUT_A_CONTOUR, SIZES_OF_PIXELS
from data_contracts.studies.huynh2016 import ANALYTIC, PIXEL_MM, ROI_PIXELS
from data_contracts.tables.lesions import LESIONS
from methods.imaging.preprocessing import PreprocessingSettings
from resources.cores import cores
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore

CODE_VERSION = "2"
IMAGES_AT_ONCE = 64
"""Regions of interest in memory at once (0.26 MB each, as grey values)."""
SHOWN = 24
"""Number of images in a picture of contours."""
OUTSIDE = "the marked centre is outside of the image"

Centres = Mapping[str, tuple[float, float]]
"""Row and column of each lesion's centre in its region of interest, by image id."""


class SegmentationConfig(DicomWindowSetting):
    """Settings of `lesion_segmentation`."""


class AnalyticConfig(DicomWindowSetting):
    """Settings of `analytic_features`."""

    pixel_mm: PositiveFloat | None = None
    """Side of a pixel of the 512 x 512 region of interest, in mm; null takes what each file states,
    and 0.1 (the paper's) where it states nothing."""


def _blocks(ids: list[str]) -> list[list[str]]:
    """The ids in blocks of IMAGES_AT_ONCE."""
    return [ids[start : start + IMAGES_AT_ONCE] for start in range(0, len(ids), IMAGES_AT_ONCE)]


def _is_marked(row: Mapping[str, Any]) -> bool:
    """Whether a row of the manifest gives the centre of its lesion."""
    return row["center_x"] is not None


def _centre(row: Mapping[str, Any]) -> tuple[float, float]:
    """Row and column of a lesion's centre in its region of interest: as marked, else the middle."""
    if not _is_marked(row):
        return (ROI_PIXELS - 1) / 2, (ROI_PIXELS - 1) / 2
    # The centre of a pixel is the centre of the pixels that it is resized to.
    y, x = (
        (row[f"center_{axis}"] + 0.5) * ROI_PIXELS / row[side] - 0.5
        for axis, side in (("y", "height"), ("x", "width"))
    )
    return y, x


def _is_inside(centre: tuple[float, float]) -> bool:
    return all(0 <= coordinate <= ROI_PIXELS - 1 for coordinate in centre)


class _Regions:
    """The regions of interest of a dataset in grey, and the centres of their lesions."""

    def __init__(self, store: DatasetStore, dataset: str, voi: Literal["file", "full"]) -> None:
        rows = usable_images(store, dataset).to_pylist()
        self.row_of = {row["image_id"]: row for row in rows}
        self._settings = PreprocessingSettings(size=ROI_PIXELS, voi=voi)
        self._originals = Originals(store, dataset, rows)

    def grey(self, ids: list[str]) -> np.ndarray:
        """Grey values of the regions, (n, 512, 512) uint8."""
        from methods.imaging.grey import luma_uint8

        return luma_uint8(self._originals.squares(ids, self._settings))

    def contours(self, ids: list[str]) -> tuple[np.ndarray, list[str]]:
        """Masks (n, 512, 512) uint8, 0 without a contour, and the reason of each without one."""
        from methods.features.lesion_segmentation import SegmentationSettings, segment_lesion

        def contour(image_id: str, picture: np.ndarray) -> tuple[np.ndarray, str]:
            centre = _centre(self.row_of[image_id])
            if not _is_inside(centre):
                return np.zeros(picture.shape, np.bool_), OUTSIDE
            lesion = segment_lesion(picture, centre, SegmentationSettings())
            return lesion.mask, lesion.fault

        with ThreadPoolExecutor(cores()) as pool:
            masks, faults = zip(*pool.map(contour, ids, self.grey(ids)), strict=True)
        return np.stack(masks).astype(np.uint8), list(faults)


@stage(
    SegmentationConfig,
    group=GROUP,
    order=3,
    kinds={"python", "hdf5"},
    code_version=CODE_VERSION,
    inputs=(names.IMAGE_MANIFEST,),
    tables=(LESIONS,),
    features_of=scored_ids,
)
def lesion_segmentation(here: Stage[SegmentationConfig]) -> Plan:
    """Mask of the lesion in each 512 x 512 region of interest, grown from its centre.

    (N, 512, 512) uint8 in HDF5 shards; a mask of zeros where no contour is sure.
    """
    ids = scored_ids(here.store, here.dataset)
    regions = _Regions(here.store, here.dataset, here.config.voi)
    centres = {image_id: _centre(regions.row_of[image_id]) for image_id in ids}
    shards = FeatureStore(here.store, here.dataset, _mask_set(here, regions, centres))

    def produce(batch: list[str]) -> np.ndarray:
        blocks = progress(_blocks(batch), "lesion contours", unit="block")
        return np.concatenate([regions.contours(block)[0] for block in blocks])

    def compute(work: Work) -> Output:
        computed = shards.fill(ids, produce, {}, force=here.config.force)
        masks = shards.reader(ids)
        areas = _areas(masks)
        faults = _faults(regions, ids, areas)
        marked = sum(_is_marked(regions.row_of[image_id]) for image_id in ids)
        output = Output.of_shards(
            shards,
            ids,
            files=[work.write_table(_lesions(ids, regions, centres, areas, faults), LESIONS)],
            pictures=_pictures(regions, masks, centres, areas, faults),
            summary={
                "images": len(ids),
                "newly segmented": computed,
                "with a contour": len(ids) - len(faults),
                "with a marked centre": marked,
                **{
                    f"without: {fault}": count
                    for fault, count in sorted(Counter(faults.values()).items())
                },
            },
            notices=_notices(faults, len(ids)),
        )
        masks.close()
        return output

    return Plan.of_shards(shards, ids, compute)


def _notices(faults: Mapping[str, str], images: int) -> list[str]:
    """What a reader of any result on the contours must know."""
    if not faults:
        return []
    return [
        LESIONS_WITHOUT_A_CONTOUR.says(
            f"{len(faults)} of {images} images, left out wherever a contour is needed"
        )
    ]


def _mask_set(here: Stage[SegmentationConfig], regions: _Regions, centres: Centres) -> FeatureSet:
    """The set of masks, which the marked centres identify.

    A centre that is marked anew makes another set. An image that is added without a mark is the
    only one computed.
    """
    marked = {i: centre for i, centre in centres.items() if _is_marked(regions.row_of[i])}
    return FeatureSet(
        kind=here.asset,
        dtype="uint8",
        row_shape=(ROI_PIXELS, ROI_PIXELS),
        preprocessing={"size": ROI_PIXELS, "voi": here.config.voi},
        method={"marked centres": content_hash(marked)},
        code_version=CODE_VERSION,
    )


def _areas(masks: FeatureReader) -> np.ndarray:
    """Pixels of each mask, (n,) int64."""
    starts = range(0, len(masks), IMAGES_AT_ONCE)
    blocks = (masks.rows(start, start + IMAGES_AT_ONCE) for start in starts)
    return np.concatenate([block.sum(axis=(1, 2), dtype=np.int64) for block in blocks])


def _faults(regions: _Regions, ids: list[str], areas: np.ndarray) -> dict[str, str]:
    """The reason of each image that has no contour, by id."""
    without = [image_id for image_id, area in zip(ids, areas, strict=True) if not area]
    faults: dict[str, str] = {}
    for block in _blocks(without):
        faults |= dict(zip(block, regions.contours(block)[1], strict=True))
    return faults


def _lesions(
    ids: list[str],
    regions: _Regions,
    centres: Centres,
    areas: np.ndarray,
    faults: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Rows of LESIONS."""
    return [
        {
            "image_id": image_id,
            "center_row": max(centres[image_id][0], 0.0),
            "center_column": max(centres[image_id][1], 0.0),
            "marked": _is_marked(regions.row_of[image_id]),
            "area_pixels": int(area),
            "fault": faults.get(image_id, ""),
        }
        for image_id, area in zip(ids, areas, strict=True)
    ]


def _pictures(
    regions: _Regions,
    masks: FeatureReader,
    centres: Centres,
    areas: np.ndarray,
    faults: Mapping[str, str],
) -> list[tuple[str, bytes]]:
    """Some contours, and some regions without one where there are any."""
    chosen = [("contours of lesions", np.flatnonzero(areas))]
    if faults:
        chosen.append(("regions without a contour", np.flatnonzero(areas == 0)))
    return [
        (title, _overlays(regions, masks, centres, positions, faults))
        for title, positions in chosen
    ]


def _overlays(
    regions: _Regions,
    masks: FeatureReader,
    centres: Centres,
    positions: np.ndarray,
    faults: Mapping[str, str],
) -> bytes:
    """PNG of regions with their contours, evenly spaced among those at ``positions``."""
    from methods.reporting import figures

    spaced = np.linspace(0, len(positions) - 1, min(SHOWN, len(positions))).astype(np.int64)
    shown = positions[np.unique(spaced)]
    ids = [masks.image_ids[i] for i in shown]
    labels = [faults.get(image_id) or str(regions.row_of[image_id]["label"]) for image_id in ids]
    return figures.contours(
        regions.grey(ids), masks.take(shown), [centres[image_id] for image_id in ids], labels
    )


def contoured_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the images whose lesion has a contour, sorted.

    Raises:
        InputError: there is none.
    """
    rows = store.main_table(dataset, names.LESION_SEGMENTATION, LESIONS).to_pylist()
    ids = sorted(row["image_id"] for row in rows if not row["fault"])
    if not ids:
        raise InputError(
            f"no lesion of {dataset} has a contour",
            "Give regions of interest with the lesion in the middle, or its place in the columns "
            "center_x and center_y",
        )
    return ids


@stage(
    AnalyticConfig,
    group=GROUP,
    order=4,
    kinds={"python", "hdf5"},
    code_version=CODE_VERSION,
    inputs=(names.IMAGE_MANIFEST, names.LESION_SEGMENTATION),
    features_of=contoured_ids,
    facts=PixelSizeFacts,
)
def analytic_features(here: Stage[AnalyticConfig]) -> Plan:
    """Size, shape, intensity, texture and margin of each lesion that has a contour.

    (N, F) in HDF5 shards.
    """
    from methods.features.radiomics import FEATURES

    ids = contoured_ids(here.store, here.dataset)
    masks = here.features(names.LESION_SEGMENTATION, ids)
    regions = _Regions(here.store, here.dataset, here.config.voi)
    captions = [feature.name for feature in FEATURES]
    stated = {} if here.config.pixel_mm else _stated_sizes(regions, ids)
    features = FeatureSet(
        kind=ANALYTIC.features,
        dtype="float32",
        row_shape=(len(captions),),
        preprocessing={"size": ROI_PIXELS, "voi": here.config.voi},
        method={
            "masks": masks.feature_set.key,
            "pixel_mm": here.config.pixel_mm or PIXEL_MM,
            "features": captions,
            # as with the marked centres: an image whose file states none belongs to the same set
            **({"stated pixel_mm": content_hash(stated)} if stated else {}),
        },
        code_version=CODE_VERSION,
    )
    shards = FeatureStore(here.store, here.dataset, features)
    sizes = _size_facts(here.config, len(ids), len(stated))

    def compute(work: Work) -> Output:
        def produce(batch: list[str]) -> np.ndarray:
            sides = [stated.get(image_id, here.config.pixel_mm or PIXEL_MM) for image_id in batch]
            return _analytic_rows(batch, masks, regions, sides)

        computed = shards.fill(ids, produce, {}, force=here.config.force)
        return Output.of_shards(
            shards,
            ids,
            pictures=[("features by class", _by_class(shards, ids, regions, captions))],
            summary={
                "images": len(ids),
                "newly computed": computed,
                "features": len(captions),
                "size of a pixel": sizes.sentence(),
            },
            notices=_size_notices(sizes),
            facts=sizes,
        )

    return Plan.of_shards(shards, ids, compute)


def _stated_sizes(regions: _Regions, ids: list[str]) -> dict[str, float]:
    """Side in mm of a pixel of the region, by id, of the images whose files state that of theirs.

    The region has ROI_PIXELS pixels on each side, whatever the image has. Where the image is no
    square, a pixel of the region is none in the patient, and the side is that of its area.
    """
    sizes: dict[str, float] = {}
    for image_id in ids:
        row = regions.row_of[image_id]
        if row["pixel_mm"]:
            sizes[image_id] = row["pixel_mm"] * sqrt(row["width"] * row["height"]) / ROI_PIXELS
    return sizes


def _size_facts(config: AnalyticConfig, images: int, stated: int) -> PixelSizeFacts:
    from_setting = images if config.pixel_mm else 0
    return PixelSizeFacts(
        from_setting=from_setting,
        from_files=stated,
        assumed=images - from_setting - stated,
        assumed_mm=PIXEL_MM,
    )


def _size_notices(sizes: PixelSizeFacts) -> list[str]:
    """What a reader of any result on sizes must know: that some are measured and others assumed."""
    if not (sizes.from_files and sizes.assumed):
        return []
    return [SIZES_OF_PIXELS.says(f"{sizes.sentence()}")]


def _analytic_rows(
    ids: list[str], masks: FeatureReader, regions: _Regions, sides: Sequence[float]
) -> np.ndarray:
    """Features of the lesions of ``ids`` with pixels of ``sides`` in mm, (n, F) float32."""
    from methods.features.radiomics import analytic_features

    position = {image_id: i for i, image_id in enumerate(masks.image_ids)}
    side_of = dict(zip(ids, sides, strict=True))
    rows = []
    for block in progress(_blocks(ids), "analytic features", unit="block"):
        lesions = masks.take([position[image_id] for image_id in block]) > 0
        for image_id, picture, lesion in zip(block, regions.grey(block), lesions, strict=True):
            rows.append(analytic_features(picture, lesion, side_of[image_id]))
    return np.array(rows, np.float32)


def _by_class(
    shards: FeatureStore, ids: list[str], regions: _Regions, captions: Sequence[str]
) -> bytes:
    """PNG of the distribution of each feature in each class."""
    from methods.reporting import figures

    reader = shards.reader(ids)
    values = reader.rows(0, len(ids))
    reader.close()
    labels = [str(regions.row_of[image_id]["label"]) for image_id in ids]
    return figures.features_by_class(values, labels, list(captions))


ASSETS = [lesion_segmentation, analytic_features]

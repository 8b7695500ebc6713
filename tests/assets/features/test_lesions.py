"""Plans of the contours of lesions and of the features calculated from them, on drawn discs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from assets.features import lesions
from assets.features.lesions import AnalyticConfig, analytic_features, lesion_segmentation
from assets.images import image_manifest
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import PixelSizeFacts
from data_contracts.records.output_record import OutputRecord
from data_contracts.tables.lesions import LESIONS
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
    store_record,
    stored_rows,
)
from tests.conftest import use_home

RADIUS = 60
IDS = [image_id(i) for i in range(3)]


def _disc(row: float, column: float) -> np.ndarray:
    """A bright disc with a soft edge on a dark ground, (512, 512) uint8."""
    y, x = np.mgrid[:512, :512]
    distance = np.hypot(y - row, x - column)
    return (40 + 160 / (1 + np.exp((distance - RADIUS) / 4))).astype(np.uint8)


class DrawnOriginals:
    """Stands for Originals: a disc in the middle, one at (100, 300), and nothing."""

    PICTURES = (_disc(255.5, 255.5), _disc(100, 300), np.full((512, 512), 90, np.uint8))

    def __init__(self, *arguments: object) -> None:
        del arguments

    def squares(self, image_ids: Sequence[str], settings: Any) -> np.ndarray:
        del settings
        grey = np.stack([self.PICTURES[IDS.index(image)] for image in image_ids])
        return np.repeat(grey[..., None], 3, axis=3)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    """Three files of 64 x 64 pixels; the centre of the second is marked at column 37, row 12."""
    monkeypatch.setattr(lesions, "Originals", DrawnOriginals)
    store = new_store(tmp_path)
    rows = [manifest_row(i, "train", "ab"[i % 2]) for i in range(3)]
    rows[1] |= {"center_x": 37, "center_y": 12}
    store_manifest(store, rows)
    return store


def test_a_lesion_is_contoured_from_its_centre(store: DatasetStore) -> None:
    record = run_plan(lesion_segmentation, store).record
    table = {
        row["image_id"]: row
        for row in store.main_table(DATASET, names.LESION_SEGMENTATION, LESIONS).to_pylist()
    }
    middle, marked, empty = (table[image] for image in IDS)
    assert (middle["center_row"], middle["center_column"], middle["marked"]) == (
        255.5,
        255.5,
        False,
    )
    # pixel 12 of 64 becomes pixels 96 to 103 of 512, pixel 37 becomes 296 to 303
    assert (marked["center_row"], marked["center_column"], marked["marked"]) == (99.5, 299.5, True)
    for row in (middle, marked):
        assert np.pi * 52**2 < row["area_pixels"] < np.pi * 70**2, "a disc of radius 60, blurred"
    assert empty["area_pixels"] == 0
    assert empty["fault"]
    masks = stored_rows(store, record, IDS)
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), [table[i]["area_pixels"] for i in IDS])
    assert masks[1, 100, 300] == 1
    assert record.notices == [
        "LESIONS WITHOUT A CONTOUR: 1 of 3 images, left out wherever a contour is needed"
    ]


def _store_masks(store: DatasetStore, faults: Sequence[str]) -> None:
    """Masks of a square of 100 x 100 pixels in the middle, of the images without a fault."""
    mask = np.zeros((512, 512), np.uint8)
    mask[206:306, 206:306] = 1
    masks = np.stack([mask * (not fault) for fault in faults])
    record = store_features(store, names.LESION_SEGMENTATION, IDS, masks)
    line = {"center_row": 255.5, "center_column": 255.5, "marked": False}
    table = [
        {"image_id": image, "area_pixels": 0 if fault else 10_000, "fault": fault, **line}
        for image, fault in zip(IDS, faults, strict=True)
    ]
    store_record(
        store, names.LESION_SEGMENTATION, feature_set=record.feature_set, tables=[(LESIONS, table)]
    )


def test_features_are_of_the_lesions_that_have_a_contour(store: DatasetStore) -> None:
    _store_masks(store, ["", "", "no contour"])
    record = run_plan(analytic_features, store, AnalyticConfig(pixel_mm=0.2)).record
    assert record.rows == 2
    assert record.feature_set is not None
    values = stored_rows(store, record, IDS[:2])
    diameter = record.feature_set.method["features"].index("effective_diameter")
    in_mm = 2 * np.sqrt(100 * 100 * 0.2**2 / np.pi)  # of the disc with the square's area
    np.testing.assert_allclose(values[:, diameter], in_mm, rtol=1e-6)


def _diameters(store: DatasetStore, record: OutputRecord) -> np.ndarray:
    """Effective diameter in mm of the first two images' lesions: 100 x 100 pixels of the region."""
    assert record.feature_set is not None
    diameter = record.feature_set.method["features"].index("effective_diameter")
    return stored_rows(store, record, IDS[:2])[:, diameter]


def _with_sizes(store: DatasetStore, *changes: dict[str, Any]) -> None:
    rows = [manifest_row(i, "train", "ab"[i % 2]) for i in range(3)]
    store_manifest(store, [row | change for row, change in zip(rows, changes, strict=True)])
    _store_masks(store, ["", "", "no contour"])


PIXELS_ACROSS = 2 * np.sqrt(100 * 100 / np.pi)


def test_each_image_is_measured_with_the_pixels_that_its_file_states(store: DatasetStore) -> None:
    """A file of 64 x 64 pixels of 0.8 mm becomes a region of 512 x 512 pixels of 0.1 mm."""
    _with_sizes(store, {"pixel_mm": 0.8}, {"pixel_mm": 0.4, "width": 256}, {})
    record = run_plan(analytic_features, store).record
    # of 256 x 64 pixels of 0.4 mm: the area of 128 x 128 of them
    expected = PIXELS_ACROSS * np.array([0.8 * 64, 0.4 * 128]) / 512
    np.testing.assert_allclose(_diameters(store, record), expected, rtol=1e-6)
    assert record.facts == PixelSizeFacts(from_setting=0, from_files=2, assumed=0, assumed_mm=0.1)
    assert not record.notices


def test_sizes_from_files_and_from_the_paper_together_are_said(store: DatasetStore) -> None:
    _with_sizes(store, {"pixel_mm": 0.4}, {}, {"pixel_mm": 0.4})
    record = run_plan(analytic_features, store).record
    expected = PIXELS_ACROSS * np.array([0.05, 0.1])
    np.testing.assert_allclose(_diameters(store, record), expected, rtol=1e-6)
    assert record.facts == PixelSizeFacts(from_setting=0, from_files=1, assumed=1, assumed_mm=0.1)
    sentence = (
        "The size of a pixel was taken of 1 images from their files and of 1 images from the paper "
        "(0.1 mm), as their files state none."
    )
    assert record.notices == [f"SIZES OF PIXELS FROM TWO SOURCES: {sentence}"]
    assert record.summary["size of a pixel"] == sentence


def test_the_setting_stands_above_the_files(store: DatasetStore) -> None:
    _with_sizes(store, {"pixel_mm": 0.4}, {}, {})
    record = run_plan(analytic_features, store, AnalyticConfig(pixel_mm=0.2)).record
    np.testing.assert_allclose(_diameters(store, record), PIXELS_ACROSS * 0.2, rtol=1e-6)
    assert record.facts == PixelSizeFacts(from_setting=2, from_files=0, assumed=0, assumed_mm=0.1)


def test_only_a_size_that_changes_a_value_makes_another_set_of_features(
    store: DatasetStore,
) -> None:
    def key(config: AnalyticConfig | None = None) -> str:
        record = run_plan(analytic_features, store, config).record
        assert record.feature_set is not None
        return record.feature_set.key

    _with_sizes(store, {}, {}, {"pixel_mm": 0.4})  # the third has no contour
    paper = key()
    assert key(AnalyticConfig(pixel_mm=0.1)) == paper
    _with_sizes(store, {"pixel_mm": 0.4}, {}, {})
    stated = key()
    assert stated != paper
    assert key(AnalyticConfig(pixel_mm=0.1)) == paper
    _with_sizes(store, {"pixel_mm": 0.5}, {}, {})
    assert key() not in (stated, paper)


def test_without_any_contour_there_is_nothing_to_measure(store: DatasetStore) -> None:
    _store_masks(store, ["no contour"] * 3)
    with pytest.raises(InputError, match="no lesion of tiny has a contour"):
        run_plan(analytic_features, store)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("given_in", ["stored", "upright"])
def test_the_marked_centre_is_on_the_lesion_of_a_turned_file(
    orientation: int, given_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bright spot in a JPEG of 96 x 64 stored pixels, far to the right, so that the upright
    picture of 64 x 96 of half of the orientations does not contain its stored position."""
    use_home(monkeypatch, tmp_path)
    stored = np.full((64, 96), 40, np.uint8)
    stored[12:17, 82:87] = 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number in range(4):
        path = tmp_path / "home" / "images" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(stored + np.uint8(number)).save(path, quality=95, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    y, x = (int(where.mean()) for where in np.nonzero(upright > 200))
    x, y = (84, 14) if given_in == "stored" else (x, y)
    lines = [f"{number}.jpg,{label},{x},{y}" for number, label in enumerate("aabb")]
    (path.parent / "manifest.csv").write_text("\n".join(["path,label,center_x,center_y", *lines]))
    store = new_store(tmp_path / "home", show_names=True)
    record = run_plan(image_manifest, store).record
    regions = lesions._Regions(store, DATASET, "file")
    row = next(iter(regions.row_of.values()))
    (region,) = regions.grey([row["image_id"]])
    row_in_region, column_in_region = (round(value) for value in lesions._centre(row))
    is_on_it = region[row_in_region, column_in_region] > 200
    named = [notice for notice in record.notices if notice.startswith("CENTRES")]
    if orientation == 1:
        assert is_on_it
        assert named == []
    elif orientation >= 5:
        assert is_on_it, "stored pixels alone contain it, or it is meant upright"
        assert len(named) == (given_in == "stored" or orientation in (7, 8))
    else:
        assert is_on_it == (given_in == "upright")
        assert len(named) == 1, "nothing tells which was meant"
        assert named[0].startswith("CENTRES OF TURNED IMAGES: 4 images: ")

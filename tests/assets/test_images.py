"""Plans of the manifest and of the prepared images, on a folder of small pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assets.core.manifest_rows import manifest_of, usable_ids
from assets.core.shards import open_features
from assets.images import PreparedImagesConfig, image_manifest, manifest_summary, prepared_images
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import ManifestFacts
from methods.imaging.image_file import prepare_frames
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import DATASET, new_store, run_plan

RED, BLUE = (200, 0, 0), (0, 0, 200)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    """Two classes with two training images and one test image each, a copy, and a broken file."""
    monkeypatch.setenv("MEDFEAT_HOME", str(tmp_path))
    monkeypatch.setenv("MEDFEAT_SITE_KEY", str(tmp_path / "site.key"))
    monkeypatch.delenv("MEDFEAT_DROPS", raising=False)
    root = tmp_path / "images"
    for label, colour in (("red", RED), ("blue", BLUE)):
        for split, numbers in (("train", (0, 1)), ("test", (2,))):
            folder = root / split / label
            folder.mkdir(parents=True)
            for number in numbers:
                picture = Image.new("RGB", (8, 4), colour)
                picture.putpixel((number, 0), (255, 255, 255))
                picture.save(folder / f"{number}.png")
    (root / "train" / "red" / "copy.png").write_bytes(
        (root / "train" / "red" / "0.png").read_bytes()
    )
    (root / "train" / "red" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return new_store(tmp_path, show_names=True)


def test_a_manifest_counts_what_the_folder_holds(store: DatasetStore) -> None:
    record = run_plan(image_manifest, store).record
    facts = record.facts_as(ManifestFacts)
    assert (facts.usable_images, facts.training_images, facts.test_images) == (6, 4, 2)
    assert (facts.classes, facts.duplicates, facts.rejected_files) == (2, 1, 1)
    assert (facts.drops, facts.held_images, facts.unlabelled_images) == (0, 0, 0)
    assert record.rows == 8
    assert record.summary.items() >= manifest_summary(facts).items()
    read = str(record.summary["read"]).splitlines()
    assert (read[0], read[2]) == (
        "8 files with 6 images",
        "left out: 1 - same bytes as another (train/red/copy.png)",
    )
    assert read[1].startswith("left out: 1 - cannot be decoded: ")
    assert read[1].endswith(" (train/red/broken.png)")
    assert [notice.partition(":")[0] for notice in record.notices] == [
        "IMAGE-LEVEL SPLIT",
        "FILES LEFT OUT",
    ]
    rows = manifest_of(store, DATASET).to_pylist()
    by_status = {row["path"]: row["status"] for row in rows if row["status"] != "ok"}
    assert sorted(by_status.values()) == ["duplicate", "rejected"]
    assert by_status["train/red/broken.png"] == "rejected"


def test_a_manifest_is_made_again_and_is_the_same_of_the_same_files(store: DatasetStore) -> None:
    first, again = (run_plan(image_manifest, store) for _ in range(2))
    assert not again.reused, "only a scan sees that nothing has changed"
    assert again.record.data_version == first.record.data_version


def test_images_are_prepared_once(store: DatasetStore) -> None:
    run_plan(image_manifest, store)
    first, again = (run_plan(prepared_images, store) for _ in range(2))
    assert (first.reused, again.reused) == (False, True)
    assert first.record.rows == 6
    assert first.record.summary["newly prepared"] == 6
    rows = {row["image_id"]: row for row in manifest_of(store, DATASET).to_pylist()}
    reader = open_features(store, DATASET, names.PREPARED_IMAGES)
    pixels = reader.rows(0, len(reader))
    reader.close()
    assert (pixels.shape, pixels.dtype) == ((6, 227, 227, 3), np.uint8)
    for image_id, square in zip(usable_ids(store, DATASET), pixels, strict=True):
        expected = RED if rows[image_id]["label"] == "red" else BLUE
        assert square[-1, -1].tolist() == list(expected)  # the white pixel is in the first row


def test_a_file_of_several_images_is_opened_for_few_shards(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two stacks of six pages, six images to a shard: pages of a stack are neighbours."""
    root = Path(store.spec(DATASET).root)
    for label, grey in (("red", 60), ("blue", 120)):
        pages = [Image.new("L", (8, 4), grey + n) for n in range(6)]
        for n, page in enumerate(pages):
            page.putpixel((n, 0), 255)
        pages[0].save(root / "train" / label / "s.tif", save_all=True, append_images=pages[1:])
    notices = run_plan(image_manifest, store).record.notices
    assert "FILES LEFT OUT: 1 rejected, 1 duplicates of 20 files and frames" in notices
    monkeypatch.setattr("resources.store.feature_store.SHARD_ROWS", 6)
    opened: list[int] = []

    def counted(data: bytes, frames: Any, *rest: Any) -> Any:
        opened.append(len(frames))
        return prepare_frames(data, frames, *rest)

    monkeypatch.setattr("methods.imaging.image_file.prepare_frames", counted)
    run_plan(prepared_images, store)
    assert sum(opened) == 18
    # six single images, and a border between two of the three shards may cut each stack
    assert len(opened) <= 6 + 2 * 2


@pytest.mark.parametrize(("resize", "corner"), [("direct", RED), ("pad", (0, 0, 0))])
def test_an_oblong_picture_is_stretched_or_padded(
    store: DatasetStore, resize: Any, corner: tuple[int, int, int]
) -> None:
    run_plan(image_manifest, store)
    run_plan(prepared_images, store, PreparedImagesConfig(resize=resize))
    red = next(
        row["image_id"]
        for row in manifest_of(store, DATASET).to_pylist()
        if row["status"] == "ok" and row["label"] == "red"
    )
    reader = open_features(store, DATASET, names.PREPARED_IMAGES, [red])
    assert reader.rows(0, 1)[0, -1, -1].tolist() == list(corner)
    reader.close()


def test_prepared_images_need_a_manifest(store: DatasetStore) -> None:
    with pytest.raises(InputError, match="image_manifest of tiny has not been materialised"):
        run_plan(prepared_images, store)

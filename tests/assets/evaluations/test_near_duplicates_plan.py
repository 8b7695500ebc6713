"""The plans of the searches for near-duplicates, on a few small pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assets.evaluations.near_duplicates import near_duplicates, near_duplicates_in_folds
from data_contracts import asset_names as names
from data_contracts.records.facts import NearDuplicateFacts
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from methods.imaging.perceptual_hash import perceptual_hash
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
)
from tests.methods.curation.pictures import picture, square


def _stored(
    home: Path, splits: list[str], labels: list[str | None], groups: list[str]
) -> DatasetStore:
    """A store of pictures of which the last is the first, turned by a quarter."""
    images = [square(picture(seed)) for seed in range(len(splits) - 1)]
    images.append(square(picture(0).transpose(Image.Transpose.ROTATE_90)))
    store = new_store(home)
    rows = [
        manifest_row(
            i, split, labels[i], perceptual_hash=perceptual_hash(images[i]), group_id=groups[i]
        )
        for i, split in enumerate(splits)
    ]
    store_manifest(store, rows)
    ids = [row["image_id"] for row in rows]
    store_features(store, names.PREPARED_IMAGES, ids, np.stack([images] * 3, -1))
    return store


def test_a_test_image_that_is_a_turned_training_image_is_found(tmp_path: Path) -> None:
    store = _stored(tmp_path, ["train"] * 2 + ["test"] * 2, ["a"] * 4, list("wxyz"))
    record = run_plan(near_duplicates, store).record
    (pair,) = store.main_table(DATASET, names.NEAR_DUPLICATES, NEAR_DUPLICATES).to_pylist()
    assert (pair["first_id"], pair["second_id"]) == (image_id(0), image_id(3))
    assert (pair["mirrored"], pair["quarter_turns"], pair["inverted"]) == (False, 1, False)
    assert pair["likeness"] == pytest.approx(1, abs=0.02)
    assert record.facts == NearDuplicateFacts(pairs=1, test_images=1, share=0.5)
    (notice,) = record.notices
    assert notice.startswith(
        "NEAR-DUPLICATES: 1 of 2 test images (50.0%) nearly equal a training image"
    )


def test_without_labels_all_images_are_compared_and_none_is_a_test_image(tmp_path: Path) -> None:
    store = _stored(tmp_path, ["unlabelled"] * 3, [None] * 3, list("xyz"))
    record = run_plan(near_duplicates, store).record
    (pair,) = store.main_table(DATASET, names.NEAR_DUPLICATES, NEAR_DUPLICATES).to_pylist()
    assert (pair["first_id"], pair["second_id"]) == (image_id(0), image_id(2))
    assert record.facts == NearDuplicateFacts(pairs=1, test_images=0, share=0)
    assert record.notices == []


def test_a_copy_in_another_fold_is_found_and_one_in_the_same_fold_is_not(tmp_path: Path) -> None:
    labels: list[str | None] = ["a", "b"] * 5 + ["a"]
    apart = _stored(tmp_path / "apart", ["train"] * 11, labels, list("abcdefghijk"))
    record = run_plan(near_duplicates_in_folds, apart).record
    assert record.facts == NearDuplicateFacts(pairs=1, test_images=2, share=2 / 11)
    (pair,) = apart.main_table(DATASET, names.NEAR_DUPLICATES_IN_FOLDS, NEAR_DUPLICATES).to_pylist()
    assert {pair["first_id"], pair["second_id"]} == {image_id(0), image_id(10)}
    together = _stored(tmp_path / "together", ["train"] * 11, labels, list("abcdefghija"))
    record = run_plan(near_duplicates_in_folds, together).record
    assert record.facts == NearDuplicateFacts(pairs=0, test_images=0, share=0)

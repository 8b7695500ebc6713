"""The plan of the search for near-duplicates, on hashes and features worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assets.evaluations.near_duplicates import near_duplicates
from data_contracts import asset_names as names
from data_contracts.records.facts import NearDuplicateFacts
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
)

HASHES = [0x0F0F0F0F0F0F0F0F, 0x123456789ABCDEF0, 0x0F0F0F0F0F0F0F0F, 0xF0E1D2C3B4A59687]
"""Two training images and two test images; the first of each have one hash."""


def test_a_test_image_of_the_same_hash_and_features_is_a_near_duplicate(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    store_manifest(
        store,
        [
            manifest_row(i, "train" if i < 2 else "test", "a", perceptual_hash=value)
            for i, value in enumerate(HASHES)
        ],
    )
    ids = [image_id(i) for i in range(4)]
    features = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    store_features(store, names.ALEXNET_CONV5, ids, features.reshape(4, 3, 1, 1))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    store_features(store, names.PREPARED_IMAGES, ids, images)
    record = run_plan(near_duplicates, store).record
    (pair,) = store.main_table(DATASET, names.NEAR_DUPLICATES, NEAR_DUPLICATES).to_pylist()
    assert (pair["train_id"], pair["test_id"], pair["distance"]) == (ids[0], ids[2], 0)
    assert pair["similarity"] == 1
    assert record.facts == NearDuplicateFacts(pairs=1, test_images=1, share=0.5)
    assert record.notices == [
        "NEAR-DUPLICATES: 1 of 2 test images (50.0%) closely resemble a training image"
    ]

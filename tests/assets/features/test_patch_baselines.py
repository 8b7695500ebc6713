"""Plans of the models of patches and of their pooled responses, on images of 12 x 12 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from assets.features.patch_baselines import (
    PATCH_METHODS,
    IcaConfig,
    PatchConfig,
    PatchMethod,
    PooledConfig,
    SparseCodingConfig,
    SsaeConfig,
    patch_features,
    patch_model,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import load_model
from tests.assets.features.toy import flat_images
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
    store_model,
    stored_rows,
)

IDS = [image_id(i) for i in range(4)]
SPLITS = ("train", "train", "test", "unlabelled")
METHODS = {method.name: method for method in PATCH_METHODS}
SMALL = {"patch_size": 3, "patches": 60, "components": 4}
CONFIGS = {
    "sparse_coding": SparseCodingConfig(atoms=5, dictionary_passes=1, **SMALL),
    "ica": IcaConfig(**SMALL),
    "ssae": SsaeConfig(hidden=[6, 5], ssae_epochs=2, **SMALL),
}
RESPONSES = {"sparse_coding": 5, "ica": 4, "ssae": 5}


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    rows = [manifest_row(i, split, "ab"[i % 2]) for i, split in enumerate(SPLITS)]
    rows[3]["label"] = None
    store_manifest(store, rows)
    return store


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_model_learns_from_patches_of_training_images(
    store: DatasetStore, method: PatchMethod
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), np.uint8)
    store_features(store, names.PREPARED_IMAGES, IDS, noise)
    config = CONFIGS[method.name]
    record = run_plan(patch_model(method), store, config).record
    assert (record.summary["training images"], record.rows) == (2, 60)
    tensors, sidecar = load_model(store, DATASET, f"{method.name}_model")
    assert tensors["whitening.matrix"].shape == (9, 4)
    assert sidecar.settings["responses"] == RESPONSES[method.name]
    assert len(sidecar.curve) == (4 if method.name == "ssae" else 0)  # epochs of both layers
    features = run_plan(patch_features(method), store, PooledConfig(patch_stride=1)).record
    rows = stored_rows(store, features, IDS[:3])
    assert rows.shape == (3, 1 + 4 + 16, RESPONSES[method.name])
    assert rows.min() >= 0
    np.testing.assert_allclose(rows[:, 0], rows[:, 1:5].max(axis=1), rtol=1e-6)


def test_responses_are_pooled_over_the_cells_of_the_pyramid(store: DatasetStore) -> None:
    half_black = flat_images([51, 102, 153, 204], side=12)  # 0.2, 0.4, 0.6 and 0.8 of white
    half_black[0, :, 6:] = 0
    store_features(store, names.PREPARED_IMAGES, IDS, half_black)
    first_pixel = torch.zeros(4, 1)
    first_pixel[0, 0] = 1
    store_model(
        store,
        "ica_model",
        {
            "model.unmixing": torch.tensor([[-5.0]]),
            "whitening.mean": torch.zeros(4),
            "whitening.matrix": first_pixel,
        },
        settings={"patch_size": 2, "responses": 1},
    )
    config = PooledConfig(patch_stride=2)
    record = run_plan(patch_features(METHODS["ica"]), store, config).record
    rows = stored_rows(store, record, IDS[:3])
    np.testing.assert_allclose(rows[1, :, 0], 2.0, rtol=1e-6)  # |-5 x 0.4| in every cell
    np.testing.assert_allclose(rows[2, :, 0], 3.0, rtol=1e-6)
    np.testing.assert_allclose(rows[0, :5, 0], [1, 1, 0, 1, 0], rtol=1e-6)  # whole, then quarters
    mean = run_plan(
        patch_features(METHODS["ica"]), store, PooledConfig(patch_stride=2, pyramid_pool="mean")
    ).record
    whole = stored_rows(store, mean, IDS[:1])[0, 0, 0]
    assert whole == pytest.approx(0.5)  # three of six columns of patches


def test_a_patch_larger_than_the_image_is_refused(store: DatasetStore) -> None:
    store_features(store, names.PREPARED_IMAGES, IDS, flat_images([1, 2, 3, 4], side=12))
    config: PatchConfig = IcaConfig(patch_size=13)
    with pytest.raises(InputError, match="ICA cannot be learned on tiny: a picture of 12 x 12"):
        run_plan(patch_model(METHODS["ica"]), store, config)

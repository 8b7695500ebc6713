"""Plans of the codebook and of VLAD rows, on descriptors of two clear groups."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from assets.features.local_descriptors import descriptors_asset
from assets.features.vlad import CodebookConfig, VladConfig, codebook, vlad_rows
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.studies.farhat_vlad import SCALES, codebook_asset
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
    store_record,
    stored_rows,
)

IDS = [image_id(i) for i in range(4)]
SPLITS = ("train", "train", "test", "test")
MAPS = np.array(
    [
        [[[0, 10]], [[0, 10]]],  # descriptors (0, 0) and (10, 10)
        [[[2, 12]], [[0, 10]]],  # (2, 0) and (12, 10)
        [[[1, 1]], [[3, 0]]],  # (1, 3) and (1, 0)
        [[[11, 1]], [[14, 0]]],  # (11, 14) and (1, 0)
    ],
    np.float32,
)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    store_manifest(store, [manifest_row(i, SPLITS[i], "ab"[i % 2]) for i in range(4)])
    store_features(store, names.PREPARED_IMAGES, IDS, flat_images([1, 2, 3, 4]))
    store_features(store, descriptors_asset(0), IDS, MAPS, backbone="toy", layer="maps")
    return store


def test_the_centroids_are_the_means_of_the_training_descriptors(store: DatasetStore) -> None:
    record = run_plan(codebook(2, 0), store).record
    tensors, _ = load_model(store, DATASET, codebook_asset(2, 0))
    centroids = np.array(sorted(tensors["centroids"].tolist()))
    np.testing.assert_allclose(centroids, [[1, 0], [11, 10]], atol=1e-6)
    assert record.rows == 4
    # each of the four training descriptors is 1 from its centroid
    assert record.summary["mean squared distance"] == pytest.approx(1)
    assert [picture.title for picture in record.pictures] == [
        "image regions that feed the centroids, scale 0"
    ]


def test_more_centroids_than_descriptors_are_refused(store: DatasetStore) -> None:
    with pytest.raises(InputError, match=f"no codebook can be learned on {DATASET}"):
        run_plan(codebook(5, 0), store, CodebookConfig(max_iterations=1))


def test_a_row_is_the_unit_vector_of_the_residuals(store: DatasetStore) -> None:
    centroids = torch.tensor([[1.0, 0.0], [11.0, 10.0]])
    store_model(store, codebook_asset(64, 0), {"centroids": centroids})
    record = run_plan(vlad_rows(64, 0), store, VladConfig(dtype="float32")).record
    rows = stored_rows(store, record, IDS)
    np.testing.assert_allclose(rows[2], [0, 1, 0, 0], atol=1e-6)  # residuals (0, 3) and (0, 0)
    np.testing.assert_allclose(rows[3], [0, 0, 0, 1], atol=1e-6)  # (0, 4) of the second centroid
    half = np.sqrt(0.5)  # residuals (-1, 0) of the first centroid and (-1, 0) of the second
    np.testing.assert_allclose(rows[0], [-half, 0, -half, 0], atol=1e-6)


def test_the_recipe_turns_every_step_on(store: DatasetStore) -> None:
    run_plan(codebook(2, 0), store, CodebookConfig(vlad_plus=True))
    tensors, sidecar = load_model(store, DATASET, codebook_asset(2, 0))
    store_model(store, codebook_asset(64, 0), tensors, settings=sidecar.settings)
    record = run_plan(vlad_rows(64, 0), store, VladConfig(vlad_plus=True, dtype="float32")).record
    mean, axes = tensors["local_mean"].numpy(), tensors["local_projection"].numpy()
    assert axes.shape == (2, 2), "as many components as a descriptor has numbers"
    of_training = np.array([[0, 0], [1, 1], [1, 0], [12, 10]]) / [[1], [2**0.5], [1], [244**0.5]]
    np.testing.assert_allclose(mean, of_training.mean(axis=0), rtol=1e-6)
    centroids = tensors["centroids"].numpy()
    places = np.array([[11, 14], [1, 0]])
    local = (places / np.linalg.norm(places, axis=1, keepdims=True) - mean) @ axes
    cells = np.zeros((2, 2))
    for x in local:
        nearest = np.square(centroids - x).sum(axis=1).argmin()
        cells[nearest] += x - centroids[nearest]
    cells[np.abs(cells) < 1e-6] = 0  # (1, 0) is a centroid
    cells = np.sign(cells) * np.sqrt(np.abs(cells))
    cells = [cell / (np.linalg.norm(cell) or 1) for cell in cells]
    expected = np.concatenate(cells) / np.linalg.norm(np.concatenate(cells))
    np.testing.assert_allclose(stored_rows(store, record, IDS)[3], expected, atol=1e-5)


def test_descriptors_of_all_scales_are_pooled(store: DatasetStore) -> None:
    store_features(store, descriptors_asset(1), IDS, MAPS[::-1], backbone="toy", layer="maps")
    store_features(store, descriptors_asset(2), IDS, MAPS, backbone="toy", layer="maps")
    record = run_plan(codebook(2, 0, 1, 2), store).record
    assert record.rows == 12, "two places of two training images at three scales"
    centroids = torch.tensor([[1.0, 0.0], [11.0, 10.0]])
    store_model(store, codebook_asset(64, *SCALES), {"centroids": centroids})
    record = run_plan(vlad_rows(64, *SCALES), store, VladConfig(dtype="float32")).record
    assert record.feature_set is not None
    assert record.feature_set.kind == "vlad64_descriptors_all_scales"
    assert len(record.feature_set.method["descriptors"]) == 3
    # of image 0: twice its residuals (-1, 0) and (-1, 0), once those of image 3, (0, 4) and (0, 0)
    expected = np.array([-2, 0, -2, 4]) / 24**0.5
    np.testing.assert_allclose(stored_rows(store, record, IDS)[0], expected, atol=1e-6)


def test_rows_of_missing_descriptors_give_their_reason(store: DatasetStore) -> None:
    store_record(store, descriptors_asset(0), unavailable="no such scale")
    store_record(store, codebook_asset(64, 0), unavailable="no such scale")
    assert run_plan(codebook(64, 0), store).record.unavailable == "no such scale"
    assert run_plan(vlad_rows(64, 0), store).record.unavailable == "no such scale"

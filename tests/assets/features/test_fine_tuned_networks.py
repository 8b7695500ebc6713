"""Plans of a fine-tuned network and of its features, on a toy network without weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assets.features import fine_tuned_networks, frozen_networks
from assets.features.fine_tuned_networks import (
    ALEXNET,
    FineTuneAlexNetConfig,
    Tunable,
    fine_tuned_features,
    fine_tuned_maps,
    fine_tuned_network,
    pixels_of,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.model_sidecar import ModelSidecar
from methods.training.fine_tuning import HeadedNetwork
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.model_store import load_model
from resources.weights import WeightsMissingError
from tests.assets.features.toy import DoubledMean, flat_images, toy_network
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

IDS = [image_id(i) for i in range(12)]
QUICK = FineTuneAlexNetConfig(
    fine_tune_epochs=2, fine_tune_batch_size=4, validation_fraction=0.25, augment=False
)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """Eight training and four test images: class a is dark, class b is bright."""
    store = new_store(tmp_path)
    rows = [manifest_row(i, "train" if i < 8 else "test", "ab"[i % 2]) for i in range(12)]
    store_manifest(store, rows)
    greys = [10 + i + 100 * (i % 2) for i in range(12)]
    store_features(store, names.PREPARED_IMAGES, IDS, flat_images(greys))
    return store


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network is a toy, and there are no weights of fc7."""

    def load(name: str, layer: str, source: str, side: int) -> Any:
        if layer == "fc7":
            raise WeightsMissingError("no weights up to fc7", "Get them")
        return toy_network(name, layer)

    monkeypatch.setattr(fine_tuned_networks, "frozen_network", load)
    monkeypatch.setattr(
        fine_tuned_networks, "network_up_to", lambda name, layer, variant: DoubledMean(maps=False)
    )


def test_a_network_is_tuned_on_training_images_up_to_the_layer_that_has_weights(
    store: DatasetStore,
) -> None:
    record = run_plan(fine_tuned_network(ALEXNET), store, QUICK).record
    tensors, sidecar = load_model(store, DATASET, "fine_tuned_alexnet")
    assert tensors["head.weight"].shape == (2, 3)
    assert (sidecar.settings["layer"], sidecar.settings["classes"]) == ("conv5", ["a", "b"])
    assert [line["epoch"] for line in sidecar.curve] == [1, 2]
    figures = record.summary
    assert (figures["training images"], figures["validation images"]) == (6, 2)
    assert record.rows == 8
    assert record.notices == ["TOY WEIGHTS"]


def test_the_features_are_those_before_the_head(store: DatasetStore) -> None:
    run_plan(fine_tuned_network(ALEXNET), store, QUICK)
    record = run_plan(fine_tuned_features(ALEXNET), store).record
    rows = stored_rows(store, record, IDS)
    np.testing.assert_allclose(rows[0], [20, 20, 20])  # twice grey 10
    np.testing.assert_allclose(rows[11], [242, 242, 242])  # twice grey 10 + 11 + 100
    assert record.feature_set is not None
    assert (record.feature_set.backbone, record.feature_set.layer) == ("alexnet", "conv5")


class Maps(DoubledMean):
    """Stands for the network up to conv5: maps of the images."""

    def __init__(self) -> None:
        super().__init__(maps=True)

    def row_shape(self, side: int) -> tuple[int, ...]:
        assert side == 4
        return (3, 2, 2)


def test_the_maps_are_of_every_usable_image(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_plan(fine_tuned_network(ALEXNET), store, QUICK)
    monkeypatch.setattr(fine_tuned_networks, "network_up_to", lambda name, layer, variant: Maps())
    record = run_plan(fine_tuned_maps, store).record
    rows = stored_rows(store, record, IDS)
    assert rows.shape == (12, 3, 2, 2)
    np.testing.assert_allclose(rows[11], 242)
    made = record.feature_set
    assert made is not None
    assert (made.layer, made.method) == ("conv5", {"fine_tuned": True})


@pytest.mark.parametrize(
    ("layer", "variant"), [("conv5", ""), ("fc6", ""), ("conv5", "caffe_alexnet")]
)
def test_a_tuned_network_is_cut_at_conv5_whatever_it_was_tuned_under(
    layer: str, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fine_tuned_networks, "network_up_to", frozen_networks.network_up_to)
    body = frozen_networks.network_up_to("alexnet", layer, variant)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.mul_(0.9)  # as if it had been tuned
    tensors = HeadedNetwork(body, 1, 2, 0.5, seed=0).state_dict()
    sidecar = ModelSidecar(
        architecture="",
        settings={"network": "alexnet", "layer": layer, "variant": variant},
        input_shape=(227, 227, 3),
        fitted_on="",
        curve=[],
    )
    pixels = torch.from_numpy(flat_images([30, 200], side=227))
    with torch.inference_mode():
        maps = fine_tuned_networks._conv5(tensors, sidecar)(pixels)
        assert maps.shape == (2, 256, 6, 6)
        if layer == "conv5":
            torch.testing.assert_close(maps, body(pixels))
        else:
            after = body.get_submodule("network.classifier.1")
            expected = torch.relu(after(maps.flatten(1)))
            torch.testing.assert_close(expected, body(pixels), rtol=1e-4, atol=1e-5)


def test_without_weights_neither_is_available(store: DatasetStore) -> None:
    tunable = Tunable("toy", "Toy", ("fc7",), 0.0)
    model = run_plan(fine_tuned_network(tunable), store).record
    features = run_plan(fine_tuned_features(tunable), store).record
    assert (model.unavailable, features.unavailable) == ("no weights up to fc7",) * 2


def test_other_labels_train_anew_and_other_test_images_do_not(store: DatasetStore) -> None:
    asset = fine_tuned_network(ALEXNET)
    run_plan(asset, store, QUICK)
    rows = [manifest_row(i, "train" if i < 8 else "test", "ab"[i % 2]) for i in range(11)]
    store_manifest(store, rows)
    assert run_plan(asset, store, QUICK).reused
    rows[0]["label"], rows[1]["label"] = "b", "a"
    store_manifest(store, rows)
    assert not run_plan(asset, store, QUICK).reused


def test_a_tuning_that_diverges_says_what_to_change(store: DatasetStore) -> None:
    fast = QUICK.model_copy(update={"fine_tune_learning_rate": 1e30})
    with pytest.raises(InputError, match="the fine-tuning of AlexNet diverged"):
        run_plan(fine_tuned_network(ALEXNET), store, fast)


@pytest.mark.parametrize("limit", [0, 2**30])
def test_pixels_are_the_same_from_memory_and_from_the_store(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(fine_tuned_networks, "PIXELS_IN_MEMORY", limit)
    record = store.need_record(DATASET, names.PREPARED_IMAGES)
    assert record.feature_set is not None
    images = FeatureStore(store, DATASET, record.feature_set).reader(IDS)
    read = pixels_of(images, np.array([3, 5, 7]))
    np.testing.assert_array_equal(read(np.array([2, 0]))[:, 0, 0, 0], [117, 113])
    images.close()


def test_features_wait_for_their_network(store: DatasetStore) -> None:
    store_record(store, ALEXNET.asset, unavailable="no weights")
    assert run_plan(fine_tuned_features(ALEXNET), store).record.unavailable == "no weights"

"""Plans of local descriptors and their averages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.features import local_descriptors
from assets.features.local_descriptors import (
    DescriptorConfig,
    average_descriptors,
    descriptors_asset,
)
from assets.features.local_descriptors import local_descriptors as descriptors
from data_contracts.errors import InputError
from resources.store.dataset_store import DatasetStore
from resources.weights import WeightsMissingError
from tests.assets.features.toy import FlatOriginals, toy_network
from tests.assets.plans import (
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
    store_record,
    stored_rows,
)

IDS = [image_id(0), image_id(1)]


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    store_manifest(store, [manifest_row(0, "train", "a"), manifest_row(1, "test", "b")])
    return store


def _use_toy(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Every network is a toy, and every original image of one grey."""

    def load(name: str, layer: str, source: str, side: int) -> Any:
        return toy_network(name, layer, maps=True, **fields)

    monkeypatch.setattr(local_descriptors, "frozen_network", load)
    monkeypatch.setattr(local_descriptors, "Originals", FlatOriginals)


def test_images_are_read_at_the_pixels_of_the_scale(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_toy(monkeypatch)
    record = run_plan(descriptors(1), store).record
    assert record.feature_set is not None
    assert record.feature_set.preprocessing["size"] == 224 + 320
    np.testing.assert_array_equal(stored_rows(store, record, IDS)[:, 0, 1, 1], [20, 40])


def test_a_network_of_fixed_size_has_no_other_scale(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use_toy(monkeypatch, input_side=224)
    assert run_plan(descriptors(0), store).record.unavailable == ""
    assert run_plan(descriptors(1), store).record.unavailable == (
        "vgg19 sees every image at 224 x 224 pixels, not at 544"
    )
    _use_toy(monkeypatch, input_side=300)
    with pytest.raises(InputError, match="vgg19 sees every image at 300 x 300 pixels, not at 224"):
        run_plan(descriptors(0), store)


def test_vgg16_stands_in_where_there_are_no_weights_of_vgg19(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, layer: str, source: str, side: int) -> Any:
        if name == "vgg19" or layer != "block5_pool":
            raise WeightsMissingError(f"no weights of {name} up to {layer}", "Get them")
        return toy_network(name, layer, maps=True)

    monkeypatch.setattr(local_descriptors, "frozen_network", load)
    monkeypatch.setattr(local_descriptors, "Originals", FlatOriginals)
    record = run_plan(descriptors(0), store).record
    assert record.feature_set is not None
    assert record.feature_set.backbone == "vgg16"
    assert record.notices == [
        "STAND-IN: VGG-16 takes the place of VGG-19 (no weights of vgg19 up to block5_pool)",
        "TOY WEIGHTS",
    ]
    for settings in ({"backbone_weights": "mine.pth"}, {"layer": "block9"}):
        with pytest.raises(WeightsMissingError, match="no weights of vgg19 up to"):
            run_plan(descriptors(0), store, DescriptorConfig(**settings))


def test_the_average_is_that_of_an_images_places(store: DatasetStore) -> None:
    maps = np.array([[[[1, 3]], [[0, 8]]], [[[5, 5]], [[2, 0]]]], np.float32)  # (2, C 2, 1, 2)
    source = store_features(store, descriptors_asset(0), IDS, maps, backbone="toy", layer="maps")
    record = run_plan(average_descriptors(0), store).record
    np.testing.assert_array_equal(stored_rows(store, record, IDS), [[2, 4], [5, 1]])
    assert record.feature_set is not None
    assert source.feature_set is not None
    assert (record.feature_set.backbone, record.feature_set.layer) == ("toy", "maps")
    assert record.feature_set.method == {"descriptors": source.feature_set.key}


def test_a_vector_is_no_local_descriptor(store: DatasetStore) -> None:
    store_features(store, descriptors_asset(0), IDS, np.ones((2, 3), np.float32), backbone="toy")
    with pytest.raises(InputError, match="gives a vector for an image, not local descriptors"):
        run_plan(average_descriptors(0), store)


def test_averages_of_missing_descriptors_give_their_reason(store: DatasetStore) -> None:
    store_record(store, descriptors_asset(0), unavailable="no such scale")
    assert run_plan(average_descriptors(0), store).record.unavailable == "no such scale"

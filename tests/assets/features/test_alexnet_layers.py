"""The plan of AlexNet's layers on grey images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.features import alexnet_layers
from assets.features.alexnet_layers import AlexNetLayersConfig
from assets.features.alexnet_layers import alexnet_layers as asset
from data_contracts import asset_names as names
from data_contracts.records.facts import NetworkFacts
from data_contracts.records.feature_shard import FeatureSet
from tests.assets.features.toy import FlatOriginals, toy_network
from tests.assets.plans import (
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_manifest,
    stored_rows,
)


def test_the_labelled_images_are_read_at_256_pixels_in_grey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(tmp_path)
    splits = (("train", "a"), ("unlabelled", None), ("test", "b"))
    store_manifest(store, [manifest_row(i, *splits[i]) for i in range(3)])
    sources: list[Any] = []

    def layers(source: str) -> Any:
        sources.append(source)
        return toy_network("alexnet", "conv1 pool1")

    monkeypatch.setattr(alexnet_layers, "Originals", FlatOriginals)
    monkeypatch.setattr(alexnet_layers, "_all_layers", layers)
    record = run_plan(asset, store, AlexNetLayersConfig(weights="random", voi="full")).record
    assert sources == ["random"]
    rows = stored_rows(store, record, [image_id(0), image_id(2)])
    assert rows.dtype == np.float16
    np.testing.assert_array_equal(rows, [[20, 20, 20], [40, 40, 40]])
    assert record.feature_set is not None
    assert record.feature_set.preprocessing == {"size": 256, "voi": "full", "colour": "luma"}
    assert record.facts_as(NetworkFacts).layer == "conv1 pool1"


def test_columns_of_the_layers_follow_each_other() -> None:
    features = FeatureSet(
        kind=names.ALEXNET_LAYERS,
        dtype="float16",
        row_shape=(13192,),
        preprocessing={},
        layer="fc6 fc7 fc8",
        code_version="3",
    )
    assert alexnet_layers.layer_columns(features) == {
        "fc6": (0, 4096),
        "fc7": (4096, 8192),
        "fc8": (8192, 9192),
    }

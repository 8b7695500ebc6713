"""Plans of the features of frozen networks, on images of one grey each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from assets.core.settings import weights_field, with_weights_of
from assets.features import frozen_networks
from assets.features.frozen_networks import (
    ROWS,
    AlexNetConfig,
    BackboneConfig,
    NetworkConfig,
    alexnet_conv5,
    backbone_features,
    frozen_network,
    network_features,
    network_up_to,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import NetworkFacts
from data_contracts.studies.study import Method
from methods.features.variants import variant_called
from resources.store.dataset_store import DatasetStore
from resources.weights import WeightsMissingError
from tests.assets.features.toy import flat_images, toy_network
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

IDS = [image_id(i) for i in range(3)]
ROW = Method.of_network("toy", "Toy + SVM", "toy", "sums")


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """One training, one test and one unlabelled image, of greys 1, 2 and 3."""
    store = new_store(tmp_path)
    splits = (("train", "a"), ("test", "b"), ("unlabelled", None))
    store_manifest(store, [manifest_row(i, *splits[i]) for i in range(3)])
    store_features(store, names.PREPARED_IMAGES, IDS, flat_images([1, 2, 3]))
    return store


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Every network is a toy; gives what was asked for."""
    asked: list[tuple[Any, ...]] = []

    def load(name: str, layer: str, source: str, side: int) -> Any:
        asked.append((name, layer, source, side))
        return toy_network(name, layer, maps=layer == "conv5")

    monkeypatch.setattr(frozen_networks, "frozen_network", load)
    return asked


def test_conv5_has_a_row_for_every_usable_image(
    store: DatasetStore, toy: list[tuple[Any, ...]]
) -> None:
    record = run_plan(alexnet_conv5, store, AlexNetConfig(weights="mine.pth")).record
    assert toy == [("alexnet", "conv5", "mine.pth", 4)]
    rows = stored_rows(store, record, IDS)
    assert rows.shape == (3, 3, 2, 2)
    np.testing.assert_array_equal(rows[:, 0, 0, 0], [2, 4, 6])
    assert record.facts_as(NetworkFacts).weights == "a file"
    assert record.notices == ["TOY WEIGHTS"]


def test_a_row_of_a_table_is_of_the_labelled_images_alone(
    store: DatasetStore, toy: list[tuple[Any, ...]]
) -> None:
    asset = network_features(ROW)
    config = with_weights_of("toy", NetworkConfig)(toy_weights="mine.pth")
    record = run_plan(asset, store, config).record
    assert toy == [("toy", "sums", "mine.pth", 4)]
    np.testing.assert_array_equal(stored_rows(store, record, IDS[:2]), [[2, 2, 2], [4, 4, 4]])
    assert record.rows == 2


def test_a_row_without_weights_says_so(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*asked: object) -> Any:
        raise WeightsMissingError("no weights of toy", "Get them")

    monkeypatch.setattr(frozen_networks, "frozen_network", missing)
    record = run_plan(network_features(ROW), store).record
    assert record.unavailable == "no weights of toy"


def test_a_backbone_of_conv5_has_the_shards_of_conv5(store: DatasetStore) -> None:
    conv5 = store_features(store, names.ALEXNET_CONV5, IDS, np.ones((3, 2, 2, 2), np.float32))
    record = run_plan(backbone_features, store).record
    assert record.feature_set == conv5.feature_set
    assert record.inputs == {names.ALEXNET_CONV5: conv5.data_version}
    with pytest.raises(InputError, match="backbone_weights is of a backbone other than"):
        run_plan(backbone_features, store, BackboneConfig(backbone_weights="mine.pth"))


def test_another_backbone_needs_no_conv5_and_gives_maps(
    store: DatasetStore, toy: list[tuple[Any, ...]]
) -> None:
    record = run_plan(backbone_features, store, BackboneConfig(backbone="toy")).record
    assert list(record.inputs) == [names.PREPARED_IMAGES]
    assert stored_rows(store, record, IDS).shape == (3, 3, 2, 2)
    with pytest.raises(InputError, match=r"sums of toy gives rows of shape \(3,\)"):
        run_plan(backbone_features, store, BackboneConfig(backbone="toy", layer="sums"))


def test_precision_changes_the_set_and_the_batch_size_does_not(
    store: DatasetStore, toy: list[tuple[Any, ...]]
) -> None:
    first = run_plan(alexnet_conv5, store)
    smaller = run_plan(alexnet_conv5, store, AlexNetConfig(batch_size=1))
    coarser = run_plan(alexnet_conv5, store, AlexNetConfig(precision="bfloat16"))
    assert (first.reused, smaller.reused, coarser.reused) == (False, True, False)
    assert coarser.record.feature_set is not None
    assert coarser.record.feature_set.method == {"precision": "bfloat16"}


def test_weights_of_a_variant_are_loaded_into_its_own_network(tmp_path: Path) -> None:
    variant = variant_called("caffe_alexnet")
    tensors = {name: x for name, x in variant.build().state_dict().items() if "fc" not in name}
    save_file(tensors, tmp_path / "mine.safetensors")
    found = frozen_network("alexnet", "conv5", str(tmp_path / "mine.safetensors"), 227)
    assert (found.row_shape, found.variant) == ((256, 6, 6), variant)
    again = network_up_to("alexnet", "conv5", variant.name)
    again.load_state_dict(found.network.state_dict())
    image = torch.full((1, 227, 227, 3), 99, dtype=torch.uint8)
    assert torch.equal(again(image), found.network(image))
    with pytest.raises(WeightsMissingError, match=r"fc7 needs fc6, which .* it ends with conv5"):
        frozen_network("alexnet", "fc7", str(tmp_path / "mine.safetensors"), 227)
    with pytest.raises(InputError, match=r"mine\.safetensors holds Caffe AlexNet, not googlenet"):
        frozen_network("googlenet", "pool5", str(tmp_path / "mine.safetensors"), 227)


def test_images_that_are_not_stored_have_no_side(store: DatasetStore) -> None:
    store_record(store, names.PREPARED_IMAGES)
    with pytest.raises(InputError, match=f"prepared_images of {DATASET} stores no images"):
        frozen_networks.side_of(store, DATASET)


def test_a_new_network_is_one_entry_in_its_study() -> None:
    row = Method.of_network("vit", "ViT + SVM", "timm/vit_small_patch16_224", "blocks.11")
    assert row.features == "vit_small_patch16_224_blocks_11"
    assert row.evaluation == "svm_evaluation_vit"
    assert network_features(row).key.path == [row.features]
    config = with_weights_of("timm/vit_small_patch16_224", NetworkConfig)()
    assert config.settings()["vit_small_patch16_224_weights"] == "auto"
    assert {weights_field(row.network[0]) for row in ROWS.values() if row.network} == {
        "weights",
        "googlenet_weights",
        "vgg19_weights",
    }

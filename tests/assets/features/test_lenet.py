"""Plans of the square images and of the one-vs-all networks, on images of 48 x 48 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.features import lenet
from assets.features.lenet import ASSETS, LenetConfig, SquareConfig, square_images
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.studies.lyndon2015 import LENET, MODERN
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import load_model
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
    stored_rows,
)

SIDE = 48
LABELS = ("a", "b", "a|b", "", "a", "b", "", "a|b", "a", None)
IDS = [image_id(i) for i in range(len(LABELS))]
NETWORKS = {asset.key.path[-1]: asset for asset in ASSETS[1:]}


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """Eight training images of two labels, a test image and an unlabelled one."""
    store = new_store(tmp_path, task="multi-label")
    splits = ["train"] * 8 + ["test", "unlabelled"]
    store_manifest(
        store,
        [manifest_row(i, splits[i], LABELS[i], group_id=f"g{i}") for i in range(len(LABELS))],
    )
    return store


class ColouredOriginals:
    """Stands for Originals: the red channel is 200, the others are 100 and 50."""

    settings: Any = None

    def __init__(self, *arguments: object) -> None:
        del arguments

    def squares(self, image_ids: Sequence[str], settings: Any, show: Any) -> np.ndarray:
        del show
        type(self).settings = settings
        colours = np.array([200, 100, 50], np.uint8)
        return np.broadcast_to(colours, (len(image_ids), settings.size, settings.size, 3)).copy()


def test_square_images_are_the_padded_first_channel(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lenet, "SQUARE_PIXELS", SIDE)
    monkeypatch.setattr(lenet, "Originals", ColouredOriginals)
    record = run_plan(square_images, store, SquareConfig(voi="full")).record
    rows = stored_rows(store, record, IDS[:9])
    assert (rows.shape, rows.dtype) == ((9, SIDE, SIDE), np.uint8)
    assert (rows == 200).all()
    settings = ColouredOriginals.settings
    assert (settings.resize, settings.size, settings.voi) == ("pad", SIDE, "full")


def _store_squares(store: DatasetStore) -> None:
    """Noise for every labelled image."""
    noise = np.random.default_rng(0).integers(0, 256, (9, SIDE, SIDE), np.uint8)
    store_features(store, names.SQUARE_IMAGES, IDS[:9], noise)


def test_each_label_has_a_network(store: DatasetStore) -> None:
    _store_squares(store)
    config = LenetConfig(lenet_epochs=2, lenet_batch_size=8)
    record = run_plan(NETWORKS[LENET.features], store, config).record
    tensors, sidecar = load_model(store, DATASET, LENET.features)
    assert sidecar.settings["labels"] == ["a", "b"]
    assert {len(tensor) for tensor in tensors.values()} == {2}, "the first axis is the label"
    assert [set(line) for line in sidecar.curve] == [{"epoch", "a", "b"}] * 2
    assert (record.rows, record.summary["labels"], record.summary["epochs"]) == (8, 2, 2)
    loss = (sidecar.curve[1]["a"] + sidecar.curve[1]["b"]) / 2
    assert record.summary["training loss at the end"] == pytest.approx(loss)
    assert record.notices == []


def test_a_label_without_a_validation_slice_is_named(tmp_path: Path) -> None:
    store = new_store(tmp_path, task="multi-label")
    labels = ["a", "b", "a", "a|b", "a"]  # every image but one has label a
    splits = ["train"] * 4 + ["test"]
    store_manifest(
        store, [manifest_row(i, splits[i], labels[i], group_id=f"g{i}") for i in range(5)]
    )
    noise = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE), np.uint8)
    store_features(store, names.SQUARE_IMAGES, IDS[:5], noise)
    record = run_plan(NETWORKS[MODERN.features], store, LenetConfig(lenet_epochs=1)).record
    (notice,) = record.notices
    assert notice.startswith("NO EARLY STOP of a")
    assert notice.endswith(f"to set some aside ({MODERN.title})")


def test_a_training_that_diverges_says_what_to_change(store: DatasetStore) -> None:
    _store_squares(store)
    with pytest.raises(InputError, match=f"the training of {LENET.features} diverged"):
        run_plan(NETWORKS[LENET.features], store, LenetConfig(lenet_learning_rate=1e30))

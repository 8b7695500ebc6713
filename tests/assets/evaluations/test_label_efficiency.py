"""The plan of the study of the number of labels, on small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from assets.evaluations.label_efficiency import (
    CAE,
    RAW,
    TUNED,
    LabelEfficiencyConfig,
    as_many_steps,
    label_efficiency,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import LabelEfficiencyFacts
from data_contracts.tables.evaluations import FIXED, METRICS, fixed_rows
from data_contracts.tables.evaluations import TUNED as C_TUNED
from methods.features.frozen_network import random_alexnet
from methods.training.fine_tuning import FineTuneSettings
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

LABELS = ["a", "b"] * 6
IDS = [image_id(i) for i in range(12)]


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """Eight training and four test images; CAE features tell the classes apart, raw ones do not."""
    store = new_store(tmp_path)
    store_manifest(
        store,
        [manifest_row(i, "train" if i < 8 else "test", label) for i, label in enumerate(LABELS)],
    )
    points = np.array([[label == "a", label == "b"] for label in LABELS], np.float32)
    store_features(store, names.CAE_FEATURES, IDS, points)
    same = np.tile(np.array([1, 1], np.float32), (12, 1))
    store_features(store, names.BACKBONE_FEATURES, IDS, same, backbone="alexnet", layer="conv5")
    images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 3), np.uint8)
    store_features(store, names.PREPARED_IMAGES, IDS, images)
    return store


def test_each_method_is_scored_on_each_share_of_the_labels(
    store: DatasetStore, tmp_path: Path
) -> None:
    weights = tmp_path / "alexnet.safetensors"
    save_file(random_alexnet(), weights)
    config = LabelEfficiencyConfig(
        label_fractions=[0.25, 1.0],
        label_seeds=1,
        weights=str(weights),
        fine_tune_epochs=1,
        fine_tune_batch_size=4,
        bootstrap_resamples=20,
    )
    record = run_plan(label_efficiency, store, config).record
    rows = store.main_table(DATASET, names.LABEL_EFFICIENCY, METRICS).to_pylist()
    subjects = ["2 labels (25 %)", "8 labels (100 %)"]
    assert [row["regularisation"] for row in rows] == [FIXED, C_TUNED] * 6
    found = {(row["method"], row["subject"]): row["value"] for row in fixed_rows(rows)}
    assert set(found) == {(name, subject) for name in (CAE, RAW, TUNED) for subject in subjects}
    assert [found[CAE, subject] for subject in subjects] == [1, 1]
    assert [found[RAW, subject] for subject in subjects] == [0.5, 0.5], "one class for all images"
    facts = record.facts_as(LabelEfficiencyFacts)
    assert facts.titles[RAW] == "alexnet conv5 features + SVM"
    assert "the CAE" in facts.sentence_raw


def test_the_last_share_is_all_labels(store: DatasetStore) -> None:
    with pytest.raises(InputError, match="the last of them 1"):
        run_plan(label_efficiency, store, LabelEfficiencyConfig(label_fractions=[0.5]))


def test_without_weights_it_says_so_in_the_place_of_figures(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDFEAT_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")
    assert "weights" in run_plan(label_efficiency, store).record.unavailable


def test_few_labels_get_as_many_steps_as_all() -> None:
    settings = FineTuneSettings(epochs=10, patience=3, batch_size=4)
    few = as_many_steps(settings, n_labels=6, n_all=40)
    assert (few.epochs, few.patience) == (50, 15), "10 batches an epoch against 2"
    assert as_many_steps(settings, 40, 40) == settings

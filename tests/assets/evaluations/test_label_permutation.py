"""The plan of the evaluation on permuted labels, on lesions of two classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets.core.lesion_rows import FoldConfig, lesion_rows
from assets.evaluations.cross_validation import LAYER_METHODS
from assets.evaluations.label_permutation import (
    METRIC,
    PermutationConfig,
    label_permutation,
    permuted_aucs,
)
from data_contracts import asset_names as names
from data_contracts.studies.huynh2016 import ANALYTIC, ENSEMBLE
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.lesions import LESIONS
from methods.classifiers.polynomial_svm import Grid
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
    store_record,
)

IDS = [image_id(i) for i in range(40)]
FC8 = LAYER_METHODS["fc8"]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    few = Grid(a=(1.0,), c=(1.0,), d=(1,))
    monkeypatch.setattr("methods.classifiers.polynomial_svm.Grid", lambda: few)
    store = new_store(tmp_path)
    store_manifest(
        store,
        [
            manifest_row(i, "train", ("benign", "malignant")[i % 2], group_id=f"lesion {i}")
            for i in range(40)
        ],
    )
    return store


def test_the_mean_over_the_permutations_stands_beside_each_of_them(store: DatasetStore) -> None:
    rng = np.random.default_rng(0)
    layers = rng.normal(0, 1, (40, 1000)).astype(np.float16)
    store_features(store, names.ALEXNET_LAYERS, IDS, layers, layer="fc8")
    store_features(store, ANALYTIC.features, IDS, rng.normal(0, 1, (40, 3)).astype(np.float32))
    lesion = {"center_row": 1.0, "center_column": 1.0, "marked": False, "area_pixels": 9}
    store_record(
        store,
        names.LESION_SEGMENTATION,
        tables=[(LESIONS, [{"image_id": image, "fault": "", **lesion} for image in IDS])],
    )
    run_plan(label_permutation, store, PermutationConfig(permutations=3, ensemble_layer="fc8"))
    rows = store.main_table(DATASET, names.LABEL_PERMUTATION, METRICS).to_pylist()
    assert {row["metric"] for row in rows} == {METRIC}
    for method in (FC8, ANALYTIC, ENSEMBLE):
        *each, mean = [row for row in rows if row["method"] == method.name]
        assert [row["subject"] for row in each] == [f"permutation {k}" for k in (1, 2, 3)]
        assert (mean["subject"], mean["n"]) == ("mean", 3)
        assert mean["interval"] == "t", "three permutations, but forty patients"
        assert mean["value"] == pytest.approx(np.mean([row["value"] for row in each]))


def test_the_classes_that_are_dealt_are_not_those_of_the_images(store: DatasetStore) -> None:
    """Features that tell the true classes apart tell nothing about permuted ones."""
    rows = lesion_rows(store, DATASET, FoldConfig())
    told = np.stack([rows.positive, np.arange(40) % 7], axis=1).astype(np.float32)
    aucs = permuted_aucs(rows, {FC8: told, ANALYTIC: told}, PermutationConfig(permutations=4))
    assert all(auc < 0.9 for auc in aucs[ANALYTIC])
    assert aucs[FC8] == aucs[ANALYTIC] == aucs[ENSEMBLE], "the same features, and their mean"

"""Plans of the cross-validated evaluations, on lesions whose probabilities are worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets.core.lesion_rows import FitConfig, FoldConfig, lesion_rows
from assets.evaluations.cross_validation import (
    LAYER_METHODS,
    VoteConfig,
    cv_evaluation,
    ensemble_evaluation,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import FoldFacts
from data_contracts.studies.huynh2016 import ANALYTIC, ENSEMBLE
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.lesions import LESIONS
from data_contracts.tables.roc import FOLD_SCORES
from methods.classifiers.polynomial_svm import Grid
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_fold_scores,
    store_manifest,
    store_record,
)

LABELS = ["benign", "malignant"] * 20
"""Forty images, each a lesion of its own."""
IDS = [image_id(i) for i in range(len(LABELS))]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    few = Grid(a=(1.0,), c=(1.0,), d=(1,))
    monkeypatch.setattr("methods.classifiers.polynomial_svm.Grid", lambda: few)
    store = new_store(tmp_path)
    store_manifest(
        store,
        [manifest_row(i, "train", label, group_id=f"lesion {i}") for i, label in enumerate(LABELS)],
    )
    return store


def _store_lesions(store: DatasetStore, without: int | None = None) -> None:
    """A contour for every lesion but one."""
    lesions = [
        {
            "image_id": image,
            "center_row": 1.0,
            "center_column": 1.0,
            "marked": False,
            "area_pixels": 0 if i == without else 9,
            "fault": "no contour" if i == without else "",
        }
        for i, image in enumerate(IDS)
    ]
    store_record(store, names.LESION_SEGMENTATION, tables=[(LESIONS, lesions)])


def _metrics(store: DatasetStore, asset: str) -> dict[tuple[str, str], float]:
    rows = store.main_table(DATASET, asset, METRICS).to_pylist()
    return {(row["metric"], row["subject"]): row["value"] for row in rows}


def test_features_that_tell_the_classes_apart_have_an_area_of_one(store: DatasetStore) -> None:
    _store_lesions(store, without=39)
    rng = np.random.default_rng(0)
    values = np.array([[label == "malignant", 0.5] for label in LABELS], np.float32)
    values[:, 1] += rng.normal(0, 0.01, len(LABELS)).astype(np.float32)
    store_features(store, ANALYTIC.features, IDS[:39], values[:39])
    record = run_plan(cv_evaluation(ANALYTIC, None), store).record
    assert record.facts_as(FoldFacts).images == 39, "the lesion without a contour is left out"
    metrics = _metrics(store, ANALYTIC.evaluation)
    assert metrics["auc_mean_of_folds", "all"] == metrics["auc_pooled", "all"] == 1
    assert [metrics["auc", f"fold {k}"] for k in range(1, 6)] == [1] * 5
    scores = store.main_table(DATASET, ANALYTIC.evaluation, FOLD_SCORES).to_pylist()
    assert [row["image_id"] for row in scores] == sorted(IDS[:39])
    assert {row["fold"] for row in scores} == set(range(5))


def test_a_layer_that_the_weights_lack_is_not_available(store: DatasetStore) -> None:
    store_features(
        store, names.ALEXNET_LAYERS, IDS, np.zeros((len(IDS), 64 * 63 * 63), "float16"),
        layer="conv1",
    )  # fmt: skip
    record = run_plan(cv_evaluation(LAYER_METHODS["fc6"], "fc6"), store).record
    assert record.unavailable == "the weights have no fc6"


def test_the_ensemble_is_the_mean_of_its_two_members(store: DatasetStore) -> None:
    store_features(
        store, names.ALEXNET_LAYERS, IDS[:1], np.zeros((1, 64 * 63 * 63), "float16"), layer="conv1"
    )
    rows = lesion_rows(store, DATASET, FoldConfig())
    network = np.where(rows.positive, 0.75, 0.5)
    analytic = np.where(rows.positive, 0.25, 0.5)
    store_fold_scores(store, LAYER_METHODS["conv1"].evaluation, rows, network)
    store_fold_scores(store, ANALYTIC.evaluation, rows, analytic)
    run_plan(ensemble_evaluation, store, VoteConfig(ensemble_layer="conv1"))
    scores = store.main_table(DATASET, ENSEMBLE.evaluation, FOLD_SCORES).to_pylist()
    assert [row["probability"] for row in scores] == [0.5] * 40, (
        "(0.75 + 0.25) / 2 = (0.5 + 0.5) / 2"
    )
    assert _metrics(store, ENSEMBLE.evaluation)["auc_pooled", "all"] == 0.5, "ties"
    assert store.facts(DATASET, ENSEMBLE.evaluation, FoldFacts).ensemble_layer == "conv1"


def test_an_ensemble_of_ranks_says_that_it_is_not_the_papers(store: DatasetStore) -> None:
    store_features(
        store, names.ALEXNET_LAYERS, IDS[:1], np.zeros((1, 64 * 63 * 63), "float16"), layer="conv1"
    )
    rows = lesion_rows(store, DATASET, FoldConfig())
    probability = np.where(rows.positive, 0.9, 0.2)
    for method in (LAYER_METHODS["conv1"], ANALYTIC):
        store_fold_scores(store, method.evaluation, rows, probability)
    run = run_plan(ensemble_evaluation, store, VoteConfig(ensemble_layer="conv1", vote="rank"))
    assert any(notice.startswith("NOT THE PAPER'S VOTE") for notice in run.record.notices)
    scores = store.main_table(DATASET, ENSEMBLE.evaluation, FOLD_SCORES).to_pylist()
    # four images of either class in a fold of eight: ranks 2.5 and 6.5 of 9
    assert {round(row["probability"], 12) for row in scores} == {
        round(2.5 / 9, 12),
        round(6.5 / 9, 12),
    }


def test_what_is_optimistic_is_said(store: DatasetStore) -> None:
    _store_lesions(store)
    noise = np.random.default_rng(0).normal(0, 1, (len(IDS), 6)).astype(np.float32)
    store_features(store, ANALYTIC.features, IDS, noise)
    usual = run_plan(cv_evaluation(ANALYTIC, None), store).record
    assert not [notice for notice in usual.notices if notice.startswith(("FLAT", "ZERO"))]
    changed = FitConfig(grid_search="flat", zero_variance="all", select_features="anova")
    notices = run_plan(cv_evaluation(ANALYTIC, None), store, changed).record.notices
    assert [notice.split(":")[0] for notice in notices][:2] == [
        "FLAT GRID SEARCH",
        "ZERO VARIANCE ON ALL IMAGES",
    ]
    inner = store.main_table(DATASET, ANALYTIC.evaluation, FOLD_SCORES).to_pylist()
    assert all(row["inner"][row["fold"]] is None and len(row["inner"]) == 5 for row in inner)


def test_patients_on_both_sides_of_a_fold_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "methods.classifiers.polynomial_svm.Grid", lambda: Grid(a=(1.0,), c=(1.0,), d=(1,))
    )
    store = new_store(tmp_path)
    rows = [
        manifest_row(i, "train", label, group_id=f"lesion {i}", patient_id=f"patient {i // 2}")
        for i, label in enumerate(LABELS)
    ]
    store_manifest(store, rows)
    _store_lesions(store)
    store_features(
        store, ANALYTIC.features, IDS, np.random.default_rng(0).normal(0, 1, (40, 3)).astype("f4")
    )
    record = run_plan(cv_evaluation(ANALYTIC, None), store).record
    facts = record.facts_as(FoldFacts)
    assert facts.patients == 20
    assert facts.parted_patients
    assert [
        notice
        for notice in record.notices
        if notice.startswith(f"PATIENTS IN TWO FOLDS: {facts.parted_patients} of 20 patients")
    ]
    whole = run_plan(cv_evaluation(ANALYTIC, None), store, FitConfig(group_by="patient")).record
    assert whole.facts_as(FoldFacts).parted_patients == 0
    assert not [notice for notice in whole.notices if "TWO FOLDS" in notice]


def test_a_member_of_other_folds_is_refused(store: DatasetStore) -> None:
    store_features(
        store, names.ALEXNET_LAYERS, IDS[:1], np.zeros((1, 64 * 63 * 63), "float16"), layer="conv1"
    )
    rows, half = lesion_rows(store, DATASET, FoldConfig()), np.full(len(IDS), 0.5)
    conv1 = LAYER_METHODS["conv1"].evaluation
    store_fold_scores(store, conv1, rows, half, rows_version="another")
    with pytest.raises(InputError, match="was made with other images or folds"):
        run_plan(ensemble_evaluation, store, VoteConfig(ensemble_layer="conv1"))


def test_a_layer_that_is_not_stored_cannot_be_chosen(store: DatasetStore) -> None:
    store_features(
        store, names.ALEXNET_LAYERS, IDS[:1], np.zeros((1, 64 * 63 * 63), "float16"), layer="conv1"
    )
    with pytest.raises(InputError, match=r"no fc6 and no conv4.*conv1"):
        run_plan(ensemble_evaluation, store)

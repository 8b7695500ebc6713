"""The plan of an SVM evaluation, and of the comparison of methods, on arrays worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assets.core.scoring import ScoreConfig
from assets.evaluations.comparison import method_comparison
from assets.evaluations.ensembles import ensemble_evaluation
from assets.evaluations.svm import SvmConfig, majority_evaluation, svm_evaluation
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import EvaluationFacts
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.evaluations import COMPARISONS, FIXED, METRICS, PREDICTIONS, TUNED
from methods.classifiers.tuning import C_GRID
from methods.settings import RowScale
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

CAE, RAW = AHN2019.method("cae"), AHN2019.method("conv5")
QUICK = SvmConfig(label_budgets=[1], label_repeats=2, bootstrap_resamples=20)
LABELS = ["a", "b"] * 6
"""Six training and six test images of two classes, in turn."""


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    store_manifest(
        store,
        [manifest_row(i, "train" if i < 6 else "test", LABELS[i]) for i in range(12)],
    )
    return store


def _store_points(store: DatasetStore, asset: str, turned: tuple[int, ...] = ()) -> None:
    """Store (1, 0) for class a and (0, 1) for class b; the other way for rows ``turned``."""
    points = np.array([[1, 0] if label == "a" else [0, 1] for label in LABELS], np.float32)
    for i in turned:
        points[i] = points[i][::-1]
    store_features(store, asset, [image_id(i) for i in range(12)], points, backbone="alexnet")


def test_one_turned_test_image_of_six_is_wrong(store: DatasetStore) -> None:
    _store_points(store, CAE.features, turned=(11,))
    record = run_plan(svm_evaluation(AHN2019, CAE), store, QUICK).record
    facts = record.facts_as(EvaluationFacts)
    assert (facts.training_images, facts.test_images, facts.classes) == (6, 6, 2)
    metrics = store.main_table(DATASET, CAE.evaluation, METRICS).to_pylist()
    accuracies = [row for row in metrics if row["metric"] == "accuracy"]
    assert [row["regularisation"] for row in accuracies] == [FIXED, TUNED]
    for accuracy in accuracies:
        assert accuracy["value"] == pytest.approx(5 / 6)
        assert accuracy["ci_low"] < 5 / 6 < accuracy["ci_high"]
    rows = store.main_table(DATASET, CAE.evaluation, PREDICTIONS).to_pylist()
    wrong = [(row["image_id"], row["regularisation"]) for row in rows if not row["correct"]]
    assert wrong == [(image_id(11), FIXED), (image_id(11), TUNED)]
    # the turned image of class b finds three of class a first, and two of class b last
    of_turned = (1 / 4 + 2 / 5) / 2
    (of_features,) = [row for row in metrics if row["metric"] == "mean_average_precision"]
    assert of_features["regularisation"] == FIXED, "the features are the same at either C"
    assert (of_features["n"], of_features["ci_low"] < of_features["value"]) == (6, True)
    assert of_turned < of_features["value"] < 1


def test_each_row_states_the_c_that_it_was_fitted_with(store: DatasetStore) -> None:
    _store_points(store, CAE.features)
    run_plan(svm_evaluation(AHN2019, CAE), store, QUICK.model_copy(update={"c": 3.0}))
    metrics = store.main_table(DATASET, CAE.evaluation, METRICS).to_pylist()
    c_of = {row["regularisation"]: json.loads(row["settings"])["c"] for row in metrics}
    # every candidate parts the two points, and of equally good ones the smallest is taken
    assert c_of == {FIXED: 3.0, TUNED: C_GRID[0]}


@pytest.mark.parametrize("convention", ["scspm", "liblinear"])
def test_a_convention_is_that_of_the_fixed_c_alone(store: DatasetStore, convention: str) -> None:
    _store_points(store, CAE.features, turned=(1, 11))
    plain = run_plan(svm_evaluation(AHN2019, CAE), store, QUICK)
    margins = {True: _margins(store)}
    other = QUICK.model_copy(update={"convention": convention})
    named = run_plan(svm_evaluation(AHN2019, CAE), store, other)
    margins[False] = _margins(store)
    assert not named.reused
    assert named.record.fingerprint != plain.record.fingerprint
    assert margins[True][TUNED] == margins[False][TUNED]
    assert margins[True][FIXED] != pytest.approx(margins[False][FIXED], rel=1e-3)


def _margins(store: DatasetStore) -> dict[str, list[float]]:
    """Margins of the stored predictions, by regularisation."""
    rows = store.main_table(DATASET, CAE.evaluation, PREDICTIONS).to_pylist()
    return {
        of: [row["margin"] for row in rows if row["regularisation"] == of] for of in (FIXED, TUNED)
    }


def test_the_same_inputs_are_not_computed_again_and_others_are(store: DatasetStore) -> None:
    _store_points(store, CAE.features)
    asset = svm_evaluation(AHN2019, CAE)
    first = run_plan(asset, store, QUICK)
    again = run_plan(asset, store, QUICK)
    assert (first.reused, again.reused) == (False, True)
    assert again.record.data_version == first.record.data_version
    other = run_plan(asset, store, QUICK.model_copy(update={"c": 2.0}))
    assert not other.reused


def test_a_record_without_typed_facts_is_computed_again(store: DatasetStore) -> None:
    _store_points(store, CAE.features)
    asset = svm_evaluation(AHN2019, CAE)
    first = run_plan(asset, store, QUICK).record
    store.save_record(first.model_copy(update={"facts": None}))
    with pytest.raises(InputError, match="stored by an earlier version"):
        store.facts(DATASET, CAE.evaluation, EvaluationFacts)
    again = run_plan(asset, store, QUICK)
    assert not again.reused
    assert again.record.facts == first.facts


def test_the_reason_of_missing_features_stands_in_the_place_of_a_figure(
    store: DatasetStore,
) -> None:
    store_record(store, CAE.features, unavailable="no weights")
    record = run_plan(svm_evaluation(AHN2019, CAE), store, QUICK).record
    assert (record.unavailable, record.facts, record.files) == ("no weights", None, [])


def test_an_ensemble_waits_for_its_members(store: DatasetStore) -> None:
    ensemble = next(method for method in AHN2019.methods if method.members)
    with pytest.raises(InputError, match=r"fine_tuned_.* has not been materialised"):
        run_plan(ensemble_evaluation(AHN2019, ensemble), store)


@pytest.mark.parametrize("scale", ["standardise", "sqrt", "whiten", "none"])
def test_every_scaling_of_the_rows_parts_two_points(store: DatasetStore, scale: RowScale) -> None:
    _store_points(store, CAE.features, turned=(11,))
    config = QUICK.model_copy(update={"scale": scale})
    if scale == "whiten":  # two different rows span one dimension
        with pytest.raises(InputError, match="3 principal components cannot take the place"):
            run_plan(svm_evaluation(AHN2019, CAE), store, config)
        return
    run_plan(svm_evaluation(AHN2019, CAE), store, config)
    rows = store.main_table(DATASET, CAE.evaluation, PREDICTIONS).to_pylist()
    assert {row["image_id"] for row in rows if not row["correct"]} == {image_id(11)}


def test_pooled_maps_are_classified_without_a_store_of_their_own(store: DatasetStore) -> None:
    maps = np.zeros((12, 2, 6, 6), np.float32)
    for i, label in enumerate(LABELS):
        maps[i, "ab".index(label), i % 6] = 1
    ids = [image_id(i) for i in range(12)]
    store_features(store, RAW.features, ids, maps, backbone="alexnet")
    for name in ("conv5_max", "conv5_mean"):
        method = AHN2019.method(name)
        assert method.features == RAW.features
        run_plan(svm_evaluation(AHN2019, method), store, QUICK)
        rows = store.main_table(DATASET, method.evaluation, PREDICTIONS).to_pylist()
        assert all(row["correct"] for row in rows)


def test_the_commonest_training_class_is_right_where_the_test_image_has_it(
    store: DatasetStore,
) -> None:
    rows = [manifest_row(i, "train" if i < 7 else "test", LABELS[i]) for i in range(12)]
    store_manifest(store, rows)  # a has 4 of 7 training images and 2 of 5 test images
    method = AHN2019.method("majority")
    run_plan(majority_evaluation(AHN2019, method), store, ScoreConfig(bootstrap_resamples=20))
    predicted = store.main_table(DATASET, method.evaluation, PREDICTIONS).to_pylist()
    assert {row["predicted"] for row in predicted} == {"a"}
    assert {row["regularisation"] for row in predicted} == {FIXED}
    metrics = store.main_table(DATASET, method.evaluation, METRICS).to_pylist()
    assert next(row["value"] for row in metrics if row["metric"] == "accuracy") == 2 / 5


def test_methods_are_compared_image_by_image(store: DatasetStore) -> None:
    _store_points(store, CAE.features)
    _store_points(store, RAW.features, turned=(10, 11))
    for method in (CAE, RAW):
        run_plan(svm_evaluation(AHN2019, method), store, QUICK)
    run_plan(method_comparison(AHN2019, False), store)
    rows = store.main_table(DATASET, names.method_comparison(AHN2019.name), COMPARISONS).to_pylist()
    assert [row["regularisation"] for row in rows] == [FIXED, TUNED]
    for row in rows:
        assert (row["method_a"], row["method_b"], row["n"]) == (RAW.name, CAE.name, 6)
        assert (row["only_a_correct"], row["only_b_correct"]) == (0, 2)
        # 2 of 2 discordant pairs: 2 * (1/2)^2; Holm's factor is the one row of its family
        assert row["p_value"] == row["p_holm"] == pytest.approx(0.5)

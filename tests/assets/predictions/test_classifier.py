"""The plans of the classifier and of its predictions, on arrays worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from assets.predictions.classifier import FEATURES, classifier, load_classifier
from assets.predictions.fitting import ClassifierConfig
from assets.predictions.predictions import predictions
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import ClassifierFacts, PredictionFacts
from data_contracts.tables.multilabel import NO_LABEL
from data_contracts.tables.predictions import IMAGE_PREDICTIONS, UNLIKE_ANSWER
from methods.arrays import l2_normalise
from methods.classifiers.label_probabilities import LabelCalibration
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

LABELS = ["a", "b"] * 7
"""Twelve training images and two test images."""
ANGLES = [0.0 if label == "a" else 90.0 for label in LABELS]
NEW = [10.0, 80.0, 180.0]
"""Angles of a held image of class a, of an unlabelled one like class b, and of one like none."""


def _points(angles: list[float]) -> np.ndarray:
    radians = np.deg2rad(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    rows = [manifest_row(i, "train" if i < 12 else "test", of) for i, of in enumerate(LABELS)]
    rows += [
        manifest_row(14, "held", "a", drop="monday"),
        manifest_row(15, "unlabelled", None),
        manifest_row(16, "unlabelled", None),
    ]
    store_manifest(store, rows)
    ids = [image_id(i) for i in range(17)]
    store_features(store, FEATURES, ids, _points([*ANGLES, *NEW]))
    images = np.random.default_rng(0).integers(0, 256, (17, 8, 8, 3), np.uint8)
    store_features(store, names.PREPARED_IMAGES, ids, images)
    return store


def test_two_directions_are_told_apart_by_their_difference(store: DatasetStore) -> None:
    record = run_plan(classifier, store).record
    fitted = load_classifier(store, DATASET)
    assert fitted.classes.tolist() == ["a", "b"]
    first, second = fitted.weights.T
    assert first == pytest.approx(-second, abs=1e-4), "what speaks for a speaks against b"
    assert first[0] == pytest.approx(-first[1], abs=1e-4), "the classes mirror each other"
    assert fitted.calibration.unlike_below == pytest.approx(1), (
        "every training image has one like itself"
    )
    assert record.summary["accuracy on test images"] == 1
    assert record.rows == 12


def test_one_class_alone_cannot_be_learned(store: DatasetStore) -> None:
    store_manifest(store, [manifest_row(i, "train", "a") for i in range(4)])
    with pytest.raises(InputError, match="fewer than two classes"):
        run_plan(classifier, store)


def test_images_without_a_trusted_label_are_predicted(store: DatasetStore) -> None:
    run_plan(classifier, store)
    record = run_plan(predictions, store).record
    rows = store.main_table(DATASET, names.PREDICTIONS, IMAGE_PREDICTIONS).to_pylist()
    by_id = {row["image_id"]: row for row in rows}
    held, like_b, unlike = (by_id[image_id(i)] for i in (14, 15, 16))
    assert (held["predicted"], held["label"], held["split"]) == ("a", "a", "held")
    assert (like_b["predicted"], like_b["label"]) == ("b", None)
    assert held["neighbour_similarities"] == pytest.approx([np.cos(np.deg2rad(10))] * 3, abs=1e-6)
    assert like_b["probability"] == pytest.approx(held["probability"], abs=1e-3), "10 degrees each"
    assert unlike["neighbour_similarities"][0] == pytest.approx(0, abs=1e-6)
    assert unlike["out_of_distribution"]
    assert (unlike["answer"], unlike["predicted"] in {"a", "b"}) == (UNLIKE_ANSWER, True)
    assert record.facts_as(PredictionFacts).images == 3
    assert record.summary["held images predicted as labelled"] == "1 of 1"
    folder = store.reports / DATASET
    assert {path.name for path in folder.iterdir()} == {
        "predictions.parquet",
        "predictions.csv",
        "predictions.html",
    }


def test_test_images_that_are_labelled_otherwise_are_shouted(store: DatasetStore) -> None:
    rows = [manifest_row(i, "train", of) for i, of in enumerate(LABELS)]
    rows += [manifest_row(20 + i, "test", of) for i, of in enumerate(["b", "a"] * 15)]
    rows.append(manifest_row(16, "unlabelled", None))
    store_manifest(store, rows)
    ids = sorted(row["image_id"] for row in rows)
    store_features(store, FEATURES, ids, _points([*ANGLES, NEW[2], *[0.0, 90.0] * 15]))
    images = np.zeros((len(ids), 8, 8, 3), np.uint8)
    store_features(store, names.PREPARED_IMAGES, ids, images)
    record = run_plan(classifier, store).record
    facts = record.facts_as(ClassifierFacts)
    assert facts.out_of_fold is not None
    assert facts.test is not None
    assert (facts.out_of_fold.right.value, facts.test.right.value) == (1, 0)
    assert any(notice.startswith("BADLY CALIBRATED") for notice in record.notices)
    run_plan(predictions, store)
    page = (store.reports / DATASET / "predictions.html").read_text()
    assert "BADLY CALIBRATED" in page
    assert "The probability cannot be read as such on images like these." in page


# Several labels an image
# -------------------------------------------------------------------------------------------------

SETS = ["a", "b", "a|b", ""] * 15
"""Forty training and twenty test images: label a, label b, both, none."""
HELD, NEW_BOTH, UNLIKE = (image_id(i) for i in (60, 61, 62))


def _several(folder: Path, sets: list[str], **columns: Any) -> tuple[DatasetStore, np.ndarray]:
    """A store of several labels with images that are the sum of a direction for each label."""
    store = new_store(folder, task="multi-label")
    rows = [
        manifest_row(i, "train" if i < 40 else "test", of, **{k: v[i] for k, v in columns.items()})
        for i, of in enumerate(sets)
    ]
    rows += [
        manifest_row(60, "held", "", drop="monday"),
        manifest_row(61, "unlabelled", None),
        manifest_row(62, "unlabelled", None),
    ]
    store_manifest(store, rows)
    shown = [*sets, "", "a|b"]
    points = np.array([["a" in s, "b" in s, 0.5, 0] for s in shown], np.float32)
    points[:, :3] += np.random.default_rng(0).normal(0, 0.25, (len(points), 3))
    points = np.concatenate([points, np.float32([[0, 0, 0, -1]])])
    ids = [image_id(i) for i in range(63)]
    store_features(store, FEATURES, ids, points)
    store_features(store, names.PREPARED_IMAGES, ids, np.zeros((63, 8, 8, 3), np.uint8))
    return store, points


def _labels_of(store: DatasetStore) -> LabelCalibration:
    calibration = load_classifier(store, DATASET).calibration
    assert isinstance(calibration, LabelCalibration)
    return calibration


@pytest.mark.parametrize("in_gram", [True, False])
def test_each_of_several_labels_has_the_svm_of_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_gram: bool
) -> None:
    store, points = _several(tmp_path, SETS)
    if not in_gram:
        monkeypatch.setattr("methods.classifiers.linear_svm.MAX_GRAM_ROWS", 39)
    record = run_plan(classifier, store, ClassifierConfig(tolerance=1e-7)).record
    rows = l2_normalise(points)
    truth = np.array([["a" in s, "b" in s] for s in SETS])
    plain = LinearSVC(C=1.0, tol=1e-12, intercept_scaling=1000.0, max_iter=20_000, dual=False)
    theirs = OneVsRestClassifier(plain).fit(rows[:40], truth[:40].astype(int))
    fitted = load_classifier(store, DATASET)
    ours = fitted.scores(rows)
    np.testing.assert_allclose(ours, theirs.decision_function(rows), atol=2e-3)
    given = _labels_of(store).given(ours)[40:60]
    facts = record.facts_as(ClassifierFacts)
    assert facts.exact_match is not None
    assert facts.exact_match.value == (given == truth[40:]).all(axis=1).mean()
    assert facts.labels["a"].value == (given == truth[40:])[:, 0].mean()
    assert 0.5 < facts.exact_match.value < 1
    assert facts.out_of_fold is not None
    assert facts.test is not None
    assert (facts.out_of_fold.n, facts.test.n) == (80, 40), "two decisions an image"
    assert facts.test.right.groups == 20
    assert _labels_of(store).highest.tolist() == [41 / 42] * 2, "an image is a group of its own"
    assert record.notices == []


def test_images_with_several_labels_are_predicted(tmp_path: Path) -> None:
    store, _ = _several(tmp_path, SETS)
    run_plan(classifier, store)
    record = run_plan(predictions, store).record
    rows = store.main_table(DATASET, names.PREDICTIONS, IMAGE_PREDICTIONS).to_pylist()
    by_id = {row["image_id"]: row for row in rows}
    held, both, unlike = (by_id[i] for i in (HELD, NEW_BOTH, UNLIKE))
    assert rows[0] == unlike, "it comes first"
    assert (held["predicted"], held["label"]) == (NO_LABEL, NO_LABEL)
    assert (both["answer"], both["label"], both["runner_up"]) == ("a|b", None, None)
    assert (unlike["answer"], unlike["out_of_distribution"]) == (UNLIKE_ANSWER, True)
    for row in rows:
        given = set(row["predicted"].split("|")) - {NO_LABEL}
        right = [
            p if label in given else 1 - p
            for label, p in zip(row["labels"], row["label_probabilities"], strict=True)
        ]
        assert row["labels"] == ["a", "b"]
        assert row["probability"] == pytest.approx(min(right)), "of the least sure label"
        assert set(row["neighbour_labels"]) <= {"a", "b", "a|b", NO_LABEL}
    assert record.summary["held images predicted as labelled"] == "1 of 1"
    page = (store.reports / DATASET / "predictions.html").read_text()
    assert "<dt>All labels right</dt>" in page
    assert "<dt>Label a</dt>" in page
    assert "label decisions on test images" in page
    text = (store.reports / DATASET / "predictions.csv").read_text()
    assert "probability_of_a,probability_of_b" in text.splitlines()[0]
    assert "runner_up" not in text


def test_a_label_of_one_patient_is_given_to_no_image(tmp_path: Path) -> None:
    sets = ["rare" if i < 3 else of for i, of in enumerate(SETS)]
    groups = ["p" if i < 3 else f"g{i}" for i in range(60)]
    store, _ = _several(tmp_path, sets, group_id=groups)
    record = run_plan(classifier, store).record
    assert _labels_of(store).thresholds[2] == np.inf
    (notice,) = [n for n in record.notices if n.startswith("NOT LEARNED")]
    assert "rare is on images of too few groups" in notice
    run_plan(predictions, store)
    rows = store.main_table(DATASET, names.PREDICTIONS, IMAGE_PREDICTIONS).to_pylist()
    assert {row["label_probabilities"][2] for row in rows} == {None}
    page = (store.reports / DATASET / "predictions.html").read_text()
    assert "<dt>Label rare</dt><dd>given to no image" in page


def test_with_one_patient_probabilities_of_labels_mean_nothing(tmp_path: Path) -> None:
    groups = ["p" if i < 40 else f"g{i}" for i in range(60)]
    store, _ = _several(tmp_path, SETS, group_id=groups)
    record = run_plan(classifier, store).record
    assert any(notice.startswith("NOT CALIBRATED") for notice in record.notices)
    assert _labels_of(store).thresholds.tolist() == [0, 0]
    run_plan(predictions, store)
    rows = store.main_table(DATASET, names.PREDICTIONS, IMAGE_PREDICTIONS).to_pylist()
    assert not any(row["out_of_distribution"] for row in rows), "it marks what it cannot tell"


def test_one_set_of_labels_alone_cannot_be_learned(tmp_path: Path) -> None:
    store = new_store(tmp_path, task="multi-label")
    store_manifest(store, [manifest_row(i, "train", "a|b") for i in range(4)])
    with pytest.raises(InputError, match="two different sets of labels"):
        run_plan(classifier, store)

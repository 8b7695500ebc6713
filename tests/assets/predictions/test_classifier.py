"""The plans of the classifier and of its predictions, on arrays worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets.predictions.classifier import FEATURES, classifier, load_classifier
from assets.predictions.predictions import predictions
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import ClassifierFacts, PredictionFacts
from data_contracts.tables.predictions import IMAGE_PREDICTIONS, UNLIKE_ANSWER
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

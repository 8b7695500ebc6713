"""Errors beside their neighbours, from evaluations of small arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets.core.labelled_rows import labelled_rows
from assets.core.plan import Stage
from assets.core.settings import StageConfig
from assets.evaluations.svm import SvmConfig, svm_evaluation
from assets.reports.classifier_sections import Classifiers
from assets.reports.error_sections import _nearest, errors_section
from data_contracts import asset_names as names
from data_contracts.studies.farhat_vlad import FARHAT_VLAD
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

MAIN = FARHAT_VLAD.method(FARHAT_VLAD.main)
LABELS = ["a", "b"] * 10
ANGLES = [*[0.0, 90.0] * 5, 1.0, 89.0, 2.0, 88.0, 80.0, 20.0, 3.0, 87.0, 4.0, 86.0]
"""Direction of each image's features: 14 lies by the other class, and 15 less so."""


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """Ten training images in two directions, ten test images, of which two lie wrong."""
    store = new_store(tmp_path)
    rows = [manifest_row(i, "train" if i < 10 else "test", of) for i, of in enumerate(LABELS)]
    store_manifest(store, rows)
    ids = [image_id(i) for i in range(20)]
    turned = np.deg2rad(ANGLES)
    points = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    store_features(store, MAIN.features, ids, points, backbone="vgg19", layer="block5_pool")
    pixels = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    store_features(store, names.PREPARED_IMAGES, ids, pixels)
    quick = SvmConfig(label_budgets=[1], label_repeats=2, bootstrap_resamples=20)
    run_plan(svm_evaluation(FARHAT_VLAD, MAIN), store, quick)
    return store


def test_errors_come_with_pictures_and_a_map(store: DatasetStore) -> None:
    here = Stage(DATASET, "report", StageConfig(), store)
    of = Classifiers(here, FARHAT_VLAD, {MAIN: "Main"}, ())
    (section,) = errors_section(of)
    assert section.paragraphs[0].startswith("Main has 2 of 10 test images wrong. Shown are the 2 ")
    assert [figure.title.split(":")[0].split(",")[0] for figure in section.figures] == [
        "Misclassified test images",
        "Map of the features of Main",
    ]
    assert "all 20 labelled images" in section.figures[1].title
    here.close()


def test_the_nearest_of_each_class_is_found_among_the_training_images(store: DatasetStore) -> None:
    here = Stage(DATASET, "report", StageConfig(), store)
    rows = labelled_rows(store, DATASET, FARHAT_VLAD)
    reader = here.features(MAIN.features, rows.ids)
    wrong = [
        {"image_id": image_id(14), "label": "a", "predicted": "b"},
        {"image_id": image_id(15), "label": "b", "predicted": "no such class"},
    ]
    (own, other), (_, none) = _nearest(wrong, rows, reader)
    train = {image_id(i): LABELS[i] for i in range(10)}
    assert (train[own], train[other], none) == ("a", "b", "")
    here.close()

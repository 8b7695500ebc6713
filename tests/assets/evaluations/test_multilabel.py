"""Plans of the evaluations of several labels, on arrays worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from assets.core.scoring import ScoreConfig
from assets.evaluations.multilabel import MultilabelSvmConfig, network_evaluation, svm_evaluation
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import MultilabelFacts
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.studies.lyndon2015 import CONV5, LENET
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.multilabel import MULTILABEL_PREDICTIONS
from methods.training.lenet import LenetOneVsAll, LenetSettings
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import save_model
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

SETS = ["a", "b", "a|b", ""] * 6
"""Twelve training and twelve test images: label a, label b, both, none."""
IDS = [image_id(i) for i in range(24)]
QUICK = MultilabelSvmConfig(bootstrap_resamples=20)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path, task="multi-label")
    store_manifest(
        store, [manifest_row(i, "train" if i < 12 else "test", SETS[i]) for i in range(24)]
    )
    return store


def _metrics(store: DatasetStore, asset: str) -> dict[tuple[str, str], float]:
    rows = store.main_table(DATASET, asset, METRICS).to_pylist()
    return {(row["metric"], row["subject"]): row["value"] for row in rows}


def test_one_image_of_twelve_whose_features_lie_is_wrong(store: DatasetStore) -> None:
    points = np.array([["a" in s, "b" in s, 0.5] for s in SETS], np.float32)
    points[12] = points[13]  # an image of label a that looks like one of label b
    store_features(store, CONV5.features, IDS, points)
    facts = run_plan(svm_evaluation(CONV5), store, QUICK).record.facts_as(MultilabelFacts)
    assert (facts.training_images, facts.test_images, facts.labels) == (12, 12, 2)
    assert facts.both_empty == 3, "of four kinds of image one has no label"
    of_a = facts.assessments["a"]
    assert of_a.accuracy.value == pytest.approx(11 / 12)
    for calibration in (of_a.calibration, of_a.calibration_out_of_fold):
        assert calibration is not None
        assert calibration.n == 12
    assert of_a.calibration_out_of_fold is not None
    assert of_a.calibration_out_of_fold.right.value == 1
    metrics = _metrics(store, CONV5.evaluation)
    assert metrics["exact_match", "all"] == pytest.approx(11 / 12)
    assert metrics["any_match", "all"] == pytest.approx(11 / 12)
    assert metrics["hamming_similarity", "all"] == pytest.approx(22 / 24)
    assert metrics["recall", "a"] == pytest.approx(5 / 6)
    assert metrics["precision", "a"] == 1
    assert metrics["precision", "b"] == pytest.approx(6 / 7)
    rows = store.main_table(DATASET, CONV5.evaluation, MULTILABEL_PREDICTIONS).to_pylist()
    # three images of each label set; two of them are of the commonest training set
    assert metrics["majority_rate", "a"] == pytest.approx(3 / 12)
    assert metrics["permutation_p", "all"] < 0.01
    assert metrics["prevalence", "a"] == pytest.approx(6 / 12)
    assert 0.5 < metrics["mean_average_precision", "all"] < 1
    assert 0.5 < metrics["nmi", "all"] < 1
    (wrong,) = [row for row in rows if not row["exact"]]
    assert (wrong["image_id"], wrong["labels"], wrong["predicted"]) == (IDS[12], ["a"], ["b"])


def _store_networks(store: DatasetStore, labels: list[str]) -> None:
    """Networks whose last layer gives label a to every image and label b to none."""
    network = LenetOneVsAll(2, 48, LenetSettings())
    tensors = {name: torch.zeros_like(of) for name, of in network.state_dict().items()}
    tensors["output_bias"] = torch.tensor([[0.0, 5.0], [5.0, 0.0]])
    sidecar = ModelSidecar(
        architecture="lenet",
        settings={"labels": labels},
        input_shape=(48, 48),
        fitted_on="rows",
        curve=[],
    )
    files = save_model(store, DATASET, LENET.features, "model", tensors, sidecar)
    store_record(store, LENET.features, files=files)


def test_networks_give_a_label_from_a_probability_of_a_half_on(store: DatasetStore) -> None:
    store_features(store, names.SQUARE_IMAGES, IDS, np.zeros((24, 48, 48), np.uint8))
    _store_networks(store, ["a", "b"])
    record = run_plan(network_evaluation(LENET), store, ScoreConfig(bootstrap_resamples=20)).record
    of_a = record.facts_as(MultilabelFacts).assessments["a"].calibration
    assert of_a is not None
    sure = 1 / (1 + np.exp(-5))
    assert of_a.stated == pytest.approx(sure), "the network's own probability"
    assert of_a.ece == pytest.approx(sure - 1 / 2)
    (notice,) = [line for line in record.notices if f"predictions of a ({LENET.title})" in line]
    assert notice.startswith("BADLY CALIBRATED: on the test images")
    metrics = _metrics(store, LENET.evaluation)
    assert metrics["exact_match", "all"] == pytest.approx(1 / 4), "a quarter has label a alone"
    assert metrics["recall", "a"] == 1
    assert metrics["precision", "a"] == pytest.approx(1 / 2)
    assert ("precision", "b") not in metrics, "none is given label b"
    assert metrics["recall", "b"] == 0
    assert metrics["permutation_p", "all"] == 1, "one answer for all has learned nothing"
    # all features are alike, so the others come in the order of the images: no worse than chance
    assert 0.4 < metrics["mean_average_precision", "all"] < 0.8


def test_networks_of_other_labels_are_refused(store: DatasetStore) -> None:
    store_features(store, names.SQUARE_IMAGES, IDS, np.zeros((24, 48, 48), np.uint8))
    _store_networks(store, ["a", "c"])
    with pytest.raises(InputError, match="was trained on other labels"):
        run_plan(network_evaluation(LENET), store)

"""The plan of an ensemble, on small heads and features; probabilities in plain NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from assets.evaluations.ensembles import SvmEnsembleConfig, ensemble_evaluation
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.evaluations import FIXED, PREDICTIONS, TUNED
from methods.classifiers.calibration import DOUBT, out_of_fold
from methods.classifiers.linear_svm import fit_gram
from methods.classifiers.tuning import tune_c
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_manifest,
    store_model,
)

ENSEMBLE = AHN2019.method("cae_alexnet")
IDS = [image_id(i) for i in range(24)]
LABELS = np.array(["a", "b"] * 12)
TRAIN, TEST = np.arange(16), np.arange(16, 24)
HEAD = np.array([[1.0, -0.5], [-1.0, 0.5]], np.float32)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    rows = [manifest_row(i, "train" if i < 16 else "test", str(LABELS[i])) for i in range(24)]
    store_manifest(store, rows)
    store_model(
        store,
        "fine_tuned_alexnet",
        {"head.weight": torch.from_numpy(HEAD), "head.bias": torch.zeros(2)},
        settings={"classes": ["a", "b"]},
    )
    store_features(store, "fine_tuned_alexnet_features", IDS, _rows(1), backbone="alexnet")
    store_features(store, names.CAE_FEATURES, IDS, _rows(2), backbone="alexnet")
    return store


def _rows(seed: int) -> np.ndarray:
    """Overlapping points of the two classes, so that no probability is 0 or 1."""
    noise = np.random.default_rng(seed).normal(size=(24, 2))
    return np.asarray(noise + np.where(LABELS == "a", 0.8, -0.8)[:, None], np.float32)


def _softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def _best_temperature(scores: np.ndarray, codes: np.ndarray) -> float:
    """The temperature of the largest likelihood of targets short of 1, by trying them all."""
    target = 1 - DOUBT / (len(codes) + 2)
    tried = np.exp(np.linspace(np.log(0.05), np.log(20), 10_001))
    wanted = np.where(np.arange(2) == codes[:, None], target, 1 - target)
    loss = [-(np.log(_softmax(scores / t)) * wanted).sum(axis=1).mean() for t in tried]
    return float(tried[int(np.argmin(loss))])


def test_the_svm_joins_with_probabilities_calibrated_out_of_fold(store: DatasetStore) -> None:
    run_plan(ensemble_evaluation(AHN2019, ENSEMBLE), store, SvmEnsembleConfig())
    rows = store.main_table(DATASET, ENSEMBLE.evaluation, PREDICTIONS).to_pylist()

    network = _softmax(_rows(1)[TEST].astype(np.float64) @ HEAD.T.astype(np.float64))
    unit = _rows(2) / np.linalg.norm(_rows(2), axis=1, keepdims=True)
    gram = unit @ unit.T
    training, groups = gram[np.ix_(TRAIN, TRAIN)], [IDS[i] for i in TRAIN]
    tuned = tune_c(training, LABELS[TRAIN], groups, 1e-5, 0)
    assert tuned is not None
    for regularisation, c in ((FIXED, 1.0), (TUNED, tuned.c)):
        seen = out_of_fold(training, LABELS[TRAIN], groups, c, 1e-5, 0)
        assert seen is not None
        temperature = _best_temperature(seen.scores, (LABELS[TRAIN] == "b").astype(int))
        fit = fit_gram(training, LABELS[TRAIN], c, 1e-5)
        of_svm = _softmax(fit.decision(gram[np.ix_(TEST, TRAIN)]) / temperature)
        highest = (len(TRAIN) + 1) / (len(TRAIN) + 2)
        of_svm = np.clip(of_svm, 1 - highest, highest)
        mean = (network + of_svm) / 2
        told = [row for row in rows if row["regularisation"] == regularisation]
        assert [row["image_id"] for row in told] == [IDS[i] for i in TEST]
        assert [row["predicted"] for row in told] == np.array(["a", "b"])[mean.argmax(1)].tolist()
        margins = np.abs(mean[:, 0] - mean[:, 1])
        np.testing.assert_allclose([row["margin"] for row in told], margins, atol=1e-4)


def test_without_the_codes_of_the_svm_there_is_no_ensemble(tmp_path: Path) -> None:
    bare = new_store(tmp_path)
    store_manifest(
        bare, [manifest_row(i, "train" if i < 16 else "test", "ab"[i % 2]) for i in range(24)]
    )
    with pytest.raises(InputError, match=r"has not been materialised"):
        run_plan(ensemble_evaluation(AHN2019, ENSEMBLE), bare)

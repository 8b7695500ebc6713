"""The plan of the study of filter sizes, on small maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets.evaluations import filter_study
from assets.evaluations.filter_study import FilterStudyConfig, filter_size_study
from data_contracts import asset_names as names
from data_contracts.records.facts import FilterStudyFacts
from data_contracts.studies.ahn2019 import (
    RAW_ESTIMATE,
    filters_estimate,
    random_filters_estimate,
)
from data_contracts.tables.evaluations import FIXED, METRICS, SEED_PREDICTIONS, TUNED
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

QUICK = FilterStudyConfig(filter_sizes=[2, 4], filter_seeds=2, epochs=1, batch_size=4)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """Twelve maps of 3 channels whose bright half is their class."""
    store = new_store(tmp_path)
    labels = ["left", "right"] * 6
    store_manifest(
        store,
        [manifest_row(i, "train" if i < 8 else "test", label) for i, label in enumerate(labels)],
    )
    maps = np.random.default_rng(0).random((12, 3, 4, 4)).astype(np.float32)
    for i, label in enumerate(labels):
        maps[i, :, :, :2] += 5 * (label == "left")
        maps[i, :, :, 2:] += 5 * (label == "right")
    store_features(store, names.BACKBONE_FEATURES, [image_id(i) for i in range(12)], maps)
    return store


def test_a_study_of_auto_encoders_that_saw_test_images_says_so(store: DatasetStore) -> None:
    quick = QUICK.model_copy(update={"fit_on": "all", "filter_sizes": [2], "filter_seeds": 1})
    notices = run_plan(filter_size_study, store, quick).record.notices
    assert [notice.partition(":")[0] for notice in notices] == ["TRANSDUCTIVE"]


def test_every_size_is_trained_with_every_seed(store: DatasetStore) -> None:
    record = run_plan(filter_size_study, store, QUICK).record
    rows = store.main_table(DATASET, names.FILTER_SIZE_STUDY, METRICS).to_pylist()
    accuracy = [row for row in rows if row["metric"] == "accuracy"]
    trained_and_not = [
        (name(size), seed)
        for size in (2, 4)
        for name in (filters_estimate, random_filters_estimate)
        for seed in (0, 1)
    ]
    for regularisation in (FIXED, TUNED):
        assert [
            (row["method"], row["seed"])
            for row in accuracy
            if row["regularisation"] == regularisation
        ] == [(RAW_ESTIMATE, 0), *trained_and_not]
    assert all(row["value"] * 4 in range(5) and row["n"] == 4 for row in accuracy), "of 4 images"
    predictions = store.main_table(DATASET, names.FILTER_SIZE_STUDY, SEED_PREDICTIONS).to_pylist()
    shares = {
        (row["method"], row["seed"], row["regularisation"]): np.mean(
            [
                of["right"]
                for of in predictions
                if all(of[key] == row[key] for key in ("method", "seed", "regularisation"))
            ]
        )
        for row in accuracy
    }
    for row in accuracy:
        assert row["value"] == shares[row["method"], row["seed"], row["regularisation"]]
    assert set(record.facts_as(FilterStudyFacts).seconds) == {2, 4}
    assert record.summary["seeds"] == 2


def test_finished_trainings_are_not_repeated_after_a_fault(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = filter_study._train_and_score
    trained: list[tuple[int, int]] = []

    def cut(config: FilterStudyConfig, filters: int, seed: int, *rest: object) -> object:
        if len(trained) == 2:
            trained.clear()
            raise RuntimeError("power cut")
        trained.append((filters, seed))
        return train(config, filters, seed, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(filter_study, "_train_and_score", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        run_plan(filter_size_study, store, QUICK)
    monkeypatch.setattr(
        filter_study, "_train_and_score", lambda *a: (trained.append(a[1:3]), train(*a))[1]
    )
    run_plan(filter_size_study, store, QUICK)
    assert trained == [(4, 0), (4, 1)]

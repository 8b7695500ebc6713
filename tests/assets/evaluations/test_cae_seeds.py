"""The plan of the study of seeds, on small maps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from assets.core.settings import StageConfig
from assets.evaluations import cae_seeds as module
from assets.evaluations.cae_seeds import SeedStudyConfig, seed_study
from assets.features.auto_encoder import (
    CaeModelConfig,
    EncodeConfig,
    cae_features,
    cae_model,
    random_cae_features,
    random_cae_model,
)
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import SeedStudyFacts
from data_contracts.tables.evaluations import ALL_LABELS, FIXED, METRICS, OVER_SEEDS, TUNED
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

SETTINGS = CaeModelConfig(filters=4, epochs=2, batch_size=4, seed=5)


LABELS = ["left", "right"] * 8


def maps() -> np.ndarray:
    """Sixteen maps of 3 channels that are brighter where their label says, (16, 3, 4, 4)."""
    values = np.random.default_rng(0).random((16, 3, 4, 4)).astype(np.float32)
    for i, label in enumerate(LABELS):
        values[i, :, :, :2] += 2 * (label == "left")
    return values


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home of the maps, in patients of two, and of the codes of the main training."""
    home = tmp_path_factory.mktemp("home")
    store = new_store(home)
    rows = [manifest_row(i, "train" if i < 12 else "test", label) for i, label in enumerate(LABELS)]
    # a patient of two images that were listed apart is one group
    store_manifest(
        store,
        [row | {"group_id": f"g{i}", "patient_id": f"p{i // 2}"} for i, row in enumerate(rows)],
    )
    store_features(store, names.BACKBONE_FEATURES, [image_id(i) for i in range(16)], maps())
    run_plan(cae_model, store, SETTINGS)
    run_plan(cae_features, store, EncodeConfig())
    for control in (random_cae_model, random_cae_features):
        run_plan(control, store, StageConfig())
    return home


@pytest.fixture
def store(computed: Path, tmp_path: Path) -> DatasetStore:
    """A copy of it that a test may change."""
    shutil.copytree(computed, tmp_path / "home")
    return DatasetStore(home=str(tmp_path / "home"))


def means_of(store: DatasetStore) -> dict[tuple[str, str, str], dict[str, object]]:
    """(method, subject, regularisation) -> row of the mean over the seeds."""
    rows = store.main_table(DATASET, names.SEED_STUDY, METRICS).to_pylist()
    return {
        (row["method"], row["subject"], row["regularisation"]): row
        for row in rows
        if row["metric"] == OVER_SEEDS
    }


def test_three_seeds_of_both_and_the_maps(store: DatasetStore) -> None:
    record = run_plan(seed_study, store, SeedStudyConfig()).record
    rows = store.main_table(DATASET, names.SEED_STUDY, METRICS).to_pylist()
    seeds = {
        (row["method"], row["seed"])
        for row in rows
        if row["metric"] == "accuracy" and row["regularisation"] == TUNED
    }
    of_both = {
        (method, seed) for method in ("trained_filters", "random_filters") for seed in (5, 6, 7)
    }
    assert seeds == of_both | {("raw", 5)}
    means = means_of(store)
    for (method, subject, c), row in means.items():
        each = [
            of["value"]
            for of in rows
            if (of["method"], of["subject"], of["metric"], of["regularisation"])
            == (method, subject, "accuracy", c)
        ]
        assert row["value"] == pytest.approx(np.mean(each))
        assert row["n"] == 4
    assert record.summary["seeds"] == 3
    sentence = record.facts_as(SeedStudyFacts).sentence
    assert sentence.startswith("Against random filters the trained filters are ")
    assert "Against the maps themselves" in sentence


def test_fewer_images_are_whole_patients_that_are_seen_more_often(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[tuple[int, int, list[int]]] = []
    train = module.trained_cae

    def seen(settings, take, n, device):  # type: ignore[no-untyped-def]
        whole = take(np.arange(n)).astype(np.float32)
        at = [int(np.flatnonzero((maps() == one).all(axis=(1, 2, 3)))[0]) for one in whole]
        trained.append((settings.seed, settings.epochs, at))
        return train(settings, take, n, device)

    monkeypatch.setattr(module, "trained_cae", seen)
    result = run_plan(seed_study, store, SeedStudyConfig(seeds=2, training_shares=[0.5, 0.5]))
    (_, _, of_all), *of_half = trained
    assert of_all == list(range(12)), "the main seed is not trained again"
    assert [(seed, epochs) for seed, epochs, _ in of_half] == [(5, 4), (6, 4)]
    for _, _, at in of_half:
        assert len(at) == 6
        assert all(at.count(i) == at.count(i ^ 1) == 1 for i in at), "both images of a patient"
    means = means_of(store)
    assert {subject for _, subject, _ in means} == {ALL_LABELS, "6 images"}
    assert json.loads(str(means["trained_filters", "6 images", FIXED]["settings"]))["share"] == 0.5
    assert [picture.title for picture in result.record.pictures] == [
        "accuracy by the images that train the auto-encoder"
    ]


def test_long_trainings_are_repeated_on_demand_only(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHEAP_WORK", 4 * 12 * 2 - 1)
    reason = run_plan(seed_study, store, SeedStudyConfig()).record.unavailable
    assert reason is not None
    assert reason.startswith("4 filters on 12 images for 2 epochs take longer")
    assert "set seeds=3" in reason
    assert run_plan(seed_study, store, SeedStudyConfig(seeds=2)).record.summary["seeds"] == 2


def test_one_seed_says_nothing_of_seeds(store: DatasetStore) -> None:
    record = run_plan(seed_study, store, SeedStudyConfig(seeds=1)).record
    assert record.unavailable == "one seed was asked for (seeds=1)"


@pytest.mark.parametrize("share", [1.0, 0.01])
def test_shares_that_cannot_be_are_refused(store: DatasetStore, share: float) -> None:
    with pytest.raises(InputError, match="training_shares is"):
        run_plan(seed_study, store, SeedStudyConfig(training_shares=[share]))


def test_a_cut_goes_on_from_the_last_training(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gram, made = module._gram, []

    def cut(made_from, trial):  # type: ignore[no-untyped-def]
        if len(made) == 2:
            raise RuntimeError("power cut")
        made.append(trial.key)
        return gram(made_from, trial)

    monkeypatch.setattr(module, "_gram", cut)
    with pytest.raises(RuntimeError, match="power cut"):
        run_plan(seed_study, store, SeedStudyConfig())
    monkeypatch.setattr(module, "_gram", lambda *a: (made.append(a[1].key), gram(*a))[1])
    run_plan(seed_study, store, SeedStudyConfig())
    assert len(made) == len(set(made)) == 6

"""A long run is announced before it starts, with a shorter setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.evaluations.cae_seeds import CHEAP_WORK
from data_contracts.records.dataset import DatasetSpec
from pipeline.commands import estimate
from pipeline.commands.estimate import estimate_line, training_seconds
from resources.store.dataset_store import DatasetStore


@pytest.fixture
def store(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetStore:
    monkeypatch.setattr(estimate, "cores", lambda: 2)
    (tmp_path / "images" / "a").mkdir(parents=True)
    for number in range(30):
        (tmp_path / "images" / "a" / f"{number}.png").write_bytes(b"not opened")
    store = DatasetStore()
    store.save_spec(DatasetSpec(name="chest", root=tmp_path / "images"))
    return store


def test_a_unit_of_work_takes_forty_seconds_of_a_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "cores", lambda: 2)
    assert training_seconds(1_000, 256, CHEAP_WORK // 256_000) == pytest.approx(20, rel=0.02)


def test_a_short_run_is_not_announced(store: DatasetStore) -> None:
    assert estimate_line(store, "chest", {"filters": 64, "epochs": 10}, "cpu") is None


@pytest.mark.parametrize("key", ["", "cae_model."])
def test_a_long_run_is_announced_with_a_shorter_setting(store: DatasetStore, key: str) -> None:
    settings = {f"{key}filters": 4096, f"{key}epochs": 10_000}
    line = estimate_line(store, "chest", settings, "cpu")
    assert line == (
        "chest: training 4,096 filters for 10000 epochs on up to 30 images takes about 41 min on "
        "2 cores without a card; about 1 min: --set filters=1024 epochs=40"
    )


def test_nothing_is_said_where_there_is_a_card(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.compute.Compute.resolve", lambda _: "cuda")
    settings = {"filters": 4096, "epochs": 10_000}
    assert estimate_line(store, "chest", settings, "auto") is None

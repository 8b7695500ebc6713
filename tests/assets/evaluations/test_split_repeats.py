"""The plan of repeated random splits, on descriptors whose class can be read off."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.evaluations.split_repeats import SplitRepeatsConfig, split_repeats
from assets.features.local_descriptors import descriptors_asset
from data_contracts import asset_names as names
from data_contracts.records.facts import SplitRepeatsFacts
from data_contracts.tables.evaluations import METRICS
from methods.curation.splits import stratified_group_split
from methods.reporting.repeat_tables import split_repeats_table
from methods.statistics.repeated_splits import repeated_figure
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

module = import_module("assets.evaluations.split_repeats")  # the package has the asset's name
N = 40
IDS = [image_id(i) for i in range(N)]
LABELS = ["dark" if i % 2 else "bright" for i in range(N)]
QUICK = SplitRepeatsConfig(split_repeats=3)


def _store(folder: Path, is_test: np.ndarray) -> DatasetStore:
    """Images of 2 x 2 places with 3 channels; the first tells the class, with noise."""
    store = new_store(folder)
    sides = ["test" if test else "train" for test in is_test]
    store_manifest(store, [manifest_row(i, sides[i], LABELS[i]) for i in range(N)])
    rng = np.random.default_rng(1)
    maps = rng.random((N, 3, 2, 2)).astype(np.float32)
    maps[:, 0] += 0.2 * np.array([label == "bright" for label in LABELS])[:, None, None]
    store_features(store, descriptors_asset(0), IDS, maps, backbone="toy", layer="maps")
    return store


def _drawn(seed: int) -> np.ndarray:
    return stratified_group_split(LABELS, IDS, 0.25, seed)


def test_every_method_is_fitted_anew_for_each_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[tuple[int, list[int]]] = []
    fit = module.fit_vlad_model

    def record(config: Any, dataset: str, descriptors: Any, clusters: int, positions: Any) -> Any:
        fitted.append((clusters, positions.tolist()))
        return fit(config, dataset, descriptors, clusters, positions)

    monkeypatch.setattr(module, "fit_vlad_model", record)
    monkeypatch.setattr(module, "CODEBOOK_SIZES", (64,))
    store = _store(tmp_path, _drawn(0))
    stored = run_plan(split_repeats, store, QUICK).record
    training = [np.flatnonzero(~_drawn(seed)).tolist() for seed in (0, 100, 200)]
    assert fitted == [(64, positions) for positions in training]
    rows = store.main_table(DATASET, names.SPLIT_REPEATS, METRICS).to_pylist()
    for method in ("average_scale0", "vlad64_scale0"):
        own = {row["subject"]: row for row in rows if row["method"] == method}
        assert list(own) == ["split seed 0", "split seed 100", "split seed 200", "mean"]
        shares = np.array([own[subject]["value"] for subject in list(own)[:3]])
        expected = repeated_figure(shares, 1 / 3)
        mean = own["mean"]
        assert (mean["value"], mean["ci_low"], mean["ci_high"]) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )
    titles = stored.facts_as(SplitRepeatsFacts).titles
    table = split_repeats_table(rows, titles, ("NOTICE: mind",))
    assert [row[0] for row in table.rows] == list(titles.values())
    assert "split seed 0, split seed 100, split seed 200" in table.caption
    assert table.notices == ("NOTICE: mind",)


def test_a_split_of_the_datasets_own_is_not_drawn_anew(tmp_path: Path) -> None:
    store = _store(tmp_path, np.arange(N) < 10)
    said = run_plan(split_repeats, store, QUICK).record.unavailable
    assert said == "the dataset has a split of its own, which is not drawn anew"

"""The plan of the agreement of classifiers, on lesions whose probabilities are worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets.core.lesion_rows import FoldConfig, lesion_rows
from assets.evaluations.classifier_agreement import classifier_agreement, layer_maps
from assets.evaluations.cross_validation import LAYER_METHODS
from data_contracts import asset_names as names
from data_contracts.studies.huynh2016 import ANALYTIC, ENSEMBLE, HUYNH2016
from data_contracts.tables.agreement import CLASSIFIER_AGREEMENT, DESCRIPTOR_CORRELATIONS
from methods.features.radiomics import FEATURES
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_features,
    store_fold_scores,
    store_manifest,
    store_record,
)

FC8 = LAYER_METHODS["fc8"]


def test_agreement_and_correlations_of_forty_lesions(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    labels, ids = ["benign", "malignant"] * 20, [image_id(i) for i in range(40)]
    store_manifest(
        store,
        [manifest_row(i, "train", of, group_id=f"lesion {i}") for i, of in enumerate(labels)],
    )
    rows = lesion_rows(store, DATASET, FoldConfig())
    rng = np.random.default_rng(0)
    told, turned = np.where(rows.positive, 0.75, 0.25), np.where(rows.positive, 0.25, 0.75)
    turned[:2] = told[:2]
    store_fold_scores(store, FC8.evaluation, rows, turned)
    store_fold_scores(store, ANALYTIC.evaluation, rows, told)
    store_fold_scores(store, ENSEMBLE.evaluation, rows, told, ensemble_layer="fc8")
    for method in HUYNH2016.methods:
        if method not in (FC8, ANALYTIC, ENSEMBLE):
            store_record(store, method.evaluation, unavailable="the weights have no such layer")
    layer = rng.normal(0, 1, (40, 1000)).astype(np.float32)
    described = rng.normal(0, 1, (40, len(FEATURES))).astype(np.float32)
    layer[:, 123] = described[:, 4] ** 3
    store_features(store, names.ALEXNET_LAYERS, ids, layer, layer="fc8")
    store_features(store, ANALYTIC.features, ids, described)
    record = run_plan(classifier_agreement, store).record
    (pair,) = store.main_table(
        DATASET, names.CLASSIFIER_AGREEMENT, CLASSIFIER_AGREEMENT
    ).to_pylist()
    assert (pair["method_a"], pair["method_b"]) == (FC8.name, ANALYTIC.name)
    counts = [pair[of] for of in ("both_right", "only_a", "only_b", "both_wrong")]
    assert counts == [2, 0, 38, 0]
    assert pair["kappa_low"] <= pair["kappa"] == -0.9 <= pair["kappa_high"]
    found = store.main_table(
        DATASET, names.CLASSIFIER_AGREEMENT, DESCRIPTOR_CORRELATIONS
    ).to_pylist()
    assert [row["descriptor"] for row in found] == [feature.name for feature in FEATURES]
    assert found[4]["feature"] == 123
    assert found[4]["correlation"] == pytest.approx(1)
    assert found[4]["p_value"] < 0.01
    assert sum(row["p_value"] < 0.05 for row in found) == 1
    assert len(record.pictures) == 3


def test_a_map_is_averaged_over_its_places_and_a_unit_is_itself() -> None:
    maps = np.arange(2 * 256 * 7 * 7, dtype=np.float32).reshape(2, -1)
    assert layer_maps(maps, "pool5").shape == (2, 256)
    assert layer_maps(maps, "pool5")[0, 1] == np.arange(49, 98).mean()
    units = np.arange(2000, dtype=np.float32).reshape(2, 1000)
    np.testing.assert_array_equal(layer_maps(units, "fc8"), units)

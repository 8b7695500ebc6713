"""Plans of the comparison of ROC curves and of its report, on probabilities worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assets.core.lesion_rows import FoldConfig, lesion_rows
from assets.evaluations.cross_validation import LAYER_METHODS
from assets.evaluations.label_permutation import METRIC
from assets.reports.roc_report import roc_comparison, roc_report
from data_contracts import asset_names as names
from data_contracts.records.facts import NearDuplicateFacts, RocComparisonFacts
from data_contracts.studies.huynh2016 import ANALYTIC, ENSEMBLE, HUYNH2016
from data_contracts.tables.agreement import CLASSIFIER_AGREEMENT, DESCRIPTOR_CORRELATIONS
from data_contracts.tables.evaluations import MEAN, METRICS
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from data_contracts.tables.roc import ROC_COMPARISONS, ROC_RESULTS
from methods.reporting.roc_tables import ALL, CONTOURED
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    manifest_row,
    new_store,
    run_plan,
    store_fold_scores,
    store_manifest,
    store_record,
)

CONV1 = LAYER_METHODS["conv1"]


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """Forty lesions: conv1 tells nothing, the analytic features and the ensemble everything."""
    store = new_store(tmp_path)
    labels = ["benign", "malignant"] * 20
    store_manifest(
        store,
        [manifest_row(i, "train", of, group_id=f"lesion {i}") for i, of in enumerate(labels)],
    )
    rows = lesion_rows(store, DATASET, FoldConfig())
    contoured = rows.only(rows.ids[:38])
    told = np.where(contoured.positive, 0.75, 0.25)
    store_fold_scores(store, CONV1.evaluation, rows, np.full(40, 0.5))
    of_analytic = {"rows_version": rows.version, "images": 38}
    store_fold_scores(store, ANALYTIC.evaluation, contoured, told, **of_analytic)
    store_fold_scores(
        store, ENSEMBLE.evaluation, contoured, told, ensemble_layer="conv1", **of_analytic
    )
    for method in HUYNH2016.methods:
        if method not in (CONV1, ANALYTIC, ENSEMBLE):
            store_record(store, method.evaluation, unavailable="the weights have no such layer")
    return store


def test_three_methods_are_compared_on_the_images_with_a_contour(store: DatasetStore) -> None:
    record = run_plan(roc_comparison, store).record
    results = store.main_table(DATASET, names.ROC_COMPARISON, ROC_RESULTS).to_pylist()
    assert [(row["images"], row["method"], row["n_images"], row["auc"]) for row in results] == [
        (ALL, CONV1.name, 40, 0.5),
        (CONTOURED, CONV1.name, 38, 0.5),
        (CONTOURED, ANALYTIC.name, 38, 1.0),
        (CONTOURED, ENSEMBLE.name, 38, 1.0),
    ]
    rows = store.main_table(DATASET, names.ROC_COMPARISON, ROC_COMPARISONS).to_pylist()
    assert [(row["method_a"], row["method_b"], row["pooled_difference"]) for row in rows] == [
        (ENSEMBLE.name, ANALYTIC.name, 0.0),
        (ENSEMBLE.name, CONV1.name, 0.5),
        (CONV1.name, ANALYTIC.name, -0.5),
    ]
    for row in rows:
        assert row["p_delong_bonferroni"] == pytest.approx(min(3 * row["p_delong"], 1))
    assert record.facts_as(RocComparisonFacts).ensemble_method == CONV1.name


def test_the_report_says_what_is_missing_and_what_permuted_labels_gave(
    store: DatasetStore,
) -> None:
    run_plan(roc_comparison, store)
    permuted = {
        "dataset": DATASET,
        "study": HUYNH2016.name,
        "method": ENSEMBLE.name,
        "metric": METRIC,
        "regularisation": "fixed",
        "subject": MEAN,
        "value": 0.501,
        "ci_low": 0.4,
        "ci_high": 0.6,
        "interval": "t",
        "n": 10,
        "seed": 0,
        "settings": "{}",
        "data_versions": "{}",
    }
    copies = NearDuplicateFacts(pairs=0, test_images=0, share=0)
    store_record(
        store,
        names.NEAR_DUPLICATES_IN_FOLDS,
        facts=copies,
        tables=[(NEAR_DUPLICATES, [])],
        notices=["NEAR-DUPLICATES: none"],
    )
    store_record(store, names.LABEL_PERMUTATION, tables=[(METRICS, [permuted])])
    counts = {"n_images": 38, "both_right": 19, "only_a": 0, "only_b": 19, "both_wrong": 0}
    figures = {"kappa": 0.0, "kappa_low": 0.0, "kappa_high": 0.0, "within_classes": 0.123}
    unknown = ("correlation", "correlation_low", "correlation_high")
    agreement = {"method_a": CONV1.name, "method_b": ANALYTIC.name, **counts, **figures}
    descriptor = {"descriptor": "effective_diameter", "family": "size", "layer": "conv1"}
    of_descriptor = {"correlation": 0.5, "p_value": 0.01, "of_network": 0.1, "of_analytic": 0.2}
    beside = {"feature": 3, "chance": 0.4, "units": 38}
    store_record(
        store,
        names.CLASSIFIER_AGREEMENT,
        tables=[
            (CLASSIFIER_AGREEMENT, [agreement | dict.fromkeys(unknown)]),
            (DESCRIPTOR_CORRELATIONS, [descriptor | of_descriptor | beside]),
        ],
    )
    record = run_plan(roc_report, store).record
    assert record.rows == 3
    assert record.summary[f"{ENSEMBLE.title}, AUC"] == 1
    page = (store.reports / DATASET / HUYNH2016.name / "report.html").read_text()
    assert "the weights have no such layer" in page
    assert "0.501" in page
    assert "Near-duplicates across the folds: 0 pairs" in page
    assert "<strong>Near-duplicates</strong>: none." in page
    assert "Does the ensemble beat the analytic features?" in page
    assert "0.123" in page
    assert "over 38 patients" in page
    assert "it is not known whether images of one patient are in two folds" in page

"""The plan of the report on several labels, on answers worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.reports.multilabel_report import multilabel_reports
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import MultilabelFacts, NearDuplicateFacts
from data_contracts.studies.lyndon2015 import CAE, CONV5, LENET, LYNDON2015, MODERN
from data_contracts.studies.study import Method
from data_contracts.tables.attributes import ATTRIBUTES
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.multilabel import MEASURES, MULTILABEL_PREDICTIONS, MULTILABEL_RESULTS
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    run_plan,
    store_manifest,
    store_record,
)

REPORT = multilabel_reports[0]


def _store_evaluation(
    store: DatasetStore, method: Method, right: int, rows_version: str = "rows"
) -> None:
    """An evaluation that is right on the first ``right`` of eight test images."""
    metrics = [
        {
            "dataset": DATASET,
            "study": LYNDON2015.name,
            "method": method.name,
            "metric": measure,
            "regularisation": "fixed",
            "subject": "all",
            "value": right / 8,
            "ci_low": 0.0,
            "ci_high": 1.0,
            "interval": "Jeffreys",
            "n": 8,
            "seed": 0,
            "settings": "{}",
            "data_versions": "{}",
        }
        for measure in MEASURES
    ]
    predictions = [
        {
            "image_id": image_id(i),
            "split": "test",
            "labels": ["a"],
            "predicted": ["a"] if i < right else [],
            "scores": [1.0],
            "exact": i < right,
            "group_id": None,
        }
        for i in range(8)
    ]
    facts = MultilabelFacts(
        rows_version=rows_version,
        title=method.title,
        training_images=2,
        test_images=8,
        labels=1,
        both_empty=0,
    )
    store_record(
        store,
        method.evaluation,
        facts=facts,
        tables=[(METRICS, metrics), (MULTILABEL_PREDICTIONS, predictions)],
    )


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path, task="multi-label")
    store_manifest(store, [manifest_row(i, "test", "a") for i in range(8)])
    _store_evaluation(store, LENET, right=8)
    _store_evaluation(store, MODERN, right=8)
    _store_evaluation(store, CONV5, right=2)
    store_record(store, CAE.evaluation, unavailable="no weights")
    store_record(store, names.IMAGE_ATTRIBUTES, tables=[(ATTRIBUTES, [])])
    store_record(
        store,
        names.NEAR_DUPLICATES,
        facts=NearDuplicateFacts(pairs=0, test_images=0, share=0),
        tables=[(NEAR_DUPLICATES, [])],
        notices=["NEAR-DUPLICATES: none"],
    )
    return store


def test_methods_are_tested_against_the_network_image_by_image(store: DatasetStore) -> None:
    record = run_plan(REPORT, store).record
    asset = names.report(LYNDON2015.name)
    rows = store.main_table(DATASET, asset, MULTILABEL_RESULTS).to_pylist()
    by_name = {row["method"]: row for row in rows}
    assert list(by_name) == [LENET.name, MODERN.name, CONV5.name]
    assert by_name[LENET.name]["p_holm"] is None
    assert by_name[MODERN.name]["p_holm"] == 1
    # 6 discordant pairs on one side: 2 * (1/2)^6, times 2 tests
    assert by_name[CONV5.name]["p_holm"] == pytest.approx(2 * 2 * 0.5**6)
    assert record.summary[f"{CONV5.title}, exact match"] == 0.25
    page = (store.reports / DATASET / LYNDON2015.name / "report.html").read_text()
    assert "no weights" in page
    assert "Near-duplicates across the split: 0 pairs" in page
    assert {row["notices"] for row in rows} == {"NEAR-DUPLICATES: none"}


def test_subgroups_that_were_named_are_compared_by_exact_match(store: DatasetStore) -> None:
    stated = [{"image_id": image_id(i), "name": "sex", "value": "FM"[i % 2]} for i in range(8)]
    store_record(store, names.IMAGE_ATTRIBUTES, tables=[(ATTRIBUTES, stated)])
    run_plan(REPORT, store)
    page = (store.reports / DATASET / LYNDON2015.name / "report.html").read_text()
    assert f"Subgroups of the test images: {CONV5.title}" in page
    assert "25.0 (" in page, "one of four images of each sex is right"


def test_methods_of_other_images_are_not_compared(store: DatasetStore) -> None:
    _store_evaluation(store, CONV5, right=2, rows_version="others")
    with pytest.raises(InputError, match="were scored on different images"):
        run_plan(REPORT, store)

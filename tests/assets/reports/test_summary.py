"""The plan of the summary over all datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.reports.summary import summary_report
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.facts import ReportFacts
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.tables.report import RESULTS
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import (
    DATASET,
    manifest_row,
    new_store,
    run_plan,
    store_manifest,
    store_record,
)

RESULT = {
    "dataset": DATASET,
    "study": AHN2019.name,
    "method": "cae",
    "title": "Zero-bias CAE + SVM",
    "accuracy": 0.75,
    "ci_low": 0.5,
    "ci_high": 1.0,
    "interval": "Jeffreys",
    "macro_f1": 0.75,
    "metrics": "{}",
    "test": None,
    "p_holm": None,
    "n_test": 4,
    "n_train": 8,
    "classes": 2,
    "seeds": 1,
    "seconds": 1.0,
    "device": "cpu",
    "notices": "RANDOM WEIGHTS",
}


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    store.save_spec(DatasetSpec(name="empty", root=tmp_path))
    return store


def test_every_report_is_a_section_and_a_dataset_without_one_is_named(store: DatasetStore) -> None:
    store_record(
        store,
        names.report(AHN2019.name),
        facts=ReportFacts(verdict="On this data nothing differs."),
        tables=[(RESULTS, [RESULT])],
        notices=["RANDOM WEIGHTS"],
    )
    first = run_plan(summary_report, store, dataset="")
    assert (first.record.summary["datasets"], first.record.summary["without a report"]) == (1, 1)
    assert first.record.notices == [f"{DATASET}: RANDOM WEIGHTS"]
    assert first.record.rows == 1
    page = (store.reports / "summary" / "report.html").read_text()
    assert "On this data nothing differs." in page
    assert "without a report: empty" in page
    assert page.index("75.0 (50.0 to 100.0)") < page.index("On this data nothing differs.")
    assert f'href="../{DATASET}/ahn2019/report.html"' in page
    assert '<p class="note foot"><sup>a</sup> Random weights</p>' in page
    assert page.index("75.0 (50.0") < page.index("<aside"), "an alarm of one is no alarm of all"
    assert run_plan(summary_report, store, dataset="").reused


def test_without_a_report_there_is_no_summary(store: DatasetStore) -> None:
    with pytest.raises(InputError, match="no dataset has a report yet"):
        run_plan(summary_report, store, dataset="")


def night(store: DatasetStore, number: int, images: int, accuracy: float, **settings: int) -> str:
    """A run of a night, and the summary after it."""
    rows = [manifest_row(i, "train", "a") for i in range(images)]
    manifest = store_manifest(store, rows)
    store_record(
        store,
        names.report(AHN2019.name),
        facts=ReportFacts(verdict="On this data nothing differs."),
        tables=[(RESULTS, [RESULT | {"accuracy": accuracy}])],
        settings={"bins": 10, **settings},
        inputs={names.IMAGE_MANIFEST: manifest.data_version},
        created=f"2026-11-0{number}T03:00:00+00:00",
    )
    run_plan(summary_report, store, dataset="")
    return (store.reports / "summary" / "report.html").read_text()


def test_runs_of_the_promoted_settings_are_shown_over_time(store: DatasetStore) -> None:
    assert "Over time" not in night(store, 1, 5, 0.75), "one run is no trend"
    assert "Over time" in night(store, 2, 6, 0.8)
    page = night(store, 3, 6, 0.9, bins=3)
    trend = page[page.index("Over time") :]
    assert trend.index("75.0 (50.0 to 100.0)") < trend.index("80.0 (50.0 to 100.0)")
    assert "2026-11-02 03:00" in trend
    assert "2026-11-03 03:00" not in trend, "a trial is no night"

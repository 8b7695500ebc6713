"""The plan of a study's report, from evaluations of small arrays."""

from __future__ import annotations

import html
import re
from pathlib import Path

import numpy as np
import pytest

from assets.evaluations.comparison import method_comparison
from assets.evaluations.svm import SvmConfig, svm_evaluation
from assets.images import image_attributes
from assets.reports.classifier_sections import looks_at
from assets.reports.rows import devices_of, seconds_of_stages, switches_of
from assets.reports.single_label_report import _with_those_of, study_report
from data_contracts import asset_names as names
from data_contracts.records.facts import EvaluationFacts, NearDuplicateFacts, ReportFacts
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.farhat_vlad import FARHAT_VLAD
from data_contracts.tables.attributes import ATTRIBUTES
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from data_contracts.tables.report import LINEAGE, PAPER, RESULTS
from methods.reporting import headings
from resources.store.dataset_store import DatasetStore
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

OWN = [method for method in FARHAT_VLAD.methods if method.in_main_job]
LABELS = ["a", "b"] * 6
QUICK = SvmConfig(label_budgets=[1], label_repeats=2, bootstrap_resamples=20)


PAIR = {
    "first_id": image_id(0),
    "second_id": image_id(11),
    "first_path": "a.png",
    "second_path": "b.png",
    "likeness": 0.987,
    "mirrored": False,
    "quarter_turns": 1,
    "inverted": False,
}
"""A near-duplicate of the first image among the last."""


def _store_copies(store: DatasetStore, share: float) -> None:
    store_record(
        store,
        names.NEAR_DUPLICATES,
        facts=NearDuplicateFacts(pairs=1, test_images=1, share=share),
        tables=[(NEAR_DUPLICATES, [PAIR])],
        notices=["NEAR-DUPLICATES: 1 of 6"],
    )


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    """Three methods on six training and six test images; the first one is wrong on one image."""
    store = new_store(tmp_path)
    rows = [manifest_row(i, "train" if i < 6 else "test", label) for i, label in enumerate(LABELS)]
    store_manifest(store, rows)
    ids = [image_id(i) for i in range(12)]
    for method in OWN:
        points = np.array([[1, 0] if label == "a" else [0, 1] for label in LABELS], np.float32)
        points[11] = points[10] if method is OWN[0] else points[11]
        source = {"backbone": "vgg19", "layer": "block5_pool"}
        store_features(store, method.features, ids, points, **source)
        run_plan(svm_evaluation(FARHAT_VLAD, method), store, QUICK)
    pixels = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    store_features(store, names.PREPARED_IMAGES, ids, pixels)
    _store_copies(store, share=1 / 6)
    run_plan(method_comparison(FARHAT_VLAD, False), store)
    run_plan(image_attributes, store)
    return store


def test_the_report_has_every_method_with_its_figures_and_lineage(store: DatasetStore) -> None:
    record = run_plan(study_report(FARHAT_VLAD, False), store).record
    asset = names.report(FARHAT_VLAD.name)
    results = store.main_table(DATASET, asset, RESULTS).to_pylist()
    assert {row["method"]: row["accuracy"] for row in results} == pytest.approx(
        {OWN[0].name: 5 / 6, OWN[1].name: 1, OWN[2].name: 1}
    )
    assert all(row["notices"] == "NEAR-DUPLICATES: 1 of 6" for row in results)
    paper = store.main_table(DATASET, asset, PAPER).to_pylist()
    scored = sorted({row["ours_percent"] for row in paper} - {None})
    assert scored == pytest.approx([100 * 5 / 6, 100])
    missing = {row["note"] for row in paper if row["ours_percent"] is None}
    assert missing == {f"part of the job {FARHAT_VLAD.tables_job}"}
    lineage = {row["asset"] for row in store.main_table(DATASET, asset, LINEAGE).to_pylist()}
    assert {names.IMAGE_MANIFEST, names.NEAR_DUPLICATES, OWN[0].features} <= lineage
    assert record.facts_as(ReportFacts).verdict == record.summary["verdict"]
    page = (store.reports / DATASET / FARHAT_VLAD.name / "report.html").read_text()
    assert "1 pairs, 1 test images (16.7%)" in page
    order = [
        html.unescape(page).index(text)
        for text in (
            record.facts_as(ReportFacts).verdict,
            "better than always saying",
            "Accuracy of each method",
            "<details>",
        )
    ]
    assert order == sorted(order), "the verdict, the null, the main table, then what is folded"
    few = page[page.index("<figcaption>Accuracy with few labels") :]
    assert "Tuned C: accuracy, %" in few[: few.index("</thead>")]


def test_accuracy_without_the_copies_stands_beside_that_with_them(store: DatasetStore) -> None:
    """The copy is the image that the first method has wrong."""
    run_plan(study_report(FARHAT_VLAD, False), store)
    page = (store.reports / DATASET / FARHAT_VLAD.name / "report.html").read_text()
    table = page[page.index("Without near-duplicates") :]
    row = table[table.index(OWN[0].title) : table.index(OWN[1].title)]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
    assert [cell.split(" ")[0] for cell in cells] == ["83.3", "6", "100.0", "5", "16.67"]


def test_there_is_no_verdict_where_most_test_images_are_copies(store: DatasetStore) -> None:
    _store_copies(store, share=4 / 6)
    record = run_plan(study_report(FARHAT_VLAD, False), store).record
    assert record.facts_as(ReportFacts).verdict.startswith("No verdict: 66.7 % of the test images")


def test_every_place_of_the_checklists_is_a_section_of_the_report(store: DatasetStore) -> None:
    attributes = [{"image_id": image_id(i), "name": "sex", "value": "FM"[i % 2]} for i in range(12)]
    store_record(store, names.IMAGE_ATTRIBUTES, tables=[(ATTRIBUTES, attributes)])
    run_plan(study_report(FARHAT_VLAD, False), store)
    folder = store.reports / DATASET / FARHAT_VLAD.name
    page = (folder / "report.html").read_text()
    sections = dict(re.findall(r'<section id="(section-\d+)">\s*<h2>(.*?)</h2>', page))
    known = {value for name, value in vars(headings).items() if name.isupper()}
    assert known - {headings.EACH_LABEL, headings.SEEDS} <= set(sections.values())
    assert 'href="checklist.html"' in page
    checklist = (folder / "checklist.html").read_text()
    links = re.findall(r'<a href="report.html#(section-\d+)">(.*?)</a>', checklist)
    assert len(links) > 60
    assert all(sections[anchor] == text for anchor, text in links)
    assert "not known to the pipeline" in (folder / "checklist.md").read_text()


def test_each_classifier_is_shown_out_of_fold_and_on_test_images(store: DatasetStore) -> None:
    run_plan(study_report(FARHAT_VLAD, False), store)
    page = (store.reports / DATASET / FARHAT_VLAD.name / "report.html").read_text()
    text = html.unescape(page)
    assert "of the training images are right out of fold" in text
    assert "At two thresholds, b as the positive class" in text
    areas = {m.name: store.facts(DATASET, m.evaluation, EvaluationFacts).domain_auc for m in OWN}
    area = areas.pop(FARHAT_VLAD.main)
    assert set(areas.values()) == {None}, "of the main method alone"
    assert area is not None
    assert f"(AUC {area.value:.2f}" in text
    assert "Net benefit of acting on b" in text
    assert "What stated probabilities are worth" in text
    assert text.count("Subgroups of the test images") == 0, "no column was named"
    assert f"This test split has been looked at {len(OWN)} times" in text


def test_looks_at_the_same_test_images_are_counted_whatever_is_trained_on(
    store: DatasetStore,
) -> None:
    facts = store.facts(DATASET, OWN[0].evaluation, EvaluationFacts)
    assert looks_at(store, DATASET, facts) == len(OWN)
    run_plan(svm_evaluation(FARHAT_VLAD, OWN[0]), store, QUICK.model_copy(update={"c": 2.0}))
    assert looks_at(store, DATASET, facts) == len(OWN) + 1, "another setting is another look"
    other_training = facts.model_copy(update={"rows_version": "x"})
    assert looks_at(store, DATASET, other_training) == len(OWN) + 1
    other_test = facts.model_copy(update={"rows_version": "x", "test_version": "y"})
    assert looks_at(store, DATASET, other_test) == 0


def test_what_is_left_out_is_part_of_what_a_report_is_made_from(store: DatasetStore) -> None:
    report = study_report(FARHAT_VLAD, False)
    first = run_plan(report, store)
    assert run_plan(report, store).reused
    evaluation = store.need_record(DATASET, OWN[0].evaluation)
    store.save_record(evaluation.model_copy(update={"unavailable": "no weights"}))
    again = run_plan(report, store)
    assert not again.reused
    assert again.record.rows == 2
    assert first.record.rows == 3
    notes = store.main_table(DATASET, names.report(FARHAT_VLAD.name), PAPER).to_pylist()
    assert "no weights" in {row["note"] for row in notes}


def _record(asset: str, seconds: float, device: str, **settings: object) -> OutputRecord:
    return OutputRecord(
        asset=asset,
        dataset=DATASET,
        fingerprint="f",
        data_version="v",
        code_version="1",
        settings=settings,
        inputs={},
        run_id="r",
        created="2026-01-01T00:00:00+00:00",
        seconds=seconds,
        peak_memory_bytes=0,
        device=device,
    )


def test_seconds_leave_out_what_every_method_shares_and_devices_the_processor() -> None:
    chain = {
        names.IMAGE_MANIFEST: _record(names.IMAGE_MANIFEST, 100.0, "cpu"),
        "features": _record("features", 2.0, "cuda"),
        "evaluation": _record("evaluation", 0.5, "cpu"),
    }
    assert seconds_of_stages(chain) == 2.5
    assert devices_of(chain) == "cuda"
    del chain["features"]
    assert devices_of(chain) == "cpu"


def test_switches_that_are_on_are_named() -> None:
    method = OWN[1]
    settings = {"pca_components": None, "pca_whiten": True, "signed_sqrt": True}
    chain = {
        "codebook": _record("codebook", 1.0, "cpu", local_components=9, local_whiten=True),
        method.evaluation: _record(method.evaluation, 1.0, "cpu", **settings),
    }
    assert switches_of(chain) == [
        "local_components=9 (the paper: off)",
        "local_whiten=true (the paper: off)",
        "signed_sqrt=true (the paper: off)",
    ], "no components of the rows to whiten"
    chain = {method.evaluation: _record(method.evaluation, 1.0, "cpu", convention="exact")}
    assert switches_of(chain) == []
    chain = {method.evaluation: _record(method.evaluation, 1.0, "cpu", convention="scspm")}
    assert switches_of(chain) == ['convention="scspm" (the paper: not stated)']


def test_a_notice_whose_methods_the_report_names_is_not_repeated_without_them() -> None:
    shared = ("RANDOM WEIGHTS: AlexNet was not pre-trained (Zero-bias CAE + SVM)",)
    chain = ("RANDOM WEIGHTS: AlexNet was not pre-trained", "NOT CONVERGED: the SVM of raw")
    assert _with_those_of(shared, chain) == (*shared, chain[1])

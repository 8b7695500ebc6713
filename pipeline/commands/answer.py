"""The answer that a command ends with: each method's figure, the verdict, what to know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from data_contracts import asset_names as names
from data_contracts.records.facts import ManifestFacts, ReportFacts
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.registry import STUDY_JOBS
from data_contracts.tables.evaluations import ALL_LABELS, METRICS, TUNED
from methods.curation.overview import counted
from resources.store.dataset_store import DatasetStore

MAIN_METRICS = ("auc", "accuracy", "exact_match")
"""Metrics of a method as a whole; of each method the first that it has over all is shown."""
SHOWN_REASONS = 5
"""Maximum number of outputs that are named with the reason why they are not available."""


def first_sentence(verdict: str) -> str:
    """The verdict in one sentence: the rest of it says how it was reached."""
    sentence, point, _ = verdict.partition(". ")
    return f"{sentence}." if point else sentence


def main_figures(
    store: DatasetStore, job: str, records: Mapping[str, OutputRecord]
) -> dict[str, dict[str, Any]]:
    """The figure of each method of a job over all test images, by the method's title.

    Of a method with an SVM it is that at the C which its own training images choose.
    """
    study = STUDY_JOBS[job]
    figures = {}
    for method in study.methods:
        record = records.get(method.evaluation)
        table = None if record is None else store.table_of(record, METRICS)
        rows = [
            row
            for row in ([] if table is None else table.to_pylist())
            if row["method"] == method.name and row["subject"] == ALL_LABELS
        ]
        for metric in MAIN_METRICS:
            of_metric = [row for row in rows if row["metric"] == metric]
            tuned = [row for row in of_metric if row["regularisation"] == TUNED]
            if of_metric:
                figures[method.title] = (tuned or of_metric)[0]
                break
    return figures


def figure_text(row: Mapping[str, Any]) -> str:
    """A figure in percent with its interval."""
    interval = (
        "no interval"
        if row["ci_low"] is None
        else f"{100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}"
    )
    return f"{row['metric']} {100 * row['value']:5.1f} % ({interval})"


def answer_lines(store: DatasetStore, dataset: str, job: str) -> Iterator[str]:
    """Yield what a run found: figures, verdict, notices, files left out, what is not available.

    Raises:
        InputError: the job has written no report of this dataset.
    """
    record = store.need_record(dataset, names.report(job))
    records = store.upstream(dataset, names.report(job))
    figures = main_figures(store, job, records)
    width = max(map(len, figures), default=0)
    yield from (f"  {title:<{width}}  {figure_text(row)}" for title, row in figures.items())
    yield first_sentence(record.facts_as(ReportFacts).verdict)
    if record.notices:
        kinds = ", ".join(dict.fromkeys(notice.partition(":")[0] for notice in record.notices))
        yield f"{counted(len(record.notices), 'notice')} on the page: {kinds}"
    manifest = store.facts(dataset, names.IMAGE_MANIFEST, ManifestFacts)
    if manifest.rejected_files or manifest.duplicates:
        yield (
            f"left out: {counted(manifest.rejected_files, 'rejected file')}, "
            f"{counted(manifest.duplicates, 'duplicate')}; the page lists them"
        )
    yield from _not_available(store, dataset, job)


def _not_available(store: DatasetStore, dataset: str, job: str) -> Iterator[str]:
    """Yield the methods of a job without an output, and why."""
    study = STUDY_JOBS[job]
    reasons = {
        method.title: record.unavailable
        for method in study.methods_of(job == study.tables_job)
        if (record := store.record(dataset, method.evaluation)) and record.unavailable
    }
    for title, reason in list(reasons.items())[:SHOWN_REASONS]:
        yield f"not available: {title}: {reason}"
    if len(reasons) > SHOWN_REASONS:
        yield f"and {len(reasons) - SHOWN_REASONS} more methods; the page says why"

"""The summary over all datasets and studies."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from assets.core.plan import Output, Plan, Stage, Work
from assets.core.setting_differences import differences
from assets.core.settings import StageConfig
from assets.core.stage import stage
from assets.reports.common import GROUP, write_document
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import ManifestFacts, ReportFacts
from data_contracts.records.notices import marker
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.registry import STUDIES
from data_contracts.studies.study import Study
from data_contracts.tables.multilabel import MULTILABEL_RESULTS
from data_contracts.tables.report import RESULTS
from data_contracts.tables.roc import ROC_RESULTS
from methods.curation.overview import counted
from resources.store.dataset_store import DatasetStore
from resources.store.stored_results import StoredResult, promoted, stored_results

if TYPE_CHECKING:
    from methods.reporting.document import Report, Section, Table

CONTRACTS = {
    "test split": RESULTS,
    "several labels": MULTILABEL_RESULTS,
    "cross-validation": ROC_RESULTS,
}
"""Table of the results of a report, by protocol."""
SHOWN_REPORTS = 6
"""Maximum number of reports whose first picture the summary shows."""
SHOWN_RUNS = 30
"""Maximum number of runs of a dataset that the summary lists, the last ones."""


@stage(
    StageConfig,
    group=GROUP,
    order=9,
    kinds={"html", "markdown"},
    code_version="3",
    inputs=[names.report(study) for study in STUDIES],
    per_dataset=False,
)
def summary_report(here: Stage[StageConfig]) -> Plan:
    """The results of all datasets on one page, with the lineage of every figure."""
    store = here.store
    reports = _reports(store)
    versions = {f"{of.dataset}/{of.asset}": of.data_version for _, of in reports}
    history = {
        dataset: stored_results(store, dataset, STUDIES)
        for dataset in dict.fromkeys(of.dataset for _, of in reports)
    }
    versions |= {
        f"{of.dataset}/{of.asset}, promoted": first.report.fingerprint
        for study, of in reports
        if (first := promoted(store, of.dataset, study.name, history[of.dataset])) is not None
    }

    def compute(work: Work) -> Output:
        if not reports:
            raise InputError("no dataset has a report yet", "Run a study first: medfeat run NAME")
        records = [record for _, record in reports]
        missing = [d for d in store.datasets() if d not in {of.dataset for of in records}]
        sections = [_section(store, study, record) for study, record in reports]
        over_time = _trends(store, reports, history)
        opening = [_leaderboard(store, reports), *over_time]
        document = _document(records, [*opening, *sections], missing)
        return Output(
            content=versions,
            published=write_document(store, document, store.reports / "summary"),
            pictures=[
                (picture.title, store.picture(record, picture))
                for record in records[:SHOWN_REPORTS]
                for picture in record.pictures[:1]
            ],
            summary={
                "datasets": len(records),
                "without a report": len(missing),
                "report": str(store.reports / "summary" / "report.html"),
            },
            notices=[f"{of.dataset}: {notice}" for of in records for notice in of.notices],
            rows=sum(len(table.rows) for section in sections for table in section.tables),
        )

    return Plan(compute, identity=versions, inputs=())


def _reports(store: DatasetStore) -> list[tuple[Study, OutputRecord]]:
    """The current report of each study on each dataset, where there is one."""
    return [
        (study, record)
        for study in STUDIES.values()
        for dataset in store.datasets()
        if (record := store.record(dataset, names.report(study.name))) is not None
    ]


def _leaderboard(store: DatasetStore, reports: list[tuple[Study, OutputRecord]]) -> "Section":
    """A table of datasets and methods for each study, and the pages of their reports."""
    from methods.reporting.document import Section
    from methods.reporting.leaderboard import bars_of, leaderboard_table

    tables = []
    for study in STUDIES.values():
        records = {of.dataset: of for of_study, of in reports if of_study is study}
        if not records:
            continue
        bars = {
            dataset: bars_of(_rows(store, study, record), study.protocol, study.main)
            for dataset, record in records.items()
        }
        markers = {dataset: marker(of.notices) for dataset, of in records.items()}
        addresses = {dataset: f"../{dataset}/{study.name}/report.html" for dataset in records}
        tables.append(leaderboard_table(study.title, study.protocol, bars, markers, addresses))
    return Section("Datasets and methods", (), tuple(tables))


def _trends(
    store: DatasetStore,
    reports: list[tuple[Study, OutputRecord]],
    history: Mapping[str, Sequence[StoredResult]],
) -> "list[Section]":
    """The figures of the promoted settings over time, where there are two runs of them or more."""
    from methods.reporting.document import Section
    from methods.reporting.leaderboard import bars_of, trend_table

    tables = []
    for study, record in reports:
        first = promoted(store, record.dataset, study.name, history[record.dataset])
        runs = []
        for one in history[record.dataset]:
            if one.job != study.name:
                continue
            is_old = one.report.code_version != record.code_version  # other columns, perhaps
            if is_old or first is None or differences(one.settings, first.settings):
                continue
            rows = _rows(store, study, one.report)
            bars = bars_of(rows, study.protocol, study.main)
            own = next((bar for bar in bars if bar.is_main), None)
            manifest = one.records.get(names.IMAGE_MANIFEST)
            if own is not None and manifest is not None:
                images = manifest.facts_as(ManifestFacts).usable_images
                runs.append((one.report.created[:16].replace("T", " "), images, own))
        if len(runs) > 1:
            title = f"{record.dataset}, {study.method(study.main).title}"
            tables.append(trend_table(title, study.protocol, runs[-SHOWN_RUNS:]))
    return [Section("Over time", (), tuple(tables))] if tables else []


def _section(store: DatasetStore, study: Study, record: OutputRecord) -> "Section":
    """The verdict of one report and the table of its methods."""
    from methods.reporting.document import Section

    return Section(
        f"{record.dataset} ({study.name})",
        (record.facts_as(ReportFacts).verdict,),
        (_results(store, study, record).fold(),),
    )


def _rows(store: DatasetStore, study: Study, report: OutputRecord) -> list[dict[str, Any]]:
    """Rows of the results of a report, which need not be the current one."""
    rows: list[dict[str, Any]] = store.need_table(report, CONTRACTS[study.protocol]).to_pylist()
    return rows


def _results(store: DatasetStore, study: Study, report: OutputRecord) -> "Table":
    """The table of a study's methods on a dataset."""
    from methods.reporting import multilabel_tables, roc_tables, single_label_tables

    rows = _rows(store, study, report)
    if study.protocol == "cross-validation":
        return roc_tables.roc_results_table(rows, roc_tables.CONTOURED)
    if study.protocol == "several labels":
        return multilabel_tables.multilabel_results_table(rows)
    return single_label_tables.results_table(rows)


def _document(
    records: list[OutputRecord], sections: list["Section"], missing: list[str]
) -> "Report":
    """The summary as a document; ``missing`` are the datasets without a report."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.document import Report, Section

    note = (
        f"Registered, but without a report: {', '.join(missing)}."
        if missing
        else "Every registered dataset has a report."
    )
    lineage = Section("Lineage", (), (parts.lineage_table(records),))
    return Report(
        title="All datasets",
        subtitle=f"{counted(len({of.dataset for of in records}), 'dataset')}. {note}",
        notices=(),
        sections=(*sections, lineage),
        footer=f"medfeat {version('medfeat')}",
    )

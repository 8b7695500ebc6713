"""The summary over all datasets and studies."""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from assets.core.plan import Output, Plan, Stage, Work
from assets.core.settings import StageConfig
from assets.core.stage import stage
from assets.reports.common import GROUP, write_document
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import ReportFacts
from data_contracts.records.output_record import OutputRecord
from data_contracts.studies.registry import STUDIES
from data_contracts.studies.study import Study
from data_contracts.tables.multilabel import MULTILABEL_RESULTS
from data_contracts.tables.report import RESULTS
from data_contracts.tables.roc import ROC_RESULTS
from resources.store.dataset_store import DatasetStore

if TYPE_CHECKING:
    from methods.reporting.document import Report, Section, Table

SHOWN_REPORTS = 6
"""Maximum number of reports whose first picture the summary shows."""


@stage(
    StageConfig,
    group=GROUP,
    order=9,
    kinds={"html", "markdown"},
    code_version="1",
    inputs=[names.report(study) for study in STUDIES],
    per_dataset=False,
)
def summary_report(here: Stage[StageConfig]) -> Plan:
    """The results of all datasets on one page, with the lineage of every figure."""
    store = here.store
    reports = _reports(store)
    versions = {f"{of.dataset}/{of.asset}": of.data_version for _, of in reports}

    def compute(work: Work) -> Output:
        if not reports:
            raise InputError("no dataset has a report yet", "Run a study first: medfeat run NAME")
        records = [record for _, record in reports]
        missing = [d for d in store.datasets() if d not in {of.dataset for of in records}]
        sections = [_section(store, study, record) for study, record in reports]
        document = _document(records, sections, missing)
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
            notices=list(document.notices),
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


def _section(store: DatasetStore, study: Study, record: OutputRecord) -> "Section":
    """The verdict of one report and the table of its methods."""
    from methods.reporting.document import Section

    return Section(
        f"{record.dataset} ({study.name})",
        (record.facts_as(ReportFacts).verdict,),
        (_results(store, record.dataset, study),),
    )


def _results(store: DatasetStore, dataset: str, study: Study) -> "Table":
    """The table of a study's methods on a dataset."""
    from methods.reporting import multilabel_tables, roc_tables, single_label_tables

    def rows(contract: Any) -> list[dict[str, Any]]:
        table: list[dict[str, Any]] = store.main_table(
            dataset, names.report(study.name), contract
        ).to_pylist()
        return table

    if study.protocol == "cross-validation":
        return roc_tables.roc_results_table(rows(ROC_RESULTS), roc_tables.CONTOURED)
    if study.protocol == "several labels":
        return multilabel_tables.multilabel_results_table(rows(MULTILABEL_RESULTS))
    return single_label_tables.results_table(rows(RESULTS))


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
        subtitle=f"{len(records)} datasets. {note}",
        notices=tuple(f"{of.dataset}: {notice}" for of in records for notice in of.notices),
        sections=(*sections, lineage),
        footer=f"medfeat {version('medfeat')}",
    )

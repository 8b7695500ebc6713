"""The summary over all datasets and studies."""

from importlib.metadata import version
from typing import Any

import dagster as dg

from assets.core.stage import Output, StageConfig, Work, materialize
from assets.reports.common import write_document
from assets.reports.single_label_report import GROUP
from data_contracts.errors import InputError
from data_contracts.records.facts import ReportFacts
from data_contracts.studies.registry import STUDIES
from data_contracts.studies.study import Study
from data_contracts.tables.multilabel import MULTILABEL_RESULTS
from data_contracts.tables.report import RESULTS
from data_contracts.tables.roc import ROC_RESULTS
from resources.store.dataset_store import DatasetStore


def _results(store: DatasetStore, dataset: str, study: Study) -> Any:
    """The table of a study's methods on a dataset."""
    from methods.reporting import multilabel_tables, roc_tables, single_label_tables

    name = f"report_{study.name}"
    if study.protocol == "cross-validation":
        rows = store.main_table(dataset, name, ROC_RESULTS).to_pylist()
        return roc_tables.roc_results_table(rows, roc_tables.CONTOURED)
    if study.protocol == "several labels":
        rows = store.main_table(dataset, name, MULTILABEL_RESULTS).to_pylist()
        return multilabel_tables.multilabel_results_table(rows)
    return single_label_tables.results_table(store.main_table(dataset, name, RESULTS).to_pylist())


@dg.asset(
    group_name=GROUP,
    deps=[dg.AssetKey(f"report_{study}") for study in STUDIES],
    kinds={"html", "markdown"},
    code_version="1",
    tags={"stage": "9"},
)
def summary_report(
    context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """The results of all datasets on one page, with the lineage of every figure."""

    def compute(work: Work) -> Output:
        from methods.reporting import single_label_tables as parts
        from methods.reporting.document import Report, Section

        sections, records, versions, rows = [], [], {}, 0
        for study in STUDIES.values():
            name = f"report_{study.name}"
            for dataset in store.datasets():
                record = store.record(dataset, name)
                if record is None:
                    continue
                table = _results(store, dataset, study)
                sections.append(
                    Section(
                        f"{dataset} ({study.name})",
                        (store.facts(dataset, name, ReportFacts).verdict,),
                        (table,),
                    )
                )
                records.append(record)
                versions[f"{dataset}/{name}"] = record.data_version
                rows += len(table.rows)
        if not records:
            raise InputError("no dataset has a report yet", "Run a study first: medfeat run NAME")
        missing = [d for d in store.datasets() if d not in {r.dataset for r in records}]
        notices = tuple(
            f"{record.dataset}: {notice}" for record in records for notice in record.notices
        )
        note = (
            f"Registered, but without a report: {', '.join(missing)}."
            if missing
            else "Every registered dataset has a report."
        )
        document = Report(
            title="All datasets",
            subtitle=f"{len(records)} datasets. {note}",
            notices=notices,
            sections=(*sections, Section("Lineage", (), (parts.lineage_table(records),))),
            footer=f"medfeat {version('medfeat')}",
        )
        published = write_document(store, document, store.reports / "summary")
        return Output(
            content=versions,
            published=published,
            pictures=[
                (picture.title, store.picture(record, picture))
                for record in records[:6]
                for picture in record.pictures[:1]
            ],
            summary={
                "datasets": len(records),
                "without a report": len(missing),
                "report": str(store.root / "reports" / "summary" / "report.html"),
            },
            notices=list(notices),
            rows=rows,
        )

    versions = {
        f"{dataset}/{name}": record.data_version
        for name in (f"report_{study}" for study in STUDIES)
        for dataset in store.datasets()
        if (record := store.record(dataset, name))
    }
    return materialize(context, store, config, compute, known_by=versions)

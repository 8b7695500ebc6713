"""The report of a study whose methods are scored on a test split."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.core.partitions import DATASETS
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.evaluations.comparison import ComparableMethods, comparable_methods
from assets.evaluations.near_duplicates import near_duplicates
from assets.images import image_manifest
from assets.reports.common import (
    STAGES_SHOWN,
    closing_sections,
    footer,
    pictures_of,
    rejected_files,
    stages_section,
    store_tables,
    subtitle_of,
    untimed,
    write_document,
)
from assets.reports.rows import Chain, notices_of_chain, paper_estimates, result_rows
from data_contracts import asset_names as names
from data_contracts.records.facts import LabelEfficiencyFacts, NearDuplicateFacts, ReportFacts
from data_contracts.studies.registry import studies_of
from data_contracts.studies.study import Study
from data_contracts.tables.evaluations import COMPARISONS, METRICS
from data_contracts.tables.near_duplicates import NEAR_DUPLICATES
from data_contracts.tables.report import LINEAGE, PAPER, REJECTED, RESULTS
from resources.store.dataset_store import DatasetStore

GROUP = "report"
LABELS_NEEDED = "How many labels are needed"


def _label_sections(
    store: DatasetStore,
    dataset: str,
    study: Study,
    included: ComparableMethods,
    chains: Mapping[str, Chain],
    notices: tuple[str, ...],
) -> list[Any]:
    """How many labels each method needs, where the study measures it."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.document import Section

    if "label_efficiency" not in study.measurements:
        return []
    if "label_efficiency" not in chains:
        return [Section(LABELS_NEEDED, (f"Not measured: {included.reasons['label_efficiency']}.",))]
    chain = chains["label_efficiency"]
    record = chain["label_efficiency"]
    metrics = store.main_table(dataset, "label_efficiency", METRICS).to_pylist()
    facts = store.facts(dataset, record.asset, LabelEfficiencyFacts)
    said = tuple(dict.fromkeys([*notices, *notices_of_chain(chain)]))
    return [
        Section(
            LABELS_NEEDED,
            (facts.sentence, facts.sentence_raw),
            (parts.label_efficiency_table(metrics, facts.titles, said),),
            pictures_of(store, chain, (record.asset,)),
        )
    ]


def _document(
    store: DatasetStore,
    dataset: str,
    study: Study,
    comparison: str,
    included: ComparableMethods,
    paper: tuple[Mapping[str, Any], Mapping[str, str]],
    tables: Mapping[str, list[dict[str, Any]]],
    chains: Mapping[str, Chain],
) -> Any:
    """The report as a document, ready to be rendered."""
    from methods.reporting import single_label_tables as parts
    from methods.reporting.document import Report, Section
    from methods.reporting.metric_tables import label_metrics_table
    from methods.reporting.verdicts import single_label_verdict

    results, comparisons, metrics = tables["results"], tables["comparisons"], tables["metrics"]
    records = {name: record for chain in chains.values() for name, record in chain.items()}
    titles = {method.name: title for method, title in included.titles.items()}
    core = {method.name: title for method, title in included.titles.items() if method.in_main_job}
    notices = parts.notices_of(results)
    of_studies = notices_of_chain(chains.get("filter_size_study", {}))
    paper_notices = tuple(dict.fromkeys([*notices, *of_studies]))
    near = store.facts(dataset, names.NEAR_DUPLICATES, NearDuplicateFacts)
    few = [
        row for row in metrics if row["metric"] == "few_label_accuracy" and row["method"] in core
    ]
    return Report(
        title=f"{dataset}: {study.title}",
        subtitle=subtitle_of(dataset, study, records),
        notices=notices,
        sections=(
            Section(
                "Result",
                (single_label_verdict(study, results, comparisons),),
                (
                    parts.results_table(results),
                    parts.comparison_table(comparisons, titles, notices),
                ),
                pictures_of(store, records, (comparison,)),
            ),
            Section(
                "Beside the paper",
                (
                    study.citation,
                    "The paper's figures were measured on its own data. Unless this dataset is that data, the two columns are "
                    "not comparable; they stand side by side so that the order of the methods can be compared.",
                ),
                tuple(parts.paper_table(table, *paper, paper_notices) for table in study.tables),
                pictures_of(store, records, ("filter_size_study",)),
            ),
            *_label_sections(store, dataset, study, included, chains, notices),
            Section(
                "From few labels a class",
                (
                    "Each figure is the mean over seeded draws of labelled training images, the same draws for every method. "
                    "The test images are always all of them.",
                ),
                (parts.label_budget_table(few, core, notices),) if few else (),
            ),
            Section(
                "Each class",
                (f"The figures of the other methods: medfeat results {dataset}.",)
                if len(titles) > len(core)
                else (),
                tuple(
                    label_metrics_table(metrics, name, title, study.protocol, notices)
                    for name, title in core.items()
                ),
                pictures_of(
                    store,
                    records,
                    tuple(method.evaluation for method in included.titles if method.in_main_job),
                ),
            ),
            stages_section(store, dataset, records, STAGES_SHOWN),
            Section(
                "Integrity",
                (
                    "No image (by bytes or pixels) and no group is on both sides of the split: two checks block a run otherwise. "
                    f"Near-duplicates across the split: {near.pairs} pairs, {near.test_images} test images "
                    f"({near.share:.1%}).",
                ),
                (parts.near_duplicates_table(tables["near_duplicates"]),),
                pictures_of(store, records, ("near_duplicates",)),
            ),
            *closing_sections(study, records, tables["rejected"]),
        ),
        footer=footer(),
    )


def study_report(study: Study, all_tables: bool) -> dg.AssetsDefinition:
    """The report of one study on one dataset: of its own methods, or of every row of its tables."""
    comparison = f"method_comparison_{study.job(all_tables)}"
    name = f"report_{study.job(all_tables)}"

    @dg.asset(
        name=name,
        description=f"Report of {study.title}, {'every row of its tables' if all_tables else 'its own method with its controls'}: "
        "tables beside the paper's, pictures, settings, files left out and lineage, as HTML, Markdown, CSV and LaTeX.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[
            image_manifest,
            near_duplicates,
            *(dg.AssetKey(name) for name in study.measurements if all_tables),
            dg.AssetKey(comparison),
            *(dg.AssetKey(method.evaluation) for method in study.methods_of(all_tables)),
        ],
        kinds={"html", "markdown"},
        code_version="5",
        tags={"stage": "8"},
    )
    def report(
        context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        folder = store.root / "reports" / dataset / study.job(all_tables)
        with plain_failures():
            included = comparable_methods(store, dataset, study, all_tables)
            evaluations = [method.evaluation for method in included.titles]
            inputs = (
                "image_manifest",
                "near_duplicates",
                comparison,
                *evaluations,
                *included.measurements,
            )
            chains = {last: store.upstream(dataset, last) for last in inputs}
        # The page shows the lineage of every stage, so it is as old as the oldest of them.
        records = {name: record for chain in chains.values() for name, record in chain.items()}

        def compute(work: Work) -> Output:
            from methods.reporting import single_label_tables as parts

            metrics = [
                row
                for evaluation in evaluations
                for row in store.main_table(dataset, evaluation, METRICS).to_pylist()
            ]
            comparisons = store.main_table(dataset, comparison, COMPARISONS).to_pylist()
            similar = store.main_table(dataset, "near_duplicates", NEAR_DUPLICATES).to_pylist()
            tables: dict[str, list[dict[str, Any]]] = {
                "metrics": metrics,
                "comparisons": comparisons,
                "near_duplicates": similar,
            }
            results = result_rows(dataset, study, included.titles, tables, chains)
            paper = paper_estimates(store, dataset, study, results, included, chains)
            tables |= {
                "results": results,
                "paper": [row for table in study.tables for row in parts.paper_rows(table, *paper)],
                "lineage": parts.lineage_rows(list(records.values())),
                "rejected": rejected_files(store, dataset),
            }
            document = _document(store, dataset, study, comparison, included, paper, tables, chains)
            published = write_document(store, document, folder)
            contracts = {
                "results": RESULTS,
                "paper": PAPER,
                "lineage": LINEAGE,
                "rejected": REJECTED,
            }
            files = store_tables(store, work, tables, contracts)
            return Output(
                content={
                    "results": [untimed(row) for row in results],
                    "paper": [untimed(row) for row in tables["paper"]],
                    "rejected": tables["rejected"],
                    "lineage": {name: record.data_version for name, record in records.items()},
                },
                files=files,
                published=published,
                pictures=[
                    (figure.title, figure.png) for figure in document.sections[0].figures[:1]
                ],
                summary={
                    **{f"{row['title']}, accuracy": row["accuracy"] for row in results},
                    "verdict": document.sections[0].paragraphs[0],
                    "report": str(folder / "report.html"),
                },
                facts=ReportFacts(verdict=document.sections[0].paragraphs[0]),
                notices=list(document.notices),
                rows=len(results),
            )

        return materialize(
            context,
            store,
            config,
            compute,
            inputs=inputs,
            known_by={
                "made from": {name: record.data_version for name, record in records.items()},
                "left out": included.reasons,
            },
        )

    return report


study_reports = [
    study_report(study, all_tables)
    for study in studies_of("test split")
    for all_tables in study.scopes
]

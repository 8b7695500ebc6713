"""The report of a dataset, and the summary over all datasets."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.comparison import Measured, measured
from assets.images import ARRIVAL, image_manifest, manifest_of
from assets.integrity import near_duplicates
from assets.label_efficiency import CAE, RAW, TUNED
from assets.partitions import DATASETS
from assets.report_rows import Chain, notices_of_chain, paper_estimates, result_rows
from assets.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.vlad import codebook_asset
from data_contracts.errors import InputError
from data_contracts.farhat_vlad import CODEBOOK_SIZES, SCALES
from data_contracts.metrics import COMPARISONS, METRICS
from data_contracts.near_duplicates import NEAR_DUPLICATES
from data_contracts.output_record import OutputRecord, StoredFile
from data_contracts.report_tables import LINEAGE, PAPER, REJECTED, RESULTS
from data_contracts.studies import STUDIES
from data_contracts.study import Study
from resources.atomic_file import write_atomically
from resources.dataset_store import DatasetStore

GROUP = "report"
LABELS_NEEDED = "How many labels are needed"
STAGES_SHOWN = (
    "image_manifest",
    "prepared_images",
    "alexnet_conv5",
    "backbone_features",
    "cae_model",
    "cae_features",
    "random_cae_model",
    "sparse_coding_model",
    "ica_model",
    "ssae_model",
    "fine_tuned_alexnet",
    "fine_tuned_googlenet",
    "fine_tuned_resnet50",
    *(codebook_asset(clusters, scale) for clusters in CODEBOOK_SIZES for scale in SCALES),
)
"""Outputs whose pictures the report shows, where they were made."""


def _pictures(store: DatasetStore, dataset: str, records: Mapping[str, OutputRecord], names: tuple[str, ...]) -> tuple[Any, ...]:
    from methods.report_document import Figure

    return tuple(
        Figure(f"{name}: {picture.title}", (store.folder(dataset, name) / picture.file).read_bytes())
        for name in names
        if name in records
        for picture in records[name].pictures
    )


def _label_sections(
    store: DatasetStore, dataset: str, study: Study, included: Measured, chains: Mapping[str, Chain], notices: tuple[str, ...]
) -> list[Any]:
    """How many labels each method needs, where the study measures it."""
    from methods import report_sections as parts
    from methods.report_document import Section

    if "label_efficiency" not in study.measurements:
        return []
    if "label_efficiency" not in chains:
        return [Section(LABELS_NEEDED, (f"Not measured: {included.reasons['label_efficiency']}.",))]
    chain = chains["label_efficiency"]
    record = chain["label_efficiency"]
    metrics = store.main_table(dataset, "label_efficiency", ".metrics.parquet", METRICS).to_pylist()
    titles = {name: str(record.summary[f"title of {name}"]) for name in (CAE, RAW, TUNED)}
    said = tuple(dict.fromkeys([*notices, *notices_of_chain(chain)]))
    return [
        Section(
            LABELS_NEEDED,
            (str(record.summary["sentence"]), str(record.summary["sentence, raw features"])),
            (parts.label_efficiency_table(metrics, titles, said),),
            _pictures(store, dataset, chain, (record.asset,)),
        )
    ]


def _document(
    store: DatasetStore,
    dataset: str,
    study: Study,
    comparison: str,
    included: Measured,
    paper: tuple[Mapping[str, Any], Mapping[str, str]],
    tables: Mapping[str, list[dict[str, Any]]],
    chains: Mapping[str, Chain],
) -> Any:
    """The report as a document, ready to be rendered."""
    from methods import report_sections as parts
    from methods.report_document import Report, Section

    results, comparisons, metrics = tables["results"], tables["comparisons"], tables["metrics"]
    records = {name: record for chain in chains.values() for name, record in chain.items()}
    titles = {method.name: title for method, title in included.titles.items()}
    core = {method.name: title for method, title in included.titles.items() if method.core}
    notices = parts.notices_of(results)
    of_studies = notices_of_chain(chains.get("filter_size_study", {}))
    paper_notices = tuple(dict.fromkeys([*notices, *of_studies]))
    settings = {name: record.settings for name, record in records.items() if record.settings}
    facts = {name: value for name, value in records["image_manifest"].summary.items() if name != ARRIVAL}
    data = ", ".join(f"{value} {name}" for name, value in facts.items())
    weights = {
        (r.summary["network"], r.summary["weights"], r.summary["weights sha256"])
        for r in records.values()
        if "weights sha256" in r.summary
    }
    near = records["near_duplicates"].summary
    few = [row for row in metrics if row["metric"] == "few_label_accuracy" and row["method"] in core]
    return Report(
        title=f"{dataset}: {study.title}",
        subtitle=f"Dataset {dataset}, study {study.name}. Data: {data}.",
        notices=notices,
        sections=(
            Section(
                "Result",
                (parts.verdict(study, results, comparisons),),
                (parts.results_table(results), parts.comparison_table(comparisons, titles, notices)),
                _pictures(store, dataset, records, (comparison,)),
            ),
            Section(
                "Beside the paper",
                (
                    study.citation,
                    "The paper's figures were measured on its own data. Unless this dataset is that data, the two columns are "
                    "not comparable; they stand side by side so that the order of the methods can be compared.",
                ),
                tuple(parts.paper_table(table, *paper, paper_notices) for table in study.tables),
                _pictures(store, dataset, records, ("filter_size_study",)),
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
                (f"The figures of the other methods: medfeat results {dataset}.",) if len(titles) > len(core) else (),
                tuple(parts.per_class_table(metrics, name, title, notices) for name, title in core.items()),
                _pictures(store, dataset, records, tuple(method.evaluation for method in included.titles if method.core)),
            ),
            Section(
                "The stages",
                tuple(f"Weights of {network}: {origin}, SHA-256 {sha256}." for network, origin, sha256 in sorted(weights)),
                (),
                _pictures(store, dataset, records, STAGES_SHOWN),
            ),
            Section(
                "Integrity",
                (
                    "No image (by bytes or pixels) and no group is on both sides of the split: two checks block a run otherwise. "
                    f"Near-duplicates across the split: {near['pairs']} pairs, {near['test images concerned']} test images "
                    f"({float(near['share of the test images']):.1%}).",
                ),
                (parts.near_duplicates_table(tables["near_duplicates"]),),
                _pictures(store, dataset, records, ("near_duplicates",)),
            ),
            Section("Choices the paper leaves open", (), (parts.choices_table(study.choices, settings),)),
            Section("Settings", (), (parts.settings_table(settings),)),
            Section("Files left out", (), (parts.rejected_table(tables["rejected"]),)),
            Section(
                "Lineage",
                (
                    "Each output, what it was made from, and the Dagster run that made it. "
                    "Every figure above can be traced to bytes.",
                ),
                (parts.lineage_table(list(records.values())),),
            ),
        ),
        footer=(
            f"medfeat {version('medfeat')}, torch {version('torch')}, scikit-learn {version('scikit-learn')}, "
            f"Dagster {version('dagster')}, "
            f"Python {platform.python_version()}. For research: not a medical device, and no figure here is advice on a patient."
        ),
    )


def _untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what differs from run to run."""
    return {key: value for key, value in row.items() if key not in ("seconds", "device")}


def _write_document(store: DatasetStore, dataset: str, asset: str, report: Any, folder: Path) -> list[StoredFile]:
    """Markdown with its pictures, one HTML page, and every table as CSV and LaTeX, in ``folder``."""
    from methods import report_document as document

    figures = [figure for section in report.sections for figure in section.figures]
    names = {id(figure): f"picture-{number:02d}.png" for number, figure in enumerate(figures, 1)}
    for figure in figures:
        write_atomically(folder / names[id(figure)], figure.png)
    tables = [table for section in report.sections for table in section.tables]
    for number, table in enumerate(tables, 1):
        stem = f"table-{number:02d}"
        write_atomically(folder / f"{stem}.csv", document.to_csv(table).encode())
        write_atomically(folder / f"{stem}.tex", document.to_latex(table).encode())
    write_atomically(folder / "report.md", document.to_markdown(report, lambda figure: names[id(figure)]).encode())
    page = document.to_html(report).encode()
    write_atomically(folder / "report.html", page)
    return [store.write_bytes(dataset, asset, "report.html", page)]


def study_report(study: Study, complete: bool) -> dg.AssetsDefinition:
    """The report of one study on one dataset: of its own methods, or of every row of its tables."""
    comparison = f"method_comparison_{study.job(complete)}"
    name = f"report_{study.job(complete)}"

    @dg.asset(
        name=name,
        description=f"Report of {study.title}, {'every row of its tables' if complete else 'its own method with its controls'}: "
        "tables beside the paper's, pictures, settings, files left out and lineage, as HTML, Markdown, CSV and LaTeX.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[
            image_manifest,
            near_duplicates,
            *(dg.AssetKey(name) for name in study.measurements if complete),
            dg.AssetKey(comparison),
            *(dg.AssetKey(method.evaluation) for method in study.methods_of(complete)),
        ],
        kinds={"html", "markdown"},
        code_version="3",
        tags={"stage": "8"},
    )
    def report(context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore) -> dg.MaterializeResult:
        dataset = context.partition_key
        folder = store.root / "reports" / dataset / study.job(complete)
        with plain_failures():
            included = measured(store, dataset, study, complete)
            evaluations = [method.evaluation for method in included.titles]
            inputs = ("image_manifest", "near_duplicates", comparison, *evaluations, *included.measurements)
            chains = {last: store.upstream(dataset, last) for last in inputs}
        # The page shows the lineage of every stage, so it is as old as the oldest of them.
        records = {name: record for chain in chains.values() for name, record in chain.items()}

        def compute(work: Work) -> Output:
            from methods import report_sections as parts

            metrics = [
                row
                for evaluation in evaluations
                for row in store.main_table(dataset, evaluation, ".metrics.parquet", METRICS).to_pylist()
            ]
            comparisons = store.main_table(dataset, comparison, ".comparisons.parquet", COMPARISONS).to_pylist()
            similar = store.main_table(dataset, "near_duplicates", ".near_duplicates.parquet", NEAR_DUPLICATES).to_pylist()
            tables: dict[str, list[dict[str, Any]]] = {"metrics": metrics, "comparisons": comparisons, "near_duplicates": similar}
            results = result_rows(dataset, study, included.titles, tables, chains)
            paper = paper_estimates(store, dataset, study, results, included)
            tables |= {
                "results": results,
                "paper": [row for table in study.tables for row in parts.paper_rows(table, *paper)],
                "lineage": parts.lineage_rows(list(records.values())),
                "rejected": [
                    {"path": row["path"], "frame": row["frame"], "status": row["status"], "reason": row["reason"]}
                    for row in manifest_of(store, dataset).to_pylist()
                    if row["status"] != "ok"
                ],
            }
            document = _document(store, dataset, study, comparison, included, paper, tables, chains)
            files = _write_document(store, dataset, work.asset, document, folder)
            for kind, contract in (("results", RESULTS), ("paper", PAPER), ("lineage", LINEAGE), ("rejected", REJECTED)):
                table = pa.Table.from_pylist(tables[kind], schema=contract.schema)
                files.append(store.write_table(dataset, work.asset, f"{work.fingerprint}.{kind}.parquet", table, contract))
            return Output(
                content={
                    "results": [_untimed(row) for row in results],
                    "paper": [_untimed(row) for row in tables["paper"]],
                    "rejected": tables["rejected"],
                    "lineage": {name: record.data_version for name, record in records.items()},
                },
                files=files,
                pictures=[(figure.title, figure.png) for figure in document.sections[0].figures[:1]],
                summary={
                    **{f"{row['title']}, accuracy": row["accuracy"] for row in results},
                    "verdict": document.sections[0].paragraphs[0],
                    "report": str(folder / "report.html"),
                },
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
            still_whole=(folder / "report.html").is_file,
        )

    return report


study_reports = [study_report(study, complete) for study in STUDIES.values() for complete in (False, True)]


@dg.asset(
    group_name=GROUP,
    deps=[dg.AssetKey(f"report_{study}") for study in STUDIES],
    kinds={"html", "markdown"},
    code_version="1",
    tags={"stage": "9"},
)
def summary_report(context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore) -> dg.MaterializeResult:
    """The results of all datasets on one page, with the lineage of every figure."""

    def compute(work: Work) -> Output:
        from methods import report_sections as parts
        from methods.report_document import Report, Section

        sections, records, versions, rows = [], [], {}, 0
        for study in STUDIES.values():
            name = f"report_{study.name}"
            for dataset in store.datasets():
                record = store.record(dataset, name)
                if record is None:
                    continue
                results = store.main_table(dataset, name, ".results.parquet", RESULTS).to_pylist()
                verdict = str(record.summary["verdict"])
                sections.append(Section(f"{dataset} ({study.name})", (verdict,), (parts.results_table(results),)))
                records.append(record)
                versions[f"{dataset}/{name}"] = record.data_version
                rows += len(results)
        if not records:
            raise InputError("no dataset has a report yet", "Run a study first: medfeat run NAME")
        missing = [d for d in store.datasets() if d not in {r.dataset for r in records}]
        notices = tuple(f"{record.dataset}: {notice}" for record in records for notice in record.notices)
        note = f"Registered, but without a report: {', '.join(missing)}." if missing else "Every registered dataset has a report."
        document = Report(
            title="All datasets",
            subtitle=f"{len(records)} datasets. {note}",
            notices=notices,
            sections=(*sections, Section("Lineage", (), (parts.lineage_table(records),))),
            footer=f"medfeat {version('medfeat')}",
        )
        files = _write_document(store, "", work.asset, document, store.root / "reports" / "summary")
        return Output(
            content=versions,
            files=files,
            pictures=[
                (p.title, (store.folder(r.dataset, r.asset) / p.file).read_bytes()) for r in records[:6] for p in r.pictures[:1]
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

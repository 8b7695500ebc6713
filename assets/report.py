"""The report of a dataset, and the summary over all datasets."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.evaluations import evaluation_name
from assets.images import ARRIVAL, image_manifest, manifest_of
from assets.integrity import near_duplicates
from assets.partitions import DATASETS
from assets.stage import Output, StageConfig, Work, materialize, plain_failures
from data_contracts.errors import InputError
from data_contracts.metrics import COMPARISONS, METRICS
from data_contracts.near_duplicates import NEAR_DUPLICATES
from data_contracts.output_record import OutputRecord, StoredFile
from data_contracts.report_tables import LINEAGE, PAPER, REJECTED, RESULTS
from data_contracts.study import AHN2019, STUDIES, Study
from resources.atomic_file import write_atomically
from resources.dataset_store import DatasetStore

GROUP = "report"
TABLE_3_FILTERS = {"512": "512", "1024": "1024", "2048": "2048 (printed 2024)", "4096": "4096"}


def _results(
    store: DatasetStore, dataset: str, study: Study, metrics: list[dict[str, Any]], comparisons: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of RESULTS, one a method, notices of everything upstream included."""
    main = study.methods[-1].name
    rows = []
    for method in study.methods:
        chain = store.upstream(dataset, evaluation_name(method))
        chain |= {"near_duplicates": store.need_record(dataset, "near_duplicates")}
        record = chain[evaluation_name(method)]
        of_all = {row["metric"]: row for row in metrics if row["method"] == method.name and row["subject"] == "all"}
        pair = next((c for c in comparisons if {c["method_a"], c["method_b"]} == {method.name, main}), None)
        notices = dict.fromkeys(notice for upstream in chain.values() for notice in upstream.notices)
        rows.append(
            {
                "dataset": dataset,
                "study": study.name,
                "method": method.name,
                "title": method.title,
                "accuracy": of_all["accuracy"]["value"],
                "ci_low": of_all["accuracy"]["ci_low"],
                "ci_high": of_all["accuracy"]["ci_high"],
                "macro_f1": of_all["macro_f1"]["value"],
                "p_holm": pair["p_holm"] if pair else None,
                "n_test": of_all["accuracy"]["n"],
                "n_train": record.summary["training images"],
                "classes": record.summary["classes"],
                "seconds": record.seconds,
                "device": record.device,
                "notices": "\n".join(notices),
            }
        )
    return rows


def _estimates(results: list[dict[str, Any]]) -> dict[str, tuple[float, float, float]]:
    return {row["method"]: (100 * row["accuracy"], 100 * row["ci_low"], 100 * row["ci_high"]) for row in results}


def _paper_figures(
    study: Study, results: list[dict[str, Any]], records: Mapping[str, OutputRecord]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Our figures for the rows of the paper, and notes on them."""
    ours: dict[str, Any] = dict(_estimates(results))
    notes: dict[str, str] = {}
    filters = str(records["cae_model"].settings["filters"]) if "cae_model" in records else ""
    if "cae" in ours:
        notes["cae"] = f"{filters} filters (the paper: 4096)"
        if filters in TABLE_3_FILTERS:
            ours[TABLE_3_FILTERS[filters]] = ours["cae"]
    return ours, notes


def _pictures(store: DatasetStore, dataset: str, records: Mapping[str, OutputRecord], names: tuple[str, ...]) -> tuple[Any, ...]:
    from methods.report_document import Figure

    return tuple(
        Figure(f"{name}: {picture.title}", (store.folder(dataset, name) / picture.file).read_bytes())
        for name in names
        if name in records
        for picture in records[name].pictures
    )


def _document(
    store: DatasetStore, dataset: str, study: Study, tables: Mapping[str, list[dict[str, Any]]], records: dict[str, OutputRecord]
) -> Any:
    """The report as a document, ready to be rendered."""
    from methods import report_sections as parts
    from methods.report_document import Report, Section

    results, comparisons, metrics = tables["results"], tables["comparisons"], tables["metrics"]
    titles = {method.name: method.title for method in study.methods}
    notices = parts.notices_of(results)
    ours, notes = _paper_figures(study, results, records)
    settings = {name: record.settings for name, record in records.items() if record.settings}
    evaluations = tuple(evaluation_name(method) for method in study.methods)
    comparison = f"method_comparison_{study.name}"
    facts = {name: value for name, value in records["image_manifest"].summary.items() if name != ARRIVAL}
    data = ", ".join(f"{value} {name}" for name, value in facts.items())
    weights = records["alexnet_conv5"].summary
    near = records["near_duplicates"].summary
    budget = (
        (parts.label_budget_table(metrics, titles, notices),) if any(m["metric"] == "few_label_accuracy" for m in metrics) else ()
    )
    return Report(
        title=f"{dataset}: {study.title}",
        subtitle=f"Dataset {dataset}, study {study.name}. Data: {data}.",
        notices=notices,
        sections=(
            Section(
                "Result",
                (parts.verdict(results, comparisons),),
                (parts.results_table(results), parts.comparison_table(comparisons, titles, notices)),
                _pictures(store, dataset, records, (comparison,)),
            ),
            Section(
                "From few labels",
                (
                    "Each figure is the mean over seeded draws of labelled training images, the same draws for every method. "
                    "The test images are always all of them.",
                ),
                budget,
            ),
            Section(
                "Beside the paper",
                (
                    study.citation,
                    "The paper's figures were measured on its own data. Unless this dataset is that data, the two columns are "
                    "not comparable; they stand side by side so that the order of the methods can be compared.",
                ),
                tuple(parts.paper_table(paper, ours, notes, notices) for paper in study.tables),
            ),
            Section(
                "Each class",
                (),
                tuple(parts.per_class_table(metrics, method.name, method.title, notices) for method in study.methods),
                _pictures(store, dataset, records, evaluations),
            ),
            Section(
                "The stages",
                (f"AlexNet weights: {weights['weights']}, SHA-256 {weights['weights sha256']}.",),
                (),
                _pictures(
                    store,
                    dataset,
                    records,
                    ("image_manifest", "prepared_images", "alexnet_conv5", "cae_model", "cae_features", "random_cae_model"),
                ),
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


def _write_document(store: DatasetStore, dataset: str, asset: str, report: Any) -> list[StoredFile]:
    """Markdown with its pictures, one HTML page, and every table as CSV and LaTeX, under ``reports/<dataset>``."""
    from methods import report_document as document

    folder = store.root / "reports" / (dataset or "summary")
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


def study_report(study: Study) -> dg.AssetsDefinition:
    """The report of one study on one dataset."""
    comparison = f"method_comparison_{study.name}"
    name = f"report_{study.name}"

    @dg.asset(
        name=name,
        description=f"Report of {study.title}: tables beside the paper's, pictures, settings, files left out and lineage, "
        "as HTML, Markdown, CSV and LaTeX.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[
            image_manifest,
            near_duplicates,
            dg.AssetKey(comparison),
            *(dg.AssetKey(evaluation_name(method)) for method in study.methods),
        ],
        kinds={"html", "markdown"},
        code_version="2",
        tags={"stage": "8"},
    )
    def report(context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore) -> dg.MaterializeResult:
        def compute(work: Work) -> Output:
            dataset = work.dataset
            records = store.upstream(dataset, "near_duplicates") | store.upstream(dataset, comparison)
            metrics = [
                row
                for method in study.methods
                for row in store.main_table(dataset, evaluation_name(method), ".metrics.parquet", METRICS).to_pylist()
            ]
            comparisons = store.main_table(dataset, comparison, ".comparisons.parquet", COMPARISONS).to_pylist()
            from methods import report_sections as parts

            results = _results(store, dataset, study, metrics, comparisons)
            ours, notes = _paper_figures(study, results, records)
            rejected = [
                {"path": row["path"], "frame": row["frame"], "status": row["status"], "reason": row["reason"]}
                for row in manifest_of(store, dataset).to_pylist()
                if row["status"] != "ok"
            ]
            tables: dict[str, list[dict[str, Any]]] = {
                "results": results,
                "paper": [row for paper in study.tables for row in parts.paper_rows(paper, ours, notes)],
                "lineage": parts.lineage_rows(list(records.values())),
                "rejected": rejected,
            }
            similar = store.main_table(dataset, "near_duplicates", ".near_duplicates.parquet", NEAR_DUPLICATES).to_pylist()
            shown = {**tables, "comparisons": comparisons, "metrics": metrics, "near_duplicates": similar}
            document = _document(store, dataset, study, shown, records)
            files = _write_document(store, dataset, work.asset, document)
            for kind, contract in (("results", RESULTS), ("paper", PAPER), ("lineage", LINEAGE), ("rejected", REJECTED)):
                table = pa.Table.from_pylist(tables[kind], schema=contract.schema)
                files.append(store.write_table(dataset, work.asset, f"{work.fingerprint}.{kind}.parquet", table, contract))
            return Output(
                content={
                    "results": [{k: v for k, v in row.items() if k not in ("seconds", "device")} for row in results],
                    "paper": tables["paper"],
                    "rejected": rejected,
                    "lineage": {name: record.data_version for name, record in records.items()},
                },
                files=files,
                pictures=[(figure.title, figure.png) for figure in document.sections[0].figures[:1]],
                summary={
                    **{f"{row['title']}, accuracy": row["accuracy"] for row in results},
                    "verdict": document.sections[0].paragraphs[0],
                    "report": str(store.root / "reports" / dataset / "report.html"),
                },
                notices=list(document.notices),
                rows=len(results),
            )

        inputs = ("image_manifest", "near_duplicates", comparison, *(evaluation_name(method) for method in study.methods))
        page = store.root / "reports" / context.partition_key / "report.html"
        with plain_failures():
            chain = [name for last in inputs for name in store.upstream(context.partition_key, last)]
            # The page shows the lineage of every stage, so it is as old as the oldest of them.
            versions = {name: store.need_record(context.partition_key, name).data_version for name in chain}
        return materialize(context, store, config, compute, inputs=inputs, known_by=versions, still_whole=page.is_file)

    return report


report_ahn2019 = study_report(AHN2019)


@dg.asset(
    group_name=GROUP,
    deps=[report_ahn2019],
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
        files = _write_document(store, "", work.asset, document)
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

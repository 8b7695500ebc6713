"""The report of the cross-validated study: its methods compared, its tables beside the paper's
(Huynh et al. 2016).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np

from assets.core.lesion_rows import FoldConfig, LesionRows, lesion_rows
from assets.core.partitions import DATASETS
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.evaluations.cross_validation import GROUP as EVALUATION
from assets.evaluations.cross_validation import LAYER_METHODS, out_of_fold
from assets.evaluations.label_permutation import METRIC, SUBJECT
from assets.reports.common import (
    closing_sections,
    footer,
    pictures_of,
    rejected_files,
    stages_section,
    store_tables,
    subtitle_of,
    write_document,
)
from assets.reports.rows import Chain, notices_of_chain, seconds_of_stages
from assets.reports.single_label_report import GROUP
from data_contracts import asset_names as names
from data_contracts.records.facts import FoldFacts, ReportFacts, RocComparisonFacts
from data_contracts.studies.huynh2016 import (
    ANALYTIC,
    ENSEMBLE,
    HUYNH2016,
    LAYER_SHAPES,
    layer_method,
)
from data_contracts.studies.study import Method
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.report import LINEAGE, REJECTED
from data_contracts.tables.roc import ROC_COMPARISONS, ROC_RESULTS
from resources.store.dataset_store import DatasetStore

STAGES_SHOWN = ("image_manifest", "lesion_segmentation", "analytic_features", "alexnet_layers")
COMPARED = {"roc_results": ROC_RESULTS, "roc_comparisons": ROC_COMPARISONS}
PAIRS = ((ENSEMBLE.name, ANALYTIC.name), (ENSEMBLE.name, ""), ("", ANALYTIC.name))
"""Compared; the empty name is the classifier on the ensemble's layer."""


def _result_row(
    rows: LesionRows, method: Method, probability: np.ndarray, images: str
) -> dict[str, Any]:
    """A row of ROC_RESULTS."""
    from methods.statistics.fold_roc import fold_roc

    found = fold_roc(probability, rows.positive, rows.fold, rows.lesions, rows.patients)
    return {
        "images": images,
        "method": method.name,
        "title": method.title,
        "auc": found.mean,
        "auc_sd": found.sd,
        "auc_se": found.se,
        "pooled_auc": found.pooled,
        "pooled_low": found.pooled_interval.low,
        "pooled_high": found.pooled_interval.high,
        "lesion_auc": found.by_lesion,
        "lesion_low": found.by_lesion_interval.low,
        "lesion_high": found.by_lesion_interval.high,
        "binormal_a": found.binormal.a if found.binormal else None,
        "binormal_b": found.binormal.b if found.binormal else None,
        "n_images": len(rows.ids),
        "n_lesions": found.n_lesions,
    }


@dg.asset(
    partitions_def=DATASETS,
    group_name=EVALUATION,
    deps=[dg.AssetKey(method.evaluation) for method in HUYNH2016.methods],
    kinds={"scipy", "parquet"},
    code_version="1",
    tags={"stage": "8"},
)
def roc_comparison(
    context: dg.AssetExecutionContext, config: FoldConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Every layer on all images; one layer, the analytic features and their ensemble on the images
    that have a contour.
    """
    dataset = context.partition_key
    with plain_failures():
        whole = lesion_rows(store, dataset, config)
        layer = LAYER_METHODS[store.facts(dataset, ENSEMBLE.evaluation, FoldFacts).ensemble_layer]
        there = [
            m for m in HUYNH2016.methods if not store.need_record(dataset, m.evaluation).unavailable
        ]
        said = {method: out_of_fold(store, dataset, method, whole) for method in there}

    def work_out(work: Work) -> Output:
        from methods.reporting import figures
        from methods.reporting.roc_tables import ALL, CONTOURED
        from methods.statistics.fold_roc import compare_roc
        from methods.statistics.roc import empirical_roc, fit_binormal
        from methods.statistics.significance import bonferroni

        def scores(method: Method, rows: LesionRows) -> np.ndarray:
            return np.array([said[method][image_id] for image_id in rows.ids])

        contoured = whole.only(list(said[ANALYTIC]))
        three = (layer, ANALYTIC, ENSEMBLE)
        results = [
            _result_row(whole, m, scores(m, whole), ALL)
            for m in LAYER_METHODS.values()
            if m in said
        ]
        results += [_result_row(contoured, m, scores(m, contoured), CONTOURED) for m in three]
        comparisons = []
        for pair in PAIRS:
            a, b = (HUYNH2016.method(name or layer.name) for name in pair)
            test = compare_roc(
                scores(a, contoured),
                scores(b, contoured),
                contoured.positive,
                contoured.fold,
                contoured.patients,
            )
            comparisons.append(
                {
                    "method_a": a.name,
                    "method_b": b.name,
                    "n_images": len(contoured.ids),
                    **vars(test),
                }
            )
        for p in ("p_t", "p_delong"):
            for row, corrected in zip(
                comparisons, bonferroni(np.array([row[p] for row in comparisons])), strict=True
            ):
                row[f"{p}_bonferroni"] = float(corrected)
        grid, curves = np.linspace(0, 1, 201), []
        for method in three:
            probability = scores(method, contoured)
            binormal = fit_binormal(probability, contoured.positive)
            auc = next(
                r["auc"] for r in results if r["method"] == method.name and r["images"] == CONTOURED
            )
            fitted = binormal.tpr(grid) if binormal else None
            curves.append(
                (
                    f"{method.title}, AUC {auc:.3f}",
                    *empirical_roc(probability, contoured.positive),
                    fitted,
                )
            )
        of_layers = {
            row["method"]: (row["auc"], row["auc_se"]) for row in results if row["images"] == ALL
        }
        paper = {row.method: row.percent / 100 for row in HUYNH2016.tables[0].rows}
        tables = {"roc_results": results, "roc_comparisons": comparisons}
        return Output(
            content=[results, comparisons],
            files=store_tables(store, work, tables, COMPARED),
            pictures=[
                ("ROC curves", figures.roc_curves(curves)),
                (
                    "AUC by layer",
                    figures.auc_by_layer(
                        list(LAYER_SHAPES),
                        [of_layers.get(layer_method(name)) for name in LAYER_SHAPES],
                        {
                            name: paper[layer_method(name)]
                            for name in LAYER_SHAPES
                            if layer_method(name) in paper
                        },
                    ),
                ),
            ],
            summary={
                **{f"{row['title']}, {row['images']}, AUC": row["auc"] for row in results},
                "layer of the ensemble": layer.title,
            },
            facts=RocComparisonFacts(ensemble_method=layer.name),
            rows=len(results),
        )

    return materialize(
        context, store, config, work_out, inputs=tuple(method.evaluation for method in there)
    )


def _document(
    store: DatasetStore,
    dataset: str,
    tables: Mapping[str, list[dict[str, Any]]],
    chains: Mapping[str, Chain],
    layer: Method,
) -> Any:
    from methods.features.radiomics import FEATURES
    from methods.reporting import roc_tables as parts
    from methods.reporting.document import Report, Section
    from methods.reporting.verdicts import roc_verdict

    records = {name: record for chain in chains.values() for name, record in chain.items()}
    results, comparisons = tables["roc_results"], tables["roc_comparisons"]
    titles = {method.name: method.title for method in HUYNH2016.methods}
    contoured = [row for row in results if row["images"] == parts.CONTOURED]
    everything = [row for row in results if row["images"] == parts.ALL]
    seconds = {
        method.name: seconds_of_stages(chains[method.evaluation])
        for method in HUYNH2016.methods
        if method.evaluation in chains
    }
    missing = {
        method.name: str(record.unavailable)
        for method in HUYNH2016.methods
        if (record := store.record(dataset, method.evaluation)) is not None and record.unavailable
    }
    by = records["roc_comparison"].settings["group_by"]

    def notices_of(rows: list[dict[str, Any]]) -> tuple[str, ...]:
        scored = [HUYNH2016.method(row["method"]).evaluation for row in rows]
        return tuple(
            dict.fromkeys(
                notice for evaluation in scored for notice in notices_of_chain(chains[evaluation])
            )
        )

    of_three, of_layers = notices_of(contoured), notices_of(everything)
    of_permutation = tuple(notices_of_chain(chains["label_permutation"]))
    figure3, table1 = HUYNH2016.tables
    return Report(
        title=f"{dataset}: {HUYNH2016.title}",
        subtitle=subtitle_of(
            dataset, HUYNH2016, records, left_out=("training images", "test images")
        ),
        notices=tuple(dict.fromkeys([*of_permutation, *of_three, *of_layers])),
        sections=(
            Section(
                "Result",
                (
                    roc_verdict(HUYNH2016, contoured, comparisons, titles),
                    f"Folds by {by}, five of them.",
                ),
                (
                    parts.roc_results_table(results, parts.CONTOURED, of_three, seconds),
                    parts.roc_comparison_table(comparisons, titles, of_three),
                    parts.roc_results_table(results, parts.ALL, of_layers, seconds),
                ),
                pictures_of(store, records, ("roc_comparison",)),
            ),
            Section(
                "Beside the paper",
                (HUYNH2016.citation,),
                (
                    parts.roc_paper_table(figure3, everything, {}, missing, seconds, of_layers),
                    parts.roc_paper_table(
                        table1,
                        contoured,
                        {"cnn": layer.name},
                        {"cnn": layer.title},
                        seconds,
                        of_three,
                    ),
                ),
            ),
            Section(
                "Integrity",
                (
                    "Everything that is fitted (columns of zero variance, scaling, kernel, sigmoid, classifier) is fitted inside "
                    "the training folds. That no group is in two folds is checked whenever the scores are stored or read.",
                ),
                (
                    parts.permutation_table(
                        [r for r in tables["metrics"] if r["subject"] == SUBJECT],
                        titles,
                        of_permutation,
                    ),
                ),
            ),
            stages_section(store, dataset, records, STAGES_SHOWN),
            Section("What is calculated from a contour", (), (parts.features_table(FEATURES),)),
            *closing_sections(HUYNH2016, records, tables["rejected"]),
        ),
        footer=footer(),
    )


@dg.asset(
    name=f"report_{HUYNH2016.name}",
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[dg.AssetKey(name) for name in ("image_manifest", "roc_comparison", "label_permutation")],
    kinds={"html", "markdown"},
    code_version="1",
    tags={"stage": "9"},
)
def roc_report(
    context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Report of the layers, the analytic features and their ensemble: tables beside the paper's,
    curves, contours, lineage.
    """
    dataset = context.partition_key
    folder = store.root / "reports" / dataset / HUYNH2016.name
    inputs = ("image_manifest", "roc_comparison", "label_permutation")
    with plain_failures():
        compared = store.need_record(dataset, "roc_comparison")
        chains = {last: store.upstream(dataset, last) for last in (*inputs, *compared.inputs)}
        layer = HUYNH2016.method(
            store.facts(dataset, names.ROC_COMPARISON, RocComparisonFacts).ensemble_method
        )
    records = {name: record for chain in chains.values() for name, record in chain.items()}

    def compute(work: Work) -> Output:
        from methods.reporting import roc_tables, single_label_tables

        tables = {
            "roc_results": store.main_table(dataset, "roc_comparison", ROC_RESULTS).to_pylist(),
            "roc_comparisons": store.main_table(
                dataset, "roc_comparison", ROC_COMPARISONS
            ).to_pylist(),
            "metrics": [
                row
                for row in store.main_table(dataset, "label_permutation", METRICS).to_pylist()
                if row["metric"] == METRIC
            ],
            "rejected": rejected_files(store, dataset),
            "lineage": single_label_tables.lineage_rows(list(records.values())),
        }
        document = _document(store, dataset, tables, chains, layer)
        published = write_document(store, document, folder)
        contracts = {**COMPARED, "lineage": LINEAGE, "rejected": REJECTED}
        files = store_tables(store, work, tables, contracts)
        contoured = [row for row in tables["roc_results"] if row["images"] == roc_tables.CONTOURED]
        return Output(
            content={
                name: tables[name]
                for name in ("roc_results", "roc_comparisons", "metrics", "rejected")
            },
            files=files,
            published=published,
            pictures=[(figure.title, figure.png) for figure in document.sections[0].figures[:1]],
            summary={
                **{f"{row['title']}, AUC": row["auc"] for row in contoured},
                "verdict": document.sections[0].paragraphs[0],
                "report": str(folder / "report.html"),
            },
            facts=ReportFacts(verdict=document.sections[0].paragraphs[0]),
            notices=list(document.notices),
            rows=len(contoured),
        )

    return materialize(
        context,
        store,
        config,
        compute,
        inputs=inputs,
        known_by={name: record.data_version for name, record in records.items()},
    )

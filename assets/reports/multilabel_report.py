"""The report where an image has several labels: methods beside each other and beside the paper
(Lyndon et al. 2015).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import numpy as np

from assets.core.partitions import DATASETS
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.reports.common import (
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
from assets.reports.rows import Chain, devices_of, notices_of_chain, seconds_of_stages
from assets.reports.single_label_report import GROUP
from data_contracts.errors import InputError
from data_contracts.records.facts import MultilabelFacts, ReportFacts
from data_contracts.studies.lyndon2015 import LENET, LYNDON2015, MODERN
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.multilabel import MEASURES, MULTILABEL_PREDICTIONS, MULTILABEL_RESULTS
from data_contracts.tables.report import LINEAGE, REJECTED
from resources.store.dataset_store import DatasetStore

STAGES_SHOWN = (
    "image_manifest",
    "square_images",
    LENET.features,
    MODERN.features,
    "alexnet_conv5",
    "cae_model",
)
CONTRACTS = {"multilabel_results": MULTILABEL_RESULTS, "lineage": LINEAGE, "rejected": REJECTED}


def _results(
    store: DatasetStore, dataset: str, metrics: list[dict[str, Any]], chains: Mapping[str, Chain]
) -> list[dict[str, Any]]:
    """Rows of MULTILABEL_RESULTS, one a method that was scored."""
    from methods.reporting.metric_tables import figures_of
    from methods.statistics.significance import holm, mcnemar

    there = [method for method in LYNDON2015.methods if method.evaluation in chains]

    def exact(evaluation: str) -> np.ndarray:
        table = store.main_table(dataset, evaluation, MULTILABEL_PREDICTIONS).sort_by("image_id")
        return np.asarray(table["exact"].to_numpy(zero_copy_only=False))

    others = [method for method in there if method is not LENET]
    tests = [
        mcnemar(exact(method.evaluation), exact(LENET.evaluation)).p_value for method in others
    ]
    p_of = dict(
        zip((method.name for method in others), holm(np.array(tests)).tolist(), strict=True)
    )
    rows = []
    for method in there:
        chain = chains[method.evaluation]
        facts = store.facts(dataset, method.evaluation, MultilabelFacts)
        of_all = {
            row["metric"]: row
            for row in metrics
            if row["method"] == method.name and row["subject"] == "all"
        }
        rows.append(
            {
                "method": method.name,
                "title": method.title,
                **{measure: of_all[measure]["value"] for measure in MEASURES},
                **{f"{measure}_low": of_all[measure]["ci_low"] for measure in MEASURES},
                **{f"{measure}_high": of_all[measure]["ci_high"] for measure in MEASURES},
                "metrics": figures_of(metrics, method.name),
                "both_empty": facts.both_empty,
                "p_holm": p_of.get(method.name),
                "n_test": facts.test_images,
                "n_train": facts.training_images,
                "labels": facts.labels,
                "seconds": seconds_of_stages(chain),
                "device": devices_of(chain),
                "notices": "\n".join(notices_of_chain(chain)),
            }
        )
    return rows


@dg.asset(
    name=f"report_{LYNDON2015.name}",
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[
        dg.AssetKey(name)
        for name in ("image_manifest", *(method.evaluation for method in LYNDON2015.methods))
    ],
    kinds={"html", "markdown"},
    code_version="3",
    tags={"stage": "8"},
)
def multilabel_report(
    context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Report of the one-vs-all networks and the SVMs: matches with intervals, beside the paper's,
    figures by label, lineage.
    """
    dataset = context.partition_key
    folder = store.root / "reports" / dataset / LYNDON2015.name
    with plain_failures():
        evaluated = {
            method.evaluation: store.need_record(dataset, method.evaluation)
            for method in LYNDON2015.methods
        }
        missing = {
            name: record.unavailable for name, record in evaluated.items() if record.unavailable
        }
        inputs = ("image_manifest", *(name for name in evaluated if name not in missing))
        versions = {store.facts(dataset, name, MultilabelFacts).rows_version for name in inputs[1:]}
        if len(versions) > 1:
            raise InputError(
                f"methods of {dataset} were scored on different images",
                f"Run {LYNDON2015.name} again",
            )
        chains = {last: store.upstream(dataset, last) for last in inputs}
    records = {name: record for chain in chains.values() for name, record in chain.items()}

    def compute(work: Work) -> Output:
        from methods.reporting import multilabel_tables as parts
        from methods.reporting import single_label_tables
        from methods.reporting.document import Report, Section
        from methods.reporting.metric_tables import label_metrics_table
        from methods.reporting.verdicts import multilabel_verdict

        metrics = [
            row
            for evaluation in inputs[1:]
            for row in store.main_table(dataset, evaluation, METRICS).to_pylist()
        ]
        results = _results(store, dataset, metrics, chains)
        tables = {
            "multilabel_results": results,
            "lineage": single_label_tables.lineage_rows(list(records.values())),
            "rejected": rejected_files(store, dataset),
        }
        notices = single_label_tables.notices_of(results)
        left_out = tuple(f"Left out: {name}, {reason}." for name, reason in missing.items())
        document = Report(
            title=f"{dataset}: {LYNDON2015.title}",
            subtitle=subtitle_of(dataset, LYNDON2015, records),
            notices=notices,
            sections=(
                Section(
                    "Result",
                    (multilabel_verdict(LYNDON2015, results), *left_out),
                    (parts.multilabel_results_table(results, notices),),
                    pictures_of(store, records, inputs[1:]),
                ),
                Section(
                    "Beside the paper",
                    (LYNDON2015.citation,),
                    (parts.multilabel_paper_table(LYNDON2015.tables[0], results, notices),),
                ),
                Section(
                    "Each label",
                    (),
                    tuple(
                        label_metrics_table(
                            metrics, row["method"], row["title"], LYNDON2015.protocol, notices
                        )
                        for row in results
                    ),
                ),
                stages_section(store, dataset, records, STAGES_SHOWN),
                *closing_sections(LYNDON2015, records, tables["rejected"]),
            ),
            footer=footer(),
        )
        published = write_document(store, document, folder)
        files = store_tables(store, work, tables, CONTRACTS)
        return Output(
            content=[
                [untimed(row) for row in results],
                tables["rejected"],
                {name: record.data_version for name, record in records.items()},
            ],
            files=files,
            published=published,
            pictures=[(figure.title, figure.png) for figure in document.sections[0].figures[:1]],
            summary={
                **{f"{row['title']}, exact match": row["exact_match"] for row in results},
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
            "left out": missing,
        },
    )

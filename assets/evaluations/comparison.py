"""Comparison of the methods of a study on the same test images."""

from dataclasses import dataclass

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.core.partitions import DATASETS
from assets.core.scoring import LABELLED_ROWS, TITLE
from assets.core.stage import Output, StageConfig, Work, materialize, plain_failures
from assets.evaluations.svm import GROUP
from data_contracts.studies.registry import studies_of
from data_contracts.studies.study import Method, Study
from data_contracts.tables.evaluations import COMPARISONS, METRICS, PREDICTIONS
from resources.store.dataset_store import DatasetStore


@dataclass(frozen=True)
class Measured:
    """What stands for the labelled images of now.

    Attributes:
        titles: of the methods that were scored on the same images as the study's own one.
        measurements: names of the other measurements on them.
        reasons: why the other methods and measurements are left out, by name.
    """

    titles: dict[Method, str]
    measurements: tuple[str, ...]
    reasons: dict[str, str]


def measured(store: DatasetStore, dataset: str, study: Study, all_tables: bool) -> Measured:
    """What a job's report may show.

    Args:
        store: of the home.
        dataset: partition key.
        study: of the methods.
        all_tables: of the job of all tables, or of the study's own.

    Raises:
        InputError: the study's own method was not scored yet.
    """
    rows = store.need_record(dataset, study.method(study.main).evaluation).summary.get(
        LABELLED_ROWS
    )
    assets = {
        method.name: (method.evaluation, all_tables or method.in_main_job)
        for method in study.methods
    }
    assets |= {name: (name, all_tables) for name in study.measurements}
    reasons: dict[str, str] = {}
    titles: dict[str, str] = {}
    for name, (asset, of_the_job) in assets.items():
        record = store.record(dataset, asset)
        if not of_the_job:
            reasons[name] = f"part of the job {study.tables_job}"
        elif record is None:
            reasons[name] = f"not computed yet: run the job {study.job(all_tables)}"
        elif record.unavailable:
            reasons[name] = record.unavailable
        elif record.summary.get(LABELLED_ROWS) != rows:
            reasons[name] = (
                f"scored on other labelled images than now: run the job {study.job(all_tables)} again"
            )
        else:
            titles[name] = str(record.summary.get(TITLE))
    return Measured(
        titles={method: titles[method.name] for method in study.methods if method.name in titles},
        measurements=tuple(name for name in study.measurements if name in titles),
        reasons=reasons,
    )


def method_comparison(study: Study, all_tables: bool) -> dg.AssetsDefinition:
    """McNemar's test of every method of a job of ``study`` against its own one, on the same test
    images.
    """

    @dg.asset(
        name=f"method_comparison_{study.job(all_tables)}",
        description=f"Exact McNemar test of every method against {study.method(study.main).title} on the same test images, "
        "Holm-corrected.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[dg.AssetKey(method.evaluation) for method in study.methods_of(all_tables)],
        kinds={"scipy", "parquet"},
        code_version="2",
        tags={"stage": "7"},
    )
    def comparison(
        context: dg.AssetExecutionContext, config: StageConfig, store: DatasetStore
    ) -> dg.MaterializeResult:
        with plain_failures():
            titles = measured(store, context.partition_key, study, all_tables).titles

        def compute(work: Work) -> Output:
            from methods.reporting import figures

            lines = _comparisons(store, work.dataset, study, list(titles))
            curves, bars = {}, []
            for method, title in titles.items():
                metrics = store.main_table(
                    work.dataset, method.evaluation, ".metrics.parquet", METRICS
                ).to_pylist()
                accuracy = next(row for row in metrics if row["metric"] == "accuracy")
                bars.append((title, accuracy["value"], accuracy["ci_low"], accuracy["ci_high"]))
                budgets = [row for row in metrics if row["metric"] == "few_label_accuracy"]
                if method.in_main_job and budgets:
                    curves[title] = [
                        (int(r["subject"].split()[0]), r["value"], r["ci_low"], r["ci_high"])
                        for r in budgets
                    ]
            pictures = [("accuracy of the methods", figures.method_bars(bars))]
            if curves:
                pictures.append(
                    (
                        "accuracy from few labels",
                        figures.label_budget_curve(curves, "Accuracy from few labels"),
                    )
                )
            table = pa.Table.from_pylist(lines, schema=COMPARISONS.schema)
            return Output(
                content=lines,
                files=[
                    store.write_table(
                        work.dataset,
                        work.asset,
                        f"{work.fingerprint}.comparisons.parquet",
                        table,
                        COMPARISONS,
                    )
                ],
                pictures=pictures,
                summary={
                    f"{line['method_a']} against {line['method_b']}, Holm p": float(
                        str(line["p_holm"])
                    )
                    for line in lines
                },
                rows=len(lines),
            )

        return materialize(
            context, store, config, compute, inputs=tuple(method.evaluation for method in titles)
        )

    return comparison


def _comparisons(
    store: DatasetStore, dataset: str, study: Study, methods: list[Method]
) -> list[dict[str, object]]:
    """Rows of COMPARISONS: each of ``methods`` against the study's own one."""
    from methods.statistics.significance import holm, mcnemar

    def correct(method: Method) -> np.ndarray:
        table = store.main_table(
            dataset, method.evaluation, ".predictions.parquet", PREDICTIONS
        ).sort_by("image_id")
        return np.asarray(table["correct"].to_numpy(zero_copy_only=False))

    own = correct(study.method(study.main))
    others = [method for method in methods if method.name != study.main]
    tests = [mcnemar(correct(method), own) for method in others]
    adjusted = holm(np.array([test.p_value for test in tests]))
    return [
        {
            "method_a": method.name,
            "method_b": study.main,
            "n": test.n,
            "only_a_correct": test.only_a,
            "only_b_correct": test.only_b,
            "p_value": test.p_value,
            "p_holm": float(p),
        }
        for method, test, p in zip(others, tests, adjusted, strict=True)
    ]


method_comparisons = [
    method_comparison(study, all_tables)
    for study in studies_of("test split")
    for all_tables in study.scopes
]

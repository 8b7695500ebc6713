"""Comparison of the methods of a study on the same test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.core.plan import Output, Plan, Stage, Work
from assets.core.scoring import groups_of
from assets.core.settings import StageConfig
from assets.core.stage import stage
from assets.evaluations.svm import GROUP
from data_contracts import asset_names as names
from data_contracts.records.facts import EvaluationFacts, ScoredFacts
from data_contracts.studies.registry import studies_of
from data_contracts.studies.study import Method, Study
from data_contracts.tables.evaluations import (
    COMPARISONS,
    FIXED,
    METRICS,
    PREDICTIONS,
    TUNED,
    fixed_rows,
)
from resources.store.dataset_store import DatasetStore


@dataclass(frozen=True)
class ComparableMethods:
    """Methods and measurements that were made on the current labelled images.

    Attributes:
        titles: of the methods that were scored on the same images as the study's own one.
        measurements: names of the other measurements on them.
        reasons: why the other methods and measurements are left out, by name.
    """

    titles: dict[Method, str]
    measurements: tuple[str, ...]
    reasons: dict[str, str]


def comparable_methods(
    store: DatasetStore, dataset: str, study: Study, all_tables: bool
) -> ComparableMethods:
    """What a job's report may show.

    Args:
        store: of the home.
        dataset: partition key.
        study: of the methods.
        all_tables: of the job of all tables, or of the study's own.

    Raises:
        InputError: the study's own method was not scored yet.
    """
    own = study.method(study.main).evaluation
    rows = store.facts(dataset, own, EvaluationFacts).rows_version
    assets = {
        method.name: (method.evaluation, all_tables or method.in_main_job)
        for method in study.methods
    }
    of_the_jobs = study.measurements_of(all_tables)
    assets |= {name: (name, name in of_the_jobs) for name in study.measurements_of(True)}
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
        elif not isinstance(record.facts, ScoredFacts) or record.facts.rows_version != rows:
            reasons[name] = (
                "scored on other labelled images than now: run the job "
                f"{study.job(all_tables)} again"
            )
        else:
            titles[name] = record.facts.title
    return ComparableMethods(
        titles={method: titles[method.name] for method in study.methods if method.name in titles},
        measurements=tuple(name for name in study.measurements_of(True) if name in titles),
        reasons=reasons,
    )


def method_comparison(study: Study, all_tables: bool) -> dg.AssetsDefinition:
    """Paired test of every method of a job against the study's own one, on the same images."""

    @stage(
        StageConfig,
        name=names.method_comparison(study.job(all_tables)),
        description="Paired test of every method against "
        f"{study.method(study.main).title} on the same test images, patients kept together, "
        "Holm-corrected.",
        group=GROUP,
        order=7,
        kinds={"scipy", "parquet"},
        code_version="3",
        inputs=[method.evaluation for method in study.methods_of(all_tables)],
        tables=(COMPARISONS,),
    )
    def comparison(here: Stage[StageConfig]) -> Plan:
        titles = comparable_methods(here.store, here.dataset, study, all_tables).titles

        def compute(work: Work) -> Output:
            lines = _comparisons(here, study, list(titles))
            return Output(
                content=lines,
                files=[work.write_table(lines, COMPARISONS)],
                pictures=_pictures(here, titles),
                summary={
                    f"{line['method_a']} against {line['method_b']}, {line['regularisation']} C, "
                    "Holm p": line["p_holm"]
                    for line in lines
                },
                rows=len(lines),
            )

        return Plan(compute, inputs=tuple(method.evaluation for method in titles))

    return comparison


def _pictures(here: Stage[StageConfig], titles: Mapping[Method, str]) -> list[tuple[str, bytes]]:
    """The accuracy of every method, and that from few labels of the methods of the main job."""
    from methods.reporting import figures

    curves, bars = {}, []
    for method, title in titles.items():
        metrics = fixed_rows(here.table(method.evaluation, METRICS).to_pylist())
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
        title = "accuracy from few labels"
        pictures.append((title, figures.label_budget_curve(curves, title.capitalize())))
    return pictures


def _comparisons(
    here: Stage[StageConfig], study: Study, methods: list[Method]
) -> list[dict[str, Any]]:
    """Rows of COMPARISONS: each of ``methods`` against the study's own one, at either C.

    Holm's correction is over the rows of one C, as a reader of one of them sees no other.
    """
    tables = {
        method: here.table(method.evaluation, PREDICTIONS).sort_by("image_id") for method in methods
    }
    main = study.method(study.main)
    families = [FIXED, TUNED] if TUNED in tables[main]["regularisation"].to_pylist() else [FIXED]
    return [line for family in families for line in _family(main, tables, family)]


def _family(
    main: Method, tables: Mapping[Method, pa.Table], regularisation: str
) -> list[dict[str, Any]]:
    """Rows of COMPARISONS at one C; a method without predictions at it has its fixed ones."""
    from methods.statistics.significance import holm, paired_test

    def predicted(method: Method) -> pa.Table:
        for wanted in (regularisation, FIXED):
            rows = tables[method].filter(pc.field("regularisation") == wanted)
            if len(rows):
                break
        return rows

    def correct(rows: pa.Table) -> np.ndarray:
        return np.asarray(rows["correct"].to_numpy(zero_copy_only=False))

    own = predicted(main)
    groups = groups_of(own.to_pylist())
    others = [method for method in tables if method != main]
    tests = [paired_test(correct(predicted(method)), correct(own), groups) for method in others]
    adjusted = holm(np.array([test.p_value for test in tests]))
    return [
        {
            "method_a": method.name,
            "method_b": main.name,
            "regularisation": regularisation,
            "n": test.n,
            "only_a_correct": test.only_a,
            "only_b_correct": test.only_b,
            "groups": test.groups,
            "test": test.method,
            "difference": test.difference,
            "ci_low": test.low,
            "ci_high": test.high,
            "detectable": test.detectable,
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

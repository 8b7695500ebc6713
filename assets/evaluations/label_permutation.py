"""The cross-validated evaluation on permuted labels: a proof that nothing leaks."""

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field

from assets.core.lesion_rows import FOLDS, lesion_rows
from assets.core.partitions import DATASETS
from assets.core.scoring import metric_row
from assets.core.stage import Output, Work, materialize, plain_failures
from assets.evaluations.cross_validation import (
    GROUP,
    LAYER_METHODS,
    EnsembleConfig,
    chosen_layer,
    features_of,
    ids_with,
    nested,
)
from data_contracts.studies.huynh2016 import ANALYTIC, ENSEMBLE, HUYNH2016
from data_contracts.studies.study import Method
from data_contracts.tables.evaluations import METRICS
from resources.progress import progress
from resources.store.dataset_store import DatasetStore

INPUTS = ("image_manifest", "alexnet_layers", "lesion_segmentation", ANALYTIC.features)
METRIC, SUBJECT = "auc_of_permuted_labels", "mean"


class PermutationConfig(EnsembleConfig):
    """Settings of `label_permutation`."""

    permutations: int = Field(default=10, ge=2)
    """How often the classes are dealt anew among the lesions."""


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[dg.AssetKey(name) for name in INPUTS],
    kinds={"scikitlearn", "parquet"},
    code_version="1",
    tags={"stage": "6"},
)
def label_permutation(
    context: dg.AssetExecutionContext, config: PermutationConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """The whole evaluation on classes dealt at random among the lesions: its AUC must be 0.5, or
    something leaks.
    """
    dataset = context.partition_key
    with plain_failures():
        whole = lesion_rows(store, dataset, config)
        layer = chosen_layer(store, dataset, config.ensemble_layer)
        rows = whole.only(ids_with(store, dataset, ANALYTIC, whole.ids))

    def work_out(work: Work) -> Output:
        from methods.classifiers.polynomial_svm import outer_folds
        from methods.statistics.fold_roc import fold_aucs, permuted_by_lesion
        from methods.statistics.significance import mean_interval

        members = (LAYER_METHODS[layer], ANALYTIC)
        features = {method: features_of(store, dataset, method, rows.ids) for method in members}
        aucs: dict[Method, list[float]] = {method: [] for method in (*members, ENSEMBLE)}
        for number in progress(range(config.permutations), "label permutations"):
            dealt = permuted_by_lesion(rows.positive, rows.lesions, config.seed + number)
            fold = outer_folds(dealt, rows.groups, config.seed + number, FOLDS)
            said = {
                method: nested(
                    rows, features[method], dealt, fold, config.seed, method.title
                ).probability
                for method in members
            }
            said[ENSEMBLE] = (said[members[0]] + said[members[1]]) / 2
            for method, probability in said.items():
                aucs[method].append(float(fold_aucs(probability, dealt, fold).mean()))
        metrics, summary, notices = [], {}, []
        for method, values in aucs.items():
            interval, mean = mean_interval(np.array(values)), float(np.mean(values))
            of_each = [
                (f"permutation {number}", value, len(rows.ids), None)
                for number, value in enumerate(values, 1)
            ]
            metrics += [
                metric_row(
                    work,
                    HUYNH2016,
                    method.name,
                    METRIC,
                    subject,
                    value,
                    n,
                    config.seed,
                    config.settings(),
                    between,
                )
                for subject, value, n, between in [
                    *of_each,
                    (SUBJECT, mean, len(values), (interval.low, interval.high)),
                ]
            ]
            summary[f"{method.title}, permuted"] = (
                f"{mean:.3f}, 95 % interval {interval.low:.3f} to {interval.high:.3f}"
            )
            if not interval.low <= 0.5 <= interval.high:
                notices.append(
                    f"PERMUTED LABELS: AUC {mean:.3f} ({interval.low:.3f} to {interval.high:.3f}) of {method.title} is not 0.5"
                )
        table = pa.Table.from_pylist(metrics, schema=METRICS.schema)
        return Output(
            content=metrics,
            files=[
                store.write_table(
                    dataset, work.asset, f"{work.fingerprint}.metrics.parquet", table, METRICS
                )
            ],
            summary={**summary, "permutations": config.permutations},
            notices=notices,
            rows=len(rows.ids),
        )

    return materialize(context, store, config, work_out, inputs=INPUTS)

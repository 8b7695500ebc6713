"""Classifiers of two classes of lesions in folds over lesions or patients (Huynh et al. 2016,
sections 2.5 and 2.6).
"""

from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.core.lesion_rows import FOLDS, FoldConfig, LesionRows, lesion_rows
from assets.core.partitions import DATASETS
from assets.core.scoring import metric_row
from assets.core.shards import open_features
from assets.core.stage import Output, Work, materialize, materialize_nothing, plain_failures
from assets.features.alexnet_layers import layer_columns
from assets.features.lesions import contoured_ids
from data_contracts.errors import InputError
from data_contracts.records.facts import FoldFacts
from data_contracts.studies.huynh2016 import (
    ANALYTIC,
    CHOSEN_LAYERS,
    ENSEMBLE,
    HUYNH2016,
    LAYER_SHAPES,
    layer_method,
)
from data_contracts.studies.study import Method
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.roc import FOLD_SCORES
from resources.progress import progress
from resources.store.dataset_store import DatasetStore

GROUP = "evaluation"


def store_scores(
    store: DatasetStore,
    work: Work,
    config: FoldConfig,
    method: Method,
    rows: LesionRows,
    whole: LesionRows,
    probability: np.ndarray,
    summary: dict[str, float | int | str],
    notices: list[str],
    ensemble_layer: str = "",
) -> Output:
    """Out-of-fold probabilities of ``rows`` with their areas under ROC curves; ``whole`` is all
    images that have folds.
    """
    from methods.reporting import figures
    from methods.statistics.fold_roc import fold_roc
    from methods.statistics.roc import empirical_roc

    found = fold_roc(probability, rows.positive, rows.fold, rows.lesions, rows.patients)
    settings = {**config.settings(), "interval": found.pooled_interval.method}
    n = len(rows.ids)

    def metric(
        name: str, subject: str, value: float, n: int, interval: tuple[float, float] | None = None
    ) -> dict[str, object]:
        return metric_row(
            work, HUYNH2016, method.name, name, subject, value, n, config.seed, settings, interval
        )

    metrics = [
        metric("auc_mean_of_folds", "all", found.mean, n),
        metric("auc_sd_of_folds", "all", found.sd, n),
        metric(
            "auc_pooled",
            "all",
            found.pooled,
            n,
            (found.pooled_interval.low, found.pooled_interval.high),
        ),
        metric(
            "auc_by_lesion",
            "all",
            found.by_lesion,
            found.n_lesions,
            (found.by_lesion_interval.low, found.by_lesion_interval.high),
        ),
        *(
            metric("auc", f"fold {number + 1}", float(value), int((rows.fold == number).sum()))
            for number, value in enumerate(found.by_fold)
        ),
    ]
    scores = pa.Table.from_pydict(
        {
            "image_id": rows.ids,
            "lesion_id": rows.lesions,
            "group_id": rows.groups,
            "fold": rows.fold,
            "positive": rows.positive,
            "probability": probability,
        },
        schema=FOLD_SCORES.schema,
    )
    table = pa.Table.from_pylist(metrics, schema=METRICS.schema)
    grid = np.linspace(0, 1, 201)
    fitted = found.binormal.tpr(grid) if found.binormal else None
    if not rows.has_lesions:
        notices = [
            *notices,
            "NO LESIONS GIVEN: each image is its own group, so images of one lesion may be on both sides of a fold",
        ]
    return Output(
        content=[metrics, scores.to_pylist()],
        files=[
            store.write_table(
                work.dataset, work.asset, f"{work.fingerprint}.metrics.parquet", table, METRICS
            ),
            store.write_table(
                work.dataset,
                work.asset,
                f"{work.fingerprint}.fold_scores.parquet",
                scores,
                FOLD_SCORES,
            ),
        ],
        pictures=[
            (
                "ROC curve",
                figures.roc_curves(
                    [(method.title, *empirical_roc(probability, rows.positive), fitted)]
                ),
            )
        ],
        summary={
            "AUC, mean over folds": found.mean,
            "AUC, SD over folds": found.sd,
            "AUC, pooled": found.pooled,
            "AUC, pooled, 95 % interval": f"{found.pooled_interval.low:.4f} to {found.pooled_interval.high:.4f}",
            "AUC by lesion": found.by_lesion,
            "images": n,
            "lesions": found.n_lesions,
            "positive class": rows.classes[1],
            "folds by": config.group_by,
            **summary,
            "method": method.title,
        },
        facts=FoldFacts(
            rows_version=whole.version, title=method.title, images=n, ensemble_layer=ensemble_layer
        ),
        notices=notices,
        rows=n,
    )


def nested(
    rows: LesionRows,
    features: np.ndarray,
    positive: np.ndarray,
    fold: np.ndarray,
    seed: int,
    what: str,
) -> Any:
    """`nested_scores` with progress; what it cannot do becomes the user's message."""
    from methods.classifiers.polynomial_svm import Grid, nested_scores

    steps = iter(progress(range(FOLDS), what))

    def on_fold(number: int) -> None:
        next(steps, None)

    try:
        return nested_scores(features, positive, rows.groups, fold, Grid(), seed, on_fold)
    except ValueError as error:
        raise InputError(
            f"{what} cannot be cross-validated: {error}",
            "Add images of other lesions, or set another seed",
        ) from error


def features_of(store: DatasetStore, dataset: str, method: Method, ids: list[str]) -> np.ndarray:
    """Rows (n, p) float32 that a classifier is fitted to."""
    reader = open_features(store, dataset, method.features, ids)
    try:
        if method is ANALYTIC:
            return np.asarray(reader.rows(0, len(reader)), np.float32)
        layer = next(layer for layer in LAYER_SHAPES if layer_method(layer) == method.name)
        return reader.columns(*layer_columns(reader.feature_set)[layer]).astype(np.float32)
    finally:
        reader.close()


def _cv_evaluation(method: Method, layer: str | None) -> dg.AssetsDefinition:
    """The classifier on one layer, or on the analytic features where ``layer`` is None."""
    inputs = ("image_manifest", *(() if layer else ("lesion_segmentation",)), method.features)

    @dg.asset(
        name=method.evaluation,
        description=f"{method.title}: polynomial SVM, its kernel chosen by nested grid search, scored by ROC analysis in five "
        "folds over lesions or patients.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[dg.AssetKey(name) for name in inputs],
        kinds={"scikitlearn", "parquet"},
        code_version="1",
        tags={"stage": "6"},
    )
    def evaluation(
        context: dg.AssetExecutionContext, config: FoldConfig, store: DatasetStore
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            whole = lesion_rows(store, dataset, config)
            made = store.need_record(dataset, method.features).feature_set
            if made is None or (layer is not None and layer not in layer_columns(made)):
                return materialize_nothing(
                    context, store, config, f"the weights have no {layer}", inputs
                )
            rows = whole.only(ids_with(store, dataset, method, whole.ids))

        def work_out(work: Work) -> Output:
            features = features_of(store, dataset, method, rows.ids)
            found = nested(rows, features, rows.positive, rows.fold, config.seed, method.title)
            chosen = [f"a = {c.a:g} / {c.columns}, c = {c.c:g}, d = {c.d}" for c in found.choices]
            cut = sum(not choice.converged for choice in found.choices)
            notices = (
                [
                    f"NOT CONVERGED: an SVM of {method.title} stopped at its limit in {cut} of {FOLDS} folds"
                ]
                if cut
                else []
            )
            if flat := sum(not choice.slope for choice in found.choices):
                notices.append(
                    f"NOTHING LEARNED in {flat} of {FOLDS} folds: {method.title} gives one probability to all images there"
                )
            return store_scores(
                store,
                work,
                config,
                method,
                rows,
                whole,
                found.probability,
                {
                    **{
                        f"kernel of fold {number}": kernel
                        for number, kernel in enumerate(chosen, 1)
                    },
                    "columns of zero variance, most in a fold": features.shape[1]
                    - min(c.columns for c in found.choices),
                },
                notices,
            )

        known_by = {"features": made.key, "rows": whole.version, "ids": rows.ids}
        return materialize(context, store, config, work_out, inputs=inputs, known_by=known_by)

    return evaluation


def ids_with(store: DatasetStore, dataset: str, method: Method, ids: list[str]) -> list[str]:
    """The images that have such features."""
    if method is not ANALYTIC:
        return ids
    return contoured_ids(store, dataset)


def chosen_layer(store: DatasetStore, dataset: str, asked: str) -> str:
    """The layer whose classifier is the ensemble's first member.

    Raises:
        InputError: no such layer, or the weights lack it.
    """
    made = store.need_record(dataset, "alexnet_layers").feature_set
    there = tuple(layer_columns(made)) if made is not None else ()
    wanted = CHOSEN_LAYERS if asked == "auto" else (asked,)
    layer = next((layer for layer in wanted if layer in there), None)
    if layer is None:
        raise InputError(
            f"the weights have no {' and no '.join(wanted)}",
            f"Set ensemble_layer to one of {', '.join(there)}",
        )
    return layer


class EnsembleConfig(FoldConfig):
    """Settings of what needs the layer of the ensemble."""

    ensemble_layer: str = "auto"
    """Layer of its first member: "auto" is the paper's fc6, or conv4 where the weights lack it."""


def out_of_fold(
    store: DatasetStore, dataset: str, method: Method, whole: LesionRows
) -> dict[str, float]:
    """Probability by image of a classifier that was scored in these very folds.

    Raises:
        InputError: it was scored in others.
    """
    if store.facts(dataset, method.evaluation, FoldFacts).rows_version != whole.version:
        raise InputError(
            f"{method.evaluation} of {dataset} was made with other images or folds",
            f"Run {HUYNH2016.name} again",
        )
    rows = store.main_table(dataset, method.evaluation, FOLD_SCORES).to_pylist()
    return {row["image_id"]: row["probability"] for row in rows}


LAYER_METHODS = {layer: HUYNH2016.method(layer_method(layer)) for layer in LAYER_SHAPES}


@dg.asset(
    name=ENSEMBLE.evaluation,
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[dg.AssetKey(method.evaluation) for method in (*LAYER_METHODS.values(), ANALYTIC)],
    kinds={"numpy", "parquet"},
    code_version="1",
    tags={"stage": "7"},
)
def ensemble_evaluation(
    context: dg.AssetExecutionContext, config: EnsembleConfig, store: DatasetStore
) -> dg.MaterializeResult:
    """Soft voting: the mean of the probabilities of the classifiers on one layer and on the
    analytic features.
    """
    dataset = context.partition_key
    with plain_failures():
        whole = lesion_rows(store, dataset, config)
        layer = chosen_layer(store, dataset, config.ensemble_layer)
        network, analytic = (
            out_of_fold(store, dataset, m, whole) for m in (LAYER_METHODS[layer], ANALYTIC)
        )

    def work_out(work: Work) -> Output:
        rows = whole.only(sorted(network.keys() & analytic.keys()))
        mean = np.array([(network[i] + analytic[i]) / 2 for i in rows.ids])
        return store_scores(
            store, work, config, ENSEMBLE, rows, whole, mean, {"layer": layer}, [], layer
        )

    members = (LAYER_METHODS[layer].evaluation, ANALYTIC.evaluation)
    return materialize(context, store, config, work_out, inputs=members)


cross_validations = [
    *(_cv_evaluation(method, layer) for layer, method in LAYER_METHODS.items()),
    _cv_evaluation(ANALYTIC, None),
    ensemble_evaluation,
]

"""Evaluations where an image has several labels, or none: networks and SVMs (Lyndon et al. 2015,
section 4).
"""

from dataclasses import dataclass

import dagster as dg
import numpy as np
import pyarrow as pa

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.partitions import DATASETS
from assets.core.scoring import ScoreConfig, metric_row
from assets.core.settings import SvmSettings
from assets.core.shards import open_features
from assets.core.stage import Output, Work, materialize, materialize_nothing, plain_failures
from assets.evaluations.svm import GROUP, gram_limit, gram_of
from assets.features.lenet import SQUARES
from data_contracts.errors import InputError
from data_contracts.records.facts import MultilabelFacts
from data_contracts.studies.lyndon2015 import LENET, LYNDON2015, MODERN
from data_contracts.studies.study import Method
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.multilabel import MULTILABEL_PREDICTIONS
from methods.curation.manifest_rows import label_matrix
from resources.compute import Compute
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import load_model

NETWORK_BATCH = 20
NETWORK_THRESHOLD = 0.5


class MultilabelSvmConfig(ScoreConfig, SvmSettings):
    """Settings of the evaluation of SVMs."""


@dataclass(frozen=True)
class _Answers:
    """What a method says of the test images.

    Attributes:
        scores: (n_test, L), larger where a label is more likely.
        thresholds: (L,), a label is predicted from here on.
        notices: what a reader must know.
    """

    scores: np.ndarray
    thresholds: np.ndarray
    notices: tuple[str, ...] = ()


def _store(
    store: DatasetStore,
    work: Work,
    config: ScoreConfig,
    method: Method,
    rows: LabelledRows,
    answers: _Answers,
) -> Output:
    """Matches with their intervals, figures by label, predictions and a picture."""
    from methods.reporting import figures
    from methods.statistics.metrics import Answers, exact_match, measure, null_counts

    names, truth = label_matrix(rows.labels.tolist())
    true, predicted = truth[rows.test], answers.scores >= answers.thresholds
    found = Answers(tuple(names), true, predicted, answers.scores)
    settings, n, null = config.settings(), len(true), null_counts(found)
    measured = measure(
        found, LYNDON2015.protocol, rows.test_groups, config.bootstrap_resamples, config.seed
    )
    metrics, bars, matches = [], [], {}
    for row in measured:
        between = (row.interval.low, row.interval.high) if row.interval else None
        metrics.append(
            metric_row(
                work,
                LYNDON2015,
                method.name,
                row.metric.name,
                row.subject,
                row.value,
                row.n,
                config.seed,
                settings,
                between,
            )
        )
        if between is not None:
            matches[row.metric.name.replace("_", " ")] = row.value
            bars.append((row.metric.title.lower(), row.value, *between))
    sets = [
        [[names[k] for k in np.flatnonzero(row)] for row in which] for which in (true, predicted)
    ]
    predictions = pa.Table.from_pydict(
        {
            "image_id": [rows.ids[i] for i in rows.test],
            "split": ["test"] * n,
            "labels": sets[0],
            "predicted": sets[1],
            "scores": answers.scores.astype(np.float64).tolist(),
            "exact": exact_match(found).tolist(),
            "group_id": [None] * n if rows.test_groups is None else rows.test_groups,
        },
        schema=MULTILABEL_PREDICTIONS.schema,
    )
    table = pa.Table.from_pylist(metrics, schema=METRICS.schema)
    return Output(
        content=[metrics, predictions.to_pylist()],
        files=[
            store.write_table(
                work.dataset, work.asset, f"{work.fingerprint}.metrics.parquet", table, METRICS
            ),
            store.write_table(
                work.dataset,
                work.asset,
                f"{work.fingerprint}.predictions.parquet",
                predictions,
                MULTILABEL_PREDICTIONS,
            ),
        ],
        pictures=[("matches", figures.method_bars(bars))],
        summary={
            **matches,
            "test images": n,
            "training images": len(rows.train),
            "labels": len(names),
            "test images without a label": null.true_empty,
            "given no label": null.predicted_empty,
            "both": null.both_empty,
            **{
                f"threshold of {name}": _in_words(t)
                for name, t in zip(names, answers.thresholds, strict=True)
            },
            "method": method.title,
        },
        facts=MultilabelFacts(
            rows_version=rows.version,
            title=method.title,
            training_images=len(rows.train),
            test_images=n,
            labels=len(names),
            both_empty=null.both_empty,
        ),
        notices=list(answers.notices),
        rows=n,
    )


def _in_words(threshold: float) -> float | str:
    if np.isfinite(threshold):
        return float(threshold)
    return "never given" if threshold > 0 else "always given"


def _network_evaluation(method: Method) -> dg.AssetsDefinition:
    """The networks, each at the probability of 0.5."""
    inputs = ("image_manifest", SQUARES, method.features)

    @dg.asset(
        name=method.evaluation,
        description=f"{method.title}: exact match, any match and Hamming similarity with intervals, and figures by label.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[dg.AssetKey(name) for name in inputs],
        kinds={"pytorch", "parquet"},
        code_version="2",
        pool="gpu",
        tags={"stage": "6"},
    )
    def evaluation(
        context: dg.AssetExecutionContext,
        config: ScoreConfig,
        store: DatasetStore,
        compute: Compute,
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            device = compute.resolve()
            rows = scorable_rows(store, dataset, LYNDON2015)
            images = open_features(store, dataset, SQUARES, rows.ids)
            tensors, sidecar = load_model(store, dataset, method.features)
            names, _ = label_matrix(rows.labels.tolist())
            if sidecar.settings["labels"] != names:
                raise InputError(
                    f"{method.features} of {dataset} was trained on other labels",
                    f"Run {LYNDON2015.name} again",
                )

        def work_out(work: Work) -> Output:
            import torch

            from methods.training import lenet

            wanted = {name: value for name, value in sidecar.settings.items() if name != "labels"}
            settings, target = lenet.LenetSettings(**wanted), torch.device(device)
            network = lenet.load_networks(
                tensors, images.feature_set.row_shape[0], settings, target
            )
            scores = lenet.probabilities(network, images.take(rows.test), target, NETWORK_BATCH)
            return _store(
                store,
                work,
                config,
                method,
                rows,
                _Answers(scores, np.full(len(names), NETWORK_THRESHOLD)),
            )

        try:
            return materialize(
                context,
                store,
                config,
                work_out,
                inputs=inputs,
                known_by={
                    "images": images.feature_set.key,
                    "model": sidecar.weights_sha256,
                    "rows": rows.version,
                },
            )
        finally:
            images.close()

    return evaluation


def _svm_evaluation(method: Method) -> dg.AssetsDefinition:
    """One SVM for each label, its threshold from out-of-fold scores of the training images."""
    inputs = ("image_manifest", method.features)

    @dg.asset(
        name=method.evaluation,
        description=f"{method.title}: one linear SVM for each label, its threshold fitted on folds of the training images; exact "
        "match, any match and Hamming similarity with intervals, and figures by label.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[dg.AssetKey(name) for name in inputs],
        kinds={"scikitlearn", "parquet"},
        code_version="3",
        tags={"stage": "6"},
    )
    def evaluation(
        context: dg.AssetExecutionContext, config: MultilabelSvmConfig, store: DatasetStore
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            rows = scorable_rows(store, dataset, LYNDON2015)
            if gram_limit(rows):
                return materialize_nothing(context, store, config, gram_limit(rows), inputs)
            reader = open_features(store, dataset, method.features, rows.ids)

        def work_out(work: Work) -> Output:
            from methods.classifiers.one_vs_all import (
                fit_one_vs_all,
                fit_thresholds,
                out_of_fold_scores,
            )

            names, truth = label_matrix(rows.labels.tolist())
            gram = gram_of(reader)
            of_train, known = gram[np.ix_(rows.train, rows.train)], truth[rows.train]
            groups = [rows.groups[i] for i in rows.train]
            try:
                held_out = out_of_fold_scores(
                    of_train, known, groups, config.c, config.tolerance, config.seed
                )
            except ValueError as error:
                raise InputError(
                    f"no threshold can be fitted on {dataset}: {error}",
                    "Add images of other groups",
                ) from error
            fit = fit_one_vs_all(of_train, known, config.c, config.tolerance)
            notices = [
                f"NOT CONVERGED: the SVM of {names[k]} ({method.title}) stopped above its tolerance"
                for k in np.flatnonzero(~fit.converged)
            ]
            notices += [
                f"NOT LEARNED: {names[k]} is on all training images or on none"
                for k in np.flatnonzero(~fit.learned)
            ]
            scores = fit.decision(gram[np.ix_(rows.test, rows.train)])
            return _store(
                store,
                work,
                config,
                method,
                rows,
                _Answers(scores, fit_thresholds(held_out, known), tuple(notices)),
            )

        try:
            return materialize(
                context,
                store,
                config,
                work_out,
                inputs=inputs,
                known_by={"features": reader.feature_set.key, "rows": rows.version},
            )
        finally:
            reader.close()

    return evaluation


multilabel_evaluations = [
    _network_evaluation(method) if method in (LENET, MODERN) else _svm_evaluation(method)
    for method in LYNDON2015.methods
]

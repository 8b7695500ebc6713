"""Table 3: how the accuracy depends on the number of filters."""

import logging
import time
from collections import deque
from dataclasses import asdict
from typing import Any, Literal

import dagster as dg
import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.partitions import DATASETS
from assets.core.scoring import metric_row
from assets.core.settings import BootstrapSetting, SvmSettings
from assets.core.shards import READ_ROWS, open_features
from assets.core.stage import Output, Work, materialize, materialize_nothing, plain_failures
from assets.evaluations.svm import GROUP, MEMORY_BYTES, gram_limit
from assets.features.auto_encoder import MORE_TO_FIT_ON, CaeTrainingConfig, fitting_ids
from assets.features.frozen_networks import backbone_features
from assets.images import image_manifest
from data_contracts.errors import InputError
from data_contracts.records.facts import FilterStudyFacts
from data_contracts.studies.ahn2019 import AHN2019, FILTER_SIZES, filters_estimate
from data_contracts.tables.evaluations import METRICS
from resources.compute import Compute
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader
from resources.store.partial_results import PartialResults

log = logging.getLogger("medfeat.filter_study")
PAPER_TABLE = next(table for table in AHN2019.tables if table.number == "3")


class FilterStudyConfig(CaeTrainingConfig, SvmSettings, BootstrapSetting):
    """Settings of `filter_size_study`: those of the auto-encoder and of the SVM, and what is
    varied.
    """

    filter_sizes: list[PositiveInt] = Field(default=list(FILTER_SIZES), min_length=1)
    """Numbers of filters to try."""
    filter_seeds: PositiveInt = 3
    """Trainings of each size: seed, seed + 1, ..."""
    pool: Literal["max", "mean"] = "max"
    """Pooling of the maps by 2."""


@dg.asset(
    partitions_def=DATASETS,
    group_name=GROUP,
    deps=[image_manifest, backbone_features],
    kinds={"pytorch", "parquet"},
    code_version="2",
    pool="gpu",
    tags={"stage": "6"},
)
def filter_size_study(
    context: dg.AssetExecutionContext,
    config: FilterStudyConfig,
    store: DatasetStore,
    compute: Compute,
) -> dg.MaterializeResult:
    """Accuracy of the CAE with 512 to 4096 filters over several seeds (Ahn et al. 2019, table 3).
    Goes on after a kill.
    """
    dataset, inputs = context.partition_key, ("image_manifest", "backbone_features")
    with plain_failures():
        device = compute.resolve()
        rows = scorable_rows(store, dataset, AHN2019)
        reason = gram_limit(rows)
        if reason:
            return materialize_nothing(context, store, config, reason, inputs)
        fitted_on = fitting_ids(store, dataset, config.fit_on, "the auto-encoder", MORE_TO_FIT_ON)
        fitting = open_features(store, dataset, "backbone_features", fitted_on)
        scored = open_features(store, dataset, "backbone_features", rows.ids)

    def work_out(work: Work) -> Output:
        parts = PartialResults(store, dataset, work.asset, work.fingerprint)
        results = parts.load()
        units = [
            (filters, config.seed + k)
            for filters in sorted(set(config.filter_sizes))
            for k in range(config.filter_seeds)
        ]
        for filters, seed in progress(units, "filter sizes x seeds"):
            if f"{filters}-{seed}" not in results:
                results[f"{filters}-{seed}"] = _one(
                    config, filters, seed, rows, fitting, scored, device
                )
                parts.save(results)
        output = _summarise(store, work, config, rows, results, device)
        parts.drop()
        return output

    try:
        return materialize(
            context,
            store,
            config,
            work_out,
            inputs=inputs,
            known_by={
                "features": fitting.feature_set.key,
                "fitted on": fitting.image_ids,
                "rows": rows.version,
            },
        )
    finally:
        fitting.close()
        scored.close()


def _one(
    config: FilterStudyConfig,
    filters: int,
    seed: int,
    rows: LabelledRows,
    fitting: FeatureReader,
    scored: FeatureReader,
    device: str,
) -> dict[str, Any]:
    """One training, and its codes' accuracy; codes are not stored."""
    import torch

    from methods.classifiers import linear_svm as svm
    from methods.statistics.significance import accuracy_interval
    from methods.training import cae as method
    from methods.training.loop import DivergedError

    started, target = time.monotonic(), torch.device(device)
    settings = config.cae_settings(filters, seed)
    try:
        epochs = method.train_cae(fitting.take, len(fitting), settings, target)
        last, take = deque(
            progress(epochs, f"{filters} filters, seed {seed}", settings.epochs), maxlen=1
        ).pop()
    except DivergedError as error:
        raise InputError(
            f"the training of {filters} filters diverged: {error}", "Set a smaller learning_rate"
        ) from error
    weights = take().last_weights()
    model = method.load_cae(weights, settings, target)

    def codes(start: int, stop: int) -> np.ndarray:
        return np.concatenate(
            [
                method.encode(
                    model, scored.rows(i, min(i + READ_ROWS, stop)), target, config.pool
                ).astype(np.float16)
                for i in range(start, stop, READ_ROWS)
            ]
        )

    _, height, width = scored.feature_set.row_shape
    numbers = filters * (height // 2) * (width // 2)
    gram = svm.gram_matrix(codes, len(scored), max(MEMORY_BYTES // (8 * numbers), 256))
    fit = svm.fit_gram(
        gram[np.ix_(rows.train, rows.train)], rows.labels[rows.train], config.c, config.tolerance
    )
    correct = fit.predict(gram[np.ix_(rows.test, rows.train)]) == rows.labels[rows.test]
    interval = accuracy_interval(correct, rows.test_groups, config.bootstrap_resamples, seed)
    log.info(
        "%d filters, seed %d: accuracy %.4f, held-out error %.4f",
        filters,
        seed,
        correct.mean(),
        last.held_out_error,
    )
    return {
        "filters": filters,
        "seed": seed,
        "accuracy": float(correct.mean()),
        "low": interval.low,
        "high": interval.high,
        "held_out_error": last.held_out_error,
        "converged": fit.converged,
        "settings": asdict(settings),
        "seconds": time.monotonic() - started,
    }


def _summarise(
    store: DatasetStore,
    work: Work,
    config: FilterStudyConfig,
    rows: LabelledRows,
    results: dict[str, Any],
    device: str,
) -> Output:
    from methods.reporting import figures

    lines = sorted(results.values(), key=lambda line: (line["filters"], line["seed"]))
    metrics = []
    for line in lines:
        settings = {**config.settings(), "filters": line["filters"]}
        name, n, interval = (
            filters_estimate(line["filters"]),
            len(rows.test),
            (line["low"], line["high"]),
        )
        metrics += [
            metric_row(
                work,
                AHN2019,
                name,
                "accuracy",
                "all",
                line["accuracy"],
                n,
                line["seed"],
                settings,
                interval,
            ),
            metric_row(
                work,
                AHN2019,
                name,
                "held_out_error",
                "all",
                line["held_out_error"],
                n,
                line["seed"],
                settings,
            ),
        ]
    points, seconds = [], {}
    summary: dict[str, float | int | str] = {
        "seeds": config.filter_seeds,
    }
    for filters in sorted({line["filters"] for line in lines}):
        of_size = [line for line in lines if line["filters"] == filters]
        accuracies = [line["accuracy"] for line in of_size]
        spread = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0
        summary[f"{filters} filters, accuracy"] = f"{np.mean(accuracies):.4f} (SD {spread:.4f})"
        seconds[filters] = sum(line["seconds"] for line in of_size)
        summary[f"{filters} filters, seconds"] = seconds[filters]
        points.append((filters, accuracies))
    unfinished = sorted({line["filters"] for line in lines if not line["converged"]})
    paper = [
        (size, row.percent / 100) for size, row in zip(FILTER_SIZES, PAPER_TABLE.rows, strict=True)
    ]
    table = pa.Table.from_pylist(metrics, schema=METRICS.schema)
    return Output(
        content=metrics,
        files=[
            store.write_table(
                work.dataset, work.asset, f"{work.fingerprint}.metrics.parquet", table, METRICS
            )
        ],
        pictures=[("accuracy by number of filters", figures.filter_size_curve(points, paper))],
        summary=summary,
        facts=FilterStudyFacts(rows_version=rows.version, seconds=seconds),
        notices=[f"NOT CONVERGED: the SVM stopped above its tolerance for {unfinished} filters"]
        if unfinished
        else [],
        rows=len(lines),
        device=device,
    )

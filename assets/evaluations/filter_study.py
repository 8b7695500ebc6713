"""Table 3: how the accuracy depends on the number of filters."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import MetricRows
from assets.core.settings import CaeTrainingSettings, CodePoolSetting, SvmSettings
from assets.core.stage import stage
from assets.evaluations.cae_trials import (
    gram_of_codes,
    in_words,
    not_converged,
    right_of,
    scored_on,
    trained_cae,
)
from assets.evaluations.svm import GROUP, gram_limit
from assets.evaluations.svm_rows import gram_of
from assets.features.auto_encoder import MORE_TO_FIT_ON, fitting_ids, initial_weights
from data_contracts import asset_names as names
from data_contracts.records.facts import FilterStudyFacts
from data_contracts.studies.ahn2019 import (
    AHN2019,
    FILTER_SIZES,
    RAW_ESTIMATE,
    filters_estimate,
    random_filters_estimate,
)
from data_contracts.tables.evaluations import (
    ALL_LABELS,
    FIXED,
    METRICS,
    OVER_SEEDS,
    SEED_PREDICTIONS,
)
from resources.progress import progress
from resources.store.feature_store import FeatureReader
from resources.store.partial_results import PartialResults

log = logging.getLogger("medfeat.filter_study")
PAPER_TABLE = next(table for table in AHN2019.tables if table.number == "3")
"""The paper's table of the number of filters."""


class FilterStudyConfig(CodePoolSetting, CaeTrainingSettings, SvmSettings):
    """Settings of `filter_size_study`: of the auto-encoder, of the SVM, and what is varied."""

    filter_sizes: list[PositiveInt] = Field(default=list(FILTER_SIZES), min_length=1)
    """Numbers of filters to try."""
    filter_seeds: PositiveInt = 3
    """Trainings of each size: seed, seed + 1, ..."""
    label_budgets: list[PositiveInt] = Field(default=[])
    """Labelled training images a class that are also tried; [] for none."""
    label_repeats: NonNegativeInt = 10
    """Draws for each budget, the same for every size and seed."""


@stage(
    FilterStudyConfig,
    group=GROUP,
    order=6,
    kinds={"pytorch", "parquet"},
    code_version="3",
    inputs=(names.IMAGE_MANIFEST, names.BACKBONE_FEATURES),
    facts=FilterStudyFacts,
    tables=(METRICS, SEED_PREDICTIONS),
    uses_device=True,
)
def filter_size_study(here: Stage[FilterStudyConfig]) -> Plan:
    """Accuracy of the CAE with 512 to 4096 filters over several seeds (Ahn et al. 2019, table 3).

    Beside each training stand as many filters that were not trained, and the maps themselves. Goes
    on after a kill from the last training that was finished.
    """
    config, device = here.config, here.device
    rows = scorable_rows(here.store, here.dataset, AHN2019)
    if reason := gram_limit(rows):
        raise UnavailableError(reason)
    fitting = here.features(
        names.BACKBONE_FEATURES,
        fitting_ids(here.store, here.dataset, config.fit_on, "the auto-encoder", MORE_TO_FIT_ON),
    )
    scored = here.features(names.BACKBONE_FEATURES, rows.ids)

    def compute(work: Work) -> Output:
        parts = PartialResults(work.store, work.dataset, work.asset, work.fingerprint)
        results = parts.load()
        trainings = [
            (filters, config.seed + k)
            for filters in sorted(set(config.filter_sizes))
            for k in range(config.filter_seeds)
        ]
        for filters, seed in progress(trainings, "filter sizes x seeds", unit="training"):
            if f"{filters}-{seed}" not in results:
                results[f"{filters}-{seed}"] = _train_and_score(
                    config, filters, seed, rows, fitting, scored, device
                )
                parts.save(results)
        if RAW_ESTIMATE not in results:
            of_raw = _scored(gram_of(scored), rows, config)
            line = {"filters": 0, "seed": config.seed, "held_out_error": None, "seconds": 0.0}
            results[RAW_ESTIMATE] = {RAW_ESTIMATE: line | of_raw}
            parts.save(results)
        lines: dict[str, list[dict[str, Any]]] = {}
        for key in [RAW_ESTIMATE, *(f"{filters}-{seed}" for filters, seed in trainings)]:
            for name, line in results[key].items():
                lines.setdefault(name, []).append(line)
        output = _summary(work, config, rows, lines, device)
        parts.drop()
        return output

    return Plan(
        compute,
        identity={
            "features": fitting.feature_set.key,
            "fitted on": fitting.image_ids,
            "rows": rows.version,
        },
    )


def _train_and_score(
    config: FilterStudyConfig,
    filters: int,
    seed: int,
    rows: LabelledRows,
    fitting: FeatureReader,
    scored: FeatureReader,
    device: str,
) -> dict[str, dict[str, Any]]:
    """One training and its untrained control, by name; codes are not stored."""
    import torch

    from methods.training import cae

    target, settings = torch.device(device), config.cae_settings(filters, seed)
    lines = {}
    for name, trained in (
        (filters_estimate(filters), True),
        (random_filters_estimate(filters), False),
    ):
        started = time.monotonic()
        if trained:
            model, last = trained_cae(settings, fitting.take, len(fitting), target)
            error = last.held_out_error
        else:
            model = cae.load_cae(initial_weights(settings, fitting, target), settings, target)
            error = None
        gram = gram_of_codes(model, scored, config.pool, target)
        lines[name] = {
            "filters": filters,
            "seed": seed,
            "held_out_error": error,
            **_scored(gram, rows, config),
            "seconds": time.monotonic() - started,
        }
        log.info("%s, seed %d: %s", name, seed, in_words(lines[name], len(rows.test)))
    return lines


def _scored(gram: np.ndarray, rows: LabelledRows, config: FilterStudyConfig) -> dict[str, Any]:
    """The images that are right, from all labels and from the budgets of the settings."""
    return scored_on(gram, rows, config, config.seed, config.label_budgets, config.label_repeats)


def _summary(
    work: Work,
    config: FilterStudyConfig,
    rows: LabelledRows,
    lines: Mapping[str, list[dict[str, Any]]],
    device: str,
) -> Output:
    """The figures of all trainings, and their picture beside the paper's table 3.

    ``lines`` has those of each estimate, in the order of its seeds.
    """
    metrics = [row for name in lines for row in _metrics(work, config, rows, name, lines[name])]
    predictions = [row for name in lines for row in _predictions(rows, name, lines[name])]
    sizes = sorted(set(config.filter_sizes))
    seconds = {
        size: sum(line["seconds"] for line in lines[filters_estimate(size)]) for size in sizes
    }
    summary: dict[str, float | int | str] = {"seeds": config.filter_seeds}
    for row in metrics:
        if row["metric"] == OVER_SEEDS and row["subject"] == ALL_LABELS:
            caption = f"{row['method']}, {row['regularisation']} C, accuracy"
            summary[caption] = row["value"]
    summary |= {f"{size} filters, seconds": seconds[size] for size in sizes}
    return Output(
        content=[metrics, predictions],
        files=[
            work.write_table(metrics, METRICS),
            work.write_table(predictions, SEED_PREDICTIONS),
        ],
        pictures=[("accuracy by number of filters", _curve(sizes, lines, len(rows.test)))],
        summary=summary,
        facts=FilterStudyFacts(rows_version=rows.version, seconds=seconds),
        notices=not_converged(lines),
        rows=len(metrics),
        device=device,
    )


def _curve(sizes: Sequence[int], lines: Mapping[str, list[dict[str, Any]]], n_test: int) -> bytes:
    """The picture of each training's accuracy at the fixed C, beside the paper's table 3."""
    from methods.reporting import figures

    points = [
        (
            size,
            [
                float(right_of(line, FIXED, ALL_LABELS, n_test).mean())
                for line in lines[filters_estimate(size)]
            ],
        )
        for size in sizes
    ]
    paper = [
        (size, row.percent / 100) for size, row in zip(FILTER_SIZES, PAPER_TABLE.rows, strict=True)
    ]
    return figures.filter_size_curve(points, paper)


def _metrics(
    work: Work,
    config: FilterStudyConfig,
    rows: LabelledRows,
    name: str,
    lines: Sequence[dict[str, Any]],
) -> list[dict[str, Any]]:
    """Rows of METRICS of one estimate: of each seed, and the mean over its seeds."""
    from methods.statistics.significance import accuracy_interval

    n, metrics = len(rows.test), []
    for regularisation in lines[0]["scores"]:
        for line in lines:
            settings = {
                **config.settings(),
                "filters": line["filters"],
                "c": line["scores"][regularisation]["c"],
            }
            of_seed = MetricRows(work, AHN2019, name, line["seed"], settings, regularisation)
            right = right_of(line, regularisation, ALL_LABELS, n)
            interval = accuracy_interval(right > 0, rows.test_groups)
            metrics.append(of_seed.row("accuracy", "all", float(right.mean()), n, interval))
            if line["held_out_error"] is not None and regularisation == FIXED:
                metrics.append(of_seed.row("held_out_error", "all", line["held_out_error"], n))
        settings = {**config.settings(), "filters": lines[0]["filters"], "c": regularisation}
        of_all = MetricRows(work, AHN2019, name, config.seed, settings, regularisation)
        for labels in lines[0]["scores"][regularisation]["right"]:
            right = np.stack([right_of(line, regularisation, labels, n) for line in lines])
            over_seeds = accuracy_interval(
                right > 0 if labels == ALL_LABELS else right, rows.test_groups
            )
            metrics.append(of_all.row(OVER_SEEDS, labels, float(right.mean()), n, over_seeds))
    return metrics


def _predictions(
    rows: LabelledRows, name: str, lines: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Rows of SEED_PREDICTIONS of one estimate."""
    groups: Sequence[str | None] = rows.test_groups or [None] * len(rows.test)
    images = [rows.ids[i] for i in rows.test]
    return [
        {
            "method": name,
            "seed": line["seed"],
            "regularisation": regularisation,
            "labels": labels,
            "image_id": image,
            "group_id": group,
            "right": right,
        }
        for line in lines
        for regularisation, of in line["scores"].items()
        for labels in of["right"]
        for image, group, right in zip(
            images,
            groups,
            right_of(line, regularisation, labels, len(images)).tolist(),
            strict=True,
        )
    ]

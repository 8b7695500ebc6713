"""Table 3: how the accuracy depends on the number of filters."""

import logging
import time
from collections import deque
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, PositiveInt

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import MetricRows
from assets.core.settings import BootstrapSetting, CaeTrainingSettings, CodePoolSetting, SvmSettings
from assets.core.shards import READ_ROWS
from assets.core.stage import stage
from assets.evaluations.svm import GROUP, MEMORY_BYTES, gram_limit
from assets.features.auto_encoder import MORE_TO_FIT_ON, fitting_ids
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import FilterStudyFacts
from data_contracts.studies.ahn2019 import AHN2019, FILTER_SIZES, filters_estimate
from data_contracts.tables.evaluations import METRICS
from resources.progress import progress
from resources.store.feature_store import FeatureReader
from resources.store.partial_results import PartialResults

if TYPE_CHECKING:
    import torch

    from methods.settings import CaeSettings
    from methods.training.cae import CaeEpoch, ConvAutoEncoder

log = logging.getLogger("medfeat.filter_study")
PAPER_TABLE = next(table for table in AHN2019.tables if table.number == "3")
"""The paper's table of the number of filters."""


class FilterStudyConfig(CodePoolSetting, CaeTrainingSettings, SvmSettings, BootstrapSetting):
    """Settings of `filter_size_study`: of the auto-encoder, of the SVM, and what is varied."""

    filter_sizes: list[PositiveInt] = Field(default=list(FILTER_SIZES), min_length=1)
    """Numbers of filters to try."""
    filter_seeds: PositiveInt = 3
    """Trainings of each size: seed, seed + 1, ..."""


@stage(
    FilterStudyConfig,
    group=GROUP,
    order=6,
    kinds={"pytorch", "parquet"},
    code_version="2",
    inputs=(names.IMAGE_MANIFEST, names.BACKBONE_FEATURES),
    facts=FilterStudyFacts,
    tables=(METRICS,),
    uses_device=True,
)
def filter_size_study(here: Stage[FilterStudyConfig]) -> Plan:
    """Accuracy of the CAE with 512 to 4096 filters over several seeds (Ahn et al. 2019, table 3).

    Goes on after a kill from the last training that was finished.
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
        for filters, seed in progress(trainings, "filter sizes x seeds"):
            if f"{filters}-{seed}" not in results:
                results[f"{filters}-{seed}"] = _train_and_score(
                    config, filters, seed, rows, fitting, scored, device
                )
                parts.save(results)
        output = _summary(work, config, rows, list(results.values()), device)
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
) -> dict[str, Any]:
    """One training, and the accuracy of its codes; codes are not stored."""
    import torch

    from methods.classifiers import linear_svm as svm
    from methods.statistics.significance import accuracy_interval

    started, target = time.monotonic(), torch.device(device)
    settings = config.cae_settings(filters, seed)
    model, last = _trained(settings, fitting, target)
    gram = _gram_of_codes(model, scored, config.pool, target)
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


def _trained(
    settings: "CaeSettings", fitting: FeatureReader, device: "torch.device"
) -> "tuple[ConvAutoEncoder, CaeEpoch]":
    """The auto-encoder after its last epoch, and the record of that epoch.

    Raises:
        InputError: the training diverged.
    """
    from methods.training import cae
    from methods.training.loop import DivergedError

    caption = f"{settings.filters} filters, seed {settings.seed}"
    try:
        epochs = cae.train_cae(fitting.take, len(fitting), settings, device)
        last, take = deque(progress(epochs, caption, settings.epochs), maxlen=1).pop()
    except DivergedError as error:
        raise InputError(
            f"the training of {settings.filters} filters diverged: {error}",
            "Set a smaller learning_rate",
        ) from error
    return cae.load_cae(take().last_weights(), settings, device), last


def _gram_of_codes(
    model: "ConvAutoEncoder",
    scored: FeatureReader,
    pool: Literal["max", "mean"],
    device: "torch.device",
) -> np.ndarray:
    """Gram matrix (n, n) of the codes of all rows of ``scored``, rounded as stored codes are."""
    from methods.arrays import gram_matrix
    from methods.training import cae

    def codes(start: int, stop: int) -> np.ndarray:
        blocks = [
            cae.encode(model, scored.rows(i, min(i + READ_ROWS, stop)), device, pool)
            for i in range(start, stop, READ_ROWS)
        ]
        return np.concatenate([block.astype(np.float16) for block in blocks])

    _, height, width = scored.feature_set.row_shape
    numbers = len(model.encoder_weight) * (height // 2) * (width // 2)
    return gram_matrix(codes, len(scored), max(MEMORY_BYTES // (8 * numbers), 256))


def _summary(
    work: Work,
    config: FilterStudyConfig,
    rows: LabelledRows,
    results: list[dict[str, Any]],
    device: str,
) -> Output:
    """The figures of all trainings, and their picture beside the paper's table 3."""
    from methods.reporting import figures

    lines = sorted(results, key=lambda line: (line["filters"], line["seed"]))
    metrics = [row for line in lines for row in _metrics(work, config, line, len(rows.test))]
    by_size = {
        size: [line for line in lines if line["filters"] == size]
        for size in sorted({line["filters"] for line in lines})
    }
    seconds = {size: sum(line["seconds"] for line in of) for size, of in by_size.items()}
    summary: dict[str, float | int | str] = {"seeds": config.filter_seeds}
    for size, of_size in by_size.items():
        accuracies = [line["accuracy"] for line in of_size]
        spread = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0
        summary[f"{size} filters, accuracy"] = f"{np.mean(accuracies):.4f} (SD {spread:.4f})"
        summary[f"{size} filters, seconds"] = seconds[size]
    points = [(size, [line["accuracy"] for line in of_size]) for size, of_size in by_size.items()]
    paper = [
        (size, row.percent / 100) for size, row in zip(FILTER_SIZES, PAPER_TABLE.rows, strict=True)
    ]
    unfinished = sorted({line["filters"] for line in lines if not line["converged"]})
    return Output(
        content=metrics,
        files=[work.write_table(metrics, METRICS)],
        pictures=[("accuracy by number of filters", figures.filter_size_curve(points, paper))],
        summary=summary,
        facts=FilterStudyFacts(rows_version=rows.version, seconds=seconds),
        notices=[f"NOT CONVERGED: the SVM stopped above its tolerance for {unfinished} filters"]
        if unfinished
        else [],
        rows=len(lines),
        device=device,
    )


def _metrics(
    work: Work, config: FilterStudyConfig, line: dict[str, Any], n_test: int
) -> list[dict[str, Any]]:
    """Rows of METRICS of one training."""
    from methods.statistics.significance import Interval

    settings = {**config.settings(), "filters": line["filters"]}
    metric_rows = MetricRows(
        work, AHN2019, filters_estimate(line["filters"]), line["seed"], settings
    )
    interval = Interval(line["low"], line["high"], "")
    return [
        metric_rows.row("accuracy", "all", line["accuracy"], n_test, interval),
        metric_rows.row("held_out_error", "all", line["held_out_error"], n_test),
    ]

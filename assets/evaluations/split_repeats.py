"""Accuracy over repeated random splits, with everything that is learned fitted anew for each.

Farhat and Sicre split Kvasir at random, once and without a seed.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import MetricRows
from assets.core.settings import SvmSettings
from assets.core.stage import stage
from assets.evaluations.svm import GROUP, correct_on_test, gram_limit
from assets.evaluations.svm_rows import rows_at_once
from assets.features.local_descriptors import LocalDescriptors, descriptors_asset, open_descriptors
from assets.features.vlad import CodebookSettings, VladSettings, encoder, fit_vlad_model
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.facts import SplitRepeatsFacts
from data_contracts.studies.farhat_vlad import CODEBOOK_SIZES, FARHAT_VLAD, average_at, vlad_at
from data_contracts.tables.evaluations import MEAN, METRICS
from methods.arrays import gram_matrix
from resources.progress import progress

METRIC = "repeated_accuracy"
"""Metric of every row."""
SCALE = 0
"""Scale of the descriptors."""


class SplitRepeatsConfig(CodebookSettings, VladSettings, SvmSettings):
    """Settings of `split_repeats`."""

    split_repeats: int = Field(default=5, ge=2)
    """Random splits (whole groups, stratified by class) that each method is scored on, where the
    dataset states no split of its own."""


@stage(
    SplitRepeatsConfig,
    group=GROUP,
    order=6,
    kinds={"scikitlearn", "parquet"},
    code_version="1",
    inputs=(names.IMAGE_MANIFEST, descriptors_asset(SCALE)),
    facts=SplitRepeatsFacts,
    tables=(METRICS,),
)
def split_repeats(here: Stage[SplitRepeatsConfig]) -> Plan:
    """Accuracy of the average and of VLAD at 224 pixels over repeated random splits.

    Codebooks are fitted on the training images of each split. For datasets without a split of
    their own, whose one random split is one draw of many.
    """
    config, spec = here.config, here.store.spec(here.dataset)
    here.needs(descriptors_asset(SCALE))
    rows = scorable_rows(here.store, here.dataset, FARHAT_VLAD)
    if not _is_drawn(rows, spec):
        raise UnavailableError("the dataset has a split of its own, which is not drawn anew")
    if limit := gram_limit(rows):
        raise UnavailableError(limit)
    descriptors = open_descriptors(here, (SCALE,), rows.ids)

    def compute(work: Work) -> Output:
        splits = list(_splits(rows, spec, config.split_repeats))
        accuracies = _accuracies(config, here.dataset, descriptors, dict(splits))
        metrics = _metrics(work, config, accuracies, dict(splits))
        means = [row for row in metrics if row["subject"] == MEAN]
        return Output(
            content=metrics,
            files=[work.write_table(metrics, METRICS)],
            summary={
                **{f"{row['method']}, mean accuracy": row["value"] for row in means},
                "splits": len(splits),
                "seeds": ", ".join(str(seed) for seed, _ in splits),
            },
            facts=SplitRepeatsFacts(
                rows_version=rows.version,
                titles={name: FARHAT_VLAD.method(name).title for name in accuracies},
            ),
            rows=len(rows.ids),
        )

    identity = {"descriptors": descriptors.keys, "rows": rows.version, "seed": spec.split_seed}
    return Plan(compute, identity=identity)


def _is_drawn(rows: LabelledRows, spec: DatasetSpec) -> bool:
    """Whether the test images of a dataset are those of a drawn split."""
    from methods.curation.splits import stratified_group_split

    if spec.split != "auto":
        return spec.split == "stratified"
    labels = [str(label) for label in rows.labels]
    try:
        drawn = stratified_group_split(labels, rows.groups, spec.test_fraction, spec.split_seed)
    except ValueError:
        return False
    return np.array_equal(np.flatnonzero(drawn), rows.test)


def _splits(
    rows: LabelledRows, spec: DatasetSpec, repeats: int
) -> Iterator[tuple[int, LabelledRows]]:
    """Random splits of the same images, each with its seed; the first is the dataset's own.

    Raises:
        InputError: no split can be drawn.
    """
    from methods.curation.splits import MAX_DRAWS, stratified_group_split

    labels = [str(label) for label in rows.labels]
    for repeat in range(repeats):
        seed = spec.split_seed + repeat * MAX_DRAWS  # a draw may try that many seeds
        try:
            is_test = stratified_group_split(labels, rows.groups, spec.test_fraction, seed)
        except ValueError as error:
            raise InputError(
                f"no test split can be drawn: {error}", "Add images of that class"
            ) from error
        yield seed, replace(rows, train=np.flatnonzero(~is_test), test=np.flatnonzero(is_test))


def _accuracies(
    config: SplitRepeatsConfig,
    dataset: str,
    descriptors: LocalDescriptors,
    splits: dict[int, LabelledRows],
) -> dict[str, dict[int, float]]:
    """Accuracy of each method on each split, by the split's seed."""
    from methods.features.descriptors import average

    of_averages = _gram(descriptors, average, descriptors.width)
    found: dict[str, dict[int, float]] = {average_at(SCALE): {}}
    for seed, rows in progress(splits.items(), "random splits", unit="split"):
        found[average_at(SCALE)][seed] = _accuracy(of_averages, rows, config)
        for clusters in CODEBOOK_SIZES:
            model = fit_vlad_model(config, dataset, descriptors, clusters, rows.train)
            encode = encoder(model.arrays, config.unit_length, config.switches)
            gram = _gram(descriptors, encode, model.codebook.centroids.size)
            of_vlad = found.setdefault(vlad_at(clusters, SCALE), {})
            of_vlad[seed] = _accuracy(gram, rows, config)
    return found


def _gram(
    descriptors: LocalDescriptors, compute: Callable[[np.ndarray], np.ndarray], width: int
) -> np.ndarray:
    """Gram matrix (n, n) of rows of ``width`` numbers that ``compute`` makes of descriptors."""
    n, step = len(descriptors.image_ids), descriptors.at_once
    rows = np.empty((n, width), np.float16)  # as VLAD rows are stored
    for start in range(0, n, step):
        block = np.arange(start, min(start + step, n))
        rows[block] = compute(descriptors.take(block))
    return gram_matrix(lambda start, stop: rows[start:stop], n, rows_at_once(width))


def _accuracy(gram: np.ndarray, rows: LabelledRows, config: SvmSettings) -> float:
    """Accuracy of the SVM on the test images of a split."""
    return float(correct_on_test(gram, rows, rows.train, config).mean())


def _metrics(
    work: Work,
    config: SplitRepeatsConfig,
    accuracies: dict[str, dict[int, float]],
    splits: dict[int, LabelledRows],
) -> list[dict[str, Any]]:
    """Rows of METRICS: of each method its accuracy on each split, then the mean with interval."""
    from methods.statistics.repeated_splits import repeated_figure
    from methods.statistics.significance import Interval

    ratio = float(np.mean([len(rows.test) / len(rows.train) for rows in splits.values()]))
    groups = len({group for rows in splits.values() for group in rows.groups})
    metrics = []
    for method, by_seed in accuracies.items():
        row = MetricRows(work, FARHAT_VLAD, method, config.seed, config.settings()).row
        for seed, value in by_seed.items():
            metrics.append(row(METRIC, f"split seed {seed}", value, len(splits[seed].test)))
        found = repeated_figure(np.array(list(by_seed.values())), ratio)
        interval = Interval(found.low, found.high, found.method, groups)
        test_images = sum(len(rows.test) for rows in splits.values())
        metrics.append(row(METRIC, MEAN, found.mean, test_images, interval))
    return metrics

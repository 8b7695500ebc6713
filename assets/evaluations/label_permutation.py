"""The cross-validated evaluation on permuted labels: a search for leaks of labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from assets.core.lesion_rows import FOLDS, FitConfig, LesionRows, lesion_rows
from assets.core.plan import Output, Plan, Stage, Work
from assets.core.scoring import MetricRows
from assets.core.stage import stage
from assets.evaluations.cross_validation import (
    GROUP,
    LAYER_METHODS,
    VoteConfig,
    chosen_layer,
    ids_with_features,
    nested,
    rows_of_method,
)
from data_contracts import asset_names as names
from data_contracts.records.notices import PERMUTED_LABELS
from data_contracts.studies.huynh2016 import ANALYTIC, ENSEMBLE, HUYNH2016
from data_contracts.studies.study import Method
from data_contracts.tables.evaluations import MEAN, METRICS
from resources.progress import progress

if TYPE_CHECKING:
    from methods.statistics.significance import Interval

METRIC = "auc_of_permuted_labels"
"""Metric of every row."""


class PermutationConfig(VoteConfig, FitConfig):
    """Settings of `label_permutation`."""

    permutations: int = Field(default=10, ge=2)
    """How often the classes are dealt anew among the lesions."""


@stage(
    PermutationConfig,
    group=GROUP,
    order=6,
    kinds={"scikitlearn", "parquet"},
    code_version="2",
    inputs=(
        names.IMAGE_MANIFEST,
        names.ALEXNET_LAYERS,
        names.LESION_SEGMENTATION,
        ANALYTIC.features,
    ),
    tables=(METRICS,),
)
def label_permutation(here: Stage[PermutationConfig]) -> Plan:
    """The evaluation on classes dealt at random among the lesions, with an expected AUC of 0.5.

    A mean above 0.5 can mean that test lesions or their classes reach the training, or be chance.
    """
    config = here.config
    labelled = lesion_rows(here.store, here.dataset, config)
    members = (
        LAYER_METHODS[chosen_layer(here.store, here.dataset, config.ensemble_layer)],
        ANALYTIC,
    )
    rows = labelled.only(ids_with_features(here.store, here.dataset, ANALYTIC, labelled.ids))

    def compute(work: Work) -> Output:
        from methods.statistics.significance import mean_interval

        features = {m: rows_of_method(here.features(m.features, rows.ids), m) for m in members}
        aucs = permuted_aucs(rows, features, config)
        patients = len(set(rows.patients))
        intervals = {
            method: mean_interval(np.array(values), patients) for method, values in aucs.items()
        }
        metrics = [
            row
            for method, values in aucs.items()
            for row in _metrics(
                MetricRows(work, HUYNH2016, method.name, config.seed, config.settings()),
                values,
                intervals[method],
                len(rows.ids),
            )
        ]
        return Output(
            content=metrics,
            files=[work.write_table(metrics, METRICS)],
            summary={
                **{
                    f"{method.title}, permuted": f"{np.mean(aucs[method]):.3f}, 95 % interval "
                    f"{between.low:.3f} to {between.high:.3f}"
                    for method, between in intervals.items()
                },
                "permutations": config.permutations,
            },
            notices=[
                PERMUTED_LABELS.says(
                    f"AUC {np.mean(aucs[method]):.3f} ({between.low:.3f} to "
                    f"{between.high:.3f}) of {method.title} is not 0.5"
                )
                for method, between in intervals.items()
                if not between.low <= 0.5 <= between.high
            ],
            rows=len(rows.ids),
        )

    return Plan(compute)


def permuted_aucs(
    rows: LesionRows, features: Mapping[Method, np.ndarray], config: PermutationConfig
) -> dict[Method, list[float]]:
    """Mean AUC over the folds for each permutation, of two members and of their ensemble.

    Args:
        rows: the images.
        features: (n, p) rows of each of the two members.
        config: number of permutations, the seed of the first, and how everything is fitted.
    """
    from methods.classifiers.polynomial_svm import outer_folds
    from methods.classifiers.voting import combined
    from methods.statistics.fold_roc import fold_aucs, permuted_by_lesion

    first, second = features
    aucs: dict[Method, list[float]] = {method: [] for method in (first, second, ENSEMBLE)}
    for number in progress(range(config.permutations), "label permutations", unit="permutation"):
        dealt = permuted_by_lesion(rows.positive, rows.lesions, config.seed + number)
        fold = outer_folds(dealt, rows.groups, config.seed + number, FOLDS)
        scores = {
            method: nested(rows, of_method, dealt, fold, config, method.title)
            for method, of_method in features.items()
        }
        probability = {method: of_method.probability for method, of_method in scores.items()}
        members, inner = (
            np.stack([getattr(scores[method], name) for method in (first, second)])
            for name in ("probability", "inner")
        )
        probability[ENSEMBLE] = combined(config.vote, members, inner, dealt, fold)
        for method, of_method in probability.items():
            aucs[method].append(float(fold_aucs(of_method, dealt, fold).mean()))
    return aucs


def _metrics(
    metric_rows: MetricRows, aucs: Sequence[float], interval: "Interval", n: int
) -> list[dict[str, Any]]:
    """Rows of METRICS of one method: the AUC of each permutation on ``n`` images, then the mean."""
    return [
        *(
            metric_rows.row(METRIC, f"permutation {number}", value, n)
            for number, value in enumerate(aucs, 1)
        ),
        metric_rows.row(METRIC, MEAN, float(np.mean(aucs)), len(aucs), interval),
    ]

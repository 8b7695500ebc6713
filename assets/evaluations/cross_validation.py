"""Classifiers of two classes of lesions in folds over lesions or patients.

Source: Huynh et al. 2016, sections 2.5 and 2.6.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from assets.core.lesion_rows import FOLDS, FitConfig, FoldConfig, LesionRows, lesion_rows
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import MetricRows
from assets.core.stage import stage
from assets.features.alexnet_layers import layer_columns
from assets.features.lesions import contoured_ids
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.facts import FoldFacts
from data_contracts.records.notices import (
    FLAT_GRID_SEARCH,
    NO_LESIONS_GIVEN,
    NOT_CONVERGED,
    NOT_THE_PAPERS_VOTE,
    NOTHING_LEARNED,
    PATIENTS_IN_TWO_FOLDS,
    ZERO_VARIANCE_ON_ALL_IMAGES,
)
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
from methods.classifiers.voting import Vote
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader

if TYPE_CHECKING:
    from methods.classifiers.polynomial_svm import NestedScores
    from methods.reporting.pictures.roc_pictures import FoldCurves
    from methods.statistics.fold_roc import FoldRoc

GROUP = "evaluation"

CURVE_POINTS = 201
"""Number of points at which a fitted ROC curve is drawn."""

LAYER_METHODS = {layer: HUYNH2016.method(layer_method(layer)) for layer in LAYER_SHAPES}
"""The method of each layer of AlexNet."""


class EnsembleConfig(FoldConfig):
    """Settings of what needs the layer of the ensemble."""

    ensemble_layer: str = "auto"
    """Layer of its first member: "auto" is the paper's fc6, or conv4 where the weights lack it."""


class VoteConfig(EnsembleConfig):
    """Settings of the ensemble."""

    vote: Vote = "mean"
    """How its members are combined: "mean" of their probabilities (the paper), "rank" averages
    their ranks within a fold, "stack" weighs them by a regression on the training folds."""


@dataclass(frozen=True)
class FoldScored:
    """The out-of-fold probabilities that a method gives.

    Attributes:
        method: the method.
        rows: the images that it scored, with their folds.
        rows_version: version of all images that have folds.
        probability: (n,) probability of the positive class of each of ``rows``.
        inner: (folds, n) that of training rows from inner folds; None for an ensemble.
        summary: further figures.
        notices: what a reader must know.
        ensemble_layer: layer whose classifier is the first member; empty where it is no ensemble.
    """

    method: Method
    rows: LesionRows
    rows_version: str
    probability: np.ndarray
    inner: np.ndarray | None = None
    summary: Mapping[str, float | int | str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    ensemble_layer: str = ""


@dataclass(frozen=True)
class FoldScore:
    """The stored scores of an image; see FOLD_SCORES."""

    probability: float
    inner: Sequence[float | None] = ()


def fold_output(work: Work, config: FoldConfig, scored: FoldScored) -> Output:
    """Out-of-fold probabilities with the areas under their ROC curves."""
    from methods.reporting.pictures.roc_pictures import fold_roc_curves
    from methods.statistics.fold_roc import fold_roc

    method, rows, probability = scored.method, scored.rows, scored.probability
    roc = fold_roc(probability, rows.positive, rows.fold, rows.lesions, rows.patients)
    settings = {**config.settings(), "interval": roc.pooled_interval.method}
    metric_rows = MetricRows(work, HUYNH2016, method.name, config.seed, settings)
    metrics, scores = _metrics(metric_rows, roc, rows), _fold_scores(rows, scored)
    notices = list(scored.notices)
    if not rows.has_lesions:
        notices.append(
            NO_LESIONS_GIVEN.says(
                "each image is its own group, so images of one lesion may be on both "
                "sides of a fold"
            )
        )
    parted = rows.parted
    if parted and parted.parted:
        notices.append(PATIENTS_IN_TWO_FOLDS.says(f"{parted.sentence().rstrip('.')}"))
    pooled = roc.pooled_interval
    return Output(
        content=[metrics, scores],
        files=[work.write_table(metrics, METRICS), work.write_table(scores, FOLD_SCORES)],
        pictures=[
            ("ROC curve", fold_roc_curves([fold_curves(method.title, rows, probability, roc)]))
        ],
        summary={
            "AUC, mean over folds": roc.mean,
            "AUC, SD over folds": roc.sd,
            "AUC, pooled": roc.pooled,
            "AUC, pooled, 95 % interval": f"{pooled.low:.4f} to {pooled.high:.4f}",
            "AUC by lesion": roc.by_lesion,
            "images": len(rows.ids),
            "lesions": roc.n_lesions,
            "positive class": rows.classes[1],
            "folds by": config.group_by,
            **scored.summary,
            "method": method.title,
        },
        facts=FoldFacts(
            rows_version=scored.rows_version,
            title=method.title,
            images=len(rows.ids),
            ensemble_layer=scored.ensemble_layer,
            parted_patients=parted.parted if parted else None,
            patients=parted.patients if parted else None,
        ),
        notices=notices,
        rows=len(rows.ids),
    )


def fold_curves(
    title: str, rows: LesionRows, probability: np.ndarray, roc: "FoldRoc"
) -> "FoldCurves":
    """The ROC curves of one method, with the areas under them.

    Args:
        title: of the method.
        rows: the images.
        probability: (n,) of the positive class.
        roc: the areas.
    """
    from methods.reporting.pictures.roc_pictures import FoldCurves
    from methods.statistics.fold_roc import average_roc
    from methods.statistics.roc import empirical_roc

    at = np.linspace(0, 1, CURVE_POINTS)
    return FoldCurves(
        title=title,
        averaged=average_roc(probability, rows.positive, rows.fold),
        mean_auc=roc.mean,
        pooled=empirical_roc(probability, rows.positive),
        pooled_auc=roc.pooled,
        fitted=(at, roc.binormal.tpr(at)) if roc.binormal else None,
    )


def _metrics(metric_rows: MetricRows, roc: "FoldRoc", rows: LesionRows) -> list[dict[str, Any]]:
    """Rows of METRICS: the areas over all folds, then that of each fold."""
    n = len(rows.ids)
    return [
        metric_rows.row("auc_mean_of_folds", "all", roc.mean, n),
        metric_rows.row("auc_sd_of_folds", "all", roc.sd, n),
        metric_rows.row("auc_pooled", "all", roc.pooled, n, roc.pooled_interval),
        metric_rows.row(
            "auc_by_lesion", "all", roc.by_lesion, roc.n_lesions, roc.by_lesion_interval
        ),
        *(
            metric_rows.row(
                "auc", f"fold {number + 1}", float(value), int((rows.fold == number).sum())
            )
            for number, value in enumerate(roc.by_fold)
        ),
    ]


def _fold_scores(rows: LesionRows, scored: FoldScored) -> list[dict[str, Any]]:
    """Rows of FOLD_SCORES, one an image."""
    inner: list[list[float | None]] = [[] for _ in rows.ids]
    if scored.inner is not None:
        inner = [[None if np.isnan(p) else p for p in of] for of in scored.inner.T.tolist()]
    return [
        {
            "image_id": rows.ids[i],
            "lesion_id": rows.lesions[i],
            "group_id": rows.groups[i],
            "fold": int(rows.fold[i]),
            "positive": bool(rows.positive[i]),
            "probability": float(scored.probability[i]),
            "inner": inner[i],
        }
        for i in range(len(rows.ids))
    ]


def nested(
    rows: LesionRows,
    features: np.ndarray,
    positive: np.ndarray,
    fold: np.ndarray,
    config: FitConfig,
    title: str,
) -> "NestedScores":
    """Out-of-fold probabilities of the polynomial SVM, with a progress bar.

    Args:
        rows: the images, for their groups.
        features: (n, p) rows of the classifier.
        positive: (n,) bool, whether each image is of the positive class.
        fold: (n,) fold in which each image is tested.
        config: how the kernel and the columns are chosen, and the seed of the inner folds.
        title: title of the method, for the progress bar and the error.

    Raises:
        InputError: a class has too few groups for the folds.
    """
    from methods.classifiers import polynomial_svm as svm

    selected = (*svm.SELECTED_COLUMNS, svm.ALL_COLUMNS)
    grid = replace(
        svm.Grid(),
        constant_on=config.zero_variance,
        keep=selected if config.select_features == "anova" else (svm.ALL_COLUMNS,),
    )
    steps = iter(progress(range(FOLDS), title, unit="fold"))

    def on_fold(number: int) -> None:
        next(steps, None)

    try:
        if config.grid_search == "flat":
            return svm.flat_scores(features, positive, rows.groups, fold, grid, on_fold)
        return svm.nested_scores(features, positive, rows.groups, fold, grid, config.seed, on_fold)
    except ValueError as error:
        raise InputError(
            f"{title} cannot be cross-validated: {error}",
            "Add images of other lesions, or set another seed",
        ) from error


def rows_of_method(reader: FeatureReader, method: Method) -> np.ndarray:
    """Rows (n, p) float32 that the classifier of ``method`` is fitted to."""
    if method is ANALYTIC:
        return np.asarray(reader.rows(0, len(reader)), np.float32)
    layer = next(layer for layer in LAYER_SHAPES if layer_method(layer) == method.name)
    return reader.columns(*layer_columns(reader.feature_set)[layer]).astype(np.float32)


def ids_with_features(
    store: DatasetStore, dataset: str, method: Method, ids: list[str]
) -> list[str]:
    """The images of ``ids`` that have features of ``method``: those with a contour, or all."""
    return contoured_ids(store, dataset) if method is ANALYTIC else ids


def cv_evaluation(method: Method, layer: str | None) -> dg.AssetsDefinition:
    """The classifier on one layer, or on the analytic features where ``layer`` is None."""
    segmentation = () if layer else (names.LESION_SEGMENTATION,)

    @stage(
        FitConfig,
        name=method.evaluation,
        description=f"{method.title}: polynomial SVM, its kernel chosen by nested grid search, "
        "scored by ROC analysis in five folds over lesions or patients.",
        group=GROUP,
        order=6,
        kinds={"scikitlearn", "parquet"},
        code_version="3",
        inputs=(names.IMAGE_MANIFEST, *segmentation, method.features),
        facts=FoldFacts,
        tables=(METRICS, FOLD_SCORES),
    )
    def evaluation(here: Stage[FitConfig]) -> Plan:
        config = here.config
        labelled = lesion_rows(here.store, here.dataset, config)
        stored = here.record(method.features).feature_set
        if stored is None or (layer is not None and layer not in layer_columns(stored)):
            raise UnavailableError(f"the weights have no {layer}")
        ids = ids_with_features(here.store, here.dataset, method, labelled.ids)
        rows = labelled.only(ids)

        def compute(work: Work) -> Output:
            features = rows_of_method(here.features(method.features, rows.ids), method)
            scores = nested(rows, features, rows.positive, rows.fold, config, method.title)
            scored = FoldScored(
                method,
                rows,
                labelled.version,
                scores.probability,
                scores.inner,
                _kernels(scores, features.shape[1]),
                _notices(config, scores, method.title),
            )
            return fold_output(work, config, scored)

        identity = {"features": stored.key, "rows": labelled.version, "ids": rows.ids}
        return Plan(compute, identity=identity)

    return evaluation


def _kernels(scores: "NestedScores", columns: int) -> dict[str, float | int | str]:
    """The kernel that was chosen in each fold, in words, and how many of ``columns`` were left."""
    return {
        **{
            f"kernel of fold {number}": f"a = {c.a:g} / {c.kept}, c = {c.c:g}, d = {c.d}"
            for number, c in enumerate(scores.choices, 1)
        },
        "columns of zero variance, most in a fold": columns
        - min(choice.columns for choice in scores.choices),
    }


def _notices(config: FitConfig, scores: "NestedScores", title: str) -> tuple[str, ...]:
    """What was fitted outside of the training folds, and fits that stopped or learned nothing."""
    notices = []
    if config.grid_search == "flat":
        notices.append(
            FLAT_GRID_SEARCH.says(
                "the kernel was chosen on the images that are scored, so AUCs are optimistic"
            )
        )
    if config.zero_variance == "all":
        notices.append(
            ZERO_VARIANCE_ON_ALL_IMAGES.says(
                "images that are scored took part in the removal of "
                "columns, which sets the unit of the kernel's a"
            )
        )
    if cut := sum(not choice.converged for choice in scores.choices):
        notices.append(
            NOT_CONVERGED.says(f"an SVM of {title} stopped at its limit in {cut} of {FOLDS} folds")
        )
    if flat := sum(not choice.slope for choice in scores.choices):
        notices.append(
            f"{NOTHING_LEARNED.words} in {flat} of {FOLDS} folds: {title} gives one probability "
            "to all images there"
        )
    return tuple(notices)


def chosen_layer(store: DatasetStore, dataset: str, asked: str) -> str:
    """The layer whose classifier is the ensemble's first member.

    Raises:
        InputError: no such layer, or the weights lack it.
    """
    stored = store.need_record(dataset, names.ALEXNET_LAYERS).feature_set
    available = tuple(layer_columns(stored)) if stored is not None else ()
    candidates = CHOSEN_LAYERS if asked == "auto" else (asked,)
    layer = next((layer for layer in candidates if layer in available), None)
    if layer is None:
        raise InputError(
            f"the weights have no {' and no '.join(candidates)}",
            f"Set ensemble_layer to one of {', '.join(available)}",
        )
    return layer


def out_of_fold(
    store: DatasetStore, dataset: str, method: Method, labelled: LesionRows
) -> dict[str, FoldScore]:
    """Scores by image of a classifier that was scored in these very folds.

    Raises:
        InputError: it was scored in others.
    """
    if store.facts(dataset, method.evaluation, FoldFacts).rows_version != labelled.version:
        raise InputError(
            f"{method.evaluation} of {dataset} was made with other images or folds",
            f"Run {HUYNH2016.name} again",
        )
    rows = store.main_table(dataset, method.evaluation, FOLD_SCORES).to_pylist()
    return {row["image_id"]: FoldScore(row["probability"], row["inner"]) for row in rows}


@stage(
    VoteConfig,
    name=ENSEMBLE.evaluation,
    group=GROUP,
    order=7,
    kinds={"numpy", "parquet"},
    code_version="3",
    inputs=[method.evaluation for method in (*LAYER_METHODS.values(), ANALYTIC)],
    facts=FoldFacts,
    tables=(METRICS, FOLD_SCORES),
)
def ensemble_evaluation(here: Stage[VoteConfig]) -> Plan:
    """Soft voting: the mean of the probabilities from one layer and from the analytic features.

    Their ranks or a stacked regression where the setting ``vote`` says so.
    """
    config = here.config
    labelled = lesion_rows(here.store, here.dataset, config)
    layer = chosen_layer(here.store, here.dataset, config.ensemble_layer)
    members = (LAYER_METHODS[layer], ANALYTIC)
    network, analytic = (out_of_fold(here.store, here.dataset, m, labelled) for m in members)

    def compute(work: Work) -> Output:
        rows = labelled.only(sorted(network.keys() & analytic.keys()))
        scored = FoldScored(
            ENSEMBLE,
            rows,
            labelled.version,
            vote_of(config.vote, rows, (network, analytic)),
            summary={"layer": layer, "vote": config.vote},
            notices=_vote_notices(config.vote),
            ensemble_layer=layer,
        )
        return fold_output(work, config, scored)

    return Plan(compute, inputs=tuple(member.evaluation for member in members))


def vote_of(vote: Vote, rows: LesionRows, members: Sequence[Mapping[str, FoldScore]]) -> np.ndarray:
    """Scores (n,) of an ensemble of members that were scored on all images of ``rows``."""
    from methods.classifiers.voting import combined

    probability = np.array([[of[i].probability for i in rows.ids] for of in members])
    inner = np.array([[of[i].inner for i in rows.ids] for of in members], np.float64)
    return combined(vote, probability, inner.swapaxes(1, 2), rows.positive, rows.fold)


def _vote_notices(vote: Vote) -> tuple[str, ...]:
    """What a reader of the ensemble must know where it is not the paper's."""
    if vote == "mean":
        return ()
    how = {
        "rank": "averages the members' ranks among the images of a fold, so its score says "
        "nothing about a single image",
        "stack": "weighs the members' log-odds by a regression on the training folds",
    }
    return (NOT_THE_PAPERS_VOTE.says(f"the ensemble {how[vote]}"),)


cross_validations = [
    *(cv_evaluation(method, layer) for layer, method in LAYER_METHODS.items()),
    cv_evaluation(ANALYTIC, None),
    ensemble_evaluation,
]

"""Evaluations: one asset for each method of a study, scored on the test split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import ScoreConfig, Scored, Scores, neighbours_on_test, score
from assets.core.settings import SvmSettings
from assets.core.stage import stage
from assets.evaluations.svm_rows import SvmRows, streamed_rows, svm_rows
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.assessment import Estimate
from data_contracts.records.facts import EvaluationFacts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.notices import FIXED_C_ONLY, NOT_CONVERGED
from data_contracts.studies.registry import studies_of
from data_contracts.studies.study import Method, Study
from data_contracts.tables.evaluations import FIXED, METRICS, PREDICTIONS, TUNED
from methods.arrays import l2_normalise
from methods.settings import RowScale, SvmConvention

GROUP = "evaluation"


class SvmConfig(ScoreConfig, SvmSettings):
    """Settings of an SVM evaluation."""

    label_budgets: list[PositiveInt] = Field(default=[1, 2, 5, 10])
    """Labelled training images a class that are also tried; [] for none."""
    label_repeats: NonNegativeInt = 10
    """Draws for each budget, the same for every method."""
    scale: RowScale = "l2"
    """How rows are scaled before the SVM, fitted on the training images: "l2" to unit length; then
    "standardise" the columns or "sqrt" the numbers first, "whiten" to principal components of unit
    variance (at most 256), or "none" as they are."""
    convention: SvmConvention = "exact"
    """How the SVM at the fixed C is written and solved: "exact" (free bias, to tolerance), "scspm"
    (c is the lambda of ScSPM's program: C = 1 / (2 lambda); 30 iterations) or "liblinear" (bias
    penalised, as in scikit-learn's LinearSVC)."""


class ReducedSvmConfig(SvmConfig):
    """Settings of an SVM evaluation of long rows."""

    pca_components: PositiveInt | None = None
    """Principal components, fitted on the training images, that take the place of the rows."""
    pca_whiten: bool = False
    """Scale each component to unit variance."""


def title_of(method: Method, features: FeatureSet) -> str:
    """The method's title; it names the network and layer where the features are of others."""
    if method.source in (None, (features.backbone, features.layer)):
        return method.title
    return f"{method.title} ({features.backbone} {features.layer})"


def svm_evaluation(study: Study, method: Method) -> dg.AssetsDefinition:
    """The evaluation of one method: linear SVM on its features, scored on the test split."""

    @stage(
        ReducedSvmConfig if method.allows_pca else SvmConfig,
        name=method.evaluation,
        description=f"{method.title}: top-1 accuracy with interval, per-class figures and "
        "predictions on the test split, the accuracy from a few labels a class, and retrieval and "
        "clustering by its features.",
        group=GROUP,
        order=6,
        kinds={"scikitlearn", "parquet"},
        code_version="10",
        inputs=(names.IMAGE_MANIFEST, method.features),
        facts=EvaluationFacts,
        tables=(METRICS, PREDICTIONS),
    )
    def evaluation(here: Stage[SvmConfig]) -> Plan:
        config = here.config
        rows = scorable_rows(here.store, here.dataset, study)
        reduced = isinstance(config, ReducedSvmConfig) and config.pca_components is not None
        wanted = {
            "pca_components": reduced,
            "convention": config.convention != "exact",
            "scale=whiten": config.scale == "whiten",
        }
        setting = next((name for name, is_set in wanted.items() if is_set), "")
        if setting and (limit := gram_limit(rows)):
            raise InputError(f"{setting} cannot be set: {limit}", "Leave it out")
        here.needs(method.features)
        features = here.record(method.features).feature_set
        if features is not None and features.kind != method.features:
            raise UnavailableError(
                f"its features are those of {features.kind}, which has a row of its own"
            )
        reader = here.features(method.features, rows.ids)

        def compute(work: Work) -> Output:
            title = title_of(method, reader.feature_set)
            of_method = svm_rows(reader, rows, config.scale, method)
            scored = _scored(config, title, rows, of_method, method.name == study.main)
            return score(work, config, study, method, rows, scored)

        return Plan(compute, identity={"features": reader.feature_set.key, "rows": rows.version})

    return evaluation


def _scored(
    config: SvmConfig, title: str, rows: LabelledRows, features: SvmRows, is_main: bool
) -> Scored:
    """The classifiers of one method: at the C of the settings and, on a Gram matrix, tuned.

    Of the study's main method also how well its features tell training from test images.
    """
    from methods.classifiers import linear_svm as svm

    if len(rows.ids) > svm.MAX_GRAM_ROWS:
        return _scored_by_streaming(config, title, rows, features)
    gram, explained = _reduced(config, rows, features.gram())
    fits = fits_on(gram, rows, config, config.seed, config.convention)
    budgets = config.label_budgets, config.label_repeats
    fixed, *tuned = (
        replace(
            of,
            few_labels=few_labels(
                gram, rows, config, *budgets, config.seed, regularisation == TUNED
            ),
        )
        for regularisation, of in fits.scores.items()
    )
    truth = rows.labels[rows.test, np.newaxis] == np.unique(rows.labels)
    return Scored(
        title=title,
        fixed=fixed,
        tuned=tuned[0] if tuned else None,
        neighbours=neighbours_on_test(gram[np.ix_(rows.test, rows.test)], truth, rows, config.seed),
        domain_auc=_domain_auc(gram, rows, config) if is_main else None,
        summary={
            "largest relative gradient norm": fits.gradient_norm,
            "largest duality gap": fits.duality_gap,
            "most iterations": fits.iterations,
            **({} if explained is None else {"variance in the components, %": 100 * explained}),
        },
        notices=_not_converged(title, fits.converged),
    )


def _domain_auc(gram: np.ndarray, rows: LabelledRows, config: SvmConfig) -> Estimate | None:
    """How well an SVM tells the test images from the training images; see `methods`."""
    from methods.classifiers.domain import domain_auc

    both = np.concatenate([rows.train, rows.test])
    is_test = np.arange(len(both)) >= len(rows.train)
    groups = [rows.groups[i] for i in both]
    of_both = gram[np.ix_(both, both)]
    return domain_auc(of_both, is_test, groups, config.c, config.tolerance, config.seed)


@dataclass(frozen=True)
class Fits:
    """The SVMs of one Gram matrix.

    Attributes:
        scores: by regularisation: fixed, and tuned where folds can be made.
        gradient_norm: the largest relative one.
        duality_gap: the largest relative one, or that none is known.
        iterations: the most of them.
        converged: whether every class of each reached the tolerance.
    """

    scores: dict[str, Scores]
    gradient_norm: float
    duality_gap: float | str
    iterations: int
    converged: bool


def fits_on(
    gram: np.ndarray,
    rows: LabelledRows,
    config: SvmSettings,
    seed: int,
    convention: SvmConvention = "exact",
) -> Fits:
    """The SVMs of all training rows, at the C of the settings and at one that these rows choose.

    Args:
        gram: (n, n) of all rows.
        rows: the labelled images.
        config: settings of the SVM.
        seed: of the folds that choose C.
        convention: of the SVM at the C of the settings.
    """
    from methods.classifiers.calibration import out_of_fold
    from methods.classifiers.svm_conventions import c_of, fit_by_convention
    from methods.classifiers.tuning import tune_c

    c_fixed = c_of(convention, config.c)
    labels, groups = rows.labels[rows.train], [rows.groups[i] for i in rows.train]
    training, tested = (gram[np.ix_(side, rows.train)] for side in (rows.train, rows.test))
    tuned = tune_c(training, labels, groups, config.tolerance, seed)
    of_fixed = (
        tuned.path[tuned.grid.index(c_fixed)]
        if tuned is not None and c_fixed in tuned.grid
        else out_of_fold(training, labels, groups, c_fixed, config.tolerance, seed)
    )
    chosen = {FIXED: (config.c, of_fixed)}
    if tuned is not None:
        chosen[TUNED] = (tuned.c, tuned.out_of_fold)
    fits = {
        regularisation: fit_by_convention(
            convention if regularisation == FIXED else "exact",
            training,
            labels,
            c,
            config.tolerance,
        )
        for regularisation, (c, _) in chosen.items()
    }
    return Fits(
        scores={
            regularisation: Scores(fit.classes, fit.decision(tested), *chosen[regularisation])
            for regularisation, fit in fits.items()
        },
        gradient_norm=max(float(fit.gradient_norm.max()) for fit in fits.values()),
        duality_gap=_largest_gap([fit.duality_gap for fit in fits.values()]),
        iterations=max(int(fit.iterations.max()) for fit in fits.values()),
        converged=all(fit.converged for fit in fits.values()),
    )


def _largest_gap(gaps: list[np.ndarray]) -> float | str:
    """The largest duality gap of some fits, those left out that have none."""
    known = np.concatenate(gaps)
    known = known[~np.isnan(known)]
    return float(known.max()) if len(known) else "not known (L-BFGS)"


def _not_converged(title: str, converged: bool) -> tuple[str, ...]:
    """What a reader must know of a solver that stopped too early."""
    if converged:
        return ()
    return (NOT_CONVERGED.says(f"the SVM of {title} stopped above its tolerance"),)


def gram_limit(rows: LabelledRows) -> str:
    """Why so many images are too many for a study on one Gram matrix; "" where they are not."""
    from methods.classifiers import linear_svm as svm

    if len(rows.ids) <= svm.MAX_GRAM_ROWS:
        return ""
    return (
        f"it works on one Gram matrix, and {len(rows.ids):,} labelled images are more than "
        f"{svm.MAX_GRAM_ROWS:,}"
    )


def correct_on_test(
    gram: np.ndarray,
    rows: LabelledRows,
    labelled: np.ndarray,
    config: SvmSettings,
    tune: bool = False,
    seed: int = 0,
) -> np.ndarray:
    """Whether the SVM fitted on the rows ``labelled`` is right on each test image, (n_test,) bool.

    Args:
        gram: (n, n) of all rows.
        rows: the labelled images.
        labelled: (m,) positions of those that train; no other label is used.
        config: settings of the SVM.
        tune: choose C by cross-validation among ``labelled``; where no folds can be made (one label
            a class), C is that of the settings.
        seed: of the folds.
    """
    from methods.classifiers import linear_svm as svm
    from methods.classifiers.tuning import tune_c

    c, tolerance = config.c, config.tolerance
    training, labels = gram[np.ix_(labelled, labelled)], rows.labels[labelled]
    if tune:
        groups = [rows.groups[i] for i in labelled]
        tuned = tune_c(training, labels, groups, tolerance, seed)
        c = c if tuned is None else tuned.c
    fit = svm.fit_gram(training, labels, c, tolerance)
    return np.asarray(fit.predict(gram[np.ix_(rows.test, labelled)]) == rows.labels[rows.test])


def _scored_by_streaming(
    config: SvmConfig, title: str, rows: LabelledRows, features: SvmRows
) -> Scored:
    """The classifier at the C of the settings where there are too many rows for a Gram matrix.

    It has no tuned row: cross-validation would read all rows some hundred times over for each C.
    """
    from methods.classifiers import linear_svm as svm

    step = streamed_rows(features.width)

    def blocks() -> Any:
        for start in range(0, len(rows.train), step):
            yield features.take(rows.train[start : start + step])

    labels = rows.labels[rows.train]
    fit = svm.fit_primal(blocks, labels, features.width, config.c, config.tolerance)
    scores = [
        fit.decision(features.take(rows.test[i : i + step])) for i in range(0, len(rows.test), step)
    ]
    return Scored(
        title=title,
        fixed=Scores(fit.classes, np.concatenate(scores), config.c),
        summary={
            "largest relative gradient norm": float(fit.gradient_norm.max()),
            "largest duality gap": _largest_gap([fit.duality_gap]),
            "most iterations": int(fit.iterations.max()),
        },
        notices=(
            FIXED_C_ONLY.says(
                f"{len(rows.ids):,} images are more than the {svm.MAX_GRAM_ROWS:,} with "
                f"which the C of {title} is tuned"
            ),
            *_not_converged(title, fit.converged),
        ),
    )


def _reduced(
    config: SvmConfig, rows: LabelledRows, gram: np.ndarray
) -> tuple[np.ndarray, float | None]:
    """The Gram matrix of the principal components of the rows, where settings ask for them.

    The components are scaled to unit length again. With them goes the share of the training
    variance that they hold.
    """
    from methods.classifiers.gram_pca import gram_pca
    from methods.classifiers.row_scaling import WHITENED_ROWS

    if isinstance(config, ReducedSvmConfig) and config.pca_components is not None:
        wanted, whiten = config.pca_components, config.pca_whiten
    elif config.scale == "whiten":
        wanted, whiten = max(min(WHITENED_ROWS, len(rows.train) // 2), 1), True
    else:
        return gram, None
    try:
        components = gram_pca(gram, rows.train, wanted, whiten)
    except ValueError as error:
        raise InputError(
            f"{wanted} principal components cannot take the place of the rows: {error}",
            "Set pca_components to another number, or another scale",
        ) from error
    scores = l2_normalise(components.scores)
    return np.asarray(scores @ scores.T), components.explained


def few_labels(
    gram: np.ndarray,
    rows: LabelledRows,
    config: SvmSettings,
    budgets: Sequence[int],
    repeats: int,
    seed: int,
    tune: bool,
) -> dict[int, np.ndarray]:
    """Whether each test image is right from so many labels a class, (draws, n_test) for each.

    Args:
        gram: (n, n) of all rows.
        rows: the labelled images.
        config: settings of the SVM.
        budgets: labels a class; those that no class has are left out.
        repeats: draws for each budget.
        seed: of the draws.
        tune: choose C among the labels of the draw: all training labels would tell more than the
            budget holds.
    """
    from methods.statistics.label_efficiency import label_budget_draw

    train_labels, groups = rows.labels[rows.train], [rows.groups[i] for i in rows.train]
    largest = int(np.unique(train_labels, return_counts=True)[1].max())
    correct: dict[int, np.ndarray] = {}
    for budget in sorted(set(budgets)):
        if budget >= largest or not repeats:
            break
        draws = (
            rows.train[label_budget_draw(train_labels, groups, budget, seed + repeat)]
            for repeat in range(repeats)
        )
        correct[budget] = np.stack(
            [correct_on_test(gram, rows, drawn, config, tune, seed) for drawn in draws]
        )
    return correct


def majority_evaluation(study: Study, method: Method) -> dg.AssetsDefinition:
    """The evaluation of what learns nothing: every test image gets the commonest training class."""

    @stage(
        ScoreConfig,
        name=method.evaluation,
        description=f"{method.title}, on the test split: what a method must beat to have learned "
        "anything.",
        group=GROUP,
        order=6,
        kinds={"numpy", "parquet"},
        code_version="3",
        inputs=(names.IMAGE_MANIFEST,),
        facts=EvaluationFacts,
        tables=(METRICS, PREDICTIONS),
    )
    def evaluation(here: Stage[ScoreConfig]) -> Plan:
        from methods.statistics.null import majority_class

        rows = scorable_rows(here.store, here.dataset, study)

        def compute(work: Work) -> Output:
            trained = rows.labels[rows.train]
            classes = np.unique(trained)
            one_hot = (classes == majority_class(trained)).astype(np.float64)
            scores = np.tile(one_hot, (len(rows.test), 1))
            scored = Scored(method.title, Scores(classes, scores))
            return score(work, here.config, study, method, rows, scored)

        return Plan(compute, identity={"rows": rows.version})

    return evaluation


svm_evaluations = [
    svm_evaluation(study, method) if method.features else majority_evaluation(study, method)
    for study in studies_of("test split")
    for method in study.methods
    if not method.members
]

"""Evaluations: one asset for each method of a study, scored on the test split."""

from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg
import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.partitions import DATASETS
from assets.core.scoring import ScoreConfig, Scored, score
from assets.core.stage import Output, Work, materialize, materialize_nothing, plain_failures
from assets.features.frozen_networks import open_features
from assets.images import image_manifest
from data_contracts.errors import InputError
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.studies.registry import studies_of
from data_contracts.studies.study import Method, Study
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader
from resources.store.model_store import load_model

GROUP = "evaluation"
MEMORY_BYTES = 2**30
"""Features held at once while the Gram matrix is built, or while the solver streams over them."""
STREAMED_ROWS = (64, 2048)
"""Fewest and most rows of a block of the streaming solver: fewer waste its products, more gain
nothing."""


class SvmConfig(ScoreConfig):
    """Settings of an SVM evaluation."""

    c: PositiveFloat = 1.0
    """Weight of the loss: the paper's regularisation parameter."""
    tolerance: PositiveFloat = 1e-5
    """Stop at this gradient norm, relative to that at zero, and duality gap, relative to the
    objective."""
    label_budgets: list[PositiveInt] = Field(default=[1, 2, 5, 10])
    """Labelled training images a class that are also tried; [] for none."""
    label_repeats: NonNegativeInt = 10
    """Draws for each budget, the same for every method."""


class ReducedSvmConfig(SvmConfig):
    """Settings of an SVM evaluation of long rows."""

    pca_components: PositiveInt | None = None
    """Principal components, fitted on the training images, that take the place of the rows."""
    pca_whiten: bool = False
    """Scale each component to unit variance."""


def title_of(method: Method, features: FeatureSet) -> str:
    """The method's title; where its features are not of the network and layer that it stands for,
    it says of which.
    """
    if method.source in (None, (features.backbone, features.layer)):
        return method.title
    return f"{method.title} ({features.backbone} {features.layer})"


def svm_evaluation(study: Study, method: Method) -> dg.AssetsDefinition:
    """The evaluation of one registered method: linear SVM on its features, scored on the test
    split.
    """
    if TYPE_CHECKING:
        config_type: TypeAlias = SvmConfig
    else:  # Dagster reads the annotation
        config_type = ReducedSvmConfig if method.allows_pca else SvmConfig

    @dg.asset(
        name=method.evaluation,
        description=f"{method.title}: top-1 accuracy with interval, per-class figures and predictions on the test split, "
        "and the accuracy from a few labels a class.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[image_manifest, dg.AssetKey(method.features)],
        kinds={"scikitlearn", "parquet"},
        code_version="3",
        tags={"stage": "6"},
    )
    def evaluation(
        context: dg.AssetExecutionContext, config: config_type, store: DatasetStore
    ) -> dg.MaterializeResult:
        dataset, inputs = context.partition_key, ("image_manifest", method.features)
        with plain_failures():
            rows = scorable_rows(store, dataset, study)
            if (
                isinstance(config, ReducedSvmConfig)
                and config.pca_components is not None
                and gram_limit(rows)
            ):
                raise InputError(
                    f"pca_components cannot be set: {gram_limit(rows)}", "Leave it out"
                )
            made = store.need_record(dataset, method.features)
            reason = made.unavailable
            if made.feature_set is not None and made.feature_set.kind != method.features:
                reason = (
                    f"its features are those of {made.feature_set.kind}, which has a row of its own"
                )
            if reason:
                return materialize_nothing(context, store, config, reason, inputs)
            reader = open_features(store, dataset, method.features, rows.ids)

        def work_out(work: Work) -> Output:
            title = title_of(method, reader.feature_set)
            return score(
                store, work, config, study, method, rows, _scored(config, title, rows, reader)
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


def _scored(config: SvmConfig, title: str, rows: LabelledRows, reader: FeatureReader) -> Scored:
    fit, scores, gram = _fit_and_score(config, rows, reader)
    return Scored(
        title=title,
        classes=fit.classes,
        scores=scores,
        few_labels=_few_labels(config, rows, gram) if gram is not None else {},
        summary={
            "largest relative gradient norm": float(fit.gradient_norm.max()),
            "largest duality gap": float(np.max(fit.duality_gap))
            if gram is not None
            else "not known (primal solver)",
            "most iterations": int(fit.iterations.max()),
        },
        notices=()
        if fit.converged
        else (f"NOT CONVERGED: the SVM of {title} stopped above its tolerance",),
    )


def gram_limit(rows: LabelledRows) -> str:
    """Why a study that works on one Gram matrix cannot be made of so many images; "" where it
    can.
    """
    from methods.classifiers import linear_svm as svm

    if len(rows.ids) <= svm.MAX_GRAM_ROWS:
        return ""
    return f"it works on one Gram matrix, and {len(rows.ids):,} labelled images are more than {svm.MAX_GRAM_ROWS:,}"


def correct_on_test(
    gram: np.ndarray, rows: LabelledRows, known: np.ndarray, c: float, tolerance: float
) -> np.ndarray:
    """Whether the SVM fitted on the rows ``known`` classifies each test image correctly, (n_test,)
    bool; gram is of all rows.
    """
    from methods.classifiers import linear_svm as svm

    fit = svm.fit_gram(gram[np.ix_(known, known)], rows.labels[known], c, tolerance)
    return np.asarray(fit.predict(gram[np.ix_(rows.test, known)]) == rows.labels[rows.test])


def gram_of(reader: FeatureReader) -> np.ndarray:
    """Gram matrix of all rows of a reader, normalised, (n, n) float32."""
    from methods.classifiers import linear_svm as svm

    width = int(np.prod(reader.feature_set.row_shape))
    return svm.gram_matrix(reader.rows, len(reader), max(MEMORY_BYTES // (8 * width), 256))


def streamed_rows(width: int) -> int:
    """Rows of a block of the streaming solver, each of ``width`` numbers.

    A number takes 16 bytes: as stored, as float32 of unit length, and as the float64 that a product
    with the weights makes of it.
    """
    fewest, most = STREAMED_ROWS
    return min(max(MEMORY_BYTES // (16 * width), fewest), most)


def _fit_and_score(
    config: SvmConfig, rows: LabelledRows, reader: FeatureReader
) -> tuple[Any, np.ndarray, Any]:
    """The fit on all training rows, its (n_test, K) scores, and the Gram matrix (None above its
    limit).
    """
    from methods.classifiers import linear_svm as svm

    width = int(np.prod(reader.feature_set.row_shape))
    labels = rows.labels[rows.train]
    if len(rows.ids) <= svm.MAX_GRAM_ROWS:
        gram = _reduced(config, rows, gram_of(reader))
        fit = svm.fit_gram(gram[np.ix_(rows.train, rows.train)], labels, config.c, config.tolerance)
        return fit, fit.decision(gram[np.ix_(rows.test, rows.train)]), gram
    step = streamed_rows(width)

    def blocks() -> Any:
        for start in range(0, len(rows.train), step):
            yield svm.l2_normalise(reader.take(rows.train[start : start + step]))

    fit = svm.fit_primal(blocks, labels, width, config.c, config.tolerance)
    scores = [
        fit.decision(svm.l2_normalise(reader.take(rows.test[i : i + step])))
        for i in range(0, len(rows.test), step)
    ]
    return fit, np.concatenate(scores), None


def _reduced(config: SvmConfig, rows: LabelledRows, gram: np.ndarray) -> np.ndarray:
    """The Gram matrix of the principal components of the rows, again of unit length, where settings
    ask for them.
    """
    if not isinstance(config, ReducedSvmConfig) or config.pca_components is None:
        return gram
    from methods.classifiers import linear_svm as svm
    from methods.classifiers.gram_pca import gram_pca

    try:
        scores = svm.l2_normalise(
            gram_pca(gram, rows.train, config.pca_components, config.pca_whiten).scores
        )
    except ValueError as error:
        raise InputError(
            f"pca_components is {config.pca_components}: {error}", "Set another number"
        ) from error
    return np.asarray(scores @ scores.T)


def _few_labels(config: SvmConfig, rows: LabelledRows, gram: np.ndarray) -> dict[int, list[float]]:
    """Accuracy on the whole test split from ``k`` labels a class, one figure for each draw."""
    from methods.statistics.classification_metrics import label_budget_draw

    train_labels = rows.labels[rows.train]
    largest = int(np.unique(train_labels, return_counts=True)[1].max())
    accuracies: dict[int, list[float]] = {}
    for budget in sorted(set(config.label_budgets)):
        if budget >= largest:
            break
        for repeat in range(config.label_repeats):
            drawn = rows.train[label_budget_draw(train_labels, budget, config.seed, repeat)]
            correct = correct_on_test(gram, rows, drawn, config.c, config.tolerance)
            accuracies.setdefault(budget, []).append(float(correct.mean()))
    return accuracies


def ensemble_evaluation(study: Study, method: Method) -> dg.AssetsDefinition:
    """The evaluation of an ensemble: the mean of its members' class probabilities, scored on the
    test split.
    """
    models = [f"fine_tuned_{member}" for member in method.members]
    features = [f"{model}_features" for model in models]
    inputs = ("image_manifest", *models, *features)

    @dg.asset(
        name=method.evaluation,
        description=f"{method.title}: the mean of the softmax probabilities of the fine-tuned networks, on the test split.",
        partitions_def=DATASETS,
        group_name=GROUP,
        deps=[dg.AssetKey(name) for name in inputs],
        kinds={"numpy", "parquet"},
        code_version="1",
        tags={"stage": "6"},
    )
    def evaluation(
        context: dg.AssetExecutionContext, config: ScoreConfig, store: DatasetStore
    ) -> dg.MaterializeResult:
        dataset = context.partition_key
        with plain_failures():
            rows = scorable_rows(store, dataset, study)
            made = [store.need_record(dataset, name) for name in (*models, *features)]
            reason = next((record.unavailable for record in made if record.unavailable), "")
            if reason:
                return materialize_nothing(context, store, config, reason, inputs)

        def work_out(work: Work) -> Output:
            from methods.training.fine_tuning import class_probabilities, mean_probabilities

            probabilities, classes = [], np.array([])
            for model, rows_of in zip(models, features, strict=True):
                tensors, sidecar = load_model(store, dataset, model)
                reader = open_features(store, dataset, rows_of, rows.ids)
                head = (tensors["head.weight"].numpy(), tensors["head.bias"].numpy())
                probabilities.append(class_probabilities(reader.take(rows.test), *head))
                reader.close()
                classes = np.array(sidecar.settings["classes"], dtype=np.str_)
            scored = Scored(method.title, classes, mean_probabilities(probabilities))
            return score(store, work, config, study, method, rows, scored)

        return materialize(
            context,
            store,
            config,
            work_out,
            inputs=inputs,
            known_by={"members": [record.data_version for record in made], "rows": rows.version},
        )

    return evaluation


evaluations = [
    ensemble_evaluation(study, method) if method.members else svm_evaluation(study, method)
    for study in studies_of("test split")
    for method in study.methods
]

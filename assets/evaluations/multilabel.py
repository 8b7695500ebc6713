"""Evaluations where an image has several labels, or none: networks and SVMs.

Source: Lyndon et al. 2015, section 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from assets.core.labelled_rows import LabelledRows, scorable_rows
from assets.core.plan import Output, Plan, Stage, UnavailableError, Work
from assets.core.scoring import MetricRows, ScoreConfig, neighbours_on_test, null_rows
from assets.core.settings import SvmSettings
from assets.core.stage import stage
from assets.evaluations.svm import GROUP, gram_limit
from assets.evaluations.svm_rows import gram_of
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.assessment import Assessment
from data_contracts.records.facts import MultilabelFacts
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.notices import NOT_CONVERGED, NOT_LEARNED
from data_contracts.studies.lyndon2015 import LYNDON2015, NETWORKS
from data_contracts.studies.study import Method
from data_contracts.tables.evaluations import METRICS
from data_contracts.tables.multilabel import MULTILABEL_PREDICTIONS
from methods.curation.manifest_rows import label_matrix, sets_in_words
from methods.settings import LenetSettings
from resources.store.feature_store import FeatureReader
from resources.store.model_store import load_model

if TYPE_CHECKING:
    from torch import Tensor

    from methods.classifiers.label_probabilities import LabelledImages
    from methods.classifiers.one_vs_all import OneVsAllFit
    from methods.statistics.metrics import Answers, Measurement

NETWORK_BATCH = 20
"""Number of images that the networks take at once."""
NETWORK_THRESHOLD = 0.5
"""Probability from which on a network gives its label."""


class MultilabelSvmConfig(ScoreConfig, SvmSettings):
    """Settings of the evaluation of SVMs."""


@dataclass(frozen=True)
class LabelScores:
    """The scores that a method gives to the labels of the test images.

    Attributes:
        scores: (n_test, L), larger where a label is more likely.
        thresholds: (L,) score from which on a label is predicted.
        gram: (n_test, n_test) inner products of the features behind them.
        likely: (n_test, L) probability of each label; NaN where none is known.
        left_out: (n_train, L) the same of the training images, each scored without its group; None
            where there are no such scores.
        notices: what a reader must know.
    """

    scores: np.ndarray
    thresholds: np.ndarray
    gram: np.ndarray
    likely: np.ndarray
    left_out: np.ndarray | None = None
    notices: tuple[str, ...] = ()


def label_output(
    work: Work, config: ScoreConfig, method: Method, rows: LabelledRows, given: LabelScores
) -> Output:
    """Matches with their intervals, figures by label, predictions and pictures."""
    from methods.classifiers.label_probabilities import assess_labels
    from methods.statistics.metrics import Answers, Sample, measure, null_counts

    labels, truth = label_matrix(rows.labels.tolist())
    neighbours = neighbours_on_test(given.gram, truth[rows.test], rows, config.seed)
    predicted = given.scores >= given.thresholds
    answers = Answers(tuple(labels), truth[rows.test], predicted, given.scores, neighbours)
    sample = Sample(rows.test_groups, config.bootstrap_resamples, config.seed)
    measured = measure(answers, LYNDON2015.protocol, sample)
    metrics = _metrics(work, config, method, rows, (truth[rows.train], answers), measured)
    predictions = _predictions(rows, answers)
    images = _labelled_images(rows, truth, given)
    assessments = assess_labels(labels, predicted, *images, seed=config.seed)
    null = null_counts(answers)
    return Output(
        content=[metrics, predictions],
        files=[
            work.write_table(metrics, METRICS),
            work.write_table(predictions, MULTILABEL_PREDICTIONS),
        ],
        pictures=[("matches", _bars(measured, metrics)), *_reliability(*images)],
        summary={
            **{
                figure.metric.name.replace("_", " "): figure.value
                for figure in measured
                if figure.subject == "all"
            },
            "test images": len(rows.test),
            "training images": len(rows.train),
            "labels": len(labels),
            "test images without a label": null.true_empty,
            "given no label": null.predicted_empty,
            "both": null.both_empty,
            **_thresholds(labels, given.thresholds),
            "method": method.title,
        },
        facts=MultilabelFacts(
            rows_version=rows.version,
            title=method.title,
            training_images=len(rows.train),
            test_images=len(rows.test),
            labels=len(labels),
            both_empty=null.both_empty,
            assessments=assessments,
        ),
        notices=[*given.notices, *_calibration_notices(assessments, method)],
        rows=len(rows.test),
    )


def _metrics(
    work: Work,
    config: ScoreConfig,
    method: Method,
    rows: LabelledRows,
    known: tuple[np.ndarray, "Answers"],
    measured: Sequence["Measurement"],
) -> list[dict[str, Any]]:
    """Rows of METRICS: those of ``measured`` first, then what a method must beat.

    ``known`` are the labels (n_train, L) of the training images and the answers on the test images.
    """
    trained, answers = known
    metric_rows = MetricRows(work, LYNDON2015, method.name, config.seed, config.settings())
    learned, seen, said = (
        sets_in_words(answers.labels, of) for of in (trained, answers.truth, answers.predicted)
    )
    return [
        *(metric_rows.measured(figure) for figure in measured),
        *null_rows(metric_rows, learned, seen, said, rows.test_groups),
    ]


def _calibration_notices(assessments: Mapping[str, Assessment], method: Method) -> list[str]:
    """The notice of each label whose probabilities are far off on the test images."""
    from methods.reporting.assessments.calibration import calibration_notices

    return [
        notice
        for label, of in assessments.items()
        for notice in calibration_notices(of.calibration, f" of {label} ({method.title})")
    ]


def _labelled_images(
    rows: LabelledRows, truth: np.ndarray, given: LabelScores
) -> "tuple[LabelledImages, LabelledImages | None]":
    """The test images with their probabilities, and the training images where they have any."""
    from methods.classifiers.label_probabilities import LabelledImages

    test = LabelledImages(truth[rows.test], given.likely, rows.test_groups)
    if given.left_out is None:
        return test, None
    return test, LabelledImages(truth[rows.train], given.left_out, rows.train_groups)


def _reliability(
    test: "LabelledImages", left_out: "LabelledImages | None"
) -> list[tuple[str, bytes]]:
    """Stated probability of the decisions on all labels against the share that is right."""
    from methods.classifiers.label_probabilities import stated_decisions
    from methods.reporting import figures

    sets = {"training images, out of fold": left_out, "test images": test}
    stated = {name: stated_decisions(of) for name, of in sets.items() if of is not None}
    known = {name: of for name, of in stated.items() if len(of[0])}
    if not known:
        return []
    return [("stated probability against accuracy, all labels", figures.reliability(known))]


def _bars(measured: Sequence["Measurement"], metrics: Sequence[Mapping[str, Any]]) -> bytes:
    """The picture of the metrics of images with their intervals.

    The rows ``metrics`` begin with those of ``measured``.
    """
    from methods.reporting import figures

    return figures.method_bars(
        [
            (figure.metric.title.lower(), row["value"], row["ci_low"], row["ci_high"])
            for figure, row in zip(measured, metrics, strict=False)
            if figure.metric.of == "images"
        ]
    )


def _thresholds(labels: Sequence[str], thresholds: np.ndarray) -> dict[str, float | str]:
    """The threshold of each label under its caption."""
    pairs = zip(labels, thresholds.tolist(), strict=True)
    return {f"threshold of {label}": _in_words(threshold) for label, threshold in pairs}


def _predictions(rows: LabelledRows, answers: "Answers") -> list[dict[str, Any]]:
    """Rows of MULTILABEL_PREDICTIONS, one a test image."""
    from methods.statistics.metrics import exact_match

    exact = exact_match(answers)
    groups: Sequence[str | None] = rows.test_groups or [None] * len(rows.test)

    def in_words(given: np.ndarray) -> list[str]:
        return [answers.labels[k] for k in np.flatnonzero(given).tolist()]

    return [
        {
            "image_id": rows.ids[i],
            "split": "test",
            "labels": in_words(answers.truth[n]),
            "predicted": in_words(answers.predicted[n]),
            "scores": answers.scores[n].astype(np.float64).tolist(),
            "exact": bool(exact[n]),
            "group_id": groups[n],
        }
        for n, i in enumerate(rows.test)
    ]


def _in_words(threshold: float) -> float | str:
    """A threshold for a person: a number, or what an infinite one does."""
    if np.isfinite(threshold):
        return float(threshold)
    return "never given" if threshold > 0 else "always given"


def network_evaluation(method: Method) -> dg.AssetsDefinition:
    """The networks, each at the probability of 0.5."""

    @stage(
        ScoreConfig,
        name=method.evaluation,
        description=f"{method.title}: exact match, any match and Hamming similarity with "
        "intervals, figures by label, and retrieval and clustering by the hidden units.",
        group=GROUP,
        order=6,
        kinds={"pytorch", "parquet"},
        code_version="6",
        inputs=(names.IMAGE_MANIFEST, names.SQUARE_IMAGES, method.features),
        facts=MultilabelFacts,
        tables=(METRICS, MULTILABEL_PREDICTIONS),
        uses_device=True,
    )
    def evaluation(here: Stage[ScoreConfig]) -> Plan:
        device = here.device
        rows = scorable_rows(here.store, here.dataset, LYNDON2015)
        images = here.features(names.SQUARE_IMAGES, rows.ids)
        tensors, sidecar = load_model(here.store, here.dataset, method.features)
        labels, _ = label_matrix(rows.labels.tolist())
        if sidecar.settings["labels"] != labels:
            raise InputError(
                f"{method.features} of {here.dataset} was trained on other labels",
                f"Run {LYNDON2015.name} again",
            )

        def compute(work: Work) -> Output:
            scores, features = _network_scores(tensors, sidecar, images, rows, device)
            thresholds = np.full(len(labels), NETWORK_THRESHOLD)
            given = LabelScores(scores, thresholds, features @ features.T, likely=scores)
            return label_output(work, here.config, method, rows, given)

        return Plan(
            compute,
            identity={
                "images": images.feature_set.key,
                "model": sidecar.weights_sha256,
                "rows": rows.version,
            },
        )

    return evaluation


def _network_scores(
    tensors: "Mapping[str, Tensor]",
    sidecar: ModelSidecar,
    images: FeatureReader,
    rows: LabelledRows,
    device: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Probability (n_test, L) of each label from stored networks, and their features."""
    import torch

    from methods.training import lenet

    trained = {name: value for name, value in sidecar.settings.items() if name != "labels"}
    settings, target = LenetSettings(**trained), torch.device(device)
    network = lenet.load_networks(tensors, images.feature_set.row_shape[0], settings, target)
    return lenet.probabilities_and_features(network, images.take(rows.test), target, NETWORK_BATCH)


def svm_evaluation(method: Method) -> dg.AssetsDefinition:
    """One SVM for each label, its threshold from out-of-fold scores of the training images."""

    @stage(
        MultilabelSvmConfig,
        name=method.evaluation,
        description=f"{method.title}: one linear SVM for each label, its threshold fitted on folds "
        "of the training images; exact match, any match and Hamming similarity with intervals, "
        "figures by label, and retrieval and clustering by the features.",
        group=GROUP,
        order=6,
        kinds={"scikitlearn", "parquet"},
        code_version="8",
        inputs=(names.IMAGE_MANIFEST, method.features),
        facts=MultilabelFacts,
        tables=(METRICS, MULTILABEL_PREDICTIONS),
    )
    def evaluation(here: Stage[MultilabelSvmConfig]) -> Plan:
        rows = scorable_rows(here.store, here.dataset, LYNDON2015)
        if reason := gram_limit(rows):
            raise UnavailableError(reason)
        reader = here.features(method.features, rows.ids)

        def compute(work: Work) -> Output:
            given = svm_scores(here.config, here.dataset, method.title, rows, gram_of(reader))
            return label_output(work, here.config, method, rows, given)

        return Plan(compute, identity={"features": reader.feature_set.key, "rows": rows.version})

    return evaluation


def svm_scores(
    config: MultilabelSvmConfig, dataset: str, title: str, rows: LabelledRows, gram: np.ndarray
) -> LabelScores:
    """Scores of one SVM a label on the test images; ``gram`` (n, n) is of all rows.

    Raises:
        InputError: the training images have too few groups for the folds behind the thresholds.
    """
    from methods.classifiers.label_probabilities import calibrate_labels
    from methods.classifiers.one_vs_all import fit_one_vs_all, out_of_fold_scores

    labels, truth = label_matrix(rows.labels.tolist())
    of_train, known = gram[np.ix_(rows.train, rows.train)], truth[rows.train]
    groups = [rows.groups[i] for i in rows.train]
    try:
        left_out = out_of_fold_scores(
            of_train, known, groups, config.c, config.tolerance, config.seed
        )
    except ValueError as error:
        raise InputError(
            f"no threshold can be fitted on {dataset}: {error}", "Add images of other groups"
        ) from error
    fit = fit_one_vs_all(of_train, known, config.c, config.tolerance)
    read_by = calibrate_labels(left_out, known, groups)
    scores = fit.decision(gram[np.ix_(rows.test, rows.train)])
    of_test = gram[np.ix_(rows.test, rows.test)]
    return LabelScores(
        scores,
        read_by.thresholds,
        of_test,
        read_by.probabilities(scores),
        read_by.probabilities(left_out.scores),
        fit_notices(labels, title, fit),
    )


def fit_notices(labels: Sequence[str], title: str, fit: "OneVsAllFit") -> tuple[str, ...]:
    """What a reader must know of the SVMs of the labels of a method with this title."""
    return (
        *(
            NOT_CONVERGED.says(f"the SVM of {labels[k]} ({title}) stopped above its tolerance")
            for k in np.flatnonzero(~fit.converged).tolist()
        ),
        *(
            NOT_LEARNED.says(f"{labels[k]} is on all training images or on none")
            for k in np.flatnonzero(~fit.learned).tolist()
        ),
    )


multilabel_evaluations = [
    network_evaluation(method) if method in NETWORKS else svm_evaluation(method)
    for method in LYNDON2015.methods
]

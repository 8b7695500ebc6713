"""From the scores of a classifier on the test split to what an evaluation stores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.core.labelled_rows import LabelledRows
from assets.core.plan import Output, Work
from assets.core.settings import BootstrapSetting, SeedSetting
from data_contracts.records.facts import EvaluationFacts
from data_contracts.records.notices import BADLY_CALIBRATED
from data_contracts.studies.study import Method, Study
from data_contracts.tables.evaluations import FIXED, METRICS, PREDICTIONS, TUNED

if TYPE_CHECKING:
    from data_contracts.records.assessment import Assessment, Estimate
    from methods.classifiers.calibration import OutOfFold
    from methods.statistics.metrics import Answers, Measurement
    from methods.statistics.retrieval import Neighbours
    from methods.statistics.significance import Interval


NO_INTERVAL = "none: all test images are of one patient"
"""What stands in place of an interval that no figure of one group has."""

FAR_OFF = BADLY_CALIBRATED.says(
    "on the test images stated probabilities are far from the share that is "
    "right; the section on probabilities says how far"
)
"""Notice of a classifier whose probabilities cannot be read as such on the test images."""


class ScoreConfig(SeedSetting, BootstrapSetting):
    """Settings of every evaluation."""


@dataclass(frozen=True)
class MetricRows:
    """Makes the rows of METRICS of one evaluation, which share everything but the figure.

    Attributes:
        work: the output that the rows belong to; its inputs are the rows' data versions.
        study: the study of the method.
        method: name of the method.
        seed: seed of the evaluation.
        settings: settings that the figures depend on.
        regularisation: of the SVM, fixed or tuned.
    """

    work: Work
    study: Study
    method: str
    seed: int
    settings: Mapping[str, object]
    regularisation: str = FIXED

    def row(
        self,
        metric: str,
        subject: str,
        value: float,
        n: int,
        interval: "Interval | None" = None,
    ) -> dict[str, Any]:
        """One figure of ``n`` images; the interval is widened to hold it where rounding did not."""
        versions = {name: record.data_version for name, record in self.work.inputs.items()}
        interval = interval if interval is not None and interval.known else None
        return {
            "dataset": self.work.dataset,
            "study": self.study.name,
            "method": self.method,
            "metric": metric,
            "regularisation": self.regularisation,
            "subject": subject,
            "value": value,
            "ci_low": None if interval is None else min(interval.low, value),
            "ci_high": None if interval is None else max(interval.high, value),
            "interval": None if interval is None else interval.described,
            "n": n,
            "seed": self.seed,
            "settings": json.dumps(self.settings, sort_keys=True),
            "data_versions": json.dumps(versions, sort_keys=True),
        }

    def measured(self, figure: "Measurement") -> dict[str, Any]:
        """The row of a measurement of the registry of metrics."""
        return self.row(figure.metric.name, figure.subject, figure.value, figure.n, figure.interval)


@dataclass(frozen=True)
class Scores:
    """The scores that one classifier gives to the test images.

    Attributes:
        classes: (K,) names, in the order of the columns of ``scores``.
        scores: (n_test, K); the class of the largest score is predicted.
        c: of the linear SVM; None where there is none.
        out_of_fold: scores of the training images from folds without their group; None where there
            are none.
        few_labels: labels a class -> (draws, n_test) whether each draw is right on each image.
    """

    classes: np.ndarray
    scores: np.ndarray
    c: float | None = None
    out_of_fold: "OutOfFold | None" = None
    few_labels: Mapping[int, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A method with the classifiers that were fitted to its features.

    Attributes:
        title: title of the method.
        fixed: the classifier at the paper's own C, or that has no C.
        tuned: the classifier at the C that the training images choose; None where there is none.
        neighbours: how the features of the test images lie to each other; None where there are
            none, or no Gram matrix.
        domain_auc: area under the ROC curve of the domain classifier; None where that is not
            measured.
        summary: further figures.
        notices: what a reader must know.
    """

    title: str
    fixed: Scores
    tuned: Scores | None = None
    neighbours: "Neighbours | None" = None
    domain_auc: "Estimate | None" = None
    summary: Mapping[str, float | int | str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def by_regularisation(self) -> dict[str, Scores]:
        """The classifiers by their regularisation, the fixed one first."""
        return {FIXED: self.fixed} | ({} if self.tuned is None else {TUNED: self.tuned})


def score(
    work: Work,
    config: ScoreConfig,
    study: Study,
    method: Method,
    rows: LabelledRows,
    scored: Scored,
) -> Output:
    """Every metric of the registry, predictions and pictures of one method."""
    measured = {
        regularisation: _measured(
            work,
            config,
            study,
            method,
            rows,
            regularisation,
            scores,
            scored.neighbours if regularisation == FIXED else None,
        )
        for regularisation, scores in scored.by_regularisation.items()
    }
    metrics = [row for of in measured.values() for row in of.metrics]
    predictions = [row for of in measured.values() for row in of.predictions]
    fixed, reported = measured[FIXED], list(measured.values())[-1]
    return Output(
        content=[metrics, predictions],
        files=[work.write_table(metrics, METRICS), work.write_table(predictions, PREDICTIONS)],
        pictures=[
            *_pictures(fixed.answers, scored, fixed.metrics),
            *_calibration_pictures(rows, scored.tuned or scored.fixed),
            *(_class_curves(config, rows, scored) if method.name == study.main else []),
        ],
        summary={
            **fixed.summary,
            **_tuned_summary(scored, measured.get(TUNED)),
            "test images": len(rows.test),
            "training images": len(rows.train),
            "classes": len(fixed.answers.labels),
            **scored.summary,
            "method": scored.title,
        },
        facts=_facts(rows, scored, measured),
        notices=[*scored.notices, *_calibration_notices(reported.assessment)],
        rows=len(rows.test),
    )


@dataclass(frozen=True)
class _Measured:
    """What one classifier of a method is worth.

    Attributes:
        answers: truth and predictions of the test images.
        metrics: rows of METRICS.
        predictions: rows of PREDICTIONS.
        assessment: how good it is, out of fold too.
        summary: its accuracy in words.
    """

    answers: "Answers"
    metrics: list[dict[str, Any]]
    predictions: list[dict[str, Any]]
    assessment: "Assessment"
    summary: dict[str, float | int | str]


def _facts(
    rows: LabelledRows, scored: Scored, measured: Mapping[str, _Measured]
) -> EvaluationFacts:
    """What code of other stages reads of an evaluation."""
    return EvaluationFacts(
        rows_version=rows.version,
        title=scored.title,
        training_images=len(rows.train),
        test_images=len(rows.test),
        classes=len(measured[FIXED].answers.labels),
        test_version=rows.test_version,
        assessments={name: of.assessment for name, of in measured.items()},
        domain_auc=scored.domain_auc,
    )


def _measured(
    work: Work,
    config: ScoreConfig,
    study: Study,
    method: Method,
    rows: LabelledRows,
    regularisation: str,
    scores: Scores,
    neighbours: "Neighbours | None",
) -> _Measured:
    """The figures and predictions of one classifier of a method."""
    from methods.statistics.metrics import Sample, measure, one_label_answers

    truth, seed = rows.labels[rows.test], config.seed
    answers = one_label_answers(truth, scores.scores, scores.classes.tolist(), neighbours)
    sample = Sample(rows.test_groups, config.bootstrap_resamples, seed)
    measured = measure(answers, study.protocol, sample)
    of_all = {row.metric.name: row for row in measured if row.subject == "all"}
    interval = of_all["accuracy"].interval
    between = (
        f"{interval.low:.4f} to {interval.high:.4f} ({interval.described})"
        if interval and interval.known
        else NO_INTERVAL
    )
    settings = config.settings()
    if scores.c is not None:
        settings["c"] = scores.c
    metric_rows = MetricRows(work, study, method.name, seed, settings, regularisation)
    return _Measured(
        answers=answers,
        metrics=[
            *(metric_rows.measured(row) for row in measured),
            *few_label_rows(metric_rows, scores.few_labels, rows.test_groups),
            *null_rows(
                metric_rows,
                rows.labels[rows.train],
                truth,
                np.asarray(answers.labels)[answers.predicted.argmax(axis=1)],
                rows.test_groups,
            ),
        ],
        predictions=prediction_rows(rows, scores, answers, regularisation),
        assessment=_assessment(config, rows, scores),
        summary={
            "accuracy": of_all["accuracy"].value,
            "accuracy, 95 % interval": between,
            "macro F1": of_all["macro_f1"].value,
        },
    )


def _assessment(config: ScoreConfig, rows: LabelledRows, scores: Scores) -> "Assessment":
    """How good a classifier is on the test images and out of fold."""
    from methods.classifiers.assessment import ScoredImages, assess

    test = ScoredImages(rows.labels[rows.test], scores.scores, rows.test_groups)
    train = rows.labels[rows.train], rows.train_groups
    resamples, seed = config.bootstrap_resamples, config.seed
    return assess(scores.classes, test, scores.out_of_fold, train, resamples, seed)


def _calibration_pictures(rows: LabelledRows, scores: Scores) -> list[tuple[str, bytes]]:
    """Stated probability against accuracy, out of fold and on test images, where it is known."""
    from methods.classifiers.assessment import stated_probabilities
    from methods.reporting import figures

    labels = rows.labels[rows.train], rows.labels[rows.test]
    stated = stated_probabilities(scores.classes, scores.scores, scores.out_of_fold, *labels)
    if not stated:
        return []
    return [("stated probability against accuracy", figures.reliability(stated))]


def _class_curves(
    config: ScoreConfig, rows: LabelledRows, scored: Scored
) -> list[tuple[str, bytes]]:
    """ROC and precision-recall curves of each class against the others, where both sides are."""
    from methods.reporting.pictures.roc_pictures import one_vs_rest
    from methods.statistics.curves.one_vs_rest import class_curves

    of = scored.tuned or scored.fixed
    labels = rows.labels[rows.test]
    curves = class_curves(of.classes, of.scores, labels, rows.test_groups, config.seed)
    if not curves:
        return []
    title = f"{scored.title}: ROC and precision-recall curves of each class against the others"
    return [(f"{title}, test images", one_vs_rest(curves))]


def _calibration_notices(assessment: "Assessment") -> tuple[str, ...]:
    """The notice that probabilities are far off on the test images, where they are."""
    from methods.statistics.calibration_figures import is_badly_calibrated

    test = assessment.calibration
    return (FAR_OFF,) if test is not None and is_badly_calibrated(test) else ()


def _tuned_summary(scored: Scored, measured: _Measured | None) -> dict[str, float | int | str]:
    """The figures at the tuned C, and that C."""
    if scored.tuned is None or measured is None or scored.tuned.c is None:
        return {}
    return {"tuned C": scored.tuned.c} | {
        f"{caption}, tuned C": value for caption, value in measured.summary.items()
    }


def _pictures(
    answers: "Answers", scored: Scored, metrics: Sequence[Mapping[str, Any]]
) -> list[tuple[str, bytes]]:
    """The confusion matrix, and the curve of the rows of few labels where there are any."""
    from methods.reporting import figures
    from methods.statistics.metrics import confusion_counts

    confusion = figures.confusion_matrix(list(answers.labels), confusion_counts(answers))
    pictures = [("confusion matrix", confusion)]
    few_labels = [row for row in metrics if row["metric"] == "few_label_accuracy"]
    if few_labels:
        curve = [
            (budget, row["value"], row["ci_low"], row["ci_high"])
            for budget, row in zip(scored.fixed.few_labels, few_labels, strict=True)
        ]
        picture = figures.label_budget_curve({scored.title: curve}, "Accuracy from few labels")
        pictures.append(("accuracy from few labels", picture))
    return pictures


def prediction_rows(
    rows: LabelledRows, of: Scores, answers: "Answers", regularisation: str
) -> list[dict[str, Any]]:
    """Rows of PREDICTIONS: for each test image the class of its largest score, and its lead."""
    from methods.classifiers.calibration import calibrate
    from methods.statistics.metrics import exact_match

    scores, read_by = of.scores, calibrate(of.out_of_fold, rows.labels[rows.train])
    stated: Sequence[float | None] = [None] * len(scores)
    if read_by is not None:
        stated = read_by.probabilities(scores.astype(np.float64)).max(axis=1).tolist()
    predicted, correct = answers.predicted.argmax(axis=1), exact_match(answers)
    ordered = np.sort(scores, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    groups: Sequence[str | None] = rows.test_groups or [None] * len(rows.test)
    return [
        {
            "image_id": rows.ids[i],
            "regularisation": regularisation,
            "split": "test",
            "label": str(rows.labels[i]),
            "predicted": answers.labels[predicted[k]],
            "correct": bool(correct[k]),
            "margin": margin[k].item(),
            "probability": stated[k],
            "group_id": groups[k],
        }
        for k, i in enumerate(rows.test)
    ]


def neighbours_on_test(
    gram: np.ndarray, truth: np.ndarray, rows: LabelledRows, seed: int
) -> "Neighbours | None":
    """How the features of the test images lie to each other; None where they are too many.

    Args:
        gram: (n_test, n_test) inner products of the features.
        truth: (n_test, L) whether each test image has each label.
        rows: the labelled images.
        seed: of the clustering.
    """
    from methods.statistics.retrieval import MAX_IMAGES, neighbours

    if len(truth) > MAX_IMAGES:
        return None
    return neighbours(gram, truth, [rows.groups[i] for i in rows.test], seed)


def null_rows(
    metric_rows: MetricRows,
    trained: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    groups: Sequence[str] | None,
) -> list[dict[str, Any]]:
    """Rows of METRICS: what always answering one class gets, and permuted labels.

    Args:
        metric_rows: of the method.
        trained: (n_train,) class, or label set, of each training image.
        truth: (n_test,) of each test image.
        predicted: (n_test,) that is predicted.
        groups: (n_test,) group of each test image, or None.
    """
    from methods.reporting.answers.null_words import MAJORITY_RATE, PERMUTATION_P
    from methods.statistics.null import null_of

    null = null_of(trained, truth, predicted, groups, metric_rows.seed)
    return [
        metric_rows.row(MAJORITY_RATE, null.majority, null.rate, len(truth)),
        metric_rows.row(PERMUTATION_P, "all", null.p_value, len(truth)),
    ]


def packed(correct: np.ndarray) -> str:
    """Whether each of n images is classified correctly, (n,) bool, as text for a stored part."""
    return np.packbits(correct).tobytes().hex()


def unpacked(text: str, n: int) -> np.ndarray:
    """The (n,) bool of :func:`packed`."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=n).astype(bool)


def groups_of(predictions: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The group of the image of each prediction; None where none is given."""
    groups = [row["group_id"] for row in predictions]
    return None if None in groups else groups


def few_label_rows(
    metric_rows: MetricRows, few_labels: Mapping[int, np.ndarray], groups: Sequence[str] | None
) -> list[dict[str, Any]]:
    """Rows of METRICS: the mean accuracy over the draws of each number of labels a class."""
    from methods.statistics.significance import accuracy_interval

    return [
        metric_rows.row(
            "few_label_accuracy",
            f"{budget} labels a class",
            float(correct.mean()),
            correct.shape[1],
            accuracy_interval(correct, groups),
        )
        for budget, correct in few_labels.items()
    ]

"""The registry of metrics: every figure of merit of a classifier, single- or multi-label.

A new metric is one function of :class:`Answers` and one entry of :data:`REGISTRY`. It then stands
in the metric tables of every evaluation of its protocols and in the tables of their reports.

Images of one label and of several are scored by the same functions: both are boolean matrices of
images and labels, and with one label an image each row has one True. The measures of several labels
are those of Lyndon et al. 2015 (section 4, Table 3). The paper names but does not define them; the
definitions are given with each function. An image without any label (the null set of section 3.2)
is a valid truth and a valid answer, and :func:`null_counts` tells how much of "any match" comes
from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_contracts.studies.study import Protocol
from methods.arrays import check_label_matrices
from methods.statistics.roc import auc
from methods.statistics.significance import Interval, accuracy_interval

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

ONE_LABEL: Protocol = "test split"
SEVERAL_LABELS: Protocol = "several labels"


@dataclass(frozen=True)
class Answers:
    """What a classifier answered for the test images.

    Attributes:
        labels: (L,) names, in the order of the columns.
        truth: (n, L) bool, n at least 1.
        predicted: (n, L) bool.
        scores: (n, L), larger where the label is more likely.

    Raises:
        ValueError: matrices of other types or shapes, or empty ones.
    """

    labels: tuple[str, ...]
    truth: Bool
    predicted: Bool
    scores: Float64

    def __post_init__(self) -> None:
        check_label_matrices(truth=self.truth, predicted=self.predicted)
        if self.scores.shape != self.truth.shape or len(self.labels) != self.truth.shape[1]:
            raise ValueError(
                f"scores and names of the same labels are needed, got {self.scores.shape} scores "
                f"and {len(self.labels)} names for labels of {self.truth.shape}"
            )

    @property
    def support(self) -> NDArray[np.int64]:
        """Number of images that have each label, (L,)."""
        counts: NDArray[np.int64] = self.truth.sum(axis=0, dtype=np.int64)
        return counts


def one_label_answers(
    labels: NDArray[np.str_], scores: NDArray[np.floating], classes: Sequence[str]
) -> Answers:
    """Answers of a classifier whose largest score wins.

    Args:
        labels: (n,) true class of each image.
        scores: (n, K), a column for each of ``classes``.
        classes: (K,) names that were learned, sorted.

    Returns:
        Answers over the sorted union of the classes and the labels; a class that was never learned
        has the score -inf.
    """
    names = sorted({*classes, *labels.tolist()})
    column = {name: k for k, name in enumerate(names)}
    truth = np.zeros((len(labels), len(names)), np.bool_)
    truth[np.arange(len(labels)), [column[label] for label in labels]] = True
    wide = np.full(truth.shape, -np.inf)
    wide[:, [column[name] for name in classes]] = scores
    predicted = np.zeros(truth.shape, np.bool_)
    best = np.asarray([column[name] for name in classes])[np.argmax(scores, axis=1)]
    predicted[np.arange(len(labels)), best] = True
    return Answers(tuple(names), truth, predicted, wide)


# Metrics of each image, (n,)


def exact_match(answers: Answers) -> Bool:
    """Whether all labels of each image are right, (n,) bool; with one label, the accuracy."""
    matched: Bool = (answers.truth == answers.predicted).all(axis=1)
    return matched


def any_match(answers: Answers) -> Bool:
    """Whether a true label of each image is predicted, or both sets are empty, (n,) bool."""
    shared = answers.truth & answers.predicted
    empty = ~answers.truth & ~answers.predicted
    matched: Bool = np.logical_or(shared.any(axis=1), empty.all(axis=1))
    return matched


def hamming_similarity(answers: Answers) -> Float64:
    """Share of the label decisions of each image that are right, (n,) float64."""
    share: Float64 = (answers.truth == answers.predicted).mean(axis=1)
    return share


# Metrics of each label, (L,); NaN where the label has none


def precision(answers: Answers) -> Float64:
    """Share of the images given a label that have it, (L,); NaN where none is given it."""
    return _share(_hits(answers), answers.predicted.sum(axis=0))


def recall(answers: Answers) -> Float64:
    """Share of the images with a label that are given it, (L,); NaN where none has it."""
    return _share(_hits(answers), answers.truth.sum(axis=0))


def f1(answers: Answers) -> Float64:
    """Harmonic mean of precision and recall, (L,); NaN where no image has the label."""
    counted = answers.truth.sum(axis=0) + answers.predicted.sum(axis=0)
    harmonic = _share(2 * _hits(answers), counted)
    return np.where(answers.support > 0, harmonic, np.nan)


def label_auc(answers: Answers) -> Float64:
    """Area under the ROC curve of each label, (L,); NaN where all images have it, or none.

    Raises:
        ValueError: a score is not a finite number.
    """
    areas = np.full(len(answers.labels), np.nan)
    for k, name in enumerate(answers.labels):
        truth, scores = answers.truth[:, k], answers.scores[:, k]
        if not np.isfinite(scores).all():
            raise ValueError(f"the scores of label {name!r} are not all finite numbers")
        if truth.any() and not truth.all():
            areas[k] = auc(scores, truth)
    return areas


def _hits(answers: Answers) -> NDArray[np.int64]:
    """Number of images that have a label and are given it, (L,)."""
    hits: NDArray[np.int64] = (answers.truth & answers.predicted).sum(axis=0, dtype=np.int64)
    return hits


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Float64:
    """``part / whole``, NaN where the whole is 0."""
    share: Float64 = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


# Metrics of all images together


def macro_f1(answers: Answers) -> float:
    """Mean F1 over the labels that are true or predicted somewhere (scikit-learn's rule)."""
    seen = answers.truth.any(axis=0) | answers.predicted.any(axis=0)
    return float(np.nan_to_num(f1(answers))[seen].mean())


# The registry


@dataclass(frozen=True)
class Metric:
    """A metric of every evaluation of its protocols.

    Attributes:
        name: in tables.
        title: heading of its column in reports.
        definition: one sentence for the caption below such a table.
        of: "images" is averaged over the test images and has an interval, "labels" stands for each
            label or class, "all" is one number without an interval.
        measure: its value: (n,), (L,) or one number.
        protocols: studies whose methods are scored by it.
        unit: "percent" is a share shown as percent, "share" a number shown as it is.
    """

    name: str
    title: str
    definition: str
    of: Literal["images", "labels", "all"]
    measure: Callable[[Answers], Bool | Float64 | float]
    protocols: tuple[Protocol, ...] = (ONE_LABEL, SEVERAL_LABELS)
    unit: Literal["percent", "share"] = "percent"


REGISTRY: tuple[Metric, ...] = (
    Metric(
        "accuracy",
        "Accuracy",
        "Accuracy is the share of test images whose predicted class is right.",
        "images",
        exact_match,
        (ONE_LABEL,),
    ),
    Metric(
        "macro_f1",
        "Macro F1",
        "Macro F1 gives every class the same weight.",
        "all",
        macro_f1,
        (ONE_LABEL,),
    ),
    Metric(
        "exact_match",
        "Exact match",
        "Exact match: all labels of an image are right.",
        "images",
        exact_match,
        (SEVERAL_LABELS,),
    ),
    Metric(
        "any_match",
        "Any match",
        "Any match: a true label is given, or there is none and none is given.",
        "images",
        any_match,
        (SEVERAL_LABELS,),
    ),
    Metric(
        "hamming_similarity",
        "Hamming similarity",
        "Hamming similarity: share of the label decisions that are right.",
        "images",
        hamming_similarity,
        (SEVERAL_LABELS,),
    ),
    Metric(
        "precision",
        "Precision",
        "Precision: of the images given this class, the share that has it.",
        "labels",
        precision,
    ),
    Metric(
        "recall",
        "Recall",
        "Recall: of the images of this class, the share given it.",
        "labels",
        recall,
    ),
    Metric("f1", "F1", "F1 is the harmonic mean of precision and recall.", "labels", f1),
    Metric(
        "auc",
        "AUC",
        "AUC is the area under the ROC curve of the label.",
        "labels",
        label_auc,
        (SEVERAL_LABELS,),
        "share",
    ),
)
"""Every metric, in the order of the columns of reports."""


def metrics_of(
    protocol: Protocol, of: Literal["images", "labels", "all"] | None = None
) -> tuple[Metric, ...]:
    """The metrics of a protocol, of one kind or of all kinds, in the order of the registry."""
    return tuple(
        metric for metric in REGISTRY if protocol in metric.protocols and of in (None, metric.of)
    )


@dataclass(frozen=True)
class Measurement:
    """One figure.

    Attributes:
        metric: what was measured.
        subject: "all", or the label.
        value: the figure.
        n: number of test images behind it; of a label, those that have it.
        interval: 95 % interval, for metrics of images.
    """

    metric: Metric
    subject: str
    value: float
    n: int
    interval: Interval | None = None


def measure(
    answers: Answers,
    protocol: Protocol,
    groups: Sequence[str] | None,
    n_resamples: int,
    seed: int,
) -> list[Measurement]:
    """Every metric of a protocol, those of labels for the labels that test images have.

    A precision of a class that was never predicted is 0 with one label an image (scikit-learn's
    rule), and is left out with several.

    Args:
        answers: for the test images.
        protocol: how the methods of the study are scored.
        groups: (n,) group (patient) of each image for the intervals, or None.
        n_resamples: bootstrap resamples behind each interval.
        seed: of the bootstrap.
    """
    n = len(answers.truth)
    measurements = []
    for metric in metrics_of(protocol, "images"):
        values = np.asarray(metric.measure(answers))
        interval = accuracy_interval(values, groups)
        measurements.append(Measurement(metric, "all", float(values.mean()), n, interval))
    measurements += [
        Measurement(metric, "all", float(metric.measure(answers)), n)
        for metric in metrics_of(protocol, "all")
    ]
    of_labels = {
        metric: np.asarray(metric.measure(answers)) for metric in metrics_of(protocol, "labels")
    }
    for k in np.flatnonzero(answers.support):
        for metric, by_label in of_labels.items():
            value = float(by_label[k])
            if np.isnan(value) and protocol == ONE_LABEL:
                value = 0.0
            if not np.isnan(value):
                support = int(answers.support[k])
                measurements.append(Measurement(metric, answers.labels[k], value, support))
    return measurements


@dataclass(frozen=True)
class NullCounts:
    """Numbers of images without any label.

    Attributes:
        true_empty: images whose true set is empty.
        predicted_empty: images whose predicted set is empty.
        both_empty: images where both are; each is an exact and an any match.
    """

    true_empty: int
    predicted_empty: int
    both_empty: int


def null_counts(answers: Answers) -> NullCounts:
    """Numbers of images that have no true label, no predicted label, and neither."""
    no_truth, no_answer = ~answers.truth.any(axis=1), ~answers.predicted.any(axis=1)
    return NullCounts(int(no_truth.sum()), int(no_answer.sum()), int((no_truth & no_answer).sum()))


def confusion_counts(answers: Answers) -> NDArray[np.int64]:
    """Confusion matrix of images of one label, (L, L), row = true, column = predicted."""
    counts: NDArray[np.int64] = answers.truth.T.astype(np.int64) @ answers.predicted
    return counts

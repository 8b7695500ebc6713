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
from methods.statistics.macro_auc import macro_auc
from methods.statistics.retrieval import CUTOFFS, Neighbours, normalised_information
from methods.statistics.roc import auc
from methods.statistics.significance import Interval, accuracy_interval, counts_bootstrap

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
        neighbours: how the features that were classified lie to each other; None where there are
            none (an ensemble), or too many.

    Raises:
        ValueError: matrices of other types or shapes, or empty ones.
    """

    labels: tuple[str, ...]
    truth: Bool
    predicted: Bool
    scores: Float64
    neighbours: Neighbours | None = None

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
    labels: NDArray[np.str_],
    scores: NDArray[np.floating],
    classes: Sequence[str],
    neighbours: Neighbours | None = None,
) -> Answers:
    """Answers of a classifier whose largest score wins.

    Args:
        labels: (n,) true class of each image.
        scores: (n, K), a column for each of ``classes``.
        classes: (K,) names that were learned, sorted.
        neighbours: how the features lie to each other, or None.

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
    return Answers(tuple(names), truth, predicted, wide, neighbours)


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


def specificity(answers: Answers) -> Float64:
    """Share of the images without a label that are not given it, (L,); NaN where all have it."""
    rejected = (~answers.truth & ~answers.predicted).sum(axis=0)
    return _share(rejected, (~answers.truth).sum(axis=0))


def negative_predictive_value(answers: Answers) -> Float64:
    """Share of the images not given a label that lack it, (L,); NaN where all are given it."""
    rejected = (~answers.truth & ~answers.predicted).sum(axis=0)
    return _share(rejected, (~answers.predicted).sum(axis=0))


def f1(answers: Answers) -> Float64:
    """Harmonic mean of precision and recall, (L,); NaN where no image has the label."""
    counted = answers.truth.sum(axis=0) + answers.predicted.sum(axis=0)
    harmonic = _share(2 * _hits(answers), counted)
    return np.where(answers.support > 0, harmonic, np.nan)


def label_auc(answers: Answers) -> Float64:
    """Area under the ROC curve of each label against the rest, (L,).

    It is NaN where all images have the label, or none, and where it was never learned (all scores
    are -inf).

    Raises:
        ValueError: a score is not a finite number.
    """
    areas = np.full(len(answers.labels), np.nan)
    for k in _ranked(answers):
        truth = answers.truth[:, k]
        if truth.any() and not truth.all():
            areas[k] = auc(answers.scores[:, k], truth)
    return areas


def _ranked(answers: Answers) -> list[int]:
    """Positions of the labels that were learned.

    Raises:
        ValueError: a score of one of them is not a finite number.
    """
    learned = np.flatnonzero(~np.isneginf(answers.scores).all(axis=0)).tolist()
    for k in learned:
        if not np.isfinite(answers.scores[:, k]).all():
            raise ValueError(
                f"the scores of label {answers.labels[k]!r} are not all finite numbers"
            )
    return learned


def _hits(answers: Answers) -> NDArray[np.int64]:
    """Number of images that have a label and are given it, (L,)."""
    hits: NDArray[np.int64] = (answers.truth & answers.predicted).sum(axis=0, dtype=np.int64)
    return hits


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Float64:
    """``part / whole``, NaN where the whole is 0."""
    share: Float64 = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


def prevalence(answers: Answers) -> Float64:
    """Share of the images that have each label, (L,)."""
    return answers.support / len(answers.truth)


# Metrics of confusion matrices (..., L, L), row = true, column = predicted: images of one label


def macro_f1(counts: NDArray[np.int64]) -> Float64:
    """Mean F1 over the classes that are true or predicted somewhere, (...), as scikit-learn's."""
    return _mean_share(2 * _right_of(counts), counts.sum(axis=-2) + counts.sum(axis=-1))


def balanced_accuracy(counts: NDArray[np.int64]) -> Float64:
    """Mean recall over the classes that test images have (Brodersen et al. 2010), (...)."""
    return _mean_share(_right_of(counts), counts.sum(axis=-1))


def _right_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of images of each class that are right, (..., L)."""
    return np.diagonal(counts, axis1=-2, axis2=-1)


def _mean_share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Float64:
    """Mean over the last axis of ``part / whole``, those left out whose whole is 0."""
    there = whole > 0
    shares = np.divide(part, whole, out=np.zeros(part.shape), where=there)
    mean: Float64 = np.asarray(shares.sum(axis=-1) / there.sum(axis=-1))
    return mean


def matthews(counts: NDArray[np.int64]) -> Float64:
    """Matthews correlation of true and predicted classes (Gorodkin 2004 for more than two), (...).

    It is -1 to 1; 0 is what a guess gives, and what it is where one class alone is predicted.
    """
    true, predicted = counts.sum(axis=-1).astype(float), counts.sum(axis=-2).astype(float)
    n, hits = true.sum(axis=-1), _right_of(counts).sum(axis=-1)
    spread = (n**2 - (true**2).sum(axis=-1)) * (n**2 - (predicted**2).sum(axis=-1))
    told_apart = spread > 0
    excess = hits * n - (true * predicted).sum(axis=-1)
    return np.where(told_apart, excess / np.sqrt(np.where(told_apart, spread, 1.0)), 0.0)


def macro_area(answers: Answers) -> float:
    """Mean of :func:`label_auc` over the labels that have one; NaN where none has."""
    areas = label_auc(answers)
    return float(np.nanmean(areas)) if not np.isnan(areas).all() else float("nan")


# Metrics of the features: (n,), NaN where a query has none, or one number


def _precision_at(k: int) -> Metric:
    """The metric of the precision among the k nearest images of other groups."""
    nearest = "image" if k == 1 else f"{k} images"
    return Metric(
        f"precision_at_{k}",
        f"Precision at {k}",
        f"Precision at {k}: of the {nearest} nearest to a query, the share that is relevant.",
        "features",
        lambda answers: _neighbours(answers).precision[k],
    )


def _neighbours(answers: Answers) -> Neighbours:
    """The neighbours of answers that have them.

    Raises:
        ValueError: they have none.
    """
    if answers.neighbours is None:
        raise ValueError("these answers have no features")
    return answers.neighbours


def cluster_agreement(answers: Answers) -> float:
    """Normalised mutual information of the k-means clusters of the features and label sets."""
    of = _neighbours(answers)
    size = of.n_clusters
    counts = np.bincount(of.cells, minlength=size**2).reshape(size, size)
    return float(normalised_information(counts))


# Intervals


@dataclass(frozen=True)
class Sample:
    """What an interval counts and how.

    Attributes:
        groups: (n,) group (patient) of each image, or None.
        n_resamples: bootstrap resamples, where there is no formula.
        seed: of the bootstrap.
    """

    groups: Sequence[str] | None
    n_resamples: int
    seed: int

    def among(self, images: Bool) -> list[str] | None:
        """The groups of some of the images, (n,) bool."""
        if self.groups is None:
            return None
        return [self.groups[i] for i in np.flatnonzero(images).tolist()]


def _share_intervals(hits: Bool, among: Bool, sample: Sample) -> list[Interval | None]:
    """The interval of the share of hits of each column among some images of it, (n, L) both."""
    return [
        accuracy_interval(hits[among[:, k], k], sample.among(among[:, k]))
        if among[:, k].any()
        else None
        for k in range(hits.shape[1])
    ]


def _recall_intervals(answers: Answers, sample: Sample) -> list[Interval | None]:
    return _share_intervals(answers.predicted, answers.truth, sample)


def _specificity_intervals(answers: Answers, sample: Sample) -> list[Interval | None]:
    return _share_intervals(~answers.predicted, ~answers.truth, sample)


def _precision_intervals(answers: Answers, sample: Sample) -> list[Interval | None]:
    return _share_intervals(answers.truth, answers.predicted, sample)


def _prevalence_intervals(answers: Answers, sample: Sample) -> list[Interval | None]:
    return _share_intervals(answers.truth, np.ones_like(answers.truth), sample)


def _negative_intervals(answers: Answers, sample: Sample) -> list[Interval | None]:
    return _share_intervals(~answers.truth, ~answers.predicted, sample)


def _auc_intervals(answers: Answers, sample: Sample) -> list[Interval | None]:
    """The interval of each area (DeLong, with groups Obuchowski); None where it has none."""
    found: list[Interval | None] = [None] * len(answers.labels)
    for k in _ranked(answers):
        area = macro_auc(answers.scores[:, [k]], answers.truth[:, [k]], sample.groups)
        found[k] = None if area is None else area[1]
    return found


def _macro_auc_interval(answers: Answers, sample: Sample) -> list[Interval | None]:
    learned = _ranked(answers)
    area = macro_auc(answers.scores[:, learned], answers.truth[:, learned], sample.groups)
    return [None if area is None else area[1]]


def _of_table(
    figure: Callable[[NDArray[np.int64]], Float64],
    cells: NDArray[np.int64],
    size: int,
    sample: Sample,
) -> Interval | None:
    """The interval of a figure of square tables (m, size, size), by a bootstrap over groups."""
    return counts_bootstrap(
        figure, cells, (size, size), sample.groups, sample.n_resamples, sample.seed
    )


def _bootstrap_interval(
    figure: Callable[[NDArray[np.int64]], Float64],
) -> Callable[[Answers, Sample], list[Interval | None]]:
    """The interval of a figure of the confusion matrix, by a bootstrap over groups."""

    def interval(answers: Answers, sample: Sample) -> list[Interval | None]:
        size = len(answers.labels)
        cells = answers.truth.argmax(axis=1) * size + answers.predicted.argmax(axis=1)
        return [_of_table(figure, cells, size, sample)]

    return interval


def _cluster_interval(answers: Answers, sample: Sample) -> list[Interval | None]:
    of = _neighbours(answers)
    size = of.n_clusters
    return [_of_table(normalised_information, of.cells, size, sample)]


# The registry


@dataclass(frozen=True)
class Metric:
    """A metric of every evaluation of its protocols.

    Attributes:
        name: in tables.
        title: heading of its column in reports.
        definition: one sentence for the caption below such a table.
        of: "images" is averaged over the test images, "labels" stands for each label or class,
            "all" is one number. "features" is of the features that were classified, where there are
            any: one number, or averaged over the images that have one.
        measure: its value: (n,), (L,) or one number.
        intervals: the 95 % intervals of the labels, or of the one number; None where the metric is
            averaged over images or has none.
        protocols: studies whose methods are scored by it.
        unit: "percent" is a share shown as percent, "share" a number shown as it is.
    """

    name: str
    title: str
    definition: str
    of: Literal["images", "labels", "all", "features"]
    measure: Callable[[Answers], Bool | Float64 | float]
    intervals: Callable[[Answers, Sample], list[Interval | None]] | None = None
    protocols: tuple[Protocol, ...] = (ONE_LABEL, SEVERAL_LABELS)
    unit: Literal["percent", "share"] = "percent"


REGISTRY: tuple[Metric, ...] = (
    Metric(
        "accuracy",
        "Accuracy",
        "Accuracy is the share of test images whose predicted class is right.",
        "images",
        exact_match,
        protocols=(ONE_LABEL,),
    ),
    Metric(
        "balanced_accuracy",
        "Balanced accuracy",
        "Balanced accuracy is the mean sensitivity of the classes.",
        "all",
        lambda answers: float(balanced_accuracy(confusion_counts(answers))),
        _bootstrap_interval(balanced_accuracy),
        (ONE_LABEL,),
    ),
    Metric(
        "macro_f1",
        "Macro F1",
        "Macro F1 gives every class the same weight.",
        "all",
        lambda answers: float(macro_f1(confusion_counts(answers))),
        _bootstrap_interval(macro_f1),
        (ONE_LABEL,),
    ),
    Metric(
        "mcc",
        "MCC",
        "MCC is the Matthews correlation of true and predicted classes: 0 is a guess.",
        "all",
        lambda answers: float(matthews(confusion_counts(answers))),
        _bootstrap_interval(matthews),
        (ONE_LABEL,),
        "share",
    ),
    Metric(
        "exact_match",
        "Exact match",
        "Exact match: all labels of an image are right.",
        "images",
        exact_match,
        protocols=(SEVERAL_LABELS,),
    ),
    Metric(
        "any_match",
        "Any match",
        "Any match: a true label is given, or there is none and none is given.",
        "images",
        any_match,
        protocols=(SEVERAL_LABELS,),
    ),
    Metric(
        "hamming_similarity",
        "Hamming similarity",
        "Hamming similarity: share of the label decisions that are right.",
        "images",
        hamming_similarity,
        protocols=(SEVERAL_LABELS,),
    ),
    Metric(
        "macro_auc",
        "Macro AUC",
        "Macro AUC is the mean area under the ROC curves, each class against the rest.",
        "all",
        macro_area,
        _macro_auc_interval,
        unit="share",
    ),
    Metric(
        "prevalence",
        "Prevalence",
        "Prevalence: the share of test images with the label, and the PPV of always giving it.",
        "labels",
        prevalence,
        _prevalence_intervals,
        (SEVERAL_LABELS,),
    ),
    Metric(
        "recall",
        "Sensitivity",
        "Sensitivity (recall): of the images of this class, the share given it.",
        "labels",
        recall,
        _recall_intervals,
    ),
    Metric(
        "specificity",
        "Specificity",
        "Specificity: of the other images, the share not given this class.",
        "labels",
        specificity,
        _specificity_intervals,
    ),
    Metric(
        "precision",
        "PPV",
        "PPV (precision): of the images given this class, the share that has it.",
        "labels",
        precision,
        _precision_intervals,
    ),
    Metric(
        "npv",
        "NPV",
        "NPV: of the images not given this class, the share that lacks it.",
        "labels",
        negative_predictive_value,
        _negative_intervals,
    ),
    Metric("f1", "F1", "F1 is the harmonic mean of sensitivity and PPV.", "labels", f1),
    Metric(
        "auc",
        "AUC",
        "AUC is the area under the ROC curve, this class against the rest.",
        "labels",
        label_auc,
        _auc_intervals,
        unit="share",
    ),
    Metric(
        "mean_average_precision",
        "mAP",
        "mAP is the mean, over the test images as queries, of the average precision of the others "
        "ranked by the cosine of their features; relevant is an image that shares a label with the "
        "query, or has none as it.",
        "features",
        lambda answers: _neighbours(answers).average_precision,
    ),
    *(_precision_at(k) for k in CUTOFFS),
    Metric(
        "nmi",
        "NMI",
        "NMI is the normalised mutual information of label sets and k-means clusters of the "
        "features, as many as there are sets: 0 is a guess, 1 the same partition.",
        "features",
        cluster_agreement,
        _cluster_interval,
        unit="share",
    ),
)
"""Every metric, in the order of the columns of reports."""


def metrics_of(
    protocol: Protocol, of: Literal["images", "labels", "all", "features"] | None = None
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
        n: number of test images; of a label, those that have it.
        interval: 95 % interval; None where none can be given.
    """

    metric: Metric
    subject: str
    value: float
    n: int
    interval: Interval | None = None


def measure(answers: Answers, protocol: Protocol, sample: Sample) -> list[Measurement]:
    """Every metric of a protocol, those of labels for the labels that test images have.

    Those of features are measured where the answers have neighbours.

    A figure that is not defined (the PPV of a class that was never predicted) is left out.

    Args:
        answers: for the test images.
        protocol: how the methods of the study are scored.
        sample: groups of the test images, and the bootstrap.
    """
    n = len(answers.truth)
    measurements = []
    for metric in metrics_of(protocol, "images"):
        values = np.asarray(metric.measure(answers))
        interval = accuracy_interval(values, sample.groups)
        measurements.append(Measurement(metric, "all", float(values.mean()), n, interval))
    for metric in metrics_of(protocol, "all"):
        value = float(np.asarray(metric.measure(answers)))
        if not np.isnan(value):
            intervals = metric.intervals(answers, sample) if metric.intervals else [None]
            measurements.append(Measurement(metric, "all", value, n, intervals[0]))
    if answers.neighbours is not None:
        measurements += _of_features(answers, protocol, sample)
    of_labels = metrics_of(protocol, "labels")
    values_of = {metric.name: np.asarray(metric.measure(answers)) for metric in of_labels}
    intervals_of = {
        metric.name: metric.intervals(answers, sample) for metric in of_labels if metric.intervals
    }
    for k in np.flatnonzero(answers.support).tolist():
        for metric in of_labels:
            value = float(values_of[metric.name][k])
            if not np.isnan(value):
                of_label = intervals_of[metric.name][k] if metric.name in intervals_of else None
                support = int(answers.support[k])
                measurements.append(
                    Measurement(metric, answers.labels[k], value, support, of_label)
                )
    return measurements


def _of_features(answers: Answers, protocol: Protocol, sample: Sample) -> list[Measurement]:
    """Every metric of the features; a query without a figure does not count."""
    measurements = []
    for metric in metrics_of(protocol, "features"):
        values = np.asarray(metric.measure(answers), np.float64)
        known = ~np.isnan(values)
        if not known.any():
            continue
        if metric.intervals is None:
            n = int(known.sum())
            interval: Interval | None = accuracy_interval(values[known], sample.among(known))
        else:
            n, interval = len(answers.truth), metric.intervals(answers, sample)[0]
        value = float(values[known].mean())
        measurements.append(Measurement(metric, "all", value, n, interval))
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

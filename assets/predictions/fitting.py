"""Fits the classifier that predicts: to one class an image, or to several labels an image."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assets.core.labelled_rows import LabelledRows
from assets.core.settings import SeedSetting, SvmSettings
from assets.core.shards import READ_ROWS
from assets.evaluations.multilabel import fit_notices
from assets.evaluations.svm_rows import rows_at_once, stored_width
from data_contracts.records.assessment import CalibrationFigures
from data_contracts.records.facts import ClassifierFacts
from data_contracts.records.notices import NOT_CALIBRATED, NOT_CONVERGED, NOT_LEARNED
from methods.curation.manifest_rows import label_matrix
from resources.store.feature_store import FeatureReader

if TYPE_CHECKING:
    from methods.classifiers.calibration import Calibration
    from methods.classifiers.label_probabilities import LabelCalibration
    from methods.classifiers.linear_classifier import LinearClassifier
    from methods.classifiers.one_vs_all import LeftOut, OneVsAllFit

CALIBRATION_ROWS = 5_000
"""Number of training images behind the calibration where all are too many for one Gram matrix."""

READ_TRAINING_ROWS = 1024
"""Number of training rows read at once; bounds the memory."""

UNCALIBRATED = NOT_CALIBRATED.says(
    "too few groups for folds; probabilities and the mark of unlike images mean nothing"
)
"""Notice of a classifier without folds."""


class ClassifierConfig(SeedSetting, SvmSettings):
    """Settings of `classifier`; the seed draws the folds behind the calibration."""


@dataclass(frozen=True)
class FittedClassifier:
    """A classifier, and what a reader of its predictions must know.

    Attributes:
        classifier: fitted and calibrated.
        notices: what a reader must know.
        facts: its calibration, and how often it is right.
        stated: stated probability of each prediction on the test images, or of each decision on a
            label, and whether it is right; None without test images.
    """

    classifier: "LinearClassifier"
    notices: list[str]
    facts: ClassifierFacts
    stated: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class _Training:
    """The training rows, and those of them behind the calibration.

    Attributes:
        config: settings of the classifier.
        rows: the labelled rows.
        reader: their features.
        gram: Gram matrix of the rows behind the calibration: all training rows where these are few
            enough for one.
        calibrated: positions of those rows among the training rows.
    """

    config: ClassifierConfig
    rows: LabelledRows
    reader: FeatureReader
    gram: np.ndarray
    calibrated: np.ndarray

    @property
    def groups(self) -> list[str]:
        """Groups of the rows behind the calibration."""
        return [self.rows.groups[i] for i in self.rows.train[self.calibrated]]

    @property
    def known_groups(self) -> list[str] | None:
        """The same for intervals; None where no group is known."""
        return self.groups if self.rows.has_groups else None

    @property
    def in_gram(self) -> bool:
        """Whether all training rows are in the Gram matrix."""
        return len(self.calibrated) == len(self.rows.train)

    def blocks(self) -> Iterator[np.ndarray]:
        """The training rows, scaled, in blocks."""
        return unit_blocks(self.reader, self.rows.train, READ_TRAINING_ROWS)

    def test_scores(self, fitted: "LinearClassifier") -> np.ndarray:
        """Scores (n_test, K) float64 of the test images; there is at least one."""
        blocks = unit_blocks(self.reader, self.rows.test, READ_ROWS)
        return np.concatenate([fitted.scores(block) for block in blocks])


def unit_blocks(reader: FeatureReader, positions: np.ndarray, step: int) -> Iterator[np.ndarray]:
    """The rows at ``positions`` scaled to unit length, in blocks of ``step`` rows."""
    from methods.arrays import l2_normalise

    for start in range(0, len(positions), step):
        yield l2_normalise(reader.take(positions[start : start + step]))


def fit_classifier(
    config: ClassifierConfig,
    title: str,
    rows: LabelledRows,
    reader: FeatureReader,
    several_labels: bool,
) -> FittedClassifier:
    """The SVMs on all training rows of ``reader``, calibrated on folds of them.

    Args:
        config: settings of the classifier.
        title: of the method whose features ``reader`` has.
        rows: the labelled rows.
        reader: their features.
        several_labels: whether an image may have several labels, or none.
    """
    from methods.arrays import gram_matrix
    from methods.classifiers import linear_svm as svm

    n = len(rows.train)
    calibrated = np.arange(n)
    if n > svm.MAX_GRAM_ROWS:
        calibrated = np.sort(np.random.default_rng(config.seed).permutation(n)[:CALIBRATION_ROWS])
    of_gram = rows.train[calibrated]
    gram = gram_matrix(
        lambda start, stop: reader.take(of_gram[start:stop]),
        len(of_gram),
        rows_at_once(stored_width(reader)),
    )
    training = _Training(config, rows, reader, gram, calibrated)
    return _of_labels(training, title) if several_labels else _of_classes(training)


# One class an image
# -------------------------------------------------------------------------------------------------


def _of_classes(training: _Training) -> FittedClassifier:
    """The classifier of images with one class each."""
    from methods.classifiers import calibration
    from methods.reporting.assessments.calibration import calibration_notices

    config, rows = training.config, training.rows
    labels = rows.labels[rows.train[training.calibrated]]
    seen = calibration.out_of_fold(
        training.gram, labels, training.groups, config.c, config.tolerance, config.seed
    )
    read_by = calibration.calibrate(seen, labels)
    out_of_fold = None
    if seen is not None and read_by is not None:
        out_of_fold = calibration.out_of_fold_calibration(
            seen, labels, training.known_groups, config.seed
        )
    fitted, converged = _fit_classes(training, read_by or calibration.UNCALIBRATED)
    notices = []
    if not converged:
        notices.append(NOT_CONVERGED.says("the SVM of the classifier stopped above its tolerance"))
    if read_by is None:
        notices.append(UNCALIBRATED)
    test, stated = _classes_on_test(training, fitted)
    return FittedClassifier(
        fitted,
        [*notices, *calibration_notices(test)],
        ClassifierFacts(out_of_fold=out_of_fold, test=test),
        stated,
    )


def _fit_classes(
    training: _Training, calibration: "Calibration"
) -> "tuple[LinearClassifier, bool]":
    """The SVM on all training rows, and whether it reached its tolerance."""
    from methods.classifiers import linear_svm as svm
    from methods.classifiers.linear_classifier import LinearClassifier, weights_of

    config, labels = training.config, training.rows.labels[training.rows.train]
    if training.in_gram:
        fit = svm.fit_gram(training.gram, labels, config.c, config.tolerance)
        weights = weights_of(fit.coefficients, training.blocks())
    else:
        width = stored_width(training.reader)
        fit = svm.fit_primal(training.blocks, labels, width, config.c, config.tolerance)
        weights = fit.coefficients.astype(np.float32)
    intercept = fit.intercept.astype(np.float32)
    return LinearClassifier(fit.classes, weights, intercept, calibration), fit.converged


def _classes_on_test(
    training: _Training, fitted: "LinearClassifier"
) -> tuple[CalibrationFigures | None, tuple[np.ndarray, np.ndarray] | None]:
    """Calibration on the test images, and what each prediction states; None without any."""
    from methods.classifiers.calibration import class_columns
    from methods.statistics.calibration_figures import calibration_figures

    rows = training.rows
    if not len(rows.test):
        return None, None
    likely = fitted.calibration.probabilities(training.test_scores(fitted))
    codes = class_columns(fitted.classes, rows.labels[rows.test])
    measured = calibration_figures(likely, codes, rows.test_groups, seed=training.config.seed)
    return measured, (likely.max(axis=1), likely.argmax(axis=1) == codes)


# Several labels an image
# -------------------------------------------------------------------------------------------------


def _of_labels(training: _Training, title: str) -> FittedClassifier:
    """The classifier of images with several labels, or none: one SVM a label."""
    from methods.classifiers.label_probabilities import (
        LabelledImages,
        calibrate_labels,
        calibration_of_decisions,
        uncalibrated_labels,
    )
    from methods.classifiers.linear_classifier import LinearClassifier

    labels, truth = label_matrix(training.rows.labels.tolist())
    known = truth[training.rows.train]
    left_out = _left_out(training, known[training.calibrated])
    fit, weights = _fit_labels(training, known)
    notices, out_of_fold = list(fit_notices(labels, title, fit)), None
    read_by = uncalibrated_labels(len(labels))
    if left_out is None:
        notices.append(UNCALIBRATED)
    else:
        of = known[training.calibrated]
        found = calibrate_labels(left_out, of, training.groups)
        if np.isnan(found.temperatures).all():
            notices.append(UNCALIBRATED)
        else:
            read_by = found
            likely = read_by.probabilities(left_out.scores)
            seen = LabelledImages(of, likely, training.known_groups)
            out_of_fold = calibration_of_decisions(seen, training.config.seed)
            notices += _never_given(labels, fit, read_by)
    fitted = LinearClassifier(
        np.array(labels, np.str_), weights, fit.intercept.astype(np.float32), read_by
    )
    return _labels_on_test(training, fitted, read_by, truth, notices, out_of_fold)


def _left_out(training: _Training, known: np.ndarray) -> "LeftOut | None":
    """Scores of the training images from folds without their group; None with one group."""
    from methods.classifiers.one_vs_all import out_of_fold_scores

    config, groups = training.config, training.groups
    if len(set(groups)) < 2:
        return None
    return out_of_fold_scores(training.gram, known, groups, config.c, config.tolerance, config.seed)


def _fit_labels(training: _Training, known: np.ndarray) -> "tuple[OneVsAllFit, np.ndarray]":
    """One SVM a label on all training rows, and their weights (d, L) float32."""
    from methods.classifiers.linear_classifier import weights_of
    from methods.classifiers.one_vs_all import fit_one_vs_all, fit_one_vs_all_primal

    config = training.config
    if training.in_gram:
        fit = fit_one_vs_all(training.gram, known, config.c, config.tolerance)
        return fit, weights_of(fit.coefficients, training.blocks())
    width = stored_width(training.reader)
    fit = fit_one_vs_all_primal(training.blocks, known, width, config.c, config.tolerance)
    return fit, fit.coefficients.astype(np.float32)


def _never_given(
    labels: list[str], fit: "OneVsAllFit", read_by: "LabelCalibration"
) -> Iterator[str]:
    """The notice of each label that was learned, but of too few groups to be given."""
    for k in np.flatnonzero(fit.learned & np.isposinf(read_by.thresholds)):
        yield NOT_LEARNED.says(
            f"{labels[k]} is on images of too few groups to know from which score on it is right, "
            "so it is given to no image"
        )


def _labels_on_test(
    training: _Training,
    fitted: "LinearClassifier",
    read_by: "LabelCalibration",
    truth: np.ndarray,
    notices: list[str],
    out_of_fold: CalibrationFigures | None,
) -> FittedClassifier:
    """The classifier with what it is worth on the test images, where there are any."""
    from methods.classifiers.label_probabilities import (
        LabelledImages,
        assess_labels,
        calibration_of_decisions,
        stated_decisions,
    )
    from methods.reporting.assessments.calibration import calibration_notices
    from methods.statistics.estimates import share

    rows, seed = training.rows, training.config.seed
    if not len(rows.test):
        facts = ClassifierFacts(out_of_fold=out_of_fold, test=None)
        return FittedClassifier(fitted, notices, facts, None)
    scores, labels = training.test_scores(fitted), fitted.classes.tolist()
    given = read_by.given(scores)
    of_test = LabelledImages(truth[rows.test], read_by.probabilities(scores), rows.test_groups)
    assessed = assess_labels(labels, given, of_test, None, seed)
    too_far_off = [
        notice
        for label, of in assessed.items()
        for notice in calibration_notices(of.calibration, f" of {label}")
    ]
    facts = ClassifierFacts(
        out_of_fold=out_of_fold,
        test=calibration_of_decisions(of_test, seed),
        exact_match=share((given == of_test.truth).all(axis=1), rows.test_groups),
        labels={label: of.accuracy for label, of in assessed.items()},
    )
    return FittedClassifier(fitted, [*notices, *too_far_off], facts, stated_decisions(of_test))

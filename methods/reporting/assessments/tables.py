"""Tables and sentences on each classifier of a report: overall figures, thresholds, probabilities.

Inputs are rows of METRICS and assessments (:mod:`data_contracts.records.assessment`), by method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data_contracts.records.assessment import Assessment, CalibrationFigures, Estimate
from methods.reporting.document import MISSING, SIGNIFICANT, Cell, Kind, Table, p_value
from methods.reporting.metric_tables import figure_with_interval, heading, intervals_remark
from methods.statistics.metrics import ONE_LABEL, metrics_of
from methods.statistics.significance import MIN_GROUPS, ONE_GROUP, TOO_FEW, PairedTest
from methods.statistics.subgroups import Subgroup

Row = Mapping[str, Any]
Assessments = Mapping[str, Assessment]
"""The assessment of each method by its title."""

SHOWN_DECISIONS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Threshold probabilities of a decision curve that stand in its table; the picture has all."""


def with_interval(estimate: Estimate | None, percent: bool = True) -> str | None:
    """A figure with its 95 % interval in one cell; marked where it rests on too few groups."""
    if estimate is None:
        return None
    factor, digits = (100, 1) if percent else (1, 3)
    value = f"{factor * estimate.value:.{digits}f}"
    if estimate.low is None or estimate.high is None:
        return f"{value} ({ONE_GROUP})" if estimate.groups < 2 else value
    few = f"; {TOO_FEW}" if estimate.groups < MIN_GROUPS else ""
    return (
        f"{value} ({factor * estimate.low:.{digits}f} to {factor * estimate.high:.{digits}f}{few})"
    )


def overall_table(
    metrics: Sequence[Row], titles: Mapping[str, str], notices: Sequence[str] = ()
) -> Table:
    """Every figure over all test images, a row a method and a column a metric, with intervals.

    Args:
        metrics: rows of METRICS of one regularisation a method.
        titles: title of each method by its name.
        notices: what a reader must know.
    """
    columns = [metric for metric in metrics_of(ONE_LABEL) if metric.of in ("images", "all")]
    by_place = {(row["method"], row["metric"]): row for row in metrics if row["subject"] == "all"}
    found = {
        name: {m.title: by_place[name, m.name] for m in columns if (name, m.name) in by_place}
        for name in titles
    }
    return Table(
        "Figures over all test images",
        (
            "Method",
            *map(heading, columns),
        ),
        tuple(
            (title, *(figure_with_interval(m, by_place.get((name, m.name))) for m in columns))
            for name, title in titles.items()
        ),
        " ".join(metric.definition for metric in columns)
        + " In brackets 95 % intervals over groups (patients; images where there are none): of "
        "areas by DeLong and Obuchowski, of balanced accuracy, macro F1 and MCC by a bootstrap.",
        (),
        tuple(notices),
    ).with_remarks([intervals_remark(rows) for rows in found.values()])


def expectations_table(of: Assessments, notices: Sequence[str] = ()) -> Table:
    """Accuracy out of fold beside that on the test images."""
    return Table(
        "Out of fold and on the test images",
        (
            "Method",
            "Out of fold, %",
            "Training images",
            "Test, %",
            "Test images",
            "Test groups",
            "Difference",
        ),
        tuple(
            (
                title,
                with_interval(found.accuracy_out_of_fold),
                found.accuracy_out_of_fold.n if found.accuracy_out_of_fold else None,
                with_interval(found.accuracy),
                found.accuracy.n,
                found.accuracy.groups,
                None
                if found.accuracy_out_of_fold is None
                else 100 * (found.accuracy.value - found.accuracy_out_of_fold.value),
            )
            for title, found in of.items()
        ),
        "Out of fold: each training image scored by a classifier that did not see its group, with "
        "features that are the same for all. Difference: test less out of fold, percentage points.",
        ("text", "text", "count", "text", "count", "count", "percent"),
        tuple(notices),
    )


def without_copies_table(
    figures: Mapping[str, tuple[Estimate, Estimate | None]], notices: Sequence[str] = ()
) -> Table:
    """Accuracy on all test images beside that on those that are no near-duplicates.

    Args:
        figures: both accuracies of each method by its title; None where no image is left.
        notices: what a reader must know.
    """
    return Table(
        "Without near-duplicates",
        ("Method", "All, %", "Test images", "Without, %", "Test images left", "Difference"),
        tuple(
            (
                title,
                with_interval(every),
                every.n,
                with_interval(rest),
                rest.n if rest else 0,
                100 * (rest.value - every.value) if rest else None,
            )
            for title, (every, rest) in figures.items()
        ),
        "The same predictions, less those of test images that nearly equal a training image. "
        "Difference: without less all, percentage points.",
        ("text", "text", "count", "text", "count", "percent"),
        tuple(notices),
    )


def calibration_table(of: Assessments, notices: Sequence[str] = ()) -> Table:
    """Calibration of each classifier, out of fold and on the test images."""
    rows: list[tuple[Cell, ...]] = []
    for title, found in of.items():
        rows += [
            (title, "out of fold", *_calibration_cells(found.calibration_out_of_fold)),
            (title, "test", *_calibration_cells(found.calibration)),
        ]
    return Table(
        "What stated probabilities are worth",
        (
            "Method",
            "Images",
            "Stated, %",
            "Right, %",
            "ECE",
            "ECE by chance",
            "Brier",
            "Slope",
            "Intercept",
        ),
        tuple(rows),
        "Stated: mean probability of the predicted class. ECE: expected calibration error over ten "
        "bins of equal width; by chance: its 95th percentile where every stated probability is "
        "true. Brier score: of the positive class with two classes (0 to 1), else summed over the "
        "classes (0 to 2). Slope and intercept of the logistic recalibration: 1 and 0 where "
        "calibrated, a slope below 1 where the classifier is too sure; empty where right and wrong "
        "predictions do not overlap. The temperature is fitted to the out-of-fold scores, so the "
        "figures out of fold are a little too good.",
        ("text", "text", "percent", "text", "share", "share", "share", "share", "share"),
        tuple(notices),
    )


def _calibration_cells(figures: CalibrationFigures | None) -> tuple[Cell, ...]:
    if figures is None:
        return (None,) * 7
    return (
        100 * figures.stated,
        with_interval(figures.right),
        figures.ece,
        figures.ece_by_chance,
        figures.brier,
        figures.slope,
        figures.intercept,
    )


def threshold_table(of: Assessments, notices: Sequence[str] = ()) -> Table | None:
    """Two classes at the larger score and at the chosen threshold; None for more classes."""
    two = {title: found.two_classes for title, found in of.items() if found.two_classes}
    if not two:
        return None
    rows: list[tuple[Cell, ...]] = []
    for title, found in two.items():
        for name, at in (("0, the larger score", found.largest_score), ("chosen", found.chosen)):
            if at is not None:
                rows.append(
                    (
                        title,
                        name if at is found.largest_score else f"{at.threshold:.3f}, {name}",
                        with_interval(at.sensitivity),
                        with_interval(at.specificity),
                        with_interval(at.ppv),
                        with_interval(at.npv),
                        with_interval(at.accuracy),
                        with_interval(at.balanced_accuracy),
                        with_interval(at.mcc, percent=False),
                        with_interval(found.auc, percent=False),
                    )
                )
    positive = next(iter(two.values())).positive
    return Table(
        f"At two thresholds, {positive} as the positive class",
        (
            "Method",
            "Threshold",
            "Sensitivity, %",
            "Specificity, %",
            "PPV, %",
            "NPV, %",
            "Accuracy, %",
            "Balanced accuracy, %",
            "MCC",
            "AUC",
        ),
        tuple(rows),
        "The threshold is on the score of the positive class less that of the other. The chosen "
        "one has the best balanced accuracy (Youden's index) on the out-of-fold scores of the "
        "training images; no test image has a part in it. All figures are of the test images, in "
        "brackets 95 % intervals over groups; the area under the ROC curve has no threshold.",
        (),
        tuple(notices),
    )


def threshold_sentence(
    titles: tuple[str, str], at_zero: PairedTest, at_chosen: PairedTest, auc_p: float
) -> str:
    """What a difference of accuracies of two classes is worth beside thresholds and areas.

    Args:
        titles: of the two methods.
        at_zero: their difference at the larger score.
        at_chosen: their difference at the thresholds chosen out of fold.
        auc_p: p value of the difference of the areas under the ROC curves.
    """
    said = (
        f"“{titles[0]}” and “{titles[1]}”: accuracy differs by {100 * at_zero.difference:+.1f} "
        f"points at the larger score (p {p_value(at_zero.p_value)}) and by "
        f"{100 * at_chosen.difference:+.1f} points at thresholds chosen out of fold (p "
        f"{p_value(at_chosen.p_value)}); the areas under the ROC curves: p {p_value(auc_p)}."
    )
    if at_zero.p_value < SIGNIFICANT <= min(auc_p, at_chosen.p_value):
        said += (
            " The difference at the larger score is an artefact of the threshold, not of what the "
            "features tell apart."
        )
    return said


def decision_table(of: Assessments, notices: Sequence[str] = ()) -> Table | None:
    """Net benefit at some threshold probabilities, a column a method; None for more classes."""
    curves = {
        title: {point.threshold: point for point in found.two_classes.decisions}
        for title, found in of.items()
        if found.two_classes and found.two_classes.decisions
    }
    if not curves:
        return None
    first = next(iter(curves.values()))
    positive = next(f.two_classes.positive for f in of.values() if f.two_classes)
    share: Kind = "share"
    return Table(
        f"Net benefit of acting on {positive}",
        ("Acting from", "On all", "On none", *curves),
        tuple(
            (
                f"{100 * at:.0f} %",
                first[at].treat_all,
                0.0,
                *(curve[at].model for curve in curves.values()),
            )
            for at in SHOWN_DECISIONS
        ),
        "Net benefit (Vickers and Elkin 2006): true positives less false positives, these weighted "
        "by the odds of the probability from which on one would act, as a share of all test "
        "images. From calibrated probabilities on the test images. A classifier is of use where it "
        "is above acting on all and on none.",
        ("text", *[share] * (2 + len(curves))),
        tuple(notices),
    )


def counts_table(counts: Sequence[Row], grouped: bool) -> Table:
    """Images and groups of each class on each side of the split.

    Args:
        counts: label, split, images, groups.
        grouped: whether any group (patient) was given.
    """
    unit = "groups" if grouped else "groups (none given: each image is its own)"
    return Table(
        "Images and patients",
        ("Class", "Split", "Images", "Groups"),
        tuple((row["label"], row["split"], row["images"], row["groups"]) for row in counts),
        f"Usable labelled images that train or test, and their {unit}. A group (patient) with "
        "images of several classes counts in each.",
        ("text", "text", "count", "count"),
    )


def subgroups_table(found: Sequence[Subgroup], title: str, notices: Sequence[str] = ()) -> Table:
    """Accuracy in subgroups of the test images, each against all others."""
    return Table(
        f"Subgroups of the test images: {title}",
        (
            "Attribute",
            "Value",
            "Images",
            "Groups",
            "Accuracy, %",
            "Less the rest, points",
            "p",
            "p (Holm)",
            "Reading",
        ),
        tuple(
            (
                row.attribute,
                row.value,
                row.accuracy.n,
                row.accuracy.groups,
                with_interval(row.accuracy),
                MISSING
                if row.difference is None or row.low is None or row.high is None
                else f"{100 * row.difference:+.1f} ({100 * row.low:+.1f} to {100 * row.high:+.1f})",
                row.p_value,
                row.p_holm,
                TOO_FEW
                if row.p_holm is None
                else "differs"
                if row.p_holm < SIGNIFICANT
                else "no measurable difference",
            )
            for row in found
        ),
        "The difference of two shares with its error over groups (patients), a t test against all "
        "other test images, corrected by Holm over all rows. Nothing is said of fewer than "
        f"{MIN_GROUPS} groups on either side.",
        ("text", "text", "count", "count", "text", "text", "p", "p", "text"),
        tuple(notices),
    )


def looks_sentence(looks: int) -> str:
    """How often the test split has been looked at, as far as the store knows.

    Args:
        looks: different evaluations (method, settings and inputs) that were scored on it.
    """
    if looks <= 1:
        return (
            "When this page was written, the store knew of no other evaluation on this test split."
        )
    return (
        f"This test split has been looked at {looks:,} times: when this page was written, so many "
        "different evaluations (methods, settings, features) were in the store that were scored on "
        "these test images. Every look at it that led to a choice makes its figures too good; a "
        "split that was never looked at would be the proof."
    )

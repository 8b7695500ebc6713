"""How good a classifier is: its figures on one set of images, as they are stored with it.

Belongs here: models without methods of their own; ``methods.statistics`` fills them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Figures(BaseModel):
    """Base of all models here."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(Figures):
    """One figure with its 95 % interval.

    Attributes:
        value: the figure.
        low: end of the interval; None where none can be given.
        high: its other end.
        n: images behind the figure.
        groups: independent units (patients) behind it.
        method: what gave the interval; empty where there is none.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int
    groups: int
    method: str = ""


class ConfidenceBand(Figures):
    """The predictions whose stated probability lies in a band, and how many of them are right.

    Attributes:
        low: smallest stated probability of the band.
        high: largest.
        stated: mean of the stated probabilities.
        right: share of these predictions that is right.
    """

    low: float
    high: float
    stated: float
    right: Estimate


class CalibrationFigures(Figures):
    """How far stated probabilities agree with what is right, on one set of images.

    Attributes:
        n: images.
        stated: mean probability of the predicted class.
        right: share of the predictions that is right.
        ece: expected calibration error over ten bins of equal width (Guo et al. 2017).
        ece_by_chance: 95th percentile of that error where every stated probability is true.
        brier: Brier score; with two classes of the second one (0 to 1), else summed over the
            classes (0 to 2).
        slope: slope of the logistic recalibration, 1 where calibrated and below 1 where the
            classifier is too sure; None where right and wrong predictions do not overlap.
        intercept: its intercept, 0 where calibrated.
        band: the predictions near 80 %; None where there are too few.
    """

    n: int
    stated: float
    right: Estimate
    ece: float
    ece_by_chance: float
    brier: float
    slope: float | None
    intercept: float | None
    band: ConfidenceBand | None


class OperatingPoint(Figures):
    """Two classes at one threshold of the score of the positive one less that of the other.

    Attributes:
        threshold: scores from here on are called positive.
        accuracy: share of the images that is right.
        sensitivity: share of the positive images that is called positive; None without any.
        specificity: share of the negative images that is called negative; None without any.
        ppv: share of the images called positive that is; None where none is called so.
        npv: share of the images called negative that is; None where none is called so.
        balanced_accuracy: mean of sensitivity and specificity; None without one of them.
        mcc: Matthews correlation coefficient, -1 to 1; None where it is not defined.
    """

    threshold: float
    accuracy: Estimate
    sensitivity: Estimate | None
    specificity: Estimate | None
    ppv: Estimate | None
    npv: Estimate | None
    balanced_accuracy: Estimate | None
    mcc: Estimate | None


class NetBenefit(Figures):
    """Net benefit of three ways to decide at one threshold probability (Vickers and Elkin 2006).

    Attributes:
        threshold: probability of the positive class from which on one would act.
        model: acting where the classifier says at least so much.
        treat_all: acting on every image; acting on none has a net benefit of 0.
    """

    threshold: float
    model: float
    treat_all: float


class TwoClassFigures(Figures):
    """What only two classes have.

    Attributes:
        positive: name of the positive class.
        auc: area under the ROC curve on the test images; None where a class is missing there.
        auc_out_of_fold: the same on the training images, each scored without its group.
        largest_score: the test images, the class of the larger score.
        chosen: the test images, at the threshold of the best balanced accuracy out of fold; None
            where there are no out-of-fold scores.
        decisions: the decision curve on the test images, from calibrated probabilities.
    """

    positive: str
    auc: Estimate | None
    auc_out_of_fold: Estimate | None
    largest_score: OperatingPoint
    chosen: OperatingPoint | None
    decisions: tuple[NetBenefit, ...]


class Assessment(Figures):
    """How good one classifier is on test images, and on training images that it did not see.

    Attributes:
        accuracy: on the test images.
        accuracy_out_of_fold: on the training images, each scored by a classifier without its group;
            None where no folds could be made.
        calibration: of the probabilities on the test images.
        calibration_out_of_fold: the same on the training images.
        two_classes: what only two classes have; None where there are more, or where the test images
            lack one.
    """

    accuracy: Estimate
    accuracy_out_of_fold: Estimate | None
    calibration: CalibrationFigures | None
    calibration_out_of_fold: CalibrationFigures | None
    two_classes: TwoClassFigures | None

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

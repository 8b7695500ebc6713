"""What a reader is told of the probabilities of a classifier, made from its measured calibration.

Belongs here: from :class:`data_contracts.records.assessment.CalibrationFigures` to sentences.
"""

from __future__ import annotations

from data_contracts.records.assessment import CalibrationFigures, Estimate
from data_contracts.records.notices import BADLY_CALIBRATED
from methods.statistics.calibration_figures import is_badly_calibrated


def calibration_sentences(
    out_of_fold: CalibrationFigures | None,
    test: CalibrationFigures | None,
    decisions: str = "",
) -> tuple[str, ...]:
    """How often predictions were right, against what they said, on both sets of images.

    Args:
        out_of_fold: of training images, each scored by a classifier that did not see its group;
            None where no folds could be made.
        test: of test images; None where there is none.
        decisions: what was counted on the images, as "label decisions on "; empty for the images
            themselves.
    """
    if out_of_fold is None:
        return ("The probability is not calibrated: too few groups for folds; it means nothing.",)
    sentences = [
        "The probability is calibrated on folds of the training images. "
        + _measured(f"{decisions}training images, each scored without its own group", out_of_fold)
    ]
    if test is None:
        sentences.append("There is no test image on which that could be checked.")
    elif is_badly_calibrated(test):
        sentences.append(
            _measured(f"{decisions}test images", test)
            + " The probability cannot be read as such on images like these."
        )
    else:
        sentences.append(_measured(f"{decisions}test images", test))
    return tuple(sentences)


def calibration_notices(test: CalibrationFigures | None, of: str = "") -> tuple[str, ...]:
    """The notice that probabilities are far off on the test images, where they are.

    Args:
        test: of test images, or None.
        of: whose probabilities, as a part of the sentence; empty for those of a dataset's only
            classifier.
    """
    if test is None or not is_badly_calibrated(test):
        return ()
    direction = "too sure" if test.stated > test.right.value else "not sure enough"
    return (
        BADLY_CALIBRATED.says(
            f"on the test images predictions{of} say {_percent(test.stated)} on "
            f"average and {_percent(test.right.value)} are right (expected calibration error "
            f"{test.ece:.2f}); they are {direction}"
        ),
    )


def _measured(images: str, figures: CalibrationFigures) -> str:
    """What was said and what was right, of the predictions near 80 % or of all."""
    error = f"expected calibration error {figures.ece:.3f}"
    band = figures.band
    if band is None:
        return (
            f"Of {figures.n:,} {images}, predictions say {_percent(figures.stated)} on average and "
            f"{with_interval(figures.right)} are right ({error})."
        )
    return (
        f"Of the {band.right.n:,} of {figures.n:,} {images} whose prediction says "
        f"{100 * band.low:.0f} to {100 * band.high:.0f} % (on average {_percent(band.stated)}), "
        f"{with_interval(band.right)} are right; of all, {_percent(figures.stated)} is said on "
        f"average and {_percent(figures.right.value)} are right ({error})."
    )


def _percent(share: float) -> str:
    """A share of 1 in whole percent; one short of all does not read 100 %, nor one above none 0."""
    if 0.995 <= share < 1:
        return f"{100 * share:.1f} %" if share < 0.9995 else "> 99.9 %"
    if 0 < share < 0.005:
        return f"{100 * share:.1f} %" if share >= 0.0005 else "< 0.1 %"
    return f"{100 * share:.0f} %"


def with_interval(estimate: Estimate) -> str:
    """A share with its 95 % interval."""
    if estimate.low is None or estimate.high is None:
        return _percent(estimate.value)
    return (
        f"{_percent(estimate.value)} (95 % interval {100 * estimate.low:.0f} to "
        f"{100 * estimate.high:.0f} %)"
    )

"""The sentences on probabilities are made of the figures, and large errors are a notice."""

from __future__ import annotations

from typing import Any

import pytest

from data_contracts.records.assessment import CalibrationFigures, ConfidenceBand, Estimate
from methods.reporting.assessments.calibration import calibration_notices, calibration_sentences

BAND = ConfidenceBand(
    low=0.75,
    high=0.85,
    stated=0.804,
    right=Estimate(value=0.5, low=0.42, high=0.58, n=134, groups=60, method="t"),
)


def _figures(**changes: Any) -> CalibrationFigures:
    values = {
        "n": 600,
        "stated": 0.8,
        "right": Estimate(value=0.79, low=0.7, high=0.85, n=600, groups=60, method="t"),
        "ece": 0.02,
        "ece_by_chance": 0.03,
        "brier": 0.2,
        "slope": 1.0,
        "intercept": 0.0,
        "band": BAND,
    }
    return CalibrationFigures.model_validate(values | changes)


def test_the_band_is_said_as_it_was_measured() -> None:
    first, second = calibration_sentences(_figures(), _figures(n=301, band=None))
    assert (
        "Of the 134 of 600 training images, each scored without its own group whose prediction "
        "says 75 to 85 % (on average 80 %), 50 % (95 % interval 42 to 58 %) are right"
    ) in first
    assert second.startswith("Of 301 test images, predictions say 80 % on average and 79 % (95 %")
    assert "should be right" not in first + second


def test_a_shifted_test_split_is_said_and_shouted() -> None:
    shifted = _figures(
        stated=0.79, right=Estimate(value=0.41, n=301, groups=301), ece=0.38, ece_by_chance=0.06
    )
    *_, last = calibration_sentences(_figures(), shifted)
    assert last.endswith("The probability cannot be read as such on images like these.")
    (notice,) = calibration_notices(shifted, of=" of “CAE”")
    assert notice == (
        "BADLY CALIBRATED: on the test images predictions of “CAE” say 79 % on average and 41 % "
        "are right (expected calibration error 0.38); they are too sure"
    )
    assert "not sure enough" in calibration_notices(_figures(stated=0.5, ece=0.3))[0]


@pytest.mark.parametrize("test", [None, _figures(), _figures(ece=0.2, ece_by_chance=0.25)])
def test_no_notice_without_evidence(test: CalibrationFigures | None) -> None:
    assert calibration_notices(test) == ()


def test_what_is_not_known_is_said() -> None:
    assert calibration_sentences(None, _figures()) == (
        "The probability is not calibrated: too few groups for folds; it means nothing.",
    )
    assert calibration_sentences(_figures(), None)[1].startswith("There is no test image")


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.9999, "> 99.9 %"), (0.997, "99.7 %"), (0.0, "0 %"), (0.0001, "< 0.1 %")],
)
def test_what_is_not_certain_does_not_read_so(share: float, text: str) -> None:
    said = calibration_sentences(_figures(stated=share, band=None), None)[0]
    assert f"predictions say {text} on average" in said

"""Figures of calibration by hand, against scikit-learn, and on drawn probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from methods.statistics.calibration_figures import (
    BAND_IMAGES,
    calibration_figures,
    confidence_band,
    ece_by_chance,
    is_badly_calibrated,
    logistic_recalibration,
)


def _drawn(
    n: int, strength: float, seed: int = 0, classes: int = 2
) -> tuple[np.ndarray, np.ndarray]:
    """True probabilities (n, K) and classes drawn from them."""
    rng = np.random.default_rng(seed)
    scores = strength * rng.normal(0, 1, (n, classes))
    likely = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    return likely, (likely.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)


def test_three_images_by_hand() -> None:
    likely = np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]])
    found = calibration_figures(likely, np.array([0, 0, 1]), None)
    assert found.stated == pytest.approx((0.9 + 0.6 + 0.7) / 3)
    assert (found.right.value, found.n) == (pytest.approx(2 / 3), 3)
    assert found.ece == pytest.approx((0.1 + 0.6 + 0.3) / 3), "each image is alone in its bin"
    assert found.brier == pytest.approx((0.1**2 + 0.6**2 + 0.3**2) / 3)
    assert found.slope is None, "0.7 is above 0.1 and 0.6: a cut separates the classes"
    assert found.band is None


@pytest.mark.parametrize("classes", [2, 5])
def test_true_probabilities_have_slope_one_and_an_error_by_chance_only(classes: int) -> None:
    likely, codes = _drawn(4000, 2.0, classes=classes)
    found = calibration_figures(likely, codes, None)
    assert found.slope == pytest.approx(1, abs=0.1)
    assert found.intercept == pytest.approx(0, abs=0.1)
    assert found.ece < 0.03
    assert not is_badly_calibrated(found)


@pytest.mark.parametrize("classes", [2, 5])
def test_a_classifier_that_is_too_sure_is_found(classes: int) -> None:
    likely, codes = _drawn(4000, 1.0, classes=classes)
    sure = likely**4 / (likely**4).sum(axis=1, keepdims=True)
    found = calibration_figures(sure, codes, None)
    assert found.slope is not None
    assert found.slope < 0.4
    assert found.stated > found.right.value + 0.1
    assert is_badly_calibrated(found)


def test_brier_and_slope_against_scikit_learn() -> None:
    likely, codes = _drawn(300, 1.5, seed=3)
    found = calibration_figures(likely, codes, None)
    assert found.brier == pytest.approx(brier_score_loss(codes, likely[:, 1]))
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(likely[:, 1:]), codes)
    assert found.slope == pytest.approx(fit.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(fit.intercept_[0], abs=1e-4)
    several, codes = _drawn(300, 1.5, seed=4, classes=4)
    hot = np.eye(4)[codes]
    assert calibration_figures(several, codes, None).brier == pytest.approx(
        sum(brier_score_loss(hot[:, k], several[:, k]) for k in range(4))
    )


def test_a_steep_start_does_not_leave_the_maximum_unfound() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 1, 500)
    event = rng.random(500) < expit(0.02 * truth - 3)
    fitted = logistic_recalibration(expit(30 * truth), event)
    assert fitted is not None
    assert abs(fitted[0]) < 0.05


@pytest.mark.parametrize(
    ("probability", "event"),
    [
        ([0.2, 0.8], [False, True]),
        ([0.8, 0.2], [False, True]),
        ([0.2, 0.8], [True, True]),
        ([0.5, 0.5], [False, True]),
        ([0.2, 0.5, 0.5, 0.8], [False, True, False, True]),
    ],
)
def test_no_finite_slope(probability: list[float], event: list[bool]) -> None:
    assert logistic_recalibration(np.array(probability), np.array(event)) is None


def test_a_class_that_was_never_learned_is_wrong_whatever_is_said() -> None:
    likely = np.full((40, 3), [0.8, 0.1, 0.1])
    found = calibration_figures(likely, np.full(40, -1), None)
    assert found.right.value == 0
    assert found.brier == pytest.approx(0.64 + 0.01 + 0.01)
    assert is_badly_calibrated(found)


def test_few_images_are_not_called_badly_calibrated_for_their_chance() -> None:
    likely, codes = _drawn(12, 1.0, seed=2)
    found = calibration_figures(likely, codes, None)
    assert found.ece >= 0.1
    assert not is_badly_calibrated(found), "so few images have that by chance"
    assert ece_by_chance(np.full(10_000, 0.7)) < 0.02 < ece_by_chance(np.full(20, 0.7))


def test_the_band_is_the_narrowest_that_holds_enough_and_counts_groups() -> None:
    stated = np.concatenate([np.full(BAND_IMAGES - 1, 0.8), np.full(5, 0.72), np.full(9, 0.99)])
    right = np.arange(len(stated)) % 2 == 0
    groups = [str(i // 3) for i in range(len(stated))]
    band = confidence_band(stated, right, groups)
    assert band is not None
    assert (band.low, band.high, band.right.n) == (0.7, 0.9, BAND_IMAGES + 4)
    assert band.right.groups == 8
    assert confidence_band(np.full(99, 0.99), np.ones(99, np.bool_), None) is None

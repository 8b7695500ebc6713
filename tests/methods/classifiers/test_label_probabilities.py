"""Probabilities of labels: a temperature for each, and what they are worth by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from methods.classifiers.label_probabilities import (
    LabelCalibration,
    LabelledImages,
    assess_labels,
    calibrate_labels,
    calibration_of_decisions,
    stated_decisions,
    uncalibrated_labels,
)
from methods.classifiers.one_vs_all import LeftOut


def read_by(scores: np.ndarray, known: np.ndarray, groups: list[str]) -> LabelCalibration:
    return calibrate_labels(LeftOut(scores, np.linspace(0, 1, len(scores))), known, groups)


def test_each_label_has_a_temperature_of_its_own_from_the_folds_alone() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (4000, 2))
    known = rng.random((4000, 2)) < expit(true)
    scores = true * [0.5, 4.0]  # too timid, and far too sure
    found = read_by(scores, known, [str(i) for i in range(4000)])
    likely = found.probabilities(scores)
    np.testing.assert_allclose(likely, expit(true), atol=0.06)
    np.testing.assert_allclose(found.probabilities(-scores), 1 - likely)
    assert found.highest.tolist() == [4001 / 4002] * 2
    assert found.unlike_below == pytest.approx(0.01)


def test_a_label_is_not_surer_than_its_groups_support() -> None:
    """Ten images of four groups, all told apart: the temperature would end at its bound."""
    known = np.arange(10)[:, np.newaxis] % 2 == 1
    scores = np.where(known, 3.0, -3.0)
    found = read_by(scores, known, [f"g{i // 3}" for i in range(10)])
    assert found.highest.tolist() == [5 / 6]
    assert found.temperatures[0] > 1, "short of certainty"
    stated = found.probabilities(np.array([[1e6], [0.0], [-1e6]]))
    np.testing.assert_allclose(stated[:, 0], [5 / 6, 1 / 2, 1 / 6])
    assert found.given(np.array([[3.0], [-3.0]])).tolist() == [[True], [False]]
    assert found.given_from(0) == pytest.approx(0.5), "the threshold lies between"


def test_a_label_that_no_score_parts_has_no_probability() -> None:
    known = np.array([[True, True], [False, True], [True, True]])
    out_of_fold = np.array([[1.0, np.inf], [-1.0, np.inf], [-np.inf, np.inf]])
    calibration = read_by(out_of_fold, known, list("abc"))
    likely = calibration.probabilities(np.array([[0.5, 1.0]]))
    left_out = calibration.probabilities(out_of_fold)
    assert np.isnan(likely).tolist() == [[False, True]]
    assert np.isnan(left_out).tolist() == [[False, True], [False, True], [True, True]]
    assert calibration.highest[0] == 3 / 4, "two groups have a score that says something"
    assert calibration.given_from(1) == 0, "the label of all images is always given"
    test = LabelledImages(np.array([[True, True]]), likely, None)
    found = assess_labels(["a", "b"], np.array([[True, False]]), test, None, seed=0)
    assert found["b"].calibration is None
    assert found["b"].accuracy.value == 0
    assert found["a"].calibration is not None
    assert len(stated_decisions(test)[0]) == 1


def test_a_label_of_one_group_is_never_given() -> None:
    scores = np.array([[-np.inf], [-0.5], [-0.2]])
    found = read_by(scores, np.array([[True], [False], [False]]), list("abc"))
    assert found.given_from(0) == np.inf
    assert not found.given(np.array([[1e6]])).any()


def test_without_folds_the_svm_cuts_by_itself() -> None:
    found = uncalibrated_labels(2)
    assert found.given(np.array([[0.1, -0.1]])).tolist() == [[True, False]]
    assert found.unlike_below == -1


def test_two_images_by_hand() -> None:
    test = LabelledImages(
        np.array([[True, False], [False, False]]), np.array([[0.9, 0.2], [0.7, 0.4]]), ["p", "q"]
    )
    predicted = np.array([[True, False], [False, True]])
    found = assess_labels(["a", "b"], predicted, test, None, seed=0)
    assert [of.accuracy.value for of in found.values()] == [1, 0.5]
    of_a = found["a"].calibration
    assert of_a is not None
    assert of_a.brier == pytest.approx((0.1**2 + 0.7**2) / 2)
    assert of_a.right.value == 0.5, "0.7 says that the second has label a"
    assert (of_a.right.groups, found["a"].calibration_out_of_fold) == (2, None)
    stated, right = stated_decisions(test)
    assert stated.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])
    assert right.tolist() == [True, True, False, True]

    together = calibration_of_decisions(replace(test, groups=None), seed=0)
    assert together is not None
    assert (together.n, together.right.groups) == (4, 2), "an image is a group of its labels"
    assert together.right.value == pytest.approx(3 / 4)
    assert calibration_of_decisions(replace(test, likely=np.full((2, 2), np.nan)), seed=0) is None

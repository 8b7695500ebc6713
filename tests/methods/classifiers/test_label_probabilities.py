"""Probabilities of labels: a temperature for each, and what they are worth by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from methods.classifiers.label_probabilities import (
    LabelledImages,
    assess_labels,
    calibrated,
    stated_decisions,
)


def test_each_label_has_a_temperature_of_its_own_from_the_folds_alone() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (4000, 2))
    known = rng.random((4000, 2)) < expit(true)
    scores = true * [0.5, 4.0]  # too timid, and far too sure
    likely, left_out = calibrated(scores[:10], scores, known)
    np.testing.assert_allclose(left_out, expit(true), atol=0.06)
    np.testing.assert_allclose(likely, left_out[:10])
    other, same = calibrated(-scores[:10], scores, known)
    np.testing.assert_allclose(other, 1 - likely)
    np.testing.assert_array_equal(same, left_out)


def test_a_label_that_no_score_parts_has_no_probability() -> None:
    known = np.array([[True, True], [False, True], [True, True]])
    out_of_fold = np.array([[1.0, np.inf], [-1.0, np.inf], [-np.inf, np.inf]])
    likely, left_out = calibrated(np.array([[0.5, 1.0]]), out_of_fold, known)
    assert np.isnan(likely).tolist() == [[False, True]]
    assert np.isnan(left_out).tolist() == [[False, True], [False, True], [True, True]]
    test = LabelledImages(np.array([[True, True]]), likely, None)
    found = assess_labels(["a", "b"], np.array([[True, False]]), test, None, seed=0)
    assert found["b"].calibration is None
    assert found["b"].accuracy.value == 0
    assert found["a"].calibration is not None
    assert len(stated_decisions(test)[0]) == 1


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

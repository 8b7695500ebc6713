"""Curves of a class against the others, by hand and against scikit-learn, and what a band means."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from methods.statistics.curves.one_vs_rest import CLASSES, GRID, class_curves

RNG = np.random.default_rng(0)
LABELS = np.array(["a", "b", "c"])[RNG.integers(0, 3, 120)]
SCORES = RNG.integers(0, 9, (120, 3)) + 3.0 * (LABELS[:, None] == np.array(["a", "b", "c"]))
GROUPS = [f"p{i // 3}" for i in range(120)]


def test_against_scikit_learn() -> None:
    found = {of.label: of for of in class_curves(np.unique(LABELS), SCORES, LABELS, GROUPS, 0)}
    for k, label in enumerate("abc"):
        of, positive = found[label], label == LABELS
        assert (of.images, of.others) == (positive.sum(), (~positive).sum())
        assert of.average_precision == pytest.approx(
            average_precision_score(positive, SCORES[:, k])
        )
        assert of.auc is not None
        assert of.auc.value == pytest.approx(roc_auc_score(positive, SCORES[:, k]))
        assert np.trapezoid(of.roc.y, of.roc.x) == pytest.approx(of.auc.value)
        for band in (of.roc, of.precision):
            assert band.low is not None
            assert band.high is not None
            assert (band.low <= band.high).all()
            assert band.low.shape == GRID.shape
            assert (band.low < band.high).mean() > 0.5


def test_of_two_classes_the_positive_one_by_hand() -> None:
    labels = np.array(["benign", "malignant", "benign", "malignant"])
    lead = np.array([0.1, 0.9, 0.6, 0.4])
    scores = np.stack([-lead, lead], axis=1)
    (of,) = class_curves(np.array(["benign", "malignant"]), scores, labels, None, 0)
    assert of.label == "malignant"
    assert of.precision.x.tolist() == [0.5, 0.5, 1, 1]
    assert of.precision.y.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert of.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_images_of_one_patient_widen_the_band() -> None:
    patients = [f"p{i // 20}" for i in range(120)]
    alone, together = (
        class_curves(np.unique(LABELS), SCORES, LABELS, groups, 0)[0].roc
        for groups in (None, patients)
    )
    assert alone.low is not None
    assert alone.high is not None
    assert together.low is not None
    assert together.high is not None
    same = class_curves(np.unique(LABELS), SCORES, LABELS, None, 0)[0].roc
    np.testing.assert_array_equal(same.low, alone.low)
    assert not np.array_equal(together.low, alone.low)


def test_a_class_without_images_has_none_and_of_many_the_most_frequent_have() -> None:
    classes = np.array([f"c{k}" for k in range(9)])
    labels = np.repeat(classes[:8], np.arange(2, 10))
    scores = np.random.default_rng(1).random((len(labels), 9))
    found = class_curves(classes, scores, labels, None, 0)
    assert [of.label for of in found] == ["c7", "c6", "c5", "c4", "c3", "c2"]
    assert len(found) == CLASSES
    assert class_curves(classes, scores[:2], labels[:2], None, 0) == [], "one class alone"


def test_one_patient_has_no_band() -> None:
    (of, *_) = class_curves(np.unique(LABELS), SCORES, LABELS, ["p"] * 120, 0)
    assert of.roc.low is None

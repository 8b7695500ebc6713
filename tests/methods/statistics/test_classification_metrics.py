"""The class report against a confusion matrix made by hand, and the draws of few labels."""

from __future__ import annotations

import numpy as np
import pytest

from methods.statistics.classification_metrics import classification_report, label_budget_draw

# Row = true, column = predicted, classes c, a, b in that (unsorted) order.
CLASSES = ("c", "a", "b")
CONFUSION = np.array([[3, 1, 0], [2, 4, 0], [0, 1, 0]])


def _from_confusion(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = [
        (t, p)
        for i, t in enumerate(CLASSES)
        for j, p in enumerate(CLASSES)
        for _ in range(confusion[i, j])
    ]
    labels, predicted = zip(*pairs, strict=True)
    return np.array(labels), np.array(predicted)


def test_report_of_a_hand_made_confusion() -> None:
    report = classification_report(*_from_confusion(CONFUSION), CLASSES)
    assert report.classes == CLASSES
    np.testing.assert_array_equal(report.confusion, CONFUSION)
    assert report.confusion.dtype == np.int64
    np.testing.assert_array_equal(report.support, [4, 6, 1])
    np.testing.assert_allclose(report.precision, [3 / 5, 4 / 6, 0])  # b is never predicted
    np.testing.assert_allclose(report.recall, [3 / 4, 4 / 6, 0])
    np.testing.assert_allclose(report.f1, [2 * 3 / (5 + 4), 2 * 4 / (6 + 6), 0])
    assert report.accuracy == pytest.approx(7 / 11)
    assert report.macro_f1 == pytest.approx((6 / 9 + 8 / 12 + 0) / 3)


def test_a_class_neither_seen_nor_predicted_does_not_count() -> None:
    labels, predicted = _from_confusion(CONFUSION)
    report = classification_report(labels, predicted, [*CLASSES, "z"])
    assert (report.support[3], report.recall[3], report.f1[3]) == (0, 0, 0)
    assert report.macro_f1 == pytest.approx((6 / 9 + 8 / 12 + 0) / 3)


def test_a_class_only_predicted_counts() -> None:
    report = classification_report(np.array(["a", "a"]), np.array(["a", "b"]), ["a", "b"])
    np.testing.assert_allclose(report.f1, [2 / 3, 0])
    assert report.macro_f1 == pytest.approx(1 / 3)


LABELS = np.array(["b", "a", "c", "a", "b", "a", "b", "a", "b", "a", "c", "b"])  # a 5, b 5, c 2


@pytest.mark.parametrize(
    ("per_class", "counts"), [(1, [1, 1, 1]), (2, [2, 2, 2]), (3, [3, 3, 2]), (9, [5, 5, 2])]
)
def test_budget_counts(per_class: int, counts: list[int]) -> None:
    drawn = label_budget_draw(LABELS, per_class, seed=0, repeat=0)
    assert drawn.dtype == np.int64
    assert [int((LABELS[drawn] == name).sum()) for name in "abc"] == counts
    assert (np.diff(drawn) > 0).all()  # sorted, each once


def test_budget_is_a_function_of_its_arguments() -> None:
    labels = np.repeat(["a", "b"], 200)
    first = label_budget_draw(labels, 20, seed=3, repeat=1)
    assert label_budget_draw(labels[:0], 20, seed=3, repeat=1).shape == (0,)
    np.testing.assert_array_equal(first, label_budget_draw(labels, 20, seed=3, repeat=1))
    assert not np.array_equal(first, label_budget_draw(labels, 20, seed=4, repeat=1))
    assert not np.array_equal(first, label_budget_draw(labels, 20, seed=3, repeat=2))


def test_budget_draws_every_row_about_as_often() -> None:
    labels = np.repeat(["a", "b"], 5)
    times = np.zeros(10)
    for repeat in range(1000):
        times[label_budget_draw(labels, 2, seed=0, repeat=repeat)] += 1
    np.testing.assert_allclose(times, 400, atol=70)  # binomial, standard deviation 15.5

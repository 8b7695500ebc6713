"""Every metric by hand and against scikit-learn, and the registry that puts them into tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    hamming_loss,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from methods.statistics import metrics
from methods.statistics.metrics import (
    ONE_LABEL,
    SEVERAL_LABELS,
    Answers,
    Metric,
    NullCounts,
    Sample,
    any_match,
    balanced_accuracy,
    confusion_counts,
    exact_match,
    f1,
    hamming_similarity,
    label_auc,
    macro_area,
    macro_f1,
    matthews,
    measure,
    negative_predictive_value,
    null_counts,
    one_label_answers,
    precision,
    recall,
    specificity,
)
from methods.statistics.significance import accuracy_interval

Bool = NDArray[np.bool_]

NAMES = ("hand", "foot", "head")
# hand and foot, of which hand is found; nothing, and nothing predicted; head, and nothing
# predicted; nothing, and foot predicted.
TRUTH = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]], np.bool_)
PREDICTED = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]], np.bool_)


def _answers(truth: Bool, predicted: Bool, scores: np.ndarray | None = None) -> Answers:
    names = NAMES if truth.shape[1:] == (3,) else tuple(map(str, range(truth.shape[-1])))
    return Answers(names, truth, predicted, np.zeros(truth.shape) if scores is None else scores)


def _labels(n: int, n_labels: int, seed: int, share: float = 0.3) -> Bool:
    return np.random.default_rng(seed).random((n, n_labels)) < share


class TestImages:
    def test_four_images_by_hand(self) -> None:
        answers = _answers(TRUTH, PREDICTED)
        assert exact_match(answers).tolist() == [False, True, False, False]
        assert any_match(answers).tolist() == [True, True, False, False]
        np.testing.assert_allclose(
            hamming_similarity(answers), [2 / 3, 1, 2 / 3, 2 / 3], rtol=1e-15
        )
        assert null_counts(answers) == NullCounts(true_empty=2, predicted_empty=2, both_empty=1)

    def test_truth_and_prediction_are_not_exchanged(self) -> None:
        assert null_counts(_answers(TRUTH[:3], PREDICTED[:3])) == NullCounts(
            true_empty=1, predicted_empty=2, both_empty=1
        )

    def test_one_label(self) -> None:
        truth = np.array([[True], [True], [False], [False]])
        predicted = np.array([[True], [False], [True], [False]])
        for metric in (exact_match, any_match, hamming_similarity):
            assert metric(_answers(truth, predicted)).tolist() == [1, 0, 0, 1]

    def test_all_right_and_all_wrong(self) -> None:
        for metric in (exact_match, any_match, hamming_similarity):
            assert (metric(_answers(TRUTH, TRUTH)) == 1).all()
            assert (metric(_answers(TRUTH, ~TRUTH)) == 0).all()
        assert null_counts(_answers(TRUTH, TRUTH)) == NullCounts(2, 2, 2)

    @pytest.mark.parametrize("seed", range(3))
    def test_means_agree_with_scikit_learn(self, seed: int) -> None:
        truth, predicted = _labels(60, 4, seed), _labels(60, 4, seed + 10)
        answers = _answers(truth, predicted)
        assert exact_match(answers).mean() == pytest.approx(accuracy_score(truth, predicted))
        assert hamming_similarity(answers).mean() == pytest.approx(
            1 - hamming_loss(truth, predicted)
        )
        sets = [
            ({*np.flatnonzero(t)}, {*np.flatnonzero(p)})
            for t, p in zip(truth, predicted, strict=True)
        ]
        assert any_match(answers).tolist() == [bool(t & p) or t == p == set() for t, p in sets]

    def test_what_is_no_label_matrix_is_refused(self) -> None:
        with pytest.raises(ValueError, match="predicted is a boolean"):
            # the complement of integers would be a quiet mistake
            _answers(TRUTH, PREDICTED.astype(np.int64))
        with pytest.raises(ValueError, match="truth is a boolean"):
            _answers(TRUTH[0], PREDICTED[0])
        with pytest.raises(ValueError, match=r"truth is a boolean.*\(0, 3\)"):
            _answers(TRUTH[:0], PREDICTED[:0])
        with pytest.raises(ValueError, match=r"truth is a boolean.*\(4, 0\)"):
            _answers(TRUTH[:, :0], PREDICTED[:, :0])
        with pytest.raises(ValueError, match="same images and labels"):
            _answers(TRUTH, PREDICTED[:, :1])  # would broadcast
        with pytest.raises(ValueError, match="scores and names of the same labels"):
            _answers(TRUTH, PREDICTED, np.zeros((4, 2)))
        with pytest.raises(ValueError, match="and 2 names"):
            Answers(NAMES[:2], TRUTH, PREDICTED, np.zeros((4, 3)))


class TestLabels:
    def test_four_images_by_hand(self) -> None:
        # Of the head's scores 0.5 (true) one of three others is equal and one above: (1 + 1/2) / 3.
        scores = np.array([[0.9, 0.1, 0.7], [0.1, 0.2, 0.5], [0.2, 0.3, 0.5], [0.3, 0.4, 0.1]])
        answers = _answers(TRUTH, PREDICTED, scores)
        assert answers.support.tolist() == [1, 1, 1]
        np.testing.assert_array_equal(precision(answers), [1, 0, np.nan])
        np.testing.assert_array_equal(recall(answers), [1, 0, 0])
        np.testing.assert_array_equal(f1(answers), [1, 0, 0])
        np.testing.assert_allclose(label_auc(answers), [1, 0, 0.5])

    def test_a_label_that_all_images_have_or_none_has(self) -> None:
        truth = np.array([[1, 0, 0], [1, 0, 0]], np.bool_)
        answers = _answers(truth, np.array([[1, 0, 1], [0, 0, 1]], np.bool_))
        assert np.isnan(label_auc(answers)).all()
        assert answers.support.tolist() == [2, 0, 0]
        np.testing.assert_array_equal(precision(answers), [1, np.nan, 0])
        np.testing.assert_array_equal(recall(answers), [0.5, np.nan, np.nan])
        np.testing.assert_array_equal(f1(answers), [2 / 3, np.nan, np.nan])

    @pytest.mark.parametrize("n_labels", [1, 4])
    def test_agree_with_scikit_learn(self, n_labels: int) -> None:
        truth, predicted = _labels(80, n_labels, 1), _labels(80, n_labels, 2, 0.5)
        scores = np.random.default_rng(3).normal(0, 1, truth.shape).round(1)  # with ties
        answers = _answers(truth, predicted, scores)
        theirs: dict[Callable[[Answers], object], Callable[..., float]] = {
            precision: precision_score,
            recall: recall_score,
            f1: f1_score,
            specificity: lambda t, p, **rule: recall_score(~t, ~p, **rule),
            negative_predictive_value: lambda t, p, **rule: precision_score(~t, ~p, **rule),
        }
        for k in range(n_labels):
            for ours, other in theirs.items():
                expected = other(truth[:, k], predicted[:, k], zero_division=0)
                assert np.asarray(ours(answers))[k] == expected
            assert label_auc(answers)[k] == pytest.approx(roc_auc_score(truth[:, k], scores[:, k]))

        mean = np.mean([roc_auc_score(truth[:, k], scores[:, k]) for k in range(n_labels)])
        assert macro_area(answers) == pytest.approx(mean)

    def test_all_right_and_all_wrong(self) -> None:
        right = _answers(TRUTH, TRUTH, TRUTH.astype(np.float64))
        assert (f1(right).tolist(), label_auc(right).tolist()) == ([1, 1, 1], [1, 1, 1])
        wrong = _answers(TRUTH, ~TRUTH, -TRUTH.astype(np.float64))
        assert (f1(wrong).tolist(), label_auc(wrong).tolist()) == ([0, 0, 0], [0, 0, 0])

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_bad_scores_are_refused_by_label(self, bad: float) -> None:
        scores = np.zeros((4, 3))
        scores[2, 1] = bad
        with pytest.raises(ValueError, match="scores of label 'foot'"):
            label_auc(_answers(TRUTH, PREDICTED, scores))


# Row = true, column = predicted, classes a, b, c.
CONFUSION = np.array([[4, 0, 2], [1, 0, 0], [1, 0, 3]])


def _one_label() -> Answers:
    """Answers with the confusion above; class b is never predicted."""
    pairs = [(t, p) for t in range(3) for p in range(3) for _ in range(CONFUSION[t, p])]
    truth, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    return one_label_answers(np.array(list("abc"))[truth], np.eye(3)[predicted], ["a", "b", "c"])


class TestOneLabel:
    def test_a_hand_made_confusion(self) -> None:
        answers = _one_label()
        np.testing.assert_array_equal(confusion_counts(answers), CONFUSION)
        assert exact_match(answers).mean() == pytest.approx(7 / 11)
        np.testing.assert_array_equal(precision(answers), [4 / 6, np.nan, 3 / 5])
        np.testing.assert_array_equal(recall(answers), [4 / 6, 0, 3 / 4])
        assert macro_f1(confusion_counts(answers)) == pytest.approx((8 / 12 + 0 + 6 / 9) / 3)

    def test_a_class_neither_seen_nor_predicted_does_not_count(self) -> None:
        labels, scores = np.array(["a", "b", "a"]), np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]])
        answers = one_label_answers(labels, scores, ["a", "b", "z"])
        assert answers.labels == ("a", "b", "z")
        assert macro_f1(confusion_counts(answers)) == pytest.approx(2 / 3)  # both F1 are 2/3

    def test_a_class_only_predicted_counts(self) -> None:
        answers = one_label_answers(np.array(["a", "a"]), np.eye(2), ["a", "b"])
        assert macro_f1(confusion_counts(answers)) == pytest.approx(1 / 3)  # F1 2/3 and 0

    def test_a_class_that_was_never_learned_is_always_missed(self) -> None:
        answers = one_label_answers(np.array(["b", "x"]), np.eye(2), ["a", "b"])
        assert answers.labels == ("a", "b", "x")
        assert exact_match(answers).tolist() == [False, False]
        assert np.isneginf(answers.scores[:, 2]).all()

    def test_a_class_that_was_never_learned_has_no_area(self) -> None:
        labels = np.array(["a", "b", "a", "b", "x"])
        scores = np.array([[3, 1], [1, 3], [2, 1], [1, 2], [0, 0]])
        answers = one_label_answers(labels, scores, ["a", "b"])
        np.testing.assert_array_equal(np.isnan(label_auc(answers)), [False, False, True])
        assert macro_area(answers) == label_auc(answers)[:2].mean()

    @pytest.mark.parametrize("classes", [2, 5])
    def test_figures_of_a_confusion_agree_with_scikit_learn(self, classes: int) -> None:
        rng = np.random.default_rng(classes)
        truth = rng.integers(0, classes, 90)
        predicted = np.where(rng.random(90) < 0.5, truth, rng.integers(0, classes, 90))
        counts = np.zeros((classes, classes), np.int64)
        np.add.at(counts, (truth, predicted), 1)
        assert balanced_accuracy(counts) == pytest.approx(balanced_accuracy_score(truth, predicted))
        assert matthews(counts) == pytest.approx(matthews_corrcoef(truth, predicted))
        assert macro_f1(counts) == pytest.approx(f1_score(truth, predicted, average="macro"))

    def test_one_class_alone_is_no_correlation(self) -> None:
        assert matthews(np.array([[3, 0], [4, 0]])) == 0
        assert matthews(np.array([[0, 4], [3, 0]])) == pytest.approx(-1)


class TestIntervals:
    def test_each_share_counts_its_own_images_and_their_groups(self) -> None:
        """Eight images of four patients; of class "1" there are five, of three patients."""
        truth = np.array([1, 1, 1, 1, 1, 0, 0, 0])
        predicted = np.array([1, 1, 0, 1, 0, 0, 1, 0])
        groups = ["p", "p", "q", "q", "r", "r", "s", "s"]
        answers = one_label_answers(truth.astype(np.str_), np.eye(2)[predicted], ["0", "1"])
        found = {
            (row.metric.name, row.subject): row.interval
            for row in measure(answers, ONE_LABEL, Sample(groups, 50, 0))
        }
        expected = {
            "recall": (predicted[truth == 1] == 1, groups[:5]),
            "specificity": (predicted[truth == 0] == 0, groups[5:]),
            "precision": (truth[predicted == 1] == 1, ["p", "p", "q", "s"]),
            "npv": (truth[predicted == 0] == 0, ["q", "r", "r", "s"]),
        }
        for name, (hits, of) in expected.items():
            assert found[name, "1"] == accuracy_interval(hits, of), name

    def test_copies_of_images_within_patients_do_not_narrow_an_interval(self) -> None:
        rng = np.random.default_rng(4)
        truth = rng.integers(0, 3, 60)
        predicted = np.where(rng.random(60) < 0.6, truth, rng.integers(0, 3, 60))
        scores = np.eye(3)[predicted] + rng.random((60, 3)) / 2

        def widths(times: int, grouped: bool) -> dict[str, float]:
            answers = one_label_answers(
                np.repeat(truth, times).astype(np.str_), np.repeat(scores, times, 0), list("012")
            )
            groups = np.repeat(np.arange(60), times).astype(np.str_).tolist()
            rows = measure(answers, ONE_LABEL, Sample(groups if grouped else None, 200, 0))
            return {
                row.metric.name: row.interval.high - row.interval.low
                for row in rows
                if row.interval is not None and row.subject == "all"
            }

        once, grouped, ungrouped = widths(1, True), widths(4, True), widths(4, False)
        assert set(once) == {"accuracy", "balanced_accuracy", "macro_f1", "mcc", "macro_auc"}
        for name, width in once.items():
            assert grouped[name] == pytest.approx(width, rel=0.1), name
            assert ungrouped[name] < 0.7 * width, name


class TestMeasure:
    def test_one_label_rows_in_order(self) -> None:
        rows = measure(_one_label(), ONE_LABEL, Sample(None, 50, 0))
        names = [(row.metric.name, row.subject) for row in rows]
        overall = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "macro_auc")
        assert names[:5] == [(name, "all") for name in overall]
        of_class = ("recall", "specificity", "precision", "npv", "f1", "auc")
        assert names[5:] == [
            (m, c) for c in "abc" for m in of_class if (m, c) != ("precision", "b")
        ], "b is never predicted, so its PPV is not defined"
        by_name = {(row.metric.name, row.subject): row for row in rows}
        accuracy = by_name["accuracy", "all"]
        assert (accuracy.value, accuracy.n) == (pytest.approx(7 / 11), 11)
        assert accuracy.interval is not None
        assert accuracy.interval.low < 7 / 11 < accuracy.interval.high
        assert (by_name["recall", "c"].value, by_name["recall", "c"].n) == (3 / 4, 4)
        assert by_name["auc", "b"].interval is None, "one image alone"
        for (name, subject), row in by_name.items():
            if subject != "b" and name != "macro_auc":
                assert (row.interval is None) == (name == "f1"), name

    def test_several_labels_leave_out_what_is_not_defined(self) -> None:
        rows = measure(_answers(TRUTH, PREDICTED), SEVERAL_LABELS, Sample(None, 50, 0))
        names = [(row.metric.name, row.subject) for row in rows]
        assert names[:4] == [
            ("exact_match", "all"),
            ("any_match", "all"),
            ("hamming_similarity", "all"),
            ("macro_auc", "all"),
        ]
        assert ("precision", "head") not in names  # never predicted
        assert ("recall", "head") in names
        assert ("auc", "hand") in names

    def test_a_new_entry_is_in_every_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def error_rate(answers: Answers) -> Bool:
            return ~exact_match(answers)

        entry = Metric("error_rate", "Error", "Share of wrong images.", "images", error_rate)
        monkeypatch.setattr(metrics, "REGISTRY", (*metrics.REGISTRY, entry))
        for protocol, answers, wrong in (
            (ONE_LABEL, _one_label(), 4 / 11),
            (SEVERAL_LABELS, _answers(TRUTH, PREDICTED), 3 / 4),
        ):
            rows = measure(answers, protocol, Sample(None, 50, 0))
            row = next(row for row in rows if row.metric.name == "error_rate")
            assert row.value == pytest.approx(wrong)
            assert row.interval is not None

    def test_names_are_unique_within_a_protocol(self) -> None:
        for protocol in (ONE_LABEL, SEVERAL_LABELS):
            names = [metric.name for metric in metrics.metrics_of(protocol)]
            assert len(names) == len(set(names))

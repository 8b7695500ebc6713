"""Predictions: two classes on paper, brute force, and blocks of any size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from data_contracts.tables.multilabel import NO_LABEL
from methods.arrays import l2_normalise
from methods.classifiers.calibration import Calibration
from methods.classifiers.label_probabilities import LabelCalibration
from methods.classifiers.linear_classifier import (
    LinearClassifier,
    nearest_rows,
    predict,
    weights_of,
)
from methods.classifiers.linear_svm import fit_gram

Float32 = NDArray[np.float32]


def _rows(n: int, seed: int = 0, d: int = 6) -> Float32:
    return l2_normalise(np.random.default_rng(seed).normal(0, 1, (n, d)))


def _blocks(rows: Float32, size: int) -> Iterator[Float32]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


class TestWeights:
    @pytest.mark.parametrize("size", [1, 7, 50, 100])
    def test_score_like_the_fit_on_the_gram_matrix(self, size: int) -> None:
        rows, new = _rows(50), _rows(9, 1)
        fit = fit_gram(rows @ rows.T, [f"c{number % 3}" for number in range(50)])
        weights = weights_of(fit.coefficients, _blocks(rows, size))
        assert (weights.dtype, weights.shape) == (np.float32, (6, 3))
        np.testing.assert_allclose(
            new @ weights + fit.intercept, fit.decision(new @ rows.T), atol=1e-5
        )

    def test_of_no_rows_is_an_error(self) -> None:
        with pytest.raises(ValueError, match="no training rows"):
            weights_of(np.zeros((0, 2)), [])


class TestNearestRows:
    @pytest.mark.parametrize("size", [1, 4, 30, 31, 100])
    @pytest.mark.parametrize("k", [1, 5, 31, 40])
    def test_against_a_full_sort_whatever_the_blocks(self, size: int, k: int) -> None:
        rows, training = _rows(12, 1), _rows(31)
        positions, cosines = nearest_rows(rows, _blocks(training, size), k)
        expected = np.argsort(-(rows @ training.T), axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_allclose(
            cosines, np.take_along_axis(rows @ training.T, expected, 1), atol=1e-6
        )
        assert (np.diff(cosines, axis=1) <= 0).all()
        assert (positions.dtype, positions.shape) == (np.int64, (12, min(k, 31)))

    @pytest.mark.parametrize("size", [1, 2, 3, 10])
    def test_equals_go_to_the_earlier_row(self, size: int) -> None:
        one, other = np.float32([[1, 0]]), np.float32([[0, 1]])
        training = np.concatenate([other, one, other, one, one])
        positions, cosines = nearest_rows(one, _blocks(training, size), 4)
        assert positions.tolist() == [[1, 3, 4, 0]]
        assert cosines.tolist() == [[1, 1, 1, 0]]
        many, _ = nearest_rows(one, _blocks(np.repeat(training, 60, axis=0), 60 * size), 130)
        assert many.tolist() == [[*range(60, 120), *range(180, 250)]]

    def test_of_no_images_is_empty(self) -> None:
        positions, cosines = nearest_rows(np.zeros((0, 6), np.float32), _blocks(_rows(5), 2), 3)
        assert positions.shape == cosines.shape == (0, 3)


class TestPredict:
    def classifier(
        self,
        weights: object = ((-2, 2, 0), (0, 0, 2)),
        intercept: object = (0, 0, 0.5),
        **changes: float,
    ) -> LinearClassifier:
        read_by = {"temperature": 2.0, "highest": 1.0, "unlike_below": 0.9, **changes}
        return LinearClassifier(
            np.array(["left", "right", "up"]),
            np.float32(weights),
            np.float32(intercept),
            Calibration(**read_by),
        )

    def test_by_hand(self) -> None:
        training = np.float32([[1, 0], [0, 1], [0.8, 0.6]])
        found = predict(
            self.classifier(), np.float32([[1, 0], [0.6, -0.8]]), _blocks(training, 2), 2
        )
        # Scores (-2, 2, 0.5) and (-1.2, 1.2, -1.1), halved in the softmax.
        assert found.answer.label.tolist() == ["right", "right"]
        assert found.answer.runner_up is not None
        assert found.answer.runner_up.label.tolist() == ["up", "up"]
        np.testing.assert_allclose(found.answer.margin, [1.5, 2.3], rtol=1e-6)
        total = np.exp([[-1, 1, 0.25], [-0.6, 0.6, -0.55]]).sum(axis=1)
        np.testing.assert_allclose(found.answer.probability, np.exp([1, 0.6]) / total, rtol=1e-6)
        np.testing.assert_allclose(
            found.answer.runner_up.probability, np.exp([0.25, -0.55]) / total, rtol=1e-6
        )
        assert found.neighbours.tolist() == [[0, 2], [0, 2]]
        np.testing.assert_allclose(found.similarities, [[1, 0.8], [0.6, 0]], atol=1e-6)
        assert found.out_of_distribution.tolist() == [False, True]

    def test_an_image_as_near_as_the_threshold_is_not_unlike(self) -> None:
        training = np.float32([[0.5, 0]])
        for threshold, unlike in ((0.5, False), (0.5000001, True), (-1.0, False)):
            found = predict(
                self.classifier(unlike_below=threshold),
                np.float32([[1, 0]]),
                _blocks(training, 1),
                3,
            )
            assert found.out_of_distribution.tolist() == [unlike]
        assert found.neighbours.shape == (1, 1)

    def test_the_temperature_changes_probabilities_and_nothing_else(self) -> None:
        rows, training = _rows(20, 1, 2), _rows(5, 2, 2)
        warm, cold = (
            predict(self.classifier(temperature=t), rows, _blocks(training, 5), 1).answer
            for t in (5.0, 0.2)
        )
        assert warm.label.tolist() == cold.label.tolist()
        np.testing.assert_array_equal(warm.margin, cold.margin)
        assert (warm.probability < cold.probability).all()
        assert warm.runner_up is not None
        assert (warm.probability >= warm.runner_up.probability).all()

    def test_equal_scores_go_to_the_earlier_class(self) -> None:
        even = self.classifier(
            weights=np.zeros((2, 3), np.float32), intercept=np.zeros(3, np.float32)
        )
        found = predict(even, np.float32([[1, 0]]), _blocks(np.float32([[1, 0]]), 1), 1)
        said = found.answer
        assert said.runner_up is not None
        assert (said.label.tolist(), said.runner_up.label.tolist(), said.margin.tolist()) == (
            ["left"],
            ["right"],
            [0],
        )
        assert said.probability == said.runner_up.probability == pytest.approx(1 / 3)

    def test_two_classes_share_the_whole_probability(self) -> None:
        rows, training = _rows(20, 1), _rows(30)
        fit = fit_gram(training @ training.T, ["no", "yes"] * 15)
        fitted = LinearClassifier(
            fit.classes,
            weights_of(fit.coefficients, _blocks(training, 9)),
            fit.intercept.astype(np.float32),
            Calibration(0.7, 1.0, 0.0),
        )
        found = predict(fitted, rows, _blocks(training, 9), 1)
        assert found.answer.runner_up is not None
        total = found.answer.probability + found.answer.runner_up.probability
        np.testing.assert_allclose(total, 1)
        assert found.answer.label.tolist() == fit.predict(rows @ training.T).tolist()
        assert (found.answer.margin >= 0).all()

    def test_several_labels_by_hand(self) -> None:
        fitted = LinearClassifier(
            np.array(["arm", "leg", "rare"]),
            np.float32([[2, 0, 1], [0, 2, 1]]),
            np.zeros(3, np.float32),
            LabelCalibration(
                thresholds=np.array([1.0, -1.0, np.inf]),
                temperatures=np.array([1.0, 2.0, np.nan]),
                highest=np.array([1.0, 0.6, 1.0]),
                unlike_below=0.9,
            ),
        )
        rows, training = np.float32([[1, 0], [0, -1], [0.6, 0.8]]), np.float32([[1, 0], [0, 1]])
        found = predict(fitted, rows, _blocks(training, 1), 1)
        # scores (2, 0), (0, -2) and (1.2, 1.6) of arm and leg
        assert found.answer.label.tolist() == ["arm|leg", NO_LABEL, "arm|leg"]
        assert found.answer.runner_up is None
        assert found.answer.likely is not None
        arm, leg, rare = found.answer.likely.T
        np.testing.assert_allclose(arm, expit(2 * np.array([2, 0, 1.2])))
        np.testing.assert_allclose(leg, [0.5, 0.4, 0.6], err_msg="expit of s, within 0.4 to 0.6")
        assert np.isnan(rare).all()
        np.testing.assert_allclose(found.answer.probability, [0.5, 0.5, 0.6])
        np.testing.assert_allclose(found.answer.margin, [1, 1, 0.2], rtol=1e-6)
        assert found.out_of_distribution.tolist() == [False, True, True]

"""Calibration: numbers worked by hand, temperatures put in and found again, and folds that part no
group."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from methods.arrays import l2_normalise
from methods.classifiers.calibration import (
    DOUBT,
    FOLDS,
    OutOfFold,
    calibrate,
    class_columns,
    fit_temperature,
    out_of_fold,
    out_of_fold_calibration,
    probabilities,
    unlike_threshold,
)
from methods.classifiers.linear_svm import fit_gram
from methods.statistics.calibration_figures import expected_calibration_error

Rows = NDArray[np.float64]


def _images(each: int, kinds: int = 3, seed: int = 0) -> tuple[Rows, NDArray[np.str_]]:
    """Normalised rows of classes that overlap a little, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.array([f"c{kind}" for kind in range(kinds)] * each)
    rows = rng.normal(0, 1, (kinds, 8))[np.arange(kinds * each) % kinds] + 0.7 * rng.normal(
        0, 1, (kinds * each, 8)
    )
    return l2_normalise(rows).astype(np.float64), labels


def _out_of_fold(
    rows: Rows, labels: NDArray[np.str_], groups: list[str], seed: int = 0
) -> OutOfFold | None:
    return out_of_fold(rows @ rows.T, labels, groups, 1.0, 1e-6, seed)


class TestTemperature:
    @pytest.mark.parametrize("temperature", [0.05, 0.5, 1.0, 7.0])
    def test_the_one_that_labels_were_drawn_with_is_found_again(self, temperature: float) -> None:
        rng = np.random.default_rng(1)
        scores = rng.normal(0, 2 * temperature, (40_000, 4))
        drawn = (
            probabilities(scores, temperature).cumsum(axis=1) > rng.random((40_000, 1))
        ).argmax(axis=1)
        assert fit_temperature(scores, drawn) == pytest.approx(temperature, rel=0.03)

    def test_two_classes_by_hand(self) -> None:
        # Three of four right, all with scores (1, 0): the likeliest stated probability is 3/4, so
        # 1/T = log 3.
        scores = np.array([[1.0, 0.0]] * 4)
        assert fit_temperature(scores, np.array([0, 0, 0, 1])) == pytest.approx(
            1 / np.log(3), rel=1e-4
        )

    def test_against_the_root_of_the_derivative(self) -> None:
        rng = np.random.default_rng(2)
        scores, codes = rng.normal(0, 3, (200, 3)), rng.integers(0, 3, 200)
        codes[:120] = scores[:120].argmax(axis=1)

        def slope(inverse: float) -> float:  # of the mean log-likelihood in 1/T
            expected = (probabilities(scores, 1 / inverse) * scores).sum(axis=1)
            return float((scores[np.arange(200), codes] - expected).mean())

        assert 1 / fit_temperature(scores, codes) == pytest.approx(
            brentq(slope, 1e-2, 1e3), rel=1e-3
        )

    def test_scores_scaled_scale_it(self) -> None:
        rng = np.random.default_rng(3)
        scores = rng.normal(0, 1, (500, 3))
        codes = np.where(rng.random(500) < 0.7, scores.argmax(axis=1), 0)
        assert fit_temperature(5 * scores, codes) == pytest.approx(
            5 * fit_temperature(scores, codes), rel=1e-3
        )

    def test_stays_in_bounds_where_the_images_set_none(self) -> None:
        scores = np.eye(3)
        # always right: as sure as can be
        assert 1e-3 <= fit_temperature(scores, np.arange(3)) <= 0.1
        assert 10 <= fit_temperature(scores, np.array([1, 2, 0])) <= 1e2  # always wrong: no opinion
        assert 1e-3 <= fit_temperature(np.zeros((4, 3)), np.zeros(4, np.int64)) <= 1e2


class TestProbabilities:
    def test_by_hand(self) -> None:
        stated = probabilities(np.array([[0.0, np.log(9.0)], [2.0, 2.0]]), 2.0)
        np.testing.assert_allclose(stated, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-12)

    def test_large_scores_neither_overflow_nor_lose_their_sum(self) -> None:
        stated = probabilities(np.array([[1e6, -1e6, 0.0], [-1e300, -1e300, -1e300]]), 1e-3)
        np.testing.assert_allclose(stated, [[1, 0, 0], [1 / 3] * 3])

    def test_what_is_above_the_highest_goes_to_the_others_in_proportion(self) -> None:
        scores = np.log([[0.96, 0.03, 0.01], [0.5, 0.3, 0.2]])
        stated = probabilities(scores, 1.0, 0.9)
        np.testing.assert_allclose(stated, [[0.9, 0.075, 0.025], [0.5, 0.3, 0.2]], rtol=1e-12)
        saturated = probabilities(np.array([[1e6, 0.0, 0.0]]), 1e-3, 0.9)
        np.testing.assert_allclose(saturated, [[0.9, 0.05, 0.05]], rtol=1e-12)


def _two_classes(rng: np.random.Generator, distance: float, n: int) -> tuple[Rows, Rows]:
    """Scores of n images whose lead is normal around plus or minus ``distance``, and classes."""
    codes = np.arange(n) % 2
    lead = rng.normal(np.where(codes == 1, distance, -distance))
    return np.stack([-lead, lead], axis=1), codes


@pytest.mark.parametrize("n", [4, 16, 40])
def test_probabilities_can_be_believed_where_few_images_are_all_right(n: int) -> None:
    """Of problems whose accuracy is drawn from 1 / 2 to 1, those whose n images are all right."""
    rng = np.random.default_rng(n)
    sums = {which: np.zeros(4) for which in ("all", "nearer the boundary than any seen")}
    problems = 0
    while problems < 60:
        distance = norm.ppf(rng.uniform(0.5, 1))
        scores, codes = _two_classes(rng, distance, n)
        if (scores.argmax(axis=1) != codes).any():
            continue
        problems += 1
        seen = OutOfFold(np.array(["0", "1"]), scores, np.ones(n), np.ones(n, np.bool_), n)
        read_by = calibrate(seen, codes.astype(np.str_))
        assert read_by is not None
        assert read_by.temperature > 0.01, "the search ended at no bound"
        new, truth = _two_classes(rng, distance, 300)
        said = read_by.probabilities(new).max(axis=1)
        alone = probabilities(new, fit_temperature(scores, codes)).max(axis=1)
        assert said.max() <= (n + 1) / (n + 2)
        right = new.argmax(axis=1) == truth
        near = np.ptp(new, axis=1) < np.ptp(scores, axis=1).min()
        for which, of in zip(sums, (np.ones(300, np.bool_), near), strict=True):
            sums[which] += [said[of].sum(), right[of].sum(), alone[of].sum(), of.sum()]
    for said_of, right_of, alone_of, images in sums.values():
        assert -0.1 < (said_of - right_of) / images < 0.04
        assert (alone_of - right_of) / images > 0.015, "the likelihood alone says too much"


class TestCalibrationError:
    def test_by_hand(self) -> None:
        # Bins [0.5, 0.6): 0.55 stated, 1 of 2 right, gap 0.05, weight 2/5; [0.9, 1.0]: (0.9 + 0.95
        # + 1) / 3 = 0.95 stated, 2 of 3 right, gap 0.95 - 2/3, weight 3/5.
        confidence = np.array([0.52, 0.58, 0.9, 0.95, 1.0])
        correct = np.array([True, False, True, True, False])
        assert expected_calibration_error(confidence, correct) == pytest.approx(
            0.4 * 0.05 + 0.6 * (0.95 - 2 / 3), rel=1e-12
        )

    def test_gaps_of_one_bin_cancel_and_of_two_do_not(self) -> None:
        correct = np.array([True, False])
        assert expected_calibration_error(np.array([0.5, 0.5]), correct) == 0
        assert expected_calibration_error(np.array([0.0, 1.0]), correct) == 1

    def test_the_temperature_makes_it_small(self) -> None:
        rng = np.random.default_rng(4)
        scores = rng.normal(0, 1, (20_000, 3))
        drawn = (probabilities(scores, 1.0).cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
        sure = 6 * scores  # a classifier that is too sure of itself
        errors = [
            expected_calibration_error(stated.max(axis=1), stated.argmax(axis=1) == drawn)
            for stated in (
                probabilities(sure, 1.0),
                probabilities(sure, fit_temperature(sure, drawn)),
            )
        ]
        assert errors[0] > 0.2
        assert errors[1] < 0.02

    def test_nothing_stated_is_no_error(self) -> None:
        assert expected_calibration_error(np.zeros(0), np.zeros(0, np.bool_)) == 0


class TestOutOfFold:
    def test_no_image_is_scored_or_compared_by_one_of_its_own_group(self) -> None:
        """A row is part its class and, more, its group: within a group the cosine is at least
        0.64."""
        kinds = np.arange(40) % 4
        # ten groups with an image of every class
        groups = [f"g{number // 4}" for number in range(40)]
        rows = np.zeros((40, 14))
        rows[np.arange(40), kinds] = 0.6
        rows[np.arange(40), 4 + np.arange(40) // 4] = 0.8
        seen = _out_of_fold(rows, kinds.astype(np.str_), groups)
        assert seen is not None
        np.testing.assert_allclose(seen.nearest, 0.36)  # to one of the same class and another group

    @pytest.mark.parametrize("seed", range(5))
    def test_an_images_own_label_does_not_change_what_is_said_about_its_group(
        self, seed: int
    ) -> None:
        """Against fits without the group: wherever the folds lie, every score is of a fit on other
        groups only."""
        rows, labels = _images(12, seed=seed)
        groups = [
            f"g{number}" for number in np.random.default_rng(seed).integers(0, 5, len(labels))
        ]
        gram = rows @ rows.T
        seen = _out_of_fold(rows, labels, groups, seed)
        assert seen is not None
        assert len(set(groups)) == FOLDS  # as many folds as groups: each is left out alone
        for group in set(groups):
            inside = np.array([other == group for other in groups])
            fit = fit_gram(gram[np.ix_(~inside, ~inside)], labels[~inside], 1.0, 1e-6)
            np.testing.assert_allclose(
                seen.scores[inside], fit.decision(gram[np.ix_(inside, ~inside)]), atol=1e-9
            )
            np.testing.assert_allclose(
                seen.nearest[inside], gram[np.ix_(inside, ~inside)].max(axis=1)
            )
        assert seen.usable.all()
        assert seen.classes.tolist() == ["c0", "c1", "c2"]

    def test_tells_the_classes_apart_without_having_seen_the_image(self) -> None:
        rows, labels = _images(40)
        seen = _out_of_fold(rows, labels, [str(number) for number in range(len(labels))])
        assert seen is not None
        right = (seen.classes[seen.scores.argmax(axis=1)] == labels).mean()
        assert 0.6 < right < 1.0
        assert not np.allclose(seen.nearest, 1)

    def test_is_the_same_for_a_seed_and_another_for_another(self) -> None:
        rows, labels = _images(20)
        groups = [str(number) for number in range(60)]
        first, again, other = (_out_of_fold(rows, labels, groups, seed) for seed in (0, 0, 1))
        assert first is not None
        assert again is not None
        assert other is not None
        np.testing.assert_array_equal(first.scores, again.scores)
        assert not np.array_equal(first.scores, other.scores)

    def test_a_class_of_one_group_is_not_usable_and_never_the_likeliest_elsewhere(self) -> None:
        rows, labels = _images(10)
        labels = labels.astype("<U4")
        labels[:2] = "rare"
        groups = ["one", "one", *(str(number) for number in range(28))]
        seen = _out_of_fold(rows, labels, groups)
        assert seen is not None
        assert np.flatnonzero(~seen.usable).tolist() == [0, 1]
        rare = seen.classes.tolist().index("rare")
        assert (seen.scores[:2, rare] == seen.scores[:2].min(axis=1)).all()
        assert np.isfinite(seen.scores).all()

    @pytest.mark.parametrize(
        ("labels", "groups"),
        [
            ([], []),
            (["a", "b", "a", "b"], ["g"] * 4),
            (["a", "b"], ["g", "h"]),
            (["a", "a", "b", "b"], ["g", "g", "h", "h"]),
            (["a"] * 4, ["g", "h", "i", "j"]),
        ],
    )
    def test_none_where_no_folds_can_be_made(self, labels: list[str], groups: list[str]) -> None:
        assert _out_of_fold(np.eye(len(labels)), np.array(labels, np.str_), groups) is None


class TestUnlikeThreshold:
    def test_one_in_a_hundred_is_below(self) -> None:
        nearest = np.random.default_rng(5).permutation(np.linspace(0.5, 0.9, 1001))
        threshold = unlike_threshold(nearest)
        assert threshold == pytest.approx(0.504)
        assert (nearest < threshold).sum() == 10

    def test_images_that_are_all_alike_are_not_below(self) -> None:
        assert unlike_threshold(np.full(7, 0.8)) == 0.8
        assert unlike_threshold(np.array([0.3])) == 0.3


def test_a_calibration_is_the_temperature_and_the_threshold_of_the_same_folds() -> None:
    rows, labels = _images(20)
    groups = [str(i) for i in range(len(labels))]
    seen = _out_of_fold(rows, labels, groups)
    assert seen is not None
    codes = np.unique(labels, return_inverse=True)[1]
    found = calibrate(seen, labels)
    assert found is not None
    assert seen.n_groups == 60
    assert found.highest == 61 / 62
    assert found.temperature == fit_temperature(seen.scores, codes, 1 - DOUBT / 62)
    assert found.unlike_below == unlike_threshold(seen.nearest)


def test_one_group_cannot_be_calibrated() -> None:
    rows, labels = _images(4)
    seen = _out_of_fold(rows, labels, ["one"] * len(labels))
    assert calibrate(seen, labels) is None


def test_out_of_fold_scores_are_measured_at_their_own_temperature() -> None:
    rng = np.random.default_rng(5)
    scores = rng.normal(0, 2, (2000, 3))
    codes = (probabilities(scores, 1.0).cumsum(axis=1) > rng.random((2000, 1))).argmax(axis=1)
    classes = np.array(["a", "b", "c"])
    usable = np.arange(2000) >= 10
    seen = OutOfFold(classes, 7 * scores, np.ones(2000), usable, 1990)
    found = out_of_fold_calibration(seen, classes[codes], None)
    assert (found.n, found.right.n) == (1990, 1990)
    assert found.slope == pytest.approx(1, abs=0.15), "the factor 7 is taken out again"


def test_a_class_that_was_never_learned_has_no_column() -> None:
    labels = np.array(["a", "b", "c", "d", "z"])
    assert class_columns(np.array(["b", "d"]), labels).tolist() == [-1, 0, -1, 1, -1]

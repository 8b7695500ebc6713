"""One-vs-all SVMs of several labels: thresholds against every cut, folds that part no group."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    f1_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from methods.arrays import l2_normalise
from methods.classifiers.one_vs_all import (
    fit_one_vs_all,
    fit_one_vs_all_primal,
    fit_thresholds,
    out_of_fold_scores,
)

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

NAMES = ("hand", "foot", "head")
# hand and foot, of which hand is found; nothing, and nothing said; head, and nothing said; nothing,
# and foot said.
TRUTH = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]], np.bool_)
PREDICTED = np.array([[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]], np.bool_)


def _labels(n: int, n_labels: int, seed: int, share: float = 0.3) -> Bool:
    return np.random.default_rng(seed).random((n, n_labels)) < share


def _rows(truth: Bool, seed: int, noise: float = 0.6) -> Float64:
    """Normalised rows that are the sum of a direction for each of their labels, and noise."""
    rng = np.random.default_rng(seed)
    rows = (
        truth @ rng.normal(0, 1, (truth.shape[1], 8))
        + noise * rng.normal(0, 1, (len(truth), 8))
        + 0.2
    )
    return l2_normalise(rows).astype(np.float64)


class TestFitOneVsAll:
    @pytest.mark.parametrize("c", [0.1, 1.0, 50.0])
    def test_two_points_by_hand(self, c: float) -> None:
        # x = +-1: w = 4C / (1 + 4C) and b = 0; the second label is of the second point, the third
        # of both, the fourth of none.
        gram = np.array([[1.0, -1.0], [-1.0, 1.0]])
        fit = fit_one_vs_all(gram, np.array([[1, 0, 1, 0], [0, 1, 1, 0]], np.bool_), c, 1e-9)
        w = 4 * c / (1 + 4 * c)
        np.testing.assert_allclose(fit.decision(gram), [[w, -w, 1, -1], [-w, w, 1, -1]], rtol=1e-9)
        assert fit.learned.tolist() == [True, True, False, False]
        assert fit.converged.all()

    @pytest.mark.parametrize("n_labels", [1, 3])
    def test_agrees_with_scikit_learn_on_new_rows(self, n_labels: int) -> None:
        truth = _labels(60, n_labels, 4)
        rows = _rows(truth, 5)
        new = _rows(_labels(20, n_labels, 6), 7)
        fit = fit_one_vs_all(rows @ rows.T, truth, 1.0, 1e-9)
        svm = LinearSVC(
            C=1.0,
            loss="squared_hinge",
            tol=1e-12,
            intercept_scaling=1000.0,
            max_iter=20_000,
            dual=False,
        )
        theirs = (
            OneVsRestClassifier(svm)
            .fit(rows, truth.astype(int))
            .decision_function(new)
            .reshape(20, n_labels)
        )
        np.testing.assert_allclose(fit.decision(new @ rows.T), theirs, atol=5e-4)
        assert fit.learned.all()
        assert fit.converged.all()

    def test_streamed_rows_give_the_same_scores(self) -> None:
        truth = np.concatenate([_labels(60, 2, 4), np.ones((60, 1), np.bool_)], axis=1)
        rows, new = _rows(truth[:, :2], 5), _rows(_labels(20, 2, 6), 7)
        of_gram = fit_one_vs_all(rows @ rows.T, truth, 1.0, 1e-9)
        streamed = fit_one_vs_all_primal(lambda: np.split(rows, 3), truth, 8, 1.0, 1e-7)
        np.testing.assert_allclose(
            streamed.decision(new), of_gram.decision(new @ rows.T), atol=1e-4
        )
        assert (streamed.learned.tolist(), streamed.converged.all()) == ([True, True, False], True)

    def test_a_label_that_does_not_converge_is_told(self) -> None:
        truth = np.concatenate([_labels(60, 1, 10), np.ones((60, 1), np.bool_)], axis=1)
        rows = _rows(truth[:, :1], 11)
        assert fit_one_vs_all(rows @ rows.T, truth, 1.0, 0.0).converged.tolist() == [False, True]

    def test_another_gram_is_refused(self) -> None:
        with pytest.raises(ValueError, match="4 x 4"):
            fit_one_vs_all(np.eye(3), TRUTH, 1.0, 1e-6)
        with pytest.raises(ValueError, match="boolean"):
            fit_one_vs_all(np.eye(4), TRUTH.astype(np.float64), 1.0, 1e-6)


def _scores_of_parts(gram: Float64, truth: Bool, parts: NDArray[np.int64]) -> Float64:
    """Scores where each part is left out in turn: an independent loop over a known partition."""
    scores = np.full(truth.shape, np.nan)
    for part in np.unique(parts):
        inside = parts == part
        fit = fit_one_vs_all(gram[~inside][:, ~inside], truth[~inside], 1.0, 1e-6)
        scores[inside] = fit.decision(gram[inside][:, ~inside])
    return scores


def _left_out_scores(*arguments: Any, **named: Any) -> Float64:
    return out_of_fold_scores(*arguments, **named).scores


class TestOutOfFoldScores:
    def test_nearest_is_the_nearest_image_of_another_group(self) -> None:
        truth = _labels(50, 3, 0, 0.4)
        rows = _rows(truth, 0)
        codes = np.random.default_rng(0).integers(0, 5, 50)
        groups = [f"g{code}" for code in codes]
        found = out_of_fold_scores(rows @ rows.T, truth, groups, 1.0, 1e-6, 0)
        others = np.where(codes[:, np.newaxis] == codes, -1, rows @ rows.T)
        np.testing.assert_allclose(found.nearest, others.max(axis=1))

    @pytest.mark.parametrize("seed", range(3))
    def test_each_group_is_scored_by_fits_on_the_others(self, seed: int) -> None:
        truth = _labels(50, 3, seed, 0.4)
        rows = _rows(truth, seed)
        codes = np.random.default_rng(seed).integers(0, 5, 50)
        scores = _left_out_scores(
            rows @ rows.T, truth, [f"g{code}" for code in codes], 1.0, 1e-6, seed
        )
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, _scores_of_parts(rows @ rows.T, truth, codes), atol=1e-9)

    @pytest.mark.parametrize("seed", range(4))
    def test_folds_keep_groups_whole_and_share_out_label_sets(self, seed: int) -> None:
        # Four label sets in two groups each, of two images: two folds with one group of every set,
        # in one of 2^3 ways.
        sets = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.bool_)
        truth = np.repeat(sets, 4, axis=0)
        rows = _rows(truth, seed)
        groups = [f"g{number}" for number in np.random.default_rng(seed).permutation(8).repeat(2)]
        scores = _left_out_scores(rows @ rows.T, truth, groups, 1.0, 1e-6, seed, n_folds=2)
        balanced = []
        for first in product([0, 1], repeat=3):
            parts = np.concatenate([[part, part, 1 - part, 1 - part] for part in (0, *first)])
            balanced.append(
                np.allclose(scores, _scores_of_parts(rows @ rows.T, truth, parts), atol=1e-9)
            )
        assert balanced.count(True) == 1

    def test_label_sets_of_one_image_share_a_stratum(self) -> None:
        # 16 images, no two with the same set
        truth = np.array(list(product([False, True], repeat=4)))
        rows = _rows(truth, 0)
        scores = _left_out_scores(
            rows @ rows.T, truth, [str(number) for number in range(16)], 1.0, 1e-6, 0
        )
        assert np.isfinite(scores).all()

    def test_order_of_rows_does_not_matter(self) -> None:
        truth = _labels(60, 3, 1)
        rows, groups = _rows(truth, 2), np.array([f"g{number % 13}" for number in range(60)])
        order = np.random.default_rng(3).permutation(60)
        straight = _left_out_scores(rows @ rows.T, truth, groups, 1.0, 1e-6, 0)
        mixed = _left_out_scores(
            rows[order] @ rows[order].T, truth[order], groups[order], 1.0, 1e-6, 0
        )
        np.testing.assert_allclose(mixed, straight[order], atol=1e-9)

    def test_is_the_same_for_a_seed_and_another_for_another(self) -> None:
        truth = _labels(60, 2, 1)
        rows, groups = _rows(truth, 2), [str(number) for number in range(60)]
        np.random.seed(0)  # noqa: NPY002 - the global state must have no say
        first = _left_out_scores(rows @ rows.T, truth, groups, 1.0, 1e-6, 0)
        np.random.seed(1)  # noqa: NPY002
        np.testing.assert_array_equal(
            first, _left_out_scores(rows @ rows.T, truth, groups, 1.0, 1e-6, 0)
        )
        assert not np.array_equal(
            first, _left_out_scores(rows @ rows.T, truth, groups, 1.0, 1e-6, 1)
        )

    @pytest.mark.parametrize("common", [False, True])
    def test_a_label_whose_images_are_one_group(self, common: bool) -> None:
        """Column 1 is of one group only, or of all but one: this group's scores are -inf (inf), and
        so is what follows."""
        groups = np.array([f"g{number // 3}" for number in range(30)])
        truth = np.concatenate([_labels(30, 1, 1, 0.5), (groups == "g4")[:, None] ^ common], axis=1)
        rows = _rows(truth, 2)
        scores = _left_out_scores(rows @ rows.T, truth, groups, 1.0, 1e-6, 0)
        assert np.isfinite(scores[:, 0]).all()
        assert (scores[groups == "g4", 1] == (np.inf if common else -np.inf)).all()
        assert np.isfinite(scores[:, 1]).any()
        assert not np.isnan(scores).any()
        threshold = fit_thresholds(scores, truth)[1]
        assert threshold == (scores[np.isfinite(scores[:, 1]), 1].min() if common else np.inf)

    def test_thresholds_from_them_find_a_rare_label_in_new_images(self) -> None:
        truth, new = np.split(_labels(800, 2, 1, 0.12), [300])
        rows, new_rows = np.split(_rows(np.concatenate([truth, new]), 51, noise=2.0), [300])
        scores = _left_out_scores(
            rows @ rows.T, truth, [str(number) for number in range(300)], 1.0, 1e-6, 0
        )
        said = fit_one_vs_all(rows @ rows.T, truth, 1.0, 1e-6).decision(new_rows @ rows.T)
        assert f1_score(new, said >= 0, average="macro", zero_division=0) < 0.1  # next to never
        assert f1_score(new, said >= fit_thresholds(scores, truth), average="macro") > 0.25

    def test_one_group_and_other_rows_are_refused(self) -> None:
        with pytest.raises(ValueError, match="two groups"):
            out_of_fold_scores(np.eye(4), TRUTH, ["g"] * 4, 1.0, 1e-6, 0)
        with pytest.raises(ValueError, match="two folds"):
            out_of_fold_scores(np.eye(4), TRUTH, list("abcd"), 1.0, 1e-6, 0, n_folds=1)
        with pytest.raises(ValueError, match="as many groups"):
            out_of_fold_scores(np.eye(4), TRUTH, list("abc"), 1.0, 1e-6, 0)
        with pytest.raises(ValueError, match="as many groups"):
            out_of_fold_scores(np.eye(5), TRUTH, list("abcd"), 1.0, 1e-6, 0)


class TestThresholds:
    def test_by_hand(self) -> None:
        # Predicting 4, 3 (one wrong), 2: F1 at the cuts 3.5, 2.5, 1.5, 1 is 2/3, 1/2, 4/5, 2/3.
        scores = np.array([[4.0], [3.0], [2.0], [1.0]])
        truth = np.array([[True], [False], [True], [False]])
        assert fit_thresholds(scores, truth).tolist() == [1.5]
        assert fit_thresholds(scores, np.array([[True], [False], [False], [False]])).tolist() == [
            3.5
        ]
        assert fit_thresholds(scores, np.array([[False], [False], [False], [True]])).tolist() == [
            1.0
        ]

    def test_of_equally_good_cuts_the_highest(self) -> None:
        # F1 is 2 * 1 / (1 + 2) at 8, and as much at the lowest score: 2 * 2 / (4 + 2).
        scores, truth = (
            np.array([[9.0], [7.0], [5.0], [3.0]]),
            np.array([[True], [False], [False], [True]]),
        )
        assert fit_thresholds(scores, truth).tolist() == [8.0]

    @pytest.mark.parametrize("seed", range(20))
    def test_against_every_cut(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        scores = (
            rng.integers(-6, 6, (25, 2)).astype(np.float64)
            if seed % 2
            else rng.normal(0, 1, (25, 2))
        )
        truth = rng.random((25, 2)) < rng.uniform(0.1, 0.9)
        truth[:2] = [[True, True], [False, False]]
        thresholds = fit_thresholds(scores, truth)
        for k, threshold in enumerate(thresholds):
            levels = np.unique(scores[:, k])
            cuts = [levels[0], *((low + high) / 2 for low, high in pairwise(levels)), np.inf]
            sets = [(truth[:, k], scores[:, k] >= cut) for cut in cuts]
            f1 = [2 * (true & said).sum() / (true.sum() + said.sum()) for true, said in sets]
            assert f1_score(truth[:, k], scores[:, k] >= threshold) == pytest.approx(max(f1))
            best = max(cut for cut, value in zip(cuts, f1, strict=True) if value > max(f1) - 1e-12)
            assert threshold == pytest.approx(best, abs=1e-12)

    def test_a_label_of_all_images_or_of_none(self) -> None:
        truth = np.array([[True, False], [True, False]])
        thresholds = fit_thresholds(np.array([[0.3, 0.3], [-2.0, 2.0]]), truth)
        assert thresholds.tolist() == [-np.inf, np.inf]
        assert (np.array([[-1e9, 1e9]]) >= thresholds).tolist() == [[True, False]]

    def test_scores_all_the_same(self) -> None:
        assert fit_thresholds(
            np.full((3, 1), 0.7), np.array([[True], [False], [False]])
        ).tolist() == [0.7]

    @pytest.mark.parametrize("low", [1.0, -1.0, 0.0, 5e-324, -1e308, 1e308])
    def test_neighbouring_floats_and_far_ones_are_parted(self, low: float) -> None:
        for high in (np.nextafter(low, np.inf), 1.5e308):
            scores = np.array([[low], [high]])
            threshold = fit_thresholds(scores, np.array([[False], [True]]))
            assert np.isfinite(threshold).all()
            assert (scores >= threshold).tolist() == [[False], [True]]

    def test_infinite_scores_are_never_or_always_predicted(self) -> None:
        truth = np.array([[True], [True], [False], [False]])
        assert fit_thresholds(
            np.array([[-np.inf], [-np.inf], [3.0], [-np.inf]]), truth
        ).tolist() == [np.inf]
        # The lowest finite score, not a midpoint with -inf: 2 * 1 / (1 + 2) there.
        assert fit_thresholds(
            np.array([[-np.inf], [3.0], [-np.inf], [-np.inf]]), truth
        ).tolist() == [3.0]
        assert fit_thresholds(np.array([[2.0], [3.0], [np.inf], [np.inf]]), truth).tolist() == [2.0]

    def test_what_is_no_score_is_refused(self) -> None:
        scores = np.zeros((4, 3))
        scores[3, 2] = np.nan
        with pytest.raises(ValueError, match="scores of label 2"):
            fit_thresholds(scores, TRUTH)
        with pytest.raises(ValueError, match="scores of the same"):
            fit_thresholds(np.zeros((4, 2)), TRUTH)
        with pytest.raises(ValueError, match="boolean"):
            fit_thresholds(np.zeros((4, 3)), TRUTH.astype(np.int64))

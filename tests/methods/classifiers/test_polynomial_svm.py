"""Nested polynomial SVM: against scikit-learn's own pipeline and grid search, closed forms, and
attempts to leak."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from methods.classifiers import polynomial_svm
from methods.classifiers.polynomial_svm import (
    ALL_COLUMNS,
    INNER_FOLDS,
    Grid,
    NestedScores,
    Setting,
    _fit_sigmoid,
    flat_scores,
    nested_scores,
    outer_folds,
)

SMALL = Grid(a=(0.25, 1.0), c=(1.0,), d=(1, 2))
ONE = Grid(a=(1.0,), c=(1.0,), d=(2,))


@dataclass(frozen=True)
class Lesions:
    rows: NDArray[np.float32]
    positive: NDArray[np.bool_]
    groups: list[str]
    fold: NDArray[np.int64]


def _lesions(
    n_groups: int = 36,
    columns: int = 30,
    effect: float = 1.0,
    seed: int = 0,
    group_class: bool = True,
) -> Lesions:
    """One to four regions of interest a lesion that resemble one another, in three outer folds; the
    last columns hardly vary."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_groups), rng.integers(1, 5, n_groups))
    positive = (codes % 5 < 2) if group_class else rng.random(len(codes)) < 0.4
    rows = rng.normal(0, 1, (n_groups, columns))[codes] + rng.normal(0, 0.7, (len(codes), columns))
    rows[:, : columns // 3] += effect * positive[:, None]
    rows[:, 0] = rows[:, 0] ** 2 + 3
    rows[:, -1] = 5.0
    rows[:, -2] = codes == 7
    rows[:, -3] = codes % 3 == 0
    rows *= np.logspace(-3, 3, columns)
    groups = [f"lesion {code}" for code in codes]
    return Lesions(rows.astype(np.float32), positive, groups, outer_folds(positive, groups, 0, 3))


def _scores(data: Lesions, grid: Grid = SMALL, seed: int = 0) -> NestedScores:
    return nested_scores(data.rows, data.positive, data.groups, data.fold, grid, seed)


def _per_root_column(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.sqrt(rows.shape[1])  # then gamma x.y is a x.y / columns


def _pipeline() -> Pipeline:
    return Pipeline(
        [
            ("constant", VarianceThreshold(0)),
            ("scale", StandardScaler()),
            ("unit", FunctionTransformer(_per_root_column)),
            ("svm", SVC(kernel="poly", C=1.0)),
        ]
    )


class TestGrid:
    def test_settings_go_from_simple_to_complex_and_skip_the_offset_of_a_linear_kernel(
        self,
    ) -> None:
        grid = Grid(a=(1.0, 0.5), c=(1.0, 0.0), d=(2, 1))
        assert grid.settings() == [
            Setting(0.5, 0.0, 1),
            Setting(1.0, 0.0, 1),
            Setting(0.5, 0.0, 2),
            Setting(0.5, 1.0, 2),
            Setting(1.0, 0.0, 2),
            Setting(1.0, 1.0, 2),
        ]

    def test_the_skipped_offset_changes_no_decision(self) -> None:
        data = _lesions()
        without, with_offset = (_scores(data, Grid((1.0,), (c,), (1,))) for c in (0.0, 3.0))
        # the solver's tolerance is 1e-3
        np.testing.assert_allclose(with_offset.decision, without.decision, atol=5e-3)

    def test_default_searches_twenty_kernels(self) -> None:
        assert len(Grid().settings()) == 4 + 4 * 2 + 4 * 2

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ({"a": ()}, "at least one value"),
            ({"a": (0.0,)}, "a is positive"),
            ({"a": (math.inf,)}, "a is positive"),
            ({"c": (-1.0,)}, "c is finite"),
            ({"c": (math.nan,)}, "c is finite"),
            ({"d": (0,)}, "whole number"),
            ({"d": (1.5,)}, "whole number"),
        ],
    )
    def test_refuses_what_is_no_kernel(
        self, values: dict[str, tuple[float, ...]], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            Grid(**values)  # type: ignore[arg-type]


class TestOuterFolds:
    def test_groups_stay_together_and_classes_are_spread(self) -> None:
        data = _lesions(group_class=False)
        fold = outer_folds(data.positive, data.groups, 0)
        for name in set(data.groups):
            assert len(set(fold[np.array(data.groups) == name])) == 1
        assert sorted(set(fold)) == [0, 1, 2, 3, 4]
        shares = [data.positive[fold == k].mean() for k in range(5)]
        np.testing.assert_allclose(shares, data.positive.mean(), atol=0.1)

    def test_the_order_of_the_rows_does_not_matter(self) -> None:
        data = _lesions(group_class=False)
        order = np.random.default_rng(1).permutation(len(data.groups))
        shuffled = outer_folds(data.positive[order], [data.groups[i] for i in order], 0, 3)
        np.testing.assert_array_equal(shuffled, data.fold[order])

    def test_the_seed_matters(self) -> None:
        data = _lesions()
        assert (outer_folds(data.positive, data.groups, 1, 3) != data.fold).any()

    @pytest.mark.parametrize("flip", [False, True])
    def test_too_few_groups_with_a_class(self, flip: bool) -> None:
        # Three images, but two groups, of one class.
        positive = np.array([True, True, True, False, False, False]) ^ flip
        with pytest.raises(
            ValueError,
            match=f"outer folds: 3 folds.*{'negative' if flip else 'positive'} image, there are 2",
        ):
            outer_folds(positive, ["a", "a", "b", "c", "d", "e"], 0, 3)

    def test_a_fold_without_a_class(self) -> None:
        # "a" and "c" come first and part; "b", one of each class, joins "a", for the negatives are
        # then spread best.
        positive = np.array([True, True, True, False, False])
        with pytest.raises(ValueError, match="outer folds: fold 1 of seed 0 has no positive image"):
            outer_folds(positive, ["a", "a", "b", "b", "c"], 0, 2)

    def test_lengths_differ(self) -> None:
        with pytest.raises(ValueError, match="got 2 groups and 3 rows"):
            outer_folds(np.array([True, False, True]), ["a", "b"], 0, 2)


class TestAgainstScikitLearn:
    @pytest.mark.parametrize(
        ("data", "degree"),
        [(_lesions(), 2), (_lesions(columns=150, effect=0.5, seed=3, group_class=False), 3)],
    )
    def test_choice_decision_and_probability_of_each_fold(
        self, data: Lesions, degree: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Dense scaled matrices, library grid search and library calibration give the same, fold
        for fold."""
        monkeypatch.setattr(polynomial_svm, "COLUMNS_AT_ONCE", 7)
        grid = Grid(a=(0.25, 4.0), c=(0.0, 1.0), d=(1, degree))
        settings = [
            {"svm__gamma": [s.a], "svm__coef0": [s.c], "svm__degree": [s.d]}
            for s in grid.settings()
        ]
        result = _scores(data, grid, seed=5)
        groups, chosen = np.array(data.groups), set()
        for number, choice in enumerate(result.choices):
            train, test = data.fold != number, data.fold == number
            rows, truth = data.rows.astype(np.float64), data.positive[train]
            folds = list(
                StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=5).split(
                    truth, truth, groups[train]
                )
            )
            search = GridSearchCV(_pipeline(), settings, scoring="roc_auc", cv=folds).fit(
                rows[train], truth
            )
            best = search.best_params_
            assert (choice.a, choice.c, choice.d) == (
                best["svm__gamma"],
                best["svm__coef0"],
                best["svm__degree"],
            )
            assert choice.inner_auc == pytest.approx(search.best_score_, abs=1e-12)
            assert (
                choice.columns
                == search.best_estimator_["constant"].get_support().sum()
                < data.rows.shape[1]
            )
            assert (choice.n_train, choice.n_test, choice.converged) == (
                train.sum(),
                test.sum(),
                True,
            )
            np.testing.assert_allclose(
                result.decision[test], search.decision_function(rows[test]), atol=1e-5
            )
            calibrated = CalibratedClassifierCV(
                _pipeline().set_params(**best), method="sigmoid", cv=folds, ensemble=False
            )
            expected = calibrated.fit(rows[train], truth).predict_proba(rows[test])[:, 1]
            assert choice.slope > 0
            np.testing.assert_allclose(result.probability[test], expected, atol=1e-4)
            chosen.add((choice.a, choice.c, choice.d))
        assert len(chosen) > 1  # or the grid was not put to the test

    def test_constant_columns_differ_from_fold_to_fold(self) -> None:
        # Column -2 is constant wherever lesion 7 is left out, column -1 everywhere.
        data = _lesions()
        of_seven = data.fold[data.groups.index("lesion 7")]
        columns = [choice.columns for choice in _scores(data, ONE).choices]
        assert columns == [28 if k == of_seven else 29 for k in range(3)]

    def test_equal_settings_go_to_the_simplest(self) -> None:
        # One column that tells the classes apart at any setting: every AUC is 1.
        data = _lesions()
        rows = (
            np.where(data.positive, 1.0, -1.0)[:, None]
            + np.linspace(0, 0.1, len(data.positive))[:, None]
        )
        result = _scores(
            replace(data, rows=rows.astype(np.float32)), Grid((4.0, 1.0), (1.0, 0.5), (3, 1))
        )
        assert {(choice.d, choice.a, choice.c, choice.inner_auc) for choice in result.choices} == {
            (1, 1.0, 0.5, 1.0)
        }


class TestFeatureSelection:
    GRID = Grid(a=(1.0,), c=(1.0,), d=(1, 2), keep=(3, 8, ALL_COLUMNS))

    def test_the_filter_is_fitted_in_the_inner_folds_as_in_a_library_pipeline(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(polynomial_svm, "COLUMNS_AT_ONCE", 7)
        data = _lesions(effect=0.4)
        steps = _pipeline().steps
        filtered = Pipeline([*steps[:2], ("filter", SelectKBest(f_classif)), *steps[2:]])
        settings = [
            {
                "filter__k": [s.keep or "all"],
                "svm__gamma": [s.a],
                "svm__coef0": [s.c],
                "svm__degree": [s.d],
            }
            for s in self.GRID.settings()
        ]
        result = _scores(data, self.GRID, seed=5)
        groups = np.array(data.groups)
        for number, choice in enumerate(result.choices):
            train, test = data.fold != number, data.fold == number
            rows, truth = data.rows.astype(np.float64), data.positive[train]
            folds = StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=5).split(
                truth, truth, groups[train]
            )
            search = GridSearchCV(filtered, settings, scoring="roc_auc", cv=list(folds))
            search.fit(rows[train], truth)
            best = search.best_params_
            kept = choice.columns if best["filter__k"] == "all" else best["filter__k"]
            assert (choice.kept, choice.d) == (kept, best["svm__degree"])
            assert choice.inner_auc == pytest.approx(search.best_score_, abs=1e-12)
            np.testing.assert_allclose(
                result.decision[test], search.decision_function(rows[test]), atol=1e-5
            )
        assert len({choice.kept for choice in result.choices}) > 1

    def test_labels_of_the_test_side_select_no_column(self) -> None:
        data = _lesions(effect=0.3, group_class=False)
        test = data.fold == 1
        kept, moved = (
            _scores(of, self.GRID) for of in (data, replace(data, positive=data.positive ^ test))
        )
        assert kept.choices[1] == moved.choices[1]
        assert kept.decision[test].tobytes() == moved.decision[test].tobytes()

    def test_more_columns_than_there_are_are_all_of_them(self) -> None:
        data = _lesions()
        all_of_them, many = (_scores(data, replace(ONE, keep=(k,))) for k in (ALL_COLUMNS, 999))
        np.testing.assert_allclose(many.decision, all_of_them.decision, atol=5e-3)


class TestOtherReadings:
    def test_flat_search_is_the_librarys_over_the_outer_folds(self) -> None:
        data = _lesions(effect=0.4)
        settings = [
            {"svm__gamma": [s.a], "svm__coef0": [s.c], "svm__degree": [s.d]}
            for s in SMALL.settings()
        ]
        folds = [(np.flatnonzero(data.fold != k), np.flatnonzero(data.fold == k)) for k in range(3)]
        search = GridSearchCV(_pipeline(), settings, scoring="roc_auc", cv=folds)
        search.fit(data.rows.astype(np.float64), data.positive)
        result = flat_scores(data.rows, data.positive, data.groups, data.fold, SMALL)
        (kernel,) = {(c.a, c.c, c.d, c.inner_auc) for c in result.choices}
        best = search.best_params_
        assert kernel[:3] == (best["svm__gamma"], best["svm__coef0"], best["svm__degree"])
        assert kernel[3] == pytest.approx(search.best_score_, abs=1e-12)
        for train, test in folds:
            rows = data.rows.astype(np.float64)
            fitted = _pipeline().set_params(**best).fit(rows[train], data.positive[train])
            expected = fitted.decision_function(rows[test])
            np.testing.assert_allclose(result.decision[test], expected, atol=1e-5)

    def test_flat_search_on_random_labels_is_optimistic(self) -> None:
        """On pure noise, where nested areas lie about 0.5; the standard error is about 0.03."""
        areas = []
        for draw in range(6):
            data = _lesions(n_groups=30, columns=12, effect=0.0, seed=draw, group_class=False)
            scores = flat_scores(data.rows, data.positive, data.groups, data.fold, Grid())
            areas.append(scores.choices[0].inner_auc)
        assert np.mean(areas) > 0.56

    def test_removal_on_all_rows_changes_the_unit_of_a_alone(self) -> None:
        """Column -2 varies in one fold alone: there a is in units of 1 / 29 in place of 1 / 28."""
        data = _lesions()
        of_seven = data.fold[data.groups.index("lesion 7")]
        on_all = _scores(data, replace(ONE, constant_on="all"))
        assert [choice.columns for choice in on_all.choices] == [29] * 3
        same_unit = _scores(data, Grid((28 / 29,), (1.0,), (2,)))
        test = data.fold == of_seven
        np.testing.assert_allclose(on_all.decision[test], same_unit.decision[test], atol=5e-3)

    def test_inner_probabilities_are_of_the_training_rows_alone(self) -> None:
        data = _lesions()
        inner = _scores(data).inner
        np.testing.assert_array_equal(np.isnan(inner), data.fold == np.arange(3)[:, None])
        left = data.fold != 0
        assert roc_auc_score(data.positive[left], inner[0, left]) > 0.7


class TestNoLeak:
    def test_no_group_is_on_both_sides_of_any_fit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Moving the rows of one group must change exactly the SVMs that were meant to see it.

        With one setting an outer fold fits five SVMs of the search and the final one. A group is
        unknown to the six of its own outer fold, and to one of the search in each of the others.
        """
        data = _lesions(n_groups=16, columns=6, group_class=False)
        seen: list[bytes] = []
        fit = SVC.fit

        def recorded(self: SVC, kernel: NDArray[np.float64], truth: NDArray[np.bool_]) -> SVC:
            seen.append(kernel.tobytes() + truth.tobytes())
            return fit(self, kernel, truth)

        monkeypatch.setattr(SVC, "fit", recorded)
        _scores(data, ONE)
        before, size = list(seen), INNER_FOLDS + 1
        assert len(before) == 3 * size
        for name in sorted(set(data.groups)):
            of_group = np.array(data.groups) == name
            moved = data.rows.copy()
            moved[of_group] += 0.01 * np.ptp(data.rows, axis=0)
            seen.clear()
            _scores(replace(data, rows=moved), ONE)
            same = np.array([a == b for a, b in zip(before, seen, strict=True)]).reshape(3, size)
            own = int(data.fold[of_group][0])
            assert same[own].all()
            others = np.delete(same, own, axis=0)
            np.testing.assert_array_equal(others[:, :INNER_FOLDS].sum(axis=1), 1)
            assert not others[:, INNER_FOLDS].any()

    def test_test_rows_change_nothing_but_their_own_scores(self) -> None:
        """A column that tells the truth of the rows of one fold alone changes neither their choice
        nor their sigmoid."""
        data = _lesions(effect=0.3)
        test = data.fold == 2
        rows = data.rows.copy()
        rows[test, -1] = np.where(data.positive[test], 100.0, -100.0)
        rows[test, 5:20] *= 3
        kept, moved = _scores(data), _scores(replace(data, rows=rows))
        assert kept.choices[2] == moved.choices[2]
        assert (kept.decision[test] != moved.decision[test]).all()
        one = np.flatnonzero(test)[0]
        rows = data.rows.copy()
        rows[one] = 1e3
        lone = _scores(replace(data, rows=rows))
        rest = test & (np.arange(len(test)) != one)
        assert lone.choices[2] == kept.choices[2]
        assert lone.decision[rest].tobytes() == kept.decision[rest].tobytes()
        assert lone.probability[rest].tobytes() == kept.probability[rest].tobytes()

    def test_labels_of_the_test_side_are_not_read(self) -> None:
        data = _lesions(effect=0.3, group_class=False)
        test = data.fold == 1
        flipped = replace(data, positive=data.positive ^ test)
        kept, moved = _scores(data), _scores(flipped)
        assert kept.choices[1] == moved.choices[1]
        assert kept.decision[test].tobytes() == moved.decision[test].tobytes()
        assert kept.choices[0] != moved.choices[0]

    def test_labels_drawn_at_random_give_half(self) -> None:
        """Mean AUC over folds and draws; its standard error is about 0.02. Labels drawn by lesion,
        regions of a lesion alike."""
        aucs = []
        for draw in range(20):
            data = _lesions(n_groups=30, columns=12, effect=0.0, seed=draw)
            scores = _scores(data, Grid(a=(1.0,), c=(0.0, 1.0), d=(2,)))
            aucs += [
                roc_auc_score(data.positive[data.fold == k], scores.decision[data.fold == k])
                for k in range(3)
            ]
        assert np.mean(aucs) == pytest.approx(0.5, abs=0.05)
        assert np.std(aucs) > 0.05


class TestSigmoid:
    def _loss(
        self,
        parameters: NDArray[np.float64],
        decision: NDArray[np.float64],
        positive: NDArray[np.bool_],
    ) -> float:
        value = parameters[0] * decision + parameters[1]
        high, low = (positive.sum() + 1) / (positive.sum() + 2), 1 / ((~positive).sum() + 2)
        targets = np.where(positive, high, low)
        return -float((targets * log_expit(value) + (1 - targets) * log_expit(-value)).sum())

    @pytest.mark.parametrize("gap", [0.3, 1.5, 50.0])
    def test_against_a_general_optimiser(self, gap: float) -> None:
        rng = np.random.default_rng(0)
        positive = rng.random(80) < 0.35
        decision = rng.normal(0, 1, 80) + gap * positive
        best = minimize(
            self._loss, [0.0, 0.0], args=(decision, positive), method="Nelder-Mead", tol=1e-10
        )
        slope, intercept = _fit_sigmoid(decision, positive)
        np.testing.assert_allclose([slope, intercept], best.x, rtol=1e-4)
        assert self._loss(np.array([slope, intercept]), decision, positive) <= best.fun + 1e-9

    def test_two_values_by_hand(self) -> None:
        # At -1: four negatives of target 1/7 and one positive of 7/8 -> mean 81/280; at +1: one of
        # 1/7, five of 7/8 -> 253/336.
        decision = np.array([-1.0] * 5 + [1.0] * 6)
        positive = np.array([False] * 4 + [True] + [False] + [True] * 5)
        slope, intercept = _fit_sigmoid(decision, positive)
        assert expit(intercept - slope) == pytest.approx(81 / 280, abs=1e-9)
        assert expit(intercept + slope) == pytest.approx(253 / 336, abs=1e-9)

    def test_a_shift_and_a_scale_of_the_values_change_no_probability(self) -> None:
        rng = np.random.default_rng(1)
        positive = rng.random(60) < 0.5
        decision = rng.normal(0, 1, 60) + positive
        slope, intercept = _fit_sigmoid(decision, positive)
        for scale in (1e-6, 1e6):
            other_slope, other_intercept = _fit_sigmoid(scale * (decision + 7), positive)
            other = expit(other_slope * scale * (decision + 7) + other_intercept)
            np.testing.assert_allclose(other, expit(slope * decision + intercept), atol=1e-6)

    @pytest.mark.parametrize("decision", [[3.0, 2.0, -1.0, -2.0, -3.0], [0.1] * 5])
    def test_values_that_say_nothing_give_the_share_of_positives(
        self, decision: Sequence[float]
    ) -> None:
        # Two positives, three negatives, against their values or with the same one: (2 * 3/4 + 3 *
        # 1/5) / 5 = 0.42.
        positive = np.array([False, False, False, True, True])
        slope, intercept = _fit_sigmoid(np.array(decision), positive)
        assert slope == 0
        assert expit(intercept) == pytest.approx(0.42)

    def test_probabilities_rise_with_the_decision_of_their_fold(self) -> None:
        data = _lesions()
        result = _scores(data)
        for number in range(3):
            of_fold = data.fold == number
            order = np.argsort(result.decision[of_fold])
            assert (np.diff(result.probability[of_fold][order]) > 0).all()
        assert 0 <= result.probability.min() < 0.3 < 0.7 < result.probability.max() <= 1
        assert (
            result.probability[data.positive].mean()
            > result.probability[~data.positive].mean() + 0.2
        )


class TestNestedScores:
    def test_twice_the_same_bytes_whatever_the_global_random_state(self) -> None:
        data = _lesions()
        first = _scores(data)
        np.random.seed(3)  # noqa: NPY002
        state = np.random.get_state()[1].tobytes()  # noqa: NPY002
        second = _scores(data)
        assert np.random.get_state()[1].tobytes() == state  # noqa: NPY002
        assert first.decision.tobytes() == second.decision.tobytes()
        assert first.probability.tobytes() == second.probability.tobytes()
        assert first.choices == second.choices
        np.testing.assert_array_equal(first.fold, data.fold)

    def test_the_number_of_threads_does_not_matter(self) -> None:
        data = _lesions(columns=1500)
        results = []
        for threads in (1, 2):
            with threadpool_limits(threads):
                results.append(_scores(data, ONE).decision.tobytes())
        assert results[0] == results[1]

    def test_the_seed_is_that_of_the_inner_folds(self) -> None:
        data = _lesions(effect=0.3)
        assert [c.inner_auc for c in _scores(data).choices] != [
            c.inner_auc for c in _scores(data, seed=1).choices
        ]

    def test_the_order_of_the_rows_does_not_matter(self) -> None:
        data = _lesions(group_class=False)
        order = np.random.default_rng(1).permutation(len(data.groups))
        shuffled = Lesions(
            data.rows[order],
            data.positive[order],
            [data.groups[i] for i in order],
            data.fold[order],
        )
        np.testing.assert_allclose(
            _scores(shuffled, ONE).decision, _scores(data, ONE).decision[order], atol=1e-2
        )

    def test_rows_may_be_a_read_only_memory_map_in_either_layout(self) -> None:
        data = _lesions()
        columns_first = np.asfortranarray(data.rows)
        columns_first.flags.writeable = False
        np.testing.assert_allclose(
            _scores(replace(data, rows=columns_first), ONE).decision,
            _scores(data, ONE).decision,
            atol=1e-9,
        )

    def test_tells_of_each_fold(self) -> None:
        data, told = _lesions(columns=6), []
        nested_scores(data.rows, data.positive, data.groups, data.fold, ONE, 0, told.append)
        assert told == [0, 1, 2]

    def test_a_solver_stopped_early_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(polynomial_svm, "MAX_ITERATIONS", 3)
        assert not any(choice.converged for choice in _scores(_lesions(columns=6), ONE).choices)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_refuses_a_feature_that_is_not_finite(
        self, value: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(polynomial_svm, "COLUMNS_AT_ONCE", 7)
        data = _lesions()
        data.rows[-1, -1] = value
        with pytest.raises(ValueError, match="NaN or infinite"):
            _scores(data)

    def test_refuses_columns_that_are_constant_on_a_training_side(self) -> None:
        data = _lesions()
        rows = np.ones((len(data.rows), 2), np.float32)
        rows[data.fold == 1, 0] = np.arange((data.fold == 1).sum())
        with pytest.raises(ValueError, match="every column is constant"):
            _scores(replace(data, rows=rows))

    def test_refuses_a_row_too_far_away_for_a_kernel(self) -> None:
        data = _lesions(columns=6)
        rows = data.rows.copy()
        rows *= np.float32(1e-38)
        rows[0] = 3e38
        with pytest.raises(ValueError, match=r"Setting\(a=1.0, c=0.0, d=9, .* overflows"):
            _scores(replace(data, rows=rows), Grid((1.0,), (0.0,), (9,)))

    def test_refuses_a_power_too_high_for_the_solver(self) -> None:
        with pytest.raises(ValueError, match=r"d=60, .* overflows"):
            _scores(_lesions(columns=6), Grid((4.0,), (1.0,), (60,)))

    def test_refuses_a_group_in_two_folds(self) -> None:
        data = _lesions()
        fold = data.fold.copy()
        row = next(i for i, name in enumerate(data.groups) if data.groups.count(name) > 1)
        fold[row] = (fold[row] + 1) % 3
        with pytest.raises(ValueError, match="more than one outer fold"):
            _scores(replace(data, fold=fold))

    @pytest.mark.parametrize("relabel", [{2: 7}, {0: -1}, {1: 0, 2: 0}])
    def test_refuses_folds_with_a_gap(self, relabel: dict[int, int]) -> None:
        data = _lesions()
        fold = np.array([relabel.get(int(k), int(k)) for k in data.fold])
        with pytest.raises(ValueError, match="numbered from 0"):
            _scores(replace(data, fold=fold))

    def test_refuses_lengths_that_differ(self) -> None:
        data = _lesions()
        with pytest.raises(ValueError, match="one class, group and fold"):
            _scores(replace(data, groups=data.groups[:-1]))
        with pytest.raises(ValueError, match="one class, group and fold"):
            _scores(replace(data, rows=data.rows[:, :, None]))

    def test_refuses_a_training_side_too_small_for_its_inner_folds(self) -> None:
        data = _lesions(n_groups=14)
        positive = np.isin(data.groups, [f"lesion {k}" for k in range(5)])
        fold = outer_folds(positive, data.groups, 0)
        with pytest.raises(
            ValueError,
            match=(
                "inner folds of outer fold 0: 5 folds need 5 groups with a positive image, there "
                "are 4"
            ),
        ):
            _scores(replace(data, positive=positive, fold=fold))

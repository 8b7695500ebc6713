"""ROC analysis: cases by hand, plain double loops of the papers' formulas, published fits and
simulations with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from methods.statistics.roc import (
    Binormal,
    Delong,
    auc,
    auc_difference_p,
    auc_interval,
    aucs,
    delong,
    empirical_roc,
    fit_binormal,
)

# Ratings 1 to 5 of 58 normal and 51 abnormal CT images (Hanley and McNeil 1982, table I).
HANLEY = ([33, 6, 6, 11, 2], [3, 2, 2, 11, 33])


def _ratings(negatives: list[int], positives: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Scores 0 .. K - 1 from counts of each class in K categories."""
    k = np.arange(len(negatives), dtype=np.float64)
    scores = np.concatenate([np.repeat(k, negatives), np.repeat(k, positives)])
    return scores, np.arange(len(scores)) >= sum(negatives)


def _binormal_scores(n: int, a: float, b: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """n scores, half of them positive ones from N(a / b, 1 / b)."""
    rng = np.random.default_rng(seed)
    positive = np.arange(n) % 2 == 0
    return np.where(positive, a / b, 0) + np.where(positive, 1 / b, 1) * rng.normal(
        size=n
    ), positive


def _tied_markers(n: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three correlated markers with many ties, (3, n), and their classes."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    shared = rng.normal(size=n) + positive
    return np.round(2 * (shared + rng.normal(size=(3, n)))) / 2, positive


def _pair(x: float, y: float) -> float:
    return 1.0 if x > y else 0.5 if x == y else 0.0


def _by_double_loops(
    scores: np.ndarray, positive: np.ndarray, groups: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Areas and covariance term by term from Obuchowski 1997."""
    names = sorted(set(groups))
    m_rows, n_rows = int(positive.sum()), int((~positive).sum())
    areas, x, y = [], [], []
    for row in scores:
        of = list(zip(row, positive, groups, strict=True))
        area = sum(_pair(s, t) for s, p, _ in of if p for t, q, _ in of if not q) / (
            m_rows * n_rows
        )
        v10 = [(g, sum(_pair(s, t) for t, q, _ in of if not q) / n_rows) for s, p, g in of if p]
        v01 = [(g, sum(_pair(s, t) for s, p, _ in of if p) / m_rows) for t, q, g in of if not q]
        areas.append(area)
        x.append([sum(v - area for h, v in v10 if h == g) for g in names])
        y.append([sum(v - area for h, v in v01 if h == g) for g in names])
    i10 = len({g for g, p in zip(groups, positive, strict=True) if p})
    i01 = len({g for g, p in zip(groups, positive, strict=True) if not p})
    covariance = np.empty((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            s10 = i10 / ((i10 - 1) * m_rows) * sum(p * q for p, q in zip(x[r], x[s], strict=True))
            s01 = i01 / ((i01 - 1) * n_rows) * sum(p * q for p, q in zip(y[r], y[s], strict=True))
            cross = sum(p * q for p, q in zip(x[r], y[s], strict=True)) + sum(
                p * q for p, q in zip(x[s], y[r], strict=True)
            )
            s11 = len(names) / (len(names) - 1) * cross
            covariance[r, s] = s10 / m_rows + s01 / n_rows + s11 / (m_rows * n_rows)
    return np.array(areas), covariance


def _delong_by_definition(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Covariance of DeLong et al. 1988 from its structural components, every pair compared."""
    components = []
    for row in scores:
        kernel = np.array([[_pair(s, t) for t in row[~positive]] for s in row[positive]])
        components.append((kernel.mean(axis=1), kernel.mean(axis=0)))
    v10, v01 = np.cov([c[0] for c in components]), np.cov([c[1] for c in components])
    return v10 / positive.sum() + v01 / (~positive).sum()


# The area and the empirical curve.


def test_auc_by_hand() -> None:
    # Positive 3 beats 1 and 2, positive 2 beats 1 and ties with 2: 3.5 of 4 pairs.
    scores, positive = np.array([3.0, 2.0, 1.0, 2.0]), np.array([True, True, False, False])
    assert auc(scores, positive) == 3.5 / 4
    assert auc(-scores, positive) == 0.5 / 4
    assert auc(np.ones(4), positive) == 0.5


def test_several_areas_at_once_by_hand() -> None:
    positive = np.array([True, True, False, False])
    scores = np.array([[4, 2, 3, 1], [1, 1, 1, 1], [2, 1, 1, 0], [0, 1, 2, 3]], np.float64)
    assert aucs(scores, positive).tolist() == [0.75, 0.5, 0.875, 0.0]
    assert [auc(row, positive) for row in scores] == [0.75, 0.5, 0.875, 0.0]


def test_areas_are_exact_fractions() -> None:
    positive = np.arange(49) < 7
    scores = np.where(np.arange(49) < 1, 100.0, -np.arange(49.0))
    # the first positive beats all 42, so do the others but none is beaten
    assert auc(scores, positive) == 1.0
    scores[6] = -1000.0  # the last positive loses to all
    assert auc(scores, positive) == 6 / 7


def test_auc_agrees_with_scikit_learn() -> None:
    scores, positive = _tied_markers()
    for row in scores:
        assert auc(row.astype(np.float32), positive) == pytest.approx(
            roc_auc_score(positive, row), rel=1e-12
        )


def test_empirical_roc_by_hand() -> None:
    fpr, tpr = empirical_roc(np.array([3.0, 2.0, 1.0, 2.0]), np.array([True, True, False, False]))
    np.testing.assert_array_equal(fpr, [0, 0, 0.5, 1])
    np.testing.assert_array_equal(tpr, [0, 0.5, 1, 1])


def test_the_area_under_the_empirical_roc_is_the_auc() -> None:
    scores, positive = _tied_markers(300)
    fpr, tpr = empirical_roc(scores[0], positive)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(scores[0], positive), rel=1e-12)


@pytest.mark.parametrize(
    ("scores", "positive", "message"),
    [
        ([1.0, 2.0], [True, True], "both classes"),
        ([1.0, 2.0], [False, False], "both classes"),
        ([], [], "both classes"),
        ([1.0, 2.0, 3.0], [True, False], "3 scores and 2 images"),
        ([1.0, np.nan], [True, False], "not finite"),
        ([1.0, np.inf], [True, False], "not finite"),
    ],
)
def test_what_cannot_be_ranked_is_refused(
    scores: list[float], positive: list[bool], message: str
) -> None:
    for function in (auc, empirical_roc, fit_binormal, lambda s, p: delong(s[np.newaxis], p)):
        with pytest.raises(ValueError, match=message):
            function(np.array(scores), np.array(positive, bool))


def test_classes_that_are_not_bool_are_refused() -> None:
    with pytest.raises(ValueError, match="one bool an image"):
        auc(np.array([1.0, 2.0]), np.array([0, 1]))


# DeLong's covariance and Obuchowski's.


def test_delong_by_hand() -> None:
    # Kernel rows (1, 1) and (1, 1/2): V10 = 1, 3/4 and V01 = 1, 3/4, variances 1/32 each: 1/64 +
    # 1/64.
    result = delong(np.array([[3.0, 2.0, 1.0, 2.0]]), np.array([True, True, False, False]))
    assert result.auc.tolist() == [0.875]
    assert result.covariance.tolist() == [[1 / 32]]
    assert (result.clustered, result.n_pairs) == (False, 2)


def test_delong_of_published_ratings() -> None:
    # Stata's roctab on the same ratings: area 0.8932, standard error 0.0307, interval 0.83295 to
    # 0.95339.
    scores, positive = _ratings(*HANLEY)
    result = delong(scores[np.newaxis], positive)
    assert result.auc[0] == pytest.approx(0.8932, abs=5e-5)
    assert np.sqrt(result.covariance[0, 0]) == pytest.approx(0.0307, abs=5e-5)
    half = 1.959964 * np.sqrt(result.covariance[0, 0])
    assert (result.auc[0] - half, result.auc[0] + half) == (
        pytest.approx(0.83295, abs=1e-5),
        pytest.approx(0.95339, abs=1e-5),
    )
    interval = auc_interval(result, 0)
    assert interval.low < 0.83295 < 0.8932 < interval.high < 0.95339
    assert interval.method == "DeLong, t on the logit"


@pytest.mark.parametrize("seed", range(3))
def test_delong_agrees_with_its_definition(seed: int) -> None:
    scores, positive = _tied_markers(seed=seed)
    result = delong(scores, positive)
    np.testing.assert_allclose(
        result.covariance, _delong_by_definition(scores, positive), rtol=1e-11
    )
    np.testing.assert_allclose(result.auc, [auc(row, positive) for row in scores], rtol=1e-14)


@pytest.mark.parametrize("seed", range(3))
def test_clustered_agrees_with_the_formulas_term_by_term(seed: int) -> None:
    scores, positive = _tied_markers(seed=seed)
    drawn = np.random.default_rng(seed).integers(0, 13, len(positive))
    groups = [f"patient {g}" for g in drawn]
    mixed = {g for g, p in zip(groups, positive, strict=True) if p} & {
        g for g, p in zip(groups, positive, strict=True) if not p
    }
    assert mixed
    assert mixed < set(groups)  # so the three factors differ
    areas, covariance = _by_double_loops(scores, positive, groups)
    result = delong(scores, positive, groups)
    assert result.clustered
    np.testing.assert_allclose(result.auc, areas, rtol=1e-12)
    np.testing.assert_allclose(result.covariance, covariance, rtol=1e-10)
    np.testing.assert_array_equal(result.covariance, result.covariance.T)
    assert np.linalg.eigvalsh(result.covariance).min() > -1e-15


def test_images_of_their_own_groups_give_delong_exactly() -> None:
    scores, positive = _tied_markers()
    plain = delong(scores, positive)
    alone = delong(scores, positive, [f"g{i}" for i in range(len(positive))])
    np.testing.assert_allclose(alone.covariance, plain.covariance, rtol=1e-13)
    assert alone.n_pairs == plain.n_pairs


def test_images_twice_leave_the_clustered_covariance_and_halve_the_plain_one() -> None:
    scores, positive = _tied_markers(60)
    groups = [f"g{i % 25}" for i in range(60)]
    twice, classes = np.repeat(scores, 2, axis=1), np.repeat(positive, 2)
    once = delong(scores, positive, groups)
    doubled = delong(twice, classes, [g for g in groups for _ in range(2)])
    np.testing.assert_allclose(doubled.covariance, once.covariance, rtol=1e-12)
    before, after = auc_interval(once, 0), auc_interval(doubled, 0)
    assert (after.low, after.high) == (
        pytest.approx(before.low, rel=1e-12),
        pytest.approx(before.high, rel=1e-12),
    )
    shrunk = delong(twice, classes).covariance / delong(scores, positive).covariance
    np.testing.assert_allclose(shrunk, 0.5, atol=0.05)


def test_the_order_of_images_does_not_matter() -> None:
    scores, positive = _tied_markers()
    groups = np.array([f"g{i % 11}" for i in range(len(positive))])
    order = np.random.default_rng(5).permutation(len(positive))
    mixed = delong(scores[:, order], positive[order], list(groups[order]))
    np.testing.assert_array_equal(
        mixed.covariance, delong(scores, positive, list(groups)).covariance
    )


def test_coverage_of_lesions_with_several_images() -> None:
    # 50 lesions of one class each, 4 images: scores of a lesion correlate at 0.7. True area Phi(1 /
    # sqrt(2)) = 0.760.
    rng = np.random.default_rng(11)
    truth = stats.norm.cdf(1 / np.sqrt(2))
    lesion_positive = np.arange(50) % 2 == 0
    positive, groups = (
        np.repeat(lesion_positive, 4),
        [f"lesion {i}" for i in range(50) for _ in range(4)],
    )
    hits = np.zeros(2)
    for _ in range(250):
        effects = np.sqrt(0.7) * np.repeat(rng.normal(size=50), 4) + np.sqrt(0.3) * rng.normal(
            size=200
        )
        scores = (positive + effects)[np.newaxis]
        for k, given in enumerate((groups, None)):
            interval = auc_interval(delong(scores, positive, given), 0)
            hits[k] += interval.low <= truth <= interval.high
    assert hits[0] / 250 == pytest.approx(0.95, abs=0.035)
    assert hits[1] / 250 < 0.8


@pytest.mark.parametrize(
    ("positive", "groups", "message"),
    [
        ([True, False, False], None, "two images of each class, got 1 positive and 2"),
        ([True, True, False], None, "two images of each class, got 2 positive and 1"),
        (
            [True, True, False, False],
            ["a", "a", "b", "c"],
            "two groups with images of each class, got 1 positive and 2",
        ),
        ([True, True, False, False], ["a", "b", "c"], "3 groups and 4 images"),
    ],
)
def test_a_covariance_that_cannot_be_had_is_refused(
    positive: list[bool], groups: list[str] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        delong(np.arange(len(positive), dtype=np.float64)[np.newaxis], np.array(positive), groups)


def test_scores_of_one_classifier_need_a_row() -> None:
    with pytest.raises(ValueError, match="one row for each classifier"):
        delong(np.arange(4.0), np.array([True, True, False, False]))


# Intervals and tests.


def test_interval_is_of_student_on_the_logit() -> None:
    result = Delong(
        np.array([0.8, 0.97]),
        np.diag([0.04**2, 0.04**2]),
        clustered=True,
        n_pairs=9,
        n_groups=10,
    )
    interval = auc_interval(result, 0)
    # logit(0.8) = 1.386294, its standard error 0.04 / 0.16 = 0.25, t(0.975, 9) = 2.262157
    reach = 2.262157 * 0.25
    assert (interval.low, interval.high) == (
        pytest.approx(1 / (1 + np.exp(-1.386294 + reach))),
        pytest.approx(1 / (1 + np.exp(-1.386294 - reach))),
    )
    assert (interval.method, interval.groups) == ("Obuchowski, t on the logit", 10)
    assert auc_interval(result, 1).high < 1.0


def test_perfect_separation_gets_an_exact_bound() -> None:
    scores, positive = np.arange(14.0)[np.newaxis], np.arange(14) >= 8
    result = delong(np.concatenate([scores, -scores]), positive)
    assert not result.covariance.any()
    best, worst = auc_interval(result, 0), auc_interval(result, 1)
    # 6 positives in 6 disjoint pairs
    exact = stats.binomtest(6, 6).proportion_ci(0.95, method="exact")
    assert (best.low, best.high, best.method) == (pytest.approx(exact.low), 1.0, "Clopper-Pearson")
    assert (worst.low, worst.high) == (0.0, pytest.approx(1 - exact.low))


@pytest.mark.parametrize(
    ("positive", "groups", "pairs"),
    [
        ("1100", "abcd", 2),
        ("110000", "abcdef", 2),
        ("11110000", "aabbccdd", 2),  # images of a group are no independent pairs
        # three groups with a positive, two with a negative, but a pair takes two of the three
        ("10101", "aabbc", 1),
        ("10101010", "aabbccdd", 2),
    ],
)
def test_disjoint_pairs(positive: str, groups: str, pairs: int) -> None:
    scores = np.arange(len(positive), dtype=np.float64)[np.newaxis]
    assert delong(scores, np.array(list(positive)) == "1", list(groups)).n_pairs == pairs


def test_no_spread_short_of_perfection_gets_hoeffdings_bound() -> None:
    positive = np.arange(40) % 2 == 0
    interval = auc_interval(delong(np.ones((1, 40)), positive), 0)
    half = np.sqrt(np.log(40) / 40)  # ln(2 / 0.05) / (2 * 20)
    assert (interval.low, interval.high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))
    assert interval.method == "Hoeffding"


def test_deviations_that_cancel_within_groups_leave_no_spread() -> None:
    # Image pairs (1, 0), (3, 2), ... of a group: V10 = 1/7, 2/7, ... and V01 = 1, 6/7, ... around
    # 4/7 add to zero in each.
    scores, positive = np.arange(14.0)[np.newaxis], np.arange(14) % 2 == 1
    result = delong(scores, positive, list("aabbccddeeffgg"))
    assert (result.auc[0], result.covariance[0, 0]) == (pytest.approx(4 / 7), 0.0)
    assert auc_interval(result, 0).method == "Hoeffding"


def test_difference_of_two_areas_by_hand() -> None:
    result = Delong(
        np.array([0.9, 0.8]),
        np.array([[0.0025, 0.0005], [0.0005, 0.0016]]),
        clustered=False,
        n_pairs=30,
        n_groups=30,
    )
    z = 0.1 / np.sqrt(0.0025 + 0.0016 - 0.001)
    assert auc_difference_p(result, 0, 1) == pytest.approx(2 * stats.norm.sf(z), rel=1e-12)
    assert auc_difference_p(result, 1, 0) == auc_difference_p(result, 0, 1)
    assert auc_difference_p(result, 1, 1) == 1.0


def test_the_same_ranking_is_no_difference() -> None:
    scores, positive = _tied_markers()
    assert auc_difference_p(delong(np.stack([scores[0], np.exp(scores[0])]), positive), 0, 1) == 1.0


def test_a_difference_without_variance_is_bounded() -> None:
    scores, positive = np.arange(20.0), np.arange(20) >= 10
    result = delong(np.stack([scores, -scores, np.zeros(20)]), positive)
    assert auc_difference_p(result, 0, 1) == pytest.approx(2 * np.exp(-5))
    assert auc_difference_p(result, 0, 2) == pytest.approx(2 * np.exp(-10 / 8))


def test_p_values_are_uniform_where_the_areas_are_equal() -> None:
    rng = np.random.default_rng(3)
    positive = np.arange(80) % 2 == 0
    draws = rng.normal(size=(400, 1, 80)) + rng.normal(size=(400, 2, 80)) + positive
    p_values = [auc_difference_p(delong(scores, positive), 0, 1) for scores in draws]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(np.array(p_values) < 0.5) == pytest.approx(0.5, abs=0.07)


# The binormal curve.


def test_binormal_of_published_ratings() -> None:
    # Stata's rocfit on the same ratings: intercept 1.656782, slope 0.713002, area 0.9113, log
    # likelihood -123.64855.
    fit = fit_binormal(*_ratings(*HANLEY))
    assert fit is not None
    assert (fit.a, fit.b) == (pytest.approx(1.656782, abs=1e-6), pytest.approx(0.713002, abs=1e-6))
    assert fit.auc == pytest.approx(0.9113, abs=5e-5)
    assert fit.log_likelihood == pytest.approx(-123.64855, abs=1e-5)
    assert (fit.converged, fit.n_categories) == (True, 5)


def test_binormal_that_meets_every_count_exactly() -> None:
    # Two cutoffs and a, b: as many parameters as proportions. At 1/4, 3/4 (z = -+0.6745) and 1/8,
    # 1/2 (-1.1503, 0).
    fit = fit_binormal(*_ratings([2, 4, 2], [1, 3, 4]))
    z, u = stats.norm.ppf(0.75), stats.norm.ppf(0.125)
    assert fit is not None
    assert fit.b == pytest.approx(-u / (2 * z), rel=1e-9)
    assert fit.a == pytest.approx(-u / 2, rel=1e-9)
    best = sum(c * np.log(c / 8) for c in (2, 4, 2, 1, 3, 4))
    assert fit.log_likelihood == pytest.approx(best, rel=1e-12)


def _log_likelihood(parameters: np.ndarray, negatives: np.ndarray, positives: np.ndarray) -> float:
    """Of (a, log b, first cutoff, log distances of the others), plainly."""
    a, b = parameters[0], np.exp(parameters[1])
    t = np.cumsum(np.concatenate([parameters[2:3], np.exp(parameters[3:])]))
    total = 0.0
    for counts, cutoffs in ((negatives, t), (positives, b * t - a)):
        total += float(
            stats.multinomial.logpmf(
                counts, counts.sum(), np.diff(stats.norm.cdf([-np.inf, *cutoffs, np.inf]))
            )
        )
        total -= float(stats.multinomial.logpmf(counts, counts.sum(), counts / counts.sum()))
        total += sum(c * np.log(c / counts.sum()) for c in counts if c)
    return total


def test_no_other_curve_is_likelier() -> None:
    negatives, positives = np.array([40, 25, 20, 10, 5]), np.array([10, 12, 30, 18, 50])
    fit = fit_binormal(*_ratings(list(negatives), list(positives)))
    assert fit is not None
    start = np.array([0.0, 0.0, -1.0, -1.0, -1.0, -1.0])
    best = minimize(lambda p: -_log_likelihood(p, negatives, positives), start, method="BFGS")
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-6)
    assert (fit.a, np.log(fit.b)) == (
        pytest.approx(best.x[0], abs=1e-4),
        pytest.approx(best.x[1], abs=1e-4),
    )
    # every other curve, at its own best cutoffs
    for da, db in ((0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02)):

        def beside(cutoffs: np.ndarray, da: float = da, db: float = db) -> float:
            curve = [fit.a + da, np.log(fit.b) + db]
            return -_log_likelihood(np.concatenate([curve, cutoffs]), negatives, positives)

        assert fit.log_likelihood > -minimize(beside, best.x[2:], method="BFGS").fun


@pytest.mark.parametrize(("a", "b"), [(1.2, 0.8), (0.4, 1.5), (0.0, 1.0)])
def test_binormal_recovers_the_curve_of_many_scores(a: float, b: float) -> None:
    scores, positive = _binormal_scores(20_000, a, b, seed=1)
    fit = fit_binormal(scores, positive)
    assert fit is not None
    assert fit.converged
    assert (fit.a, fit.b) == (pytest.approx(a, abs=0.05), pytest.approx(b, abs=0.05))
    assert fit.auc == pytest.approx(stats.norm.cdf(a / np.sqrt(1 + b * b)), abs=0.01)
    assert fit.auc == pytest.approx(auc(scores, positive), abs=0.003)


@pytest.mark.parametrize("seed", range(5))
def test_few_continuous_scores(seed: int) -> None:
    scores, positive = _binormal_scores(50, 1.0, 0.7, seed)
    fit = fit_binormal(scores, positive)
    assert fit is not None
    assert fit.converged
    assert fit.auc == pytest.approx(auc(scores, positive), abs=0.04)
    runs = 1 + int(np.count_nonzero(np.diff(positive[np.argsort(scores)])))
    assert fit.n_categories == runs


def test_the_likelihood_of_runs_is_that_of_single_scores() -> None:
    # Every score a category of its own: the best split of a run of c images takes the c-th part
    # each, a loss of c log c.
    positive = np.array([False, False, True, False, True, True, True, False, True])
    runs = [(2, 0), (0, 1), (1, 0), (0, 3), (1, 0), (0, 1)]
    fit = fit_binormal(np.arange(9.0), positive)
    assert fit is not None
    single = [(0, 1) if p else (1, 0) for p in positive]
    start = np.concatenate([[0.0, 0.0, -1.5], np.full(7, -1.0)])
    negatives, positives = np.array(single).T
    best = minimize(
        lambda p: -_log_likelihood(p, negatives, positives),
        start,
        method="BFGS",
        options={"gtol": 1e-7},
    )
    assert (fit.a, fit.b) == (
        pytest.approx(best.x[0], abs=1e-4),
        pytest.approx(np.exp(best.x[1]), abs=1e-4),
    )
    assert fit.n_categories == len(runs)
    assert fit.log_likelihood - 2 * np.log(2) - 3 * np.log(3) == pytest.approx(-best.fun, abs=1e-6)


def test_monotone_transforms_change_nothing() -> None:
    scores, positive = _binormal_scores(300, 1.0, 0.9, seed=4)
    scores = np.round(scores, 1)
    fit = fit_binormal(scores, positive)
    assert fit is not None
    order = np.random.default_rng(0).permutation(300)
    for same in (np.exp(scores), 5 * scores - 100, stats.rankdata(scores)):
        assert fit_binormal(same, positive) == fit
        assert fit_binormal(same[order], positive[order]) == fit


def test_swapped_classes_give_the_mirrored_curve() -> None:
    scores, positive = _binormal_scores(400, 0.9, 1.3, seed=6)
    fit, mirrored = fit_binormal(scores, positive), fit_binormal(-scores, ~positive)
    assert fit is not None
    assert mirrored is not None
    assert (mirrored.a, mirrored.b) == (
        pytest.approx(fit.a / fit.b, rel=1e-7),
        pytest.approx(1 / fit.b, rel=1e-7),
    )
    assert mirrored.auc == pytest.approx(fit.auc, rel=1e-8)
    assert mirrored.log_likelihood == pytest.approx(fit.log_likelihood, rel=1e-12)
    grid = np.linspace(0.05, 0.95, 10)
    np.testing.assert_allclose(mirrored.tpr(1 - fit.tpr(grid)), 1 - grid, atol=1e-7)


@pytest.mark.parametrize(
    ("negatives", "positives"),
    [
        ([5, 0], [0, 5]),  # perfect separation
        ([0, 5], [5, 0]),
        ([5, 0, 0], [0, 2, 3]),
        ([9], [7]),  # all scores equal
        ([3, 4], [2, 5]),  # two categories: any b meets the one point
        ([2, 0, 2], [0, 4, 0]),  # b without bound
        ([0, 4, 0], [2, 0, 2]),  # b to zero
        ([5, 3, 0], [0, 3, 5]),  # the points lie on the left and the upper edge: a without bound
        ([3, 2, 0, 0], [0, 1, 1, 3]),  # the same with a run of two scores
        ([4, 0, 6], [3, 5, 2]),  # a vertical line inside the square
        ([3, 5, 2], [4, 0, 6]),  # a horizontal one
    ],
)
def test_degenerate_data_have_no_fit(negatives: list[int], positives: list[int]) -> None:
    assert fit_binormal(*_ratings(negatives, positives)) is None


@pytest.mark.parametrize(
    ("negatives", "positives"),
    [
        ([5, 1, 1, 0], [0, 1, 1, 5]),
        ([1, 0, 1, 3, 0], [0, 2, 0, 1, 1]),
        ([9, 2, 0, 3, 0], [1, 0, 2, 0, 9]),
        # the way up passes probabilities of 1e-100
        ([188, 4305, 2, 0, 0, 3989], [1, 4, 447, 1363, 1336, 1722]),
    ],
)
def test_awkward_data_that_have_a_fit(negatives: list[int], positives: list[int]) -> None:
    fit = fit_binormal(*_ratings(negatives, positives))
    assert fit is not None
    assert fit.converged


def test_a_flat_likelihood_is_flagged() -> None:
    fit = fit_binormal(*_ratings([197, 647, 3, 0], [0, 5, 16503, 381]))
    assert fit is not None
    assert not fit.converged
    assert fit.auc == pytest.approx(1, abs=1e-3)


def test_tpr_of_a_curve_by_hand() -> None:
    curve = Binormal(a=1.0, b=0.5, auc=0.81, converged=True, log_likelihood=-1.0, n_categories=5)
    fpr = np.array([0.0, 0.5, stats.norm.cdf(2), 1.0])
    np.testing.assert_allclose(
        curve.tpr(fpr), [0.0, stats.norm.cdf(1), stats.norm.cdf(2), 1.0], rtol=1e-12
    )
    with pytest.raises(ValueError, match="between 0 and 1"):
        curve.tpr(np.array([0.5, 1.1]))
    with pytest.raises(ValueError, match="between 0 and 1"):
        curve.tpr(np.array([np.nan]))

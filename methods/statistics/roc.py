"""ROC analysis: areas, their covariance, binormal curves (Huynh et al. 2016, 2.6 and 3).

A score ranks images, a higher one speaks for the positive class. Three independent pieces live
here:

* the empirical curve and the area under it (:func:`empirical_roc`, :func:`auc`);
* the covariance of the areas of several classifiers on the same images (:func:`delong`), the
  interval and the test from it;
* the binormal curve by maximum likelihood (:func:`fit_binormal`), which the paper draws in its
  figure 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.linalg import eigh, solveh_banded
from scipy.special import expit, log_ndtr, logit, ndtr, ndtri
from sklearn.metrics import roc_curve

from methods.statistics.significance import CONFIDENCE, Interval, group_codes

Float64 = NDArray[np.float64]

MAX_STEPS = 200
"""Maximum number of Newton steps of a binormal fit."""
_HALVINGS = 40
_GAIN_TOLERANCE = 1e-10
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Delong:
    """Areas under the ROC curves of m classifiers on the same images, and their covariance.

    Attributes:
        auc: (m,) float64 areas.
        covariance: (m, m) float64 covariance of the areas, symmetric and positive semidefinite.
        clustered: whether groups of images were kept together.
        n_pairs: the most disjoint pairs of a positive and a negative image that can be formed, with
            groups each image from a group of its own. Such pairs are independent, so bounds that
            hold for samples of any size rest on them.
        n_groups: groups (images without groups) that hold the rarer of the two classes.
    """

    auc: Float64
    covariance: Float64
    clustered: bool
    n_pairs: int
    n_groups: int


@dataclass(frozen=True)
class Binormal:
    """Binormal ROC curve.

    After some monotone transform of the scores, negatives score N(0, 1) and positives N(a / b, 1 /
    b).

    Attributes:
        a: distance of the two means in standard deviations of the positives.
        b: standard deviation of the negatives over that of the positives; the curve crosses the
            diagonal near a corner unless it is 1, a known trait of the model.
        auc: area under the curve, Phi(a / sqrt(1 + b^2)).
        converged: whether the maximum was reached.
        log_likelihood: of the classes and categories at (a, b) and the best cutoffs, without the
            multinomial constants.
        n_categories: truth-state runs of the rank-ordered scores, which are the ordinal categories
            of the fit.
    """

    a: float
    b: float
    auc: float
    converged: bool
    log_likelihood: float
    n_categories: int

    def tpr(self, fpr: Float64) -> Float64:
        """True-positive rate at each false-positive rate, float64 of the shape of ``fpr``.

        It is Phi(a + b Phi^-1(fpr)).

        Raises:
            ValueError: a rate lies outside 0..1.
        """
        if not np.all((fpr >= 0) & (fpr <= 1)):
            raise ValueError("false-positive rates lie between 0 and 1")
        rates: Float64 = ndtr(self.a + self.b * ndtri(fpr))
        return rates


def _check(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> None:
    """Refuse scores (..., n) that cannot be ranked against the classes (n,)."""
    if positive.dtype != np.bool_ or positive.ndim != 1:
        raise ValueError(
            f"positive holds one bool an image, got {positive.dtype} of shape {positive.shape}"
        )
    if scores.shape[-1] != len(positive):
        raise ValueError(
            f"one score for each image: got {scores.shape[-1]} scores and {len(positive)} images"
        )
    if not np.isfinite(scores).all():
        raise ValueError("a score is not finite")
    if positive.all() or not positive.any():
        raise ValueError("an ROC curve needs images of both classes")


def _wins(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> tuple[Float64, Float64]:
    """Count the negatives that each positive outscores (m, M), and the reverse (m, N).

    A tie counts one half.

    By midranks (Sun and Xu 2014, IEEE Signal Process. Lett. 21:1389): the rank among all less the
    rank within the class.
    """
    ranks = stats.rankdata(scores, axis=1)
    of_positive = ranks[:, positive] - stats.rankdata(scores[:, positive], axis=1)
    of_negative = positive.sum() - (
        ranks[:, ~positive] - stats.rankdata(scores[:, ~positive], axis=1)
    )
    return of_positive, of_negative


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the empirical ROC curve.

    Args:
        scores: (n,) float, higher for the positive class.
        positive: (n,) bool.

    Raises:
        ValueError: a class is missing, the lengths differ, or a score is not finite.
    """
    return float(aucs(scores[np.newaxis], positive)[0])


def aucs(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> Float64:
    """Areas under the empirical ROC curves of several scores of the same images, (m,).

    Each is the share of (positive, negative) pairs that a score ranks correctly; a tie counts one
    half (the Mann-Whitney statistic). The sums are exact, so equal rankings have equal areas.

    Args:
        scores: (m, n) float, higher for the positive class.
        positive: (n,) bool.

    Raises:
        ValueError: a class is missing, the lengths differ, or a score is not finite.
    """
    _check(scores, positive)
    n_positive = int(positive.sum())
    rank_sum = stats.rankdata(scores, axis=1)[:, positive].sum(axis=1)
    areas: Float64 = (rank_sum - n_positive * (n_positive + 1) / 2) / (
        n_positive * (len(positive) - n_positive)
    )
    return areas


def empirical_roc(
    scores: NDArray[np.floating], positive: NDArray[np.bool_]
) -> tuple[Float64, Float64]:
    """Operating points of the empirical ROC curve.

    The false-positive rate and the true-positive rate, from (0, 0) to (1, 1), float64.

    Points between two others on a straight line are left out where that changes no line of the
    curve.

    Args:
        scores: (n,) float, higher for the positive class.
        positive: (n,) bool.

    Raises:
        ValueError: as :func:`auc`.
    """
    _check(scores, positive)
    fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=True)
    return np.asarray(fpr, np.float64), np.asarray(tpr, np.float64)


def delong(
    scores: NDArray[np.floating], positive: NDArray[np.bool_], groups: Sequence[str] | None = None
) -> Delong:
    """Areas of m classifiers on the same n images with their covariance.

    Without groups this is DeLong, DeLong and Clarke-Pearson 1988 (Biometrics 44:837). With groups
    it is Obuchowski 1997 (Biometrics 53:567), for m classifiers: a group is a patient or lesion
    with images of one class or both, and groups are independent. With X_g and Y_g (m,) the sums
    over a group of the structural components V10 - A of its positives and V01 - A of its negatives,
    M and N the images of each class, and I10, I01 and I the groups with a positive, with a
    negative, and all::

        S10 = I10 / ((I10 - 1) M) sum_g X_g X_g'
        S01 = I01 / ((I01 - 1) N) sum_g Y_g Y_g'
        S11 = I / (I - 1) sum_g X_g Y_g'
        covariance = S10 / M + S01 / N + (S11 + S11') / (M N)

    Where every image is a group of its own, S11 is zero and the factors are DeLong's 1 / (M - 1)
    and 1 / (N - 1): the two are then equal, with no small-sample factor between them. As neither
    I10 nor I01 exceeds I, the covariance is positive semidefinite.

    Args:
        scores: (m, n) float, one row a classifier, higher for the positive class.
        positive: (n,) bool.
        groups: (n,) group of each image, or None.

    Raises:
        ValueError: as :func:`auc`; or a class has fewer than two images, or fewer than two groups
            hold it.
    """
    if scores.ndim != 2:
        raise ValueError(f"scores hold one row for each classifier, got shape {scores.shape}")
    _check(scores, positive)
    group = group_codes(len(positive), groups)
    n_groups = int(group.max()) + 1
    with_positive, with_negative = len(np.unique(group[positive])), len(np.unique(group[~positive]))
    if min(with_positive, with_negative) < 2:
        unit = "images" if groups is None else "groups with images"
        raise ValueError(
            f"a variance needs two {unit} of each class, got {with_positive} positive and "
            f"{with_negative} negative"
        )

    wins, losses = _wins(scores, positive)
    m, n = wins.shape[1], losses.shape[1]
    total = wins.sum(axis=1, keepdims=True)
    # Halves and whole numbers until the one division at the end, so that no spread gives exactly
    # zero.
    x = _sum_by(group[positive], n * (m * wins - total), n_groups)
    y = _sum_by(group[~positive], m * (n * losses - total), n_groups)
    factor, factor_10, factor_01 = (
        count / (count - 1) for count in (n_groups, with_positive, with_negative)
    )
    covariance = (
        factor * _outer(x + y) + (factor_10 - factor) * _outer(x) + (factor_01 - factor) * _outer(y)
    )
    return Delong(
        auc=total[:, 0] / (m * n),
        covariance=covariance / (float(m) * n) ** 4,
        clustered=groups is not None,
        n_pairs=min(with_positive, with_negative, n_groups // 2),
        n_groups=min(with_positive, with_negative),
    )


def _sum_by(group: NDArray[np.intp], values: Float64, n_groups: int) -> Float64:
    """Sums (m, n_groups) of the columns of ``values`` (m, k) by their group (k,)."""
    return np.stack([np.bincount(group, row, n_groups) for row in values])


def _outer(values: Float64) -> Float64:
    """Sum over columns of the outer products, (m, m).

    It uses einsum, as a matrix product may depend on the number of threads.
    """
    product: Float64 = np.einsum("ag,bg->ab", values, values)
    return product


def auc_interval(delong: Delong, which: int) -> Interval:
    """Interval of one area, by Student's t on the logit (Pepe 2003, section 5.2).

    The degrees of freedom are the groups that hold the rarer class less one: with few lesions the
    normal interval on the area itself holds it too rarely (docs/statistics.md).

    A variance of zero means that the sample shows no spread, not that the area is known, so a bound
    that holds for any sample of the ``n_pairs`` = k independent pairs takes its place:

    * area 1 or 0: all k pairs are ranked rightly (wrongly), which has a probability of at most
      area^k: the Clopper-Pearson bound of k successes in k;
    * else (all scores equal, or deviations that cancel within every group): area +- sqrt(ln(2 /
      alpha) / 2k), Hoeffding 1963, section 5b; an approximation where groups differ in size.

    Args:
        delong: from :func:`delong`.
        which: classifier.
    """
    area, variance, k = (
        float(delong.auc[which]),
        float(delong.covariance[which, which]),
        delong.n_pairs,
    )
    if variance > 0 and 0 < area < 1:
        reach = stats.t.ppf((1 + CONFIDENCE) / 2, delong.n_groups - 1) * np.sqrt(variance)
        ends = expit(logit(area) + np.array([-1, 1]) * reach / (area * (1 - area)))
        method = "Obuchowski, t on the logit" if delong.clustered else "DeLong, t on the logit"
        return Interval(float(ends[0]), float(ends[1]), method, delong.n_groups)
    if area in (0.0, 1.0):
        half = 1 - ((1 - CONFIDENCE) / 2) ** (1 / k)
        method = "Clopper-Pearson"
    else:
        half = np.sqrt(np.log(2 / (1 - CONFIDENCE)) / (2 * k))
        method = "Hoeffding"
    return Interval(
        max(float(area - half), 0.0), min(float(area + half), 1.0), method, delong.n_groups
    )


def auc_difference_p(delong: Delong, a: int, b: int) -> float:
    """Two-sided p value that two classifiers have the same area (z test, DeLong et al. 1988).

    Equal areas give 1. Where the areas differ but their difference has no variance (one classifier
    ranks every pair rightly, the other none), z is infinite and Hoeffding's bound on k =
    ``n_pairs`` differences between -1 and 1 is given, 2 exp(-k d^2 / 2).
    """
    difference = float(delong.auc[a] - delong.auc[b])
    covariance = delong.covariance
    spread = float(covariance[a, a] + covariance[b, b])
    variance = spread - 2 * float(covariance[a, b])
    if variance <= _ROUNDING * spread:
        return min(1.0, float(2 * np.exp(-delong.n_pairs * difference**2 / 2)))
    return float(2 * stats.norm.sf(abs(difference) / np.sqrt(variance)))


@dataclass(frozen=True)
class _Ordinal:
    """Log likelihood of the ordinal counts of one class.

    With its derivatives in the K - 1 cutoffs.

    Attributes:
        value: log likelihood, -inf where a category that holds images has no probability.
        gradient: (K - 1,).
        diagonal: (K - 1,) of the negative Hessian, which is tridiagonal.
        beside: (K - 2,) its off-diagonal.
    """

    value: float
    gradient: Float64
    diagonal: Float64
    beside: Float64

    def information_times(self, columns: Float64) -> Float64:
        """The negative Hessian times ``columns`` (K - 1, c)."""
        product = self.diagonal[:, np.newaxis] * columns
        product[:-1] += self.beside[:, np.newaxis] * columns[1:]
        product[1:] += self.beside[:, np.newaxis] * columns[:-1]
        return product


def _ordinal(cutoffs: Float64, counts: Float64) -> _Ordinal:
    """Log likelihood of standard normal scores cut at ``cutoffs`` (K - 1,).

    ``counts`` (K,) are the images in each category (Dorfman and Alf 1969).
    """
    held = counts > 0
    edges = np.concatenate([[-np.inf], cutoffs, [np.inf]])
    # In logarithms, and the upper tail mirrored to the lower, where the distribution function has
    # its digits.
    log_above = log_ndtr(np.where(edges[:-1] > 0, -edges[:-1], edges[1:]))
    log_below = log_ndtr(np.where(edges[:-1] > 0, -edges[1:], edges[:-1]))
    log_fraction = np.where(held, log_below - log_above, -np.inf)
    if (log_fraction >= 0).any():
        nowhere = np.zeros(0)
        return _Ordinal(-np.inf, nowhere, nowhere, nowhere)
    log_probability = log_above + np.log(-np.expm1(log_fraction))
    log_density = -(cutoffs**2) / 2 - np.log(2 * np.pi) / 2
    # Density at the cutoff above and at the one below each category over the category's
    # probability.
    above = np.exp(np.where(held[:-1], log_density - log_probability[:-1], -np.inf))
    below = np.exp(np.where(held[1:], log_density - log_probability[1:], -np.inf))
    gradient = counts[:-1] * above - counts[1:] * below
    return _Ordinal(
        value=float((counts * np.where(held, log_probability, 0.0)).sum()),
        gradient=gradient,
        diagonal=cutoffs * gradient + counts[:-1] * above**2 + counts[1:] * below**2,
        beside=-counts[1:-1] * above[1:] * below[:-1],
    )


def _truth_state_runs(
    scores: NDArray[np.floating], positive: NDArray[np.bool_]
) -> tuple[Float64, Float64]:
    """Count negatives and positives (K,) in each truth-state run, lowest scores first.

    See Metz, Herman and Shen 1998, section 2.

    Images of one score stay together; neighbouring scores join where both hold images of the same
    single class, as a cutoff between them changes the likelihood by a constant only.
    """
    value = np.unique(scores, return_inverse=True)[1]
    negatives, positives = np.bincount(value, ~positive), np.bincount(value, positive)
    no_negative, no_positive = negatives == 0, positives == 0
    joined = (no_negative[1:] & no_negative[:-1]) | (no_positive[1:] & no_positive[:-1])
    starts = np.flatnonzero(np.concatenate([[True], ~joined]))
    return np.add.reduceat(negatives, starts), np.add.reduceat(positives, starts)


def _has_maximum(
    negatives_below: Float64, positives_below: Float64, n_negative: float, n_positive: float
) -> bool:
    """Whether the binormal likelihood has a finite maximum.

    Decided from the images below each cutoff (K - 1,).

    b cannot grow without bound if two operating points with 0 < TPR < 1 differ in FPR (images of
    both classes then lie between finite cutoffs of the positives), and cannot vanish if two with 0
    < FPR < 1 differ in TPR. Both together leave an inner point that bounds a. Where one fails a fit
    of vertical and horizontal lines does best: "degenerate data".
    """
    inner_tpr = (positives_below > 0) & (positives_below < n_positive)
    inner_fpr = (negatives_below > 0) & (negatives_below < n_negative)
    return (
        len(np.unique(negatives_below[inner_tpr])) > 1
        and len(np.unique(positives_below[inner_fpr])) > 1
    )


@dataclass(frozen=True)
class _Likelihood:
    """Log likelihood of both classes.

    The cutoffs are t (K - 1,) for the negatives and u = b t - a for the positives.
    """

    t: Float64
    a: float
    b: float
    negative: _Ordinal
    positive: _Ordinal

    @property
    def value(self) -> float:
        return self.negative.value + self.positive.value if self.b > 0 else -np.inf

    def newton_step(self) -> tuple[Float64, Float64, float]:
        """Ascent step of t and of (a, b), and its gain (the squared Newton decrement).

        At fixed (a, b) the likelihood is concave in t and its Hessian tridiagonal, so t is
        eliminated; what is left is the 2 x 2 Hessian of the likelihood profiled over t, whose
        eigenvalues are made positive, as that one need not be concave.
        """
        du = np.column_stack([-np.ones_like(self.t), self.t])  # derivatives of u in (a, b)
        gradient_t = self.negative.gradient + self.b * self.positive.gradient
        gradient_ab = (du * self.positive.gradient[:, np.newaxis]).sum(axis=0)
        information_du = self.positive.information_times(du)
        cross = self.b * information_du
        cross[:, 1] -= self.positive.gradient
        band = np.zeros((2, len(self.t)))
        band[0, 1:] = self.negative.beside + self.b**2 * self.positive.beside
        band[1] = self.negative.diagonal + self.b**2 * self.positive.diagonal
        solved = solveh_banded(band, np.column_stack([cross, gradient_t]))
        profile = np.einsum("ki,kj->ij", du, information_du) - np.einsum(
            "ki,kj->ij", cross, solved[:, :2]
        )
        curvatures, axes = eigh(profile)
        slopes = ((gradient_ab - (cross * solved[:, 2:]).sum(axis=0))[:, np.newaxis] * axes).sum(
            axis=0
        )
        step_ab = (axes * (slopes / np.abs(curvatures))).sum(axis=1)
        step_t = solved[:, 2] - (solved[:, :2] * step_ab).sum(axis=1)
        return step_t, step_ab, float((gradient_t * step_t).sum() + (gradient_ab * step_ab).sum())


def fit_binormal(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> Binormal | None:
    """Fit a binormal ROC curve to continuous scores by maximum likelihood.

    See Metz, Herman and Shen 1998, Stat. Med. 17:1033.

    The scores enter by their truth-state runs only, so any increasing transform of them gives the
    same bytes. The runs are the categories of Dorfman and Alf's ordinal likelihood (1969) in a, b
    and the cutoffs::

        P(category <= k | negative) = Phi(t_k),   P(category <= k | positive) = Phi(b t_k - a)

    All runs are used, as in LABROC4. LABROC5 merges them into few categories for speed alone; here
    Newton's method with step halving and the exact, nearly tridiagonal Hessian takes time linear in
    the runs. It starts from the line through the empirical operating points on normal-deviate axes.

    Args:
        scores: (n,) float, higher for the positive class.
        positive: (n,) bool.

    Returns:
        The fit. ``converged`` is False where the maximum was not reached, as the likelihood is flat
        to rounding (a class nearly all in one run, b beyond 100, areas above 0.9999). None for
        degenerate data, whose likelihood has no finite maximum: perfect separation (either way),
        scores all equal, fewer than three categories, or operating points that a curve of vertical
        and horizontal lines meets.

    Raises:
        ValueError: as :func:`auc`.
    """
    _check(scores, positive)
    negatives, positives = _truth_state_runs(scores, positive)
    n_negative, n_positive = float(negatives.sum()), float(positives.sum())
    negatives_below, positives_below = negatives.cumsum()[:-1], positives.cumsum()[:-1]
    if not _has_maximum(negatives_below, positives_below, n_negative, n_positive):
        return None

    def likelihood(t: Float64, a: float, b: float) -> _Likelihood:
        return _Likelihood(t, a, b, _ordinal(t, negatives), _ordinal(b * t - a, positives))

    t_empirical = ndtri(np.clip(negatives_below, 0.5, n_negative - 0.5) / n_negative)
    u_empirical = ndtri(np.clip(positives_below, 0.5, n_positive - 0.5) / n_positive)
    b = float(u_empirical.std() / t_empirical.std())
    a = float(b * t_empirical.mean() - u_empirical.mean())
    point = likelihood((t_empirical + (u_empirical + a) / b) / 2, a, b)

    gain = np.inf
    for _ in range(MAX_STEPS):
        if gain < _GAIN_TOLERANCE:
            break
        step_t, step_ab, gain = point.newton_step()
        for scale in 0.5 ** np.arange(_HALVINGS):
            trial = likelihood(
                point.t + scale * step_t,
                float(point.a + scale * step_ab[0]),
                float(point.b + scale * step_ab[1]),
            )
            if trial.value >= point.value + 1e-4 * scale * gain:
                point = trial
                break
        else:
            break
    return Binormal(
        a=point.a,
        b=point.b,
        auc=float(ndtr(point.a / np.sqrt(1 + point.b**2))),
        converged=gain < _GAIN_TOLERANCE,
        log_likelihood=point.value,
        n_categories=len(negatives),
    )

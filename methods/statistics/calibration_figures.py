"""How far the probabilities of a classifier agree with what is right.

Every figure stands on images that the classifier did not see: training images scored by
classifiers without their group (out-of-fold), or test images. The temperature behind the
probabilities is one number fitted to the out-of-fold scores, so only the figures of test images
are of images that nothing was fitted to.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from data_contracts.records.assessment import CalibrationFigures, ConfidenceBand
from methods.statistics.estimates import share
from methods.statistics.significance import MIN_GROUPS

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

BANDS = ((0.75, 0.85), (0.7, 0.9), (0.6, 0.95))
"""Bands of stated probability around 80 %, the narrowest first."""
BAND_IMAGES = 20
"""Fewest predictions of a band that a share of right ones is given for."""
CHANCE_DRAWS = 400
"""Draws behind the calibration error that a calibrated classifier has by chance."""
ECE_BINS = 10
"""Number of bins of equal width, of stated probability, behind the calibration error."""
LARGE_ECE = 0.1
"""Expected calibration error from which on probabilities must not be read as such."""
NEWTON_STEPS = 100
"""Maximum number of Newton steps of the logistic recalibration."""
_NEAREST_TO_SURE = 1e-9
"""Distance from 0 and 1 to which a stated probability is clipped before its logit."""


def calibration_figures(
    likely: Float64,
    codes: NDArray[np.integer],
    groups: Sequence[str] | None,
    seed: int = 0,
) -> CalibrationFigures:
    """Every figure of calibration of one set of images.

    The logistic recalibration (Cox 1958) is of the second of two classes; with more classes it is
    of the predicted one, which a calibrated classifier gets right as often as it says.

    Args:
        likely: (n, K) float64 probabilities, rows sum to 1, K at least 2.
        codes: (n,) column of each image's class; -1 for a class that was never learned.
        groups: (n,) group (patient) of each image, or None.
        seed: of the draws of :func:`ece_by_chance`.

    Raises:
        ValueError: no image, or one class only.
    """
    n, k = likely.shape
    if not n or k < 2:
        raise ValueError(f"calibration needs images and two classes, got {likely.shape}")
    stated, right = likely.max(axis=1), likely.argmax(axis=1) == codes
    if k == 2:
        fitted = logistic_recalibration(likely[:, 1], codes == 1)
        brier = float(((likely[:, 1] - (codes == 1)) ** 2).mean())
    else:
        fitted = logistic_recalibration(stated, right)
        truth = np.asarray(codes)[:, np.newaxis] == np.arange(k)
        brier = float(((likely - truth) ** 2).sum(axis=1).mean())
    return CalibrationFigures(
        n=n,
        stated=float(stated.mean()),
        right=share(right, groups),
        ece=expected_calibration_error(stated, right),
        ece_by_chance=ece_by_chance(stated, seed),
        brier=brier,
        slope=None if fitted is None else fitted[0],
        intercept=None if fitted is None else fitted[1],
        band=confidence_band(stated, right, groups),
    )


def bin_of(stated: Float64) -> NDArray[np.int64]:
    """Bin (0 to ECE_BINS - 1) of each stated probability (n,)."""
    return np.minimum((stated * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def expected_calibration_error(confidence: Float64, correct: NDArray[np.bool_]) -> float:
    """Compute the mean gap between confidence and accuracy over the bins.

    Bins are weighted by their size (Guo et al. 2017, equation 3).
    """
    which = bin_of(confidence)
    gaps = [
        abs(float(correct[which == b].mean()) - float(confidence[which == b].mean()))
        * float((which == b).mean())
        for b in range(ECE_BINS)
        if (which == b).any()
    ]
    return float(sum(gaps))


def logistic_recalibration(probability: Float64, event: Bool) -> tuple[float, float] | None:
    """Slope and intercept of the logistic regression of an event on the logit of its probability.

    Args:
        probability: (n,) stated probability of the event.
        event: (n,) whether it happened.

    Returns:
        slope and intercept by maximum likelihood; None where a cut of the probabilities separates
        the events, or all stated probabilities are equal, so that no finite slope is best.
    """
    x = logit(np.clip(probability, _NEAREST_TO_SURE, 1 - _NEAREST_TO_SURE))
    if event.all() or not event.any() or np.ptp(x) == 0:
        return None
    yes, no = x[event], x[~event]
    if yes.min() >= no.max() or no.min() >= yes.max():
        return None
    design = np.column_stack([np.ones_like(x), x])
    beta = np.array([0.0, 1.0])
    value = _likelihood(design @ beta, event)
    for _ in range(NEWTON_STEPS):
        fitted = expit(design @ beta)
        weight = fitted * (1 - fitted) + 1e-12
        step = np.linalg.solve(
            np.einsum("ni,n,nj->ij", design, weight, design),
            np.einsum("ni,n->i", design, event - fitted),
        )
        size = 1.0
        while (new := _likelihood(design @ (beta + size * step), event)) < value and size > 1e-9:
            size /= 2
        beta, gained, value = beta + size * step, new - value, new
        if abs(gained) <= 1e-12 * abs(value):
            break
    return float(beta[1]), float(beta[0])


def _likelihood(scores: Float64, event: Bool) -> float:
    """Log likelihood of events whose logits are ``scores``."""
    return -float(np.logaddexp(0, np.where(event, -scores, scores)).sum())


def ece_by_chance(stated: Float64, seed: int = 0) -> float:
    """95th percentile of the calibration error of a classifier whose every probability is true.

    A few images have an error by chance alone; one below this figure says nothing.

    Args:
        stated: (n,) probability of the predicted class.
        seed: of the :data:`CHANCE_DRAWS` draws.
    """
    rng = np.random.default_rng(seed)
    bins = bin_of(stated)
    sums = np.bincount(bins, stated, ECE_BINS)
    errors = np.empty(CHANCE_DRAWS)
    for draw in range(CHANCE_DRAWS):
        right = rng.random(len(stated)) < stated
        errors[draw] = np.abs(np.bincount(bins, right, ECE_BINS) - sums).sum() / len(stated)
    return float(np.quantile(errors, 0.95))


def confidence_band(
    stated: Float64, right: Bool, groups: Sequence[str] | None
) -> ConfidenceBand | None:
    """How many of the predictions that say about 80 % are right.

    The narrowest of :data:`BANDS` that holds :data:`BAND_IMAGES` predictions; None where none does.
    """
    for low, high in BANDS:
        inside = np.flatnonzero((stated >= low) & (stated <= high))
        if len(inside) >= BAND_IMAGES:
            of_band = None if groups is None else [groups[i] for i in inside.tolist()]
            return ConfidenceBand(
                low=low,
                high=high,
                stated=float(stated[inside].mean()),
                right=share(right[inside], of_band),
            )
    return None


def is_badly_calibrated(figures: CalibrationFigures) -> bool:
    """Whether the calibration error is large, larger than chance gives, and of enough groups."""
    enough = figures.right.groups >= MIN_GROUPS
    return enough and figures.ece >= LARGE_ECE and figures.ece > figures.ece_by_chance

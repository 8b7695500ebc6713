"""Two classes at a threshold: by hand, by brute force and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from methods.statistics.two_classes import (
    auc_estimate,
    choose_threshold,
    decision_curve,
    operating_point,
    positive_class,
)


def _drawn(n: int, seed: int, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    return (rng.normal(0, 1, n) + shift * positive).round(1), positive


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (("NORMAL", "PNEUMONIA"), 1),
        (("abnormal", "normal"), 0),
        (("benign", "malignant"), 1),
        (("covid", "non-covid"), 1),
        (("nodule", "no_nodule"), 0),
        (("a", "b"), 1),
    ],
)
def test_the_positive_class(classes: tuple[str, str], expected: int) -> None:
    assert positive_class(classes) == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_is_the_best_of_all(seed: int) -> None:
    lead, positive = _drawn(60, seed)
    chosen = choose_threshold(lead, positive)
    tried = np.concatenate([np.unique(lead), [lead.max() + 1]])
    best = max(balanced_accuracy_score(positive, lead >= t) for t in tried)
    assert balanced_accuracy_score(positive, lead >= chosen) == pytest.approx(best)


def test_of_equally_good_thresholds_the_one_nearest_to_0() -> None:
    positive = np.array([False, True])
    assert choose_threshold(np.array([-3.0, 5.0]), positive) == 1
    assert choose_threshold(np.array([1.0, 1.0]), positive) == 0, "nothing to choose"


def test_an_offset_of_the_scores_is_found_again() -> None:
    lead, positive = _drawn(2000, 1, shift=6.0)
    assert choose_threshold(lead + 10, positive) == pytest.approx(13, abs=0.6)


def test_figures_agree_with_scikit_learn() -> None:
    lead, positive = _drawn(80, 2)
    found = operating_point(lead, positive, 0.5, None, 50, 0)
    called = lead >= 0.5
    expected = {
        "accuracy": accuracy_score(positive, called),
        "sensitivity": recall_score(positive, called),
        "specificity": recall_score(~positive, ~called),
        "ppv": precision_score(positive, called),
        "npv": precision_score(~positive, ~called),
        "balanced_accuracy": balanced_accuracy_score(positive, called),
        "mcc": matthews_corrcoef(positive, called),
    }
    for name, value in expected.items():
        of = getattr(found, name)
        assert of.value == pytest.approx(value), name
        assert of.low < value < of.high, name
    area = auc_estimate(lead, positive, None)
    assert area is not None
    assert area.value == pytest.approx(roc_auc_score(positive, lead))


def test_each_share_has_the_groups_of_its_own_images() -> None:
    lead, positive = np.array([1.0, -1, 1, -1]), np.array([True, True, False, False])
    found = operating_point(lead, positive, 0.0, ["p", "p", "q", "r"], 50, 0)
    assert found.sensitivity is not None
    assert found.specificity is not None
    assert (found.sensitivity.n, found.sensitivity.groups) == (2, 1)
    assert (found.specificity.n, found.specificity.groups) == (2, 2)


def test_nothing_called_positive_has_no_predictive_value() -> None:
    found = operating_point(np.full(4, -1.0), np.arange(4) < 2, 0.0, None, 50, 0)
    assert found.ppv is None
    assert found.npv is not None
    assert found.npv.value == 0.5


def test_net_benefit_by_hand() -> None:
    """At 20 %: two hits of ten and one false alarm at odds of 1 to 4."""
    probability = np.array([0.9, 0.3, 0.1, 0.25, *[0.05] * 6])
    positive = np.array([True, True, True, *[False] * 7])
    at = {point.threshold: point for point in decision_curve(probability, positive)}
    assert at[0.2].model == pytest.approx(2 / 10 - 1 / 10 / 4)
    assert at[0.2].treat_all == pytest.approx(3 / 10 - 7 / 10 / 4)
    assert at[0.95].model == 0, "nobody is treated"
    perfect = decision_curve(positive.astype(np.float64), positive)
    assert {point.model for point in perfect} == {0.3}, "the prevalence at every threshold"


def test_of_true_probabilities_no_threshold_does_harm() -> None:
    rng = np.random.default_rng(0)
    probability = rng.random(20_000)
    curve = decision_curve(probability, rng.random(20_000) < probability)
    for point in curve:
        assert point.model > max(0.0, point.treat_all) - 0.01

"""The interval over repeated splits: worked by hand, and its coverage in a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from methods.statistics.repeated_splits import repeated_figure


def test_the_interval_is_that_of_the_paper() -> None:
    found = repeated_figure(np.array([0.70, 0.74, 0.72, 0.76, 0.78]), 0.25)
    assert found.mean == pytest.approx(0.74)
    assert found.sd == pytest.approx(0.0316228, abs=1e-6)
    # t(4) at 97.5 % is 2.776445; sqrt(1/5 + 1/4) is 0.670820
    assert (found.low, found.high) == pytest.approx(
        (0.74 - 2.776445 * 0.0316228 * 0.670820, 0.74 + 2.776445 * 0.0316228 * 0.670820), abs=1e-6
    )


def test_the_interval_stays_a_share() -> None:
    found = repeated_figure(np.array([0.9, 1.0]), 0.25)
    assert (found.low > 0, found.high) == (True, 1.0)
    equal = repeated_figure(np.ones(5), 0.25)
    assert (equal.mean, equal.sd, equal.low, equal.high) == (1, 0, 1, 1)


def test_too_few_splits_have_none() -> None:
    with pytest.raises(ValueError, match="1 splits"):
        repeated_figure(np.ones(1), 0.25)


def test_it_covers_the_expected_accuracy_where_the_plain_interval_does_not() -> None:
    """Nearest class mean on 100 images of two classes, 5 random splits of 80 and 20."""
    rng, shift, corrected, plain = np.random.default_rng(0), 1.0, [], []
    expected = []
    for _ in range(300):
        labels = np.arange(100) % 2
        x = rng.normal(size=(100, 5)) + shift / 2 * labels[:, None]
        shares = []
        for _ in range(5):
            order = rng.permutation(100)
            train, test = order[:80], order[80:]
            means = [x[train][labels[train] == k].mean(axis=0) for k in (0, 1)]
            nearest = np.argmin([np.square(x[test] - mean).sum(axis=1) for mean in means], axis=0)
            shares.append(float((nearest == labels[test]).mean()))
        expected.append(np.mean(shares))
        corrected.append(repeated_figure(np.array(shares), 0.25))
        half = 2.776445 * np.std(shares, ddof=1) / 5**0.5
        plain.append((np.mean(shares) - half, np.mean(shares) + half))
    truth = np.mean(expected)
    covered = np.mean([found.low <= truth <= found.high for found in corrected])
    without = np.mean([low <= truth <= high for low, high in plain])
    assert covered > 0.9 > without

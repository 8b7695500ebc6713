"""The majority rate and the group permutation test, by hand and on labels without meaning."""

from __future__ import annotations

import numpy as np
import pytest

from methods.statistics.null import PERMUTATIONS, majority_class, null_of


def test_the_majority_is_that_of_the_training_images() -> None:
    trained = np.array(["b", "b", "a"])
    null = null_of(trained, np.array(["a", "a", "a", "b"]), np.array(["b"] * 4), None, 0)
    assert (null.majority, null.rate) == ("b", 0.25)
    assert null.p_value == 1.0  # the same answer for all images fits any labels as well


def test_of_equally_common_classes_the_first_by_name_is_the_majority() -> None:
    assert majority_class(np.array(["c", "b", "c", "b", "a"])) == "b"


def test_four_patients_have_six_arrangements() -> None:
    # All images right, two patients a class: the labels of 1 of the 6 arrangements are these.
    truth, groups = np.repeat(["a", "a", "b", "b"], 5), np.repeat(["p", "q", "r", "s"], 5)
    null = null_of(truth, truth, truth, groups.tolist(), 0)
    assert null.p_value == pytest.approx(1 / 6, abs=0.04)
    images = null_of(truth, truth, truth, None, 0)
    assert images.p_value == 1 / (PERMUTATIONS + 1)


def test_labels_without_meaning_are_rarely_found() -> None:
    rng, found = np.random.default_rng(0), 0
    groups = np.repeat(np.arange(20), 5).astype(str).tolist()
    for seed in range(60):
        truth, predicted = np.repeat(rng.choice(["a", "b"], (2, 20), p=[0.7, 0.3]), 5, axis=1)
        found += null_of(truth, truth, predicted, groups, seed).p_value < 0.05
    assert found <= 8  # 3 are expected at 5 %

"""Subgroups by hand, and the level of the test of each against the rest by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.tables.attributes import NOT_GIVEN
from methods.statistics.subgroups import difference_of_shares, subgroups


def test_by_hand() -> None:
    correct = np.array([True] * 30 + [False] * 10 + [True] * 20 + [False] * 20)
    values = ["a"] * 40 + ["b"] * 40
    first, second = subgroups(correct, None, {"site": values})
    assert (first.attribute, first.value, first.accuracy.value) == ("site", "a", 0.75)
    assert first.difference == pytest.approx(0.25)
    assert second.difference == pytest.approx(-0.25)
    assert first.p_value == pytest.approx(second.p_value)
    assert first.p_value is not None
    assert first.p_holm == pytest.approx(2 * first.p_value), "two tests in the table"
    error = np.sqrt(0.75 * 0.25 / 40 + 0.5 * 0.5 / 40) * np.sqrt(80 / 79)
    assert first.high == pytest.approx(0.25 + 2.0227 * error, rel=1e-3)


def test_too_few_patients_are_not_compared() -> None:
    correct = np.arange(60) % 3 > 0
    groups = [str(i // 6) for i in range(60)]  # ten patients
    values = {"scanner": ["x" if i < 18 else "y" for i in range(60)]}
    found = subgroups(correct, groups, values)
    assert [row.accuracy.groups for row in found] == [3, 7]
    assert {row.p_value for row in found} == {None}


def test_values_stand_in_their_natural_order() -> None:
    values = ["10 to below 20", NOT_GIVEN, "9", "b", "100"]
    found = subgroups(np.ones(5, np.bool_), None, {"x": values})
    assert [row.value for row in found] == ["9", "10 to below 20", "100", "b", NOT_GIVEN]


@pytest.mark.parametrize("patient_level", [True, False])
def test_the_level_holds_with_patients_of_several_images(patient_level: bool) -> None:
    """40 patients of 6 images, correlation .4: a test of images would be wrong far too often."""
    rng = np.random.default_rng(7)
    group = np.repeat(np.arange(40), 6)
    wrong = {"groups": 0, "images": 0}
    for _ in range(400):
        rate = rng.beta(0.7 * 1.5, 0.3 * 1.5, 40)[group]
        correct = rng.random(240) < rate
        inside = (rng.random(40) < 0.4)[group] if patient_level else rng.random(240) < 0.4
        fewest = min(len(set(group[inside])), len(set(group[~inside])))
        wrong["groups"] += difference_of_shares(correct, inside, group, fewest - 1)[2] < 0.05
        wrong["images"] += difference_of_shares(correct, inside, np.arange(240), 239)[2] < 0.05
    assert 0.01 * 400 <= wrong["groups"] <= 0.075 * 400
    if patient_level:
        assert wrong["images"] > 0.15 * 400

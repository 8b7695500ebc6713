"""The sentence on methods that are not better than always answering one class."""

from __future__ import annotations

from typing import Any

import pytest

from methods.reporting.answers.null_words import MAJORITY_RATE, PERMUTATION_P, null_sentence

TITLES = {"cae": "CAE", "conv5": "conv5"}


def scored(method: str, low: float | None, p_value: float) -> list[dict[str, Any]]:
    """Rows of METRICS of a method that gets 66 % where the majority rate is 65 %."""
    figures = [
        ("accuracy", "all", 0.66, low),
        (MAJORITY_RATE, "A", 0.65, None),
        (PERMUTATION_P, "all", p_value, None),
    ]
    return [
        {"method": method, "metric": metric, "subject": subject, "value": value, "ci_low": end}
        for metric, subject, value, end in figures
    ]


@pytest.mark.parametrize(
    ("low", "p_value", "said"),
    [
        (0.56, 0.4, "CAE is not better than always saying A (65 %)"),
        (0.56, 0.001, "CAE is not better than always saying A (65 %)"),
        (0.655, 0.06, "CAE is not better than always saying A (65 %)"),
        (None, 0.001, "CAE is not better than always saying A (65 %)"),
        (0.655, 0.001, "Every method is better than always saying A (65 %)."),
    ],
)
def test_what_the_interval_or_the_permutations_do_not_show_is_not_claimed(
    low: float | None, p_value: float, said: str
) -> None:
    assert null_sentence(scored("cae", low, p_value), TITLES).startswith(said)


def test_several_methods_are_named_and_none_without_figures() -> None:
    rows = [*scored("cae", 0.5, 0.5), *scored("conv5", 0.5, 0.5)]
    assert null_sentence(rows, TITLES).startswith("CAE; conv5 are not better than")
    assert null_sentence([], TITLES) == ""


def test_sets_of_labels_are_compared_by_exact_match() -> None:
    rows = [*scored("cae", 0.5, 0.5)]
    rows[0] |= {"metric": "exact_match"}
    assert null_sentence(rows, TITLES, "exact_match").startswith("CAE is not better")

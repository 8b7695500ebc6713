"""The sentence on methods that are not better than always answering the commonest class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from methods.reporting.document import SIGNIFICANT

Row = Mapping[str, Any]

MAJORITY_RATE = "majority_rate"
"""Metric: the accuracy of always answering the class in ``subject``."""
PERMUTATION_P = "permutation_p"
"""Metric: p value that predictions have nothing to do with labels, by permuting groups."""


def is_better_than_majority(accuracy: Row, rate: float, p_value: float) -> bool:
    """Whether an accuracy is better than always answering one class, by interval and test.

    Args:
        accuracy: row of METRICS; without an interval nothing is claimed.
        rate: accuracy of always answering that class.
        p_value: of the group permutation test.
    """
    low = accuracy["ci_low"]
    return low is not None and low > rate and p_value < SIGNIFICANT


def null_sentence(
    metrics: Sequence[Row], titles: Mapping[str, str], measure: str = "accuracy"
) -> str:
    """Say which methods are not better than always answering the commonest training class.

    Args:
        metrics: rows of METRICS of one regularisation a method; "" is returned where they hold no
            such rate.
        titles: title of each method that learns something, by name.
        measure: metric that is compared: "accuracy", or "exact_match" of sets of labels.
    """
    of = {(row["method"], row["metric"]): row for row in metrics if row["subject"] == "all"}
    rates = {row["method"]: row for row in metrics if row["metric"] == MAJORITY_RATE}
    if not rates:
        return ""
    beaten = []
    for name, rate in rates.items():
        accuracy, p_value = of[name, measure], of[name, PERMUTATION_P]["value"]
        if name in titles and not is_better_than_majority(accuracy, rate["value"], p_value):
            beaten.append(titles[name])
    always = next(iter(rates.values()))
    answer = f"always saying {always['subject']} ({100 * always['value']:.0f} %)"
    if not beaten:
        return f"Every method is better than {answer}."
    verb = "is" if len(beaten) == 1 else "are"
    return (
        f"{'; '.join(beaten)} {verb} not better than {answer}: the interval reaches down to it or "
        "cannot be given, or labels permuted among the patients do as well."
    )

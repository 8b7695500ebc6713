"""The table of the means over seeds, and the sentence on what sets the trained filters apart."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from data_contracts.tables.evaluations import FIXED, OVER_SEEDS, TUNED
from methods.reporting.repeat_tables import difference_sentence, seed_table
from methods.statistics.seeds import seed_difference


def row(method: str, seed: int, value: float, **columns: Any) -> dict[str, Any]:
    """A row of METRICS with an interval of a tenth to either side."""
    return {
        "method": method,
        "metric": "accuracy",
        "subject": "all",
        "seed": seed,
        "regularisation": FIXED,
        "value": value,
        "ci_low": value - 0.1,
        "ci_high": value + 0.1,
        "interval": "Jeffreys",
        "settings": json.dumps({"c": 1.0}),
    } | columns


def test_one_row_a_method_with_each_seed_and_the_mean_at_either_c() -> None:
    rows = [
        row("raw", 0, 0.75),
        row("raw", 0, 0.75, metric=OVER_SEEDS),
        row("trained_filters", 0, 0.5),
        row("trained_filters", 1, 0.6),
        row("trained_filters", 0, 0.9, regularisation=TUNED),
        row("trained_filters", 0, 0.55, metric=OVER_SEEDS),
        row("trained_filters", 0, 0.85, metric=OVER_SEEDS, regularisation=TUNED),
        row("trained_filters", 0, 0.4, subject="6 images"),
        row("trained_filters", 0, 0.4, metric=OVER_SEEDS, subject="6 images"),
    ]
    table = seed_table(rows, ("RANDOM WEIGHTS",))
    assert table.rows == (
        ("The maps themselves", "all", 1, "75.00 (65.00 to 85.00)", None, "75.00"),
        (
            "Trained filters",
            "all",
            2,
            "55.00 (45.00 to 65.00)",
            "85.00 (75.00 to 95.00)",
            "50.00, 60.00",
        ),
        ("Trained filters", "6 images", 1, "40.00 (30.00 to 50.00)", None, "40.00"),
    )
    assert table.notices == ("RANDOM WEIGHTS",)
    assert "(Jeffreys)" in table.caption


def test_the_sentence_gives_difference_interval_and_what_could_be_found() -> None:
    right = np.array([[1.0, 1, 1, 0], [1, 1, 0, 0]])
    difference = seed_difference(right, np.array([[1.0, 0, 0, 0]]), None)
    assert difference is not None
    sentence = difference_sentence({"random filters": difference})
    assert sentence.startswith("Against random filters the trained filters are +37.50 percentage ")
    assert f"{100 * difference.low:+.2f} to {100 * difference.high:+.2f}" in sentence
    assert f"{100 * difference.smallest:.2f} would have been found four times in five" in sentence


def test_one_patient_tells_nothing() -> None:
    assert "of one patient" in difference_sentence({})

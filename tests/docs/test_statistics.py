"""The page of intervals and tests is what the stored simulations say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from docs.tools.simulations import group_sizes, p_value_of, pairs, totals_of
from docs.tools.statistics import PAGE, RESULTS, page
from methods.statistics.significance import sign_flip_p


def test_the_page_is_of_the_stored_simulations() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make statistics"


def test_what_the_page_promises_stands_in_the_simulations() -> None:
    stored = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert max(row["found"] for row in stored["type_1"]) < 0.06
    low = [row for row in stored["accuracy"] if row["groups"] >= 10 and row["held"] < 0.93]
    assert [(row["groups"], row["images"], row["accuracy"]) for row in low] == [(10, 1, 0.99)]


def test_the_simulatedp_value_of_is_that_of_the_test() -> None:
    rng = np.random.default_rng(0)
    for patients in (2, 9, 40):
        sizes = group_sizes(patients, "unequal")
        correct = pairs(rng, sizes, (0.8, 0.7), (0.3, 0.3))
        assert p_value_of(correct, sizes) == pytest.approx(sign_flip_p(totals_of(correct, sizes)))

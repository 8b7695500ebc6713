"""The mean of one-vs-rest areas: against DeLong for one label, and its coverage by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from methods.statistics.macro_auc import macro_auc
from methods.statistics.roc import auc_interval, delong


def _drawn(rng: np.random.Generator, groups: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, 3) and classes of groups whose images share a part of their scores."""
    codes = rng.integers(0, 3, groups).repeat(each)
    shared = rng.normal(0, 1, (groups, 3)).repeat(each, 0)
    return np.eye(3)[codes] + shared + rng.normal(0, 1, (groups * each, 3)), codes


@pytest.mark.parametrize("grouped", [False, True])
def test_one_label_is_delong(grouped: bool) -> None:
    rng = np.random.default_rng(0)
    scores, codes = _drawn(rng, 150, 2)
    groups = np.repeat(np.arange(150), 2).astype(np.str_).tolist() if grouped else None
    found = macro_auc(scores[:, :1], (codes == 0)[:, np.newaxis], groups)
    known = delong(scores[:, 0][np.newaxis], codes == 0, groups)
    assert found is not None
    assert found[0] == pytest.approx(float(known.auc[0]), abs=1e-12)
    theirs = auc_interval(known, 0)
    assert found[1] is not None
    assert found[1].method == theirs.method
    assert (found[1].low, found[1].high) == (
        pytest.approx(theirs.low, abs=2e-3),
        pytest.approx(theirs.high, abs=2e-3),
    )


def test_the_interval_holds_the_true_mean_with_groups_and_not_without() -> None:
    rng = np.random.default_rng(1)
    scores, codes = _drawn(rng, 30_000, 1)
    truth = codes[:, np.newaxis] == np.arange(3)
    true = macro_auc(scores, truth, None)
    assert true is not None
    held = {"grouped": 0, "images": 0}
    for _ in range(200):
        scores, codes = _drawn(rng, 60, 4)
        truth = codes[:, np.newaxis] == np.arange(3)
        groups = np.repeat(np.arange(60), 4).astype(np.str_).tolist()
        for name, of in (("grouped", groups), ("images", None)):
            found = macro_auc(scores, truth, of)
            assert found is not None
            assert found[1] is not None
            held[name] += found[1].low <= true[0] <= found[1].high
    assert held["grouped"] >= 0.9 * 200
    assert held["images"] <= 0.85 * 200


def test_labels_without_an_area_do_not_count() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]], np.bool_)
    scores = np.array([[0, 2, 0], [0, 1, 0], [0, 4, 0], [0, 3, 0]], np.float64)
    found = macro_auc(scores, truth, None)
    assert found is not None
    assert found[0] == 0.75
    assert macro_auc(scores[:, :1], truth[:, :1], None) is None


def test_one_patient_of_a_class_has_an_area_and_no_interval() -> None:
    truth = np.array([[1], [1], [0], [0]], np.bool_)
    found = macro_auc(np.array([[3.0], [2.0], [1.0], [0.0]]), truth, ["p", "p", "q", "r"])
    assert found == (1.0, None)


def test_perfect_order_has_a_lower_bound() -> None:
    truth = np.arange(20)[:, np.newaxis] % 2 == 0
    found = macro_auc(truth.astype(np.float64), truth, None)
    assert found is not None
    assert found[1] is not None
    assert found[0] == 1
    assert 0.6 < found[1].low < 0.8

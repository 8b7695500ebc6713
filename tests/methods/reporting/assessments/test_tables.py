"""Tables on each classifier: what stands in which cell, and what is said of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from data_contracts.records.assessment import Assessment, Estimate
from methods.classifiers.assessment import ScoredImages, assess
from methods.classifiers.calibration import OutOfFold
from methods.reporting.assessments.tables import (
    calibration_table,
    counts_table,
    decision_table,
    expectations_table,
    looks_sentence,
    overall_table,
    subgroups_table,
    threshold_sentence,
    threshold_table,
    with_interval,
)
from methods.statistics.significance import Interval, PairedTest, paired_test
from methods.statistics.subgroups import subgroups

CLASSES = np.array(["NORMAL", "PNEUMONIA"])


def _assessment(offset: float = 0.0, out_of_fold: bool = True, classes: int = 2) -> Assessment:
    """Test scores like those out of fold, moved by an offset towards the last class."""
    rng = np.random.default_rng(0)
    names = CLASSES if classes == 2 else np.array(["a", "b", "c"])
    codes = rng.integers(0, classes, 400)
    scores = 2 * np.eye(classes)[codes] + rng.normal(0, 1, (400, classes))
    seen = OutOfFold(names, scores[:200], np.ones(200), np.ones(200, np.bool_), 200)
    moved = scores[200:] + offset * np.eye(classes)[-1]
    test = ScoredImages(names[codes[200:]], moved, None)
    known = seen if out_of_fold else None
    return assess(names, test, known, (names[codes[:200]], None), 50, 0)


def test_a_shifted_score_is_an_artefact_of_the_threshold() -> None:
    """An offset of all test scores changes accuracy, sensitivity and calibration, not the area."""
    plain, moved = _assessment(), _assessment(offset=3.0)
    assert plain.two_classes is not None
    assert moved.two_classes is not None
    assert plain.two_classes.positive == "PNEUMONIA"
    assert plain.two_classes.auc == moved.two_classes.auc
    sensitivity, specificity = (
        moved.two_classes.largest_score.sensitivity,
        moved.two_classes.largest_score.specificity,
    )
    assert sensitivity is not None
    assert specificity is not None
    assert sensitivity.value > 0.98
    assert specificity.value < 0.6
    assert moved.calibration is not None
    assert moved.calibration.ece > 0.1


def test_the_chosen_threshold_comes_from_the_training_images_alone() -> None:
    plain, moved = _assessment(), _assessment(offset=3.0)
    assert plain.two_classes is not None
    assert moved.two_classes is not None
    assert plain.two_classes.chosen is not None
    assert moved.two_classes.chosen is not None
    assert plain.two_classes.chosen.threshold == moved.two_classes.chosen.threshold


def test_without_folds_there_is_neither_threshold_nor_calibration() -> None:
    found = _assessment(out_of_fold=False)
    assert found.two_classes is not None
    assert (found.two_classes.chosen, found.two_classes.decisions) == (None, ())
    assert (found.calibration, found.accuracy_out_of_fold) == (None, None)
    (row,) = expectations_table({"CAE": found}).rows
    assert row[1:3] == (None, None)
    assert calibration_table({"CAE": found}).rows[1] == ("CAE", "test", *[None] * 7)
    table = threshold_table({"CAE": found})
    assert table is not None
    assert len(table.rows) == 1
    assert decision_table({"CAE": found}) is None


def test_more_classes_have_no_threshold() -> None:
    found = _assessment(classes=3)
    assert found.two_classes is None
    assert threshold_table({"CAE": found}) is None
    assert decision_table({"CAE": found}) is None
    assert len(calibration_table({"CAE": found}).rows) == 2


def test_two_classes_stand_at_both_thresholds() -> None:
    table = threshold_table({"CAE": _assessment(), "raw": _assessment(1.0)})
    assert table is not None
    assert [row[0] for row in table.rows] == ["CAE", "CAE", "raw", "raw"]
    assert str(table.rows[1][1]).endswith(", chosen")
    assert "PNEUMONIA" in table.title
    decisions = decision_table({"CAE": _assessment(), "raw": _assessment(1.0)})
    assert decisions is not None
    assert decisions.columns == ("Acting from", "On all", "On none", "CAE", "raw")
    assert decisions.rows[0][0] == "5 %"


@pytest.mark.parametrize(
    ("at_zero", "at_chosen", "auc_p", "artefact"),
    [
        ((21, 8), (5, 6), 0.975, True),
        ((21, 8), (21, 6), 0.975, False),
        ((6, 5), (5, 6), 0.9, False),
    ],
)
def test_what_an_artefact_of_the_threshold_is(
    at_zero: tuple[int, int], at_chosen: tuple[int, int], auc_p: float, artefact: bool
) -> None:
    """The counts of a chest set: 21 images only the one gets right and 8 only the other, of 624."""

    def test(only_a: int, only_b: int) -> PairedTest:
        a = np.arange(624) >= only_b
        b = (np.arange(624) < only_b) | (np.arange(624) >= only_a + only_b)
        return paired_test(a, b)

    sentence = threshold_sentence(("Random", "CAE"), test(*at_zero), test(*at_chosen), auc_p)
    if at_zero == (21, 8):
        assert "“Random” and “CAE”: accuracy differs by +2.1 points" in sentence
        assert "(p 0.024)" in sentence
    assert ("artefact of the threshold" in sentence) == artefact


def test_an_interval_of_few_groups_is_marked() -> None:
    def cell(**fields: Any) -> str | None:
        return with_interval(Estimate.model_validate({"value": 0.5, "n": 20} | fields))

    assert cell(low=0.25, high=0.75, groups=20) == "50.0 (25.0 to 75.0)"
    assert cell(low=0.25, high=0.75, groups=9) == "50.0 (25.0 to 75.0; too few patients to say)"
    assert cell(groups=1) == "50.0 (no interval from one patient)"
    assert with_interval(None) is None


def test_overall_figures_stand_with_their_intervals() -> None:
    def row(metric: str, value: float, low: float | None, groups: int = 20) -> dict[str, Any]:
        high = None if low is None else 1.0
        of = {"method": "cae", "subject": "all", "metric": metric}
        interval = None if low is None else Interval(low, 1.0, "t", groups).described
        return {**of, "value": value, "ci_low": low, "ci_high": high, "interval": interval}

    accuracy, mcc = row("accuracy", 0.875, 0.75), row("mcc", 0.5, None)
    table = overall_table([accuracy, mcc], {"cae": "CAE"})
    assert table.columns[-1] == "Macro AUC"
    few = overall_table([accuracy, row("macro_auc", 0.5, 0.25, groups=9)], {"cae": "CAE"})
    assert few.remarks == ("Macro AUC: too few patients to say",)
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    assert cells["Accuracy, %"] == "87.5 (75.0 to 100.0)"
    assert cells["MCC"] == "0.500"
    assert cells["Macro AUC"] is None


def test_subgroups_say_where_nothing_can_be_said() -> None:
    correct = np.arange(60) % 4 > 0
    found = subgroups(correct, None, {"sex": ["F"] * 30 + ["M"] * 30, "site": ["x"] * 60})
    table = subgroups_table(found, "CAE")
    reading = table.columns.index("Reading")
    assert [row[reading] for row in table.rows] == [
        "no measurable difference",
        "no measurable difference",
        "too few patients to say",
    ]


def test_counts_say_what_a_group_is() -> None:
    counts = [{"label": "a", "split": "train", "images": 9, "groups": 3}]
    assert counts_table(counts, grouped=True).rows == (("a", "train", 9, 3),)
    assert "each image is its own" in counts_table(counts, grouped=False).caption


def test_the_number_of_looks() -> None:
    assert "no other evaluation" in looks_sentence(1)
    assert "looked at 28 times" in looks_sentence(28)

"""Tables of areas under ROC curves: rows of one set of images, readings, the paper's figures."""

from __future__ import annotations

from typing import Any

import pytest

from data_contracts.studies.study import PaperRow, PaperTable
from methods.features.radiomics import AnalyticFeature
from methods.reporting.roc_tables import (
    ALL,
    CONTOURED,
    features_table,
    permutation_table,
    roc_comparison_table,
    roc_paper_table,
    roc_results_table,
)


def result(method: str, images: str, auc: float) -> dict[str, Any]:
    return {
        "method": method,
        "title": method.upper(),
        "images": images,
        "auc": auc,
        "auc_sd": 0.04,
        "auc_se": 0.02,
        "pooled_auc": 0.8,
        "pooled_low": 0.7125,
        "pooled_high": 0.9,
        "interval": "DeLong",
        "lesion_auc": 0.85,
        "lesion_low": 0.75,
        "lesion_high": 1.0,
        "n_images": 60,
        "n_lesions": 20,
    }


def test_results_are_those_of_one_set_of_images() -> None:
    rows = [result("fc6", ALL, 0.75), result("fc6", CONTOURED, 0.5), result("fc7", ALL, 0.7)]
    table = roc_results_table(rows, ALL, ("NOTICE",))
    intervals = ("0.713 to 0.900", "0.750 to 1.000")
    assert table.rows == (
        ("FC6", 0.75, 0.04, 0.02, 0.8, intervals[0], 0.85, intervals[1], 60, 20),
        ("FC7", 0.7, 0.04, 0.02, 0.8, intervals[0], 0.85, intervals[1], 60, 20),
    )
    assert table.title == "ROC analysis by method, all images"
    few = {**rows[0], "interval": "DeLong; too few patients to say"}
    marked = roc_results_table([few, rows[2]], ALL)
    assert marked.remarks == ("too few patients to say", "")
    assert "Seconds" not in table.columns
    contoured = roc_results_table(rows, CONTOURED, seconds={"fc6": 12.5})
    assert contoured.title == "ROC analysis by method, images with a contour"
    assert [row[1] for row in contoured.rows] == [0.5]
    assert (contoured.columns[-1], contoured.rows[0][-1]) == ("Seconds", 12.5)


@pytest.mark.parametrize(
    ("difference", "p", "reading"),
    [
        (0.1, 0.049, "A is better"),
        (-0.1, 0.0004, "B is better"),
        (0.1, 0.05, "no measurable difference"),
    ],
)
def test_a_pair_is_read_by_delongs_corrected_p_value(
    difference: float, p: float, reading: str
) -> None:
    row = {
        "method_a": "a",
        "method_b": "b",
        "difference": 0.125,
        "p_t": 0.0001,
        "p_t_bonferroni": 0.012,
        "p_corrected": 0.002,
        "p_corrected_bonferroni": 0.04,
        "pooled_difference": difference,
        "p_delong": 0.01,
        "p_delong_bonferroni": p,
    }
    corrected = "< 0.001" if p < 0.001 else f"{p:.3f}"
    assert roc_comparison_table([row], {"a": "CNN", "b": "Analytic"}).rows == (
        (
            *("CNN", "Analytic", 0.125, "< 0.001 (0.012)", "0.002 (0.040)"),
            *(difference, f"0.010 ({corrected})", reading),
        ),
    )


def test_the_papers_areas_are_shares_and_a_row_without_ours_says_why() -> None:
    paper = PaperTable(
        "figure 3",
        "AUC by layer",
        "AUC x 100",
        "their own",
        (PaperRow("CNN", 81, "cnn", sd=4, time="~7 min"), PaperRow("Analytic", 79.5, "analytic")),
    )
    table = roc_paper_table(
        paper,
        [result("fc6", ALL, 0.75)],
        {"cnn": "fc6"},
        {"analytic": "no lesion has a contour"},
        {"fc6": 12.5},
        (),
    )
    assert table.title == "The paper's figure 3: AUC by layer"
    assert table.rows == (
        ("CNN", 0.81, 0.04, "~7 min", 0.75, 0.04, 0.02, 60, 12.5),
        ("Analytic", 0.795, None, "", None, None, None, None, None),
    )
    assert table.remarks == ("", "no lesion has a contour")


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [(0.45, 0.55, "yes"), (0.5, 0.55, "yes"), (0.51, 0.6, "NO"), (0.4, 0.49, "NO")],
)
def test_permuted_labels_are_to_give_one_half(low: float, high: float, answer: str) -> None:
    row = {"method": "fc6", "value": 0.5, "ci_low": low, "ci_high": high, "interval": "t", "n": 10}
    table = permutation_table([row], {"fc6": "CNN"}, ())
    assert table.rows == (("CNN", 0.5, low, high, 10, answer),)
    few = permutation_table([{**row, "interval": "t; too few patients to say"}], {"fc6": "CNN"}, ())
    assert few.remarks == ("too few patients to say",)


def test_a_feature_is_described_by_all_that_is_known_of_it() -> None:
    area = AnalyticFeature("area", "size", "pixels x pixel area", "mm2", "MeshSurface")
    assert features_table([area]).rows == (
        ("area", "size", "pixels x pixel area", "mm2", "MeshSurface"),
    )

"""The leaderboard: a row a dataset, a column a method, a footnote where there are notices."""

from __future__ import annotations

from methods.reporting.document import Bar
from methods.reporting.leaderboard import bars_of, leaderboard_table


def test_each_dataset_is_a_row_and_a_method_that_was_not_run_has_no_figure() -> None:
    bars = {"a": (Bar("CAE", 75.0, 50.0, 100.0), Bar("conv5", 60.0)), "b": (Bar("conv5", 70.0),)}
    table = leaderboard_table(
        "Study", "test split", bars, {"a": "Random weights", "b": ""}, {"a": "../a.html"}
    )
    assert table.columns == ("Dataset", "CAE", "conv5")
    assert table.rows == (("a", "75.0 (50.0 to 100.0)", "60.0"), ("b", None, "70.0"))
    assert table.remarks == ("Random weights", "")
    assert table.links == {"a": "../a.html"}


def test_of_lesions_the_images_with_a_contour_are_shown() -> None:
    row = {"method": "m", "pooled_auc": 0.75, "pooled_low": 0.5, "pooled_high": 1.0}
    rows = [
        {**row, "title": "all", "images": "all"},
        {**row, "title": "C", "images": "with a contour"},
    ]
    assert bars_of(rows, "cross-validation", "m") == (Bar("C", 0.75, 0.5, 1.0, True),)

"""Pictures of ROC curves, and that a legend names the area that is drawn."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from methods.reporting.pictures import canvas, roc_pictures
from methods.reporting.pictures.roc_pictures import FoldCurves, fold_roc_curves, one_vs_rest
from methods.statistics.curves.one_vs_rest import class_curves
from methods.statistics.fold_roc import average_roc, fold_aucs
from methods.statistics.roc import auc, empirical_roc

FOLD = np.repeat(np.arange(5), 8)
POSITIVE = np.arange(40) % 2 == 0
SCORES = np.random.default_rng(0).random(40) + POSITIVE * 0.3 + FOLD


def curves(title: str, fitted: bool) -> FoldCurves:
    line = np.linspace(0, 1, 201)
    return FoldCurves(
        title,
        average_roc(SCORES, POSITIVE, FOLD),
        float(fold_aucs(SCORES, POSITIVE, FOLD).mean()),
        empirical_roc(SCORES, POSITIVE),
        auc(SCORES, POSITIVE),
        (line, line**0.5) if fitted else None,
    )


def test_the_area_in_each_legend_is_that_under_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(roc_pictures, "png", lambda figure: kept.append(figure) or b"")
    fold_roc_curves([curves("a", True), curves("$b", False)])
    for axis in kept[0].axes:
        labelled = [line for line in axis.lines if ":" in line.get_label()]
        assert len(labelled) == 2
        for line in labelled:
            stated = re.search(r"[\d.]+$", line.get_label())
            assert stated
            area = np.trapezoid(line.get_ydata(), line.get_xdata())
            assert float(stated[0]) == pytest.approx(area, abs=0.00051)


def test_folds_apart_in_level_show_as_two_areas() -> None:
    """The case that one label for both hid: each fold ranks well, all of them together do not."""
    of = curves("a", False)
    assert of.mean_auc > of.pooled_auc + 0.05


def test_a_picture_is_small_and_the_same_every_time() -> None:
    one = fold_roc_curves([curves("a", True)])
    assert len(one) < canvas.MAX_BYTES
    assert one == fold_roc_curves([curves("a", True)])
    assert one != fold_roc_curves([curves("b", True)])


def test_curves_of_classes_are_small_and_the_same_every_time() -> None:
    labels = np.array(["$a", "b", "c"] * 12)
    scores = np.random.default_rng(0).random((36, 3)) + (labels[:, None] == np.unique(labels))
    found = class_curves(np.unique(labels), scores, labels, None, 0)
    first = one_vs_rest(found)
    assert len(first) < canvas.MAX_BYTES
    assert first == one_vs_rest(found)

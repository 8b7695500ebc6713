"""Pictures of ROC curves; the area in a legend is that under the curve that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.records.assessment import Estimate
from methods.reporting.pictures.canvas import COLOURS, canvas, plain, png
from methods.statistics.curves.one_vs_rest import GRID, ClassCurves

Float64 = NDArray[np.float64]
Curve = tuple[Float64, Float64]
"""False-positive rates and true-positive rates, (k,) each, from (0, 0) to (1, 1)."""


@dataclass(frozen=True)
class FoldCurves:
    """ROC curves of one method that is scored in folds.

    Attributes:
        title: of the method.
        averaged: the average of the folds' curves.
        mean_auc: mean area of the folds, which is the area under ``averaged``.
        pooled: curve of the probabilities of all folds together.
        pooled_auc: area under ``pooled``.
        fitted: binormal curve of the same probabilities; None where none can be fitted.
    """

    title: str
    averaged: Curve
    mean_auc: float
    pooled: Curve
    pooled_auc: float
    fitted: Curve | None


def fold_roc_curves(methods: Sequence[FoldCurves]) -> bytes:
    """Draw the average of the folds' ROC curves, and beside it the curve of all folds together."""
    figure, axes = canvas(4.8 + 0.22 * len(methods), 1, 2)
    left, right = axes[0]
    for number, of in enumerate(methods):
        colour = COLOURS[number % len(COLOURS)]
        left.plot(
            *of.averaged,
            color=colour,
            linewidth=1.8,
            label=f"{plain(of.title, 36)}: {of.mean_auc:.3f}",
        )
        right.plot(
            *of.pooled,
            color=colour,
            linewidth=1.8,
            label=f"{plain(of.title, 36)}: {of.pooled_auc:.3f}",
        )
        if of.fitted is not None:
            right.plot(*of.fitted, color=colour, linewidth=1.2, linestyle="--")
    _roc_axes(left, "average of the folds' curves")
    fitted = " (dashed: binormal fit)" if any(of.fitted for of in methods) else ""
    _roc_axes(right, f"all folds together{fitted}")
    for axis in (left, right):
        axis.legend(
            fontsize=8,
            title="area under the curve",
            title_fontsize=8,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
        )
    return png(figure)


def _roc_axes(axis: Any, title: str) -> None:
    """Label the axes of ROC curves and draw the line of chance."""
    axis.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    axis.set(
        xlabel="false-positive rate",
        ylabel="true-positive rate",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    axis.set_title(title, fontsize=9)


def one_vs_rest(classes: Sequence[ClassCurves]) -> bytes:
    """Draw the ROC and the precision-recall curves of each class against the others, with bands."""
    figure, axes = canvas(4.9 + 0.22 * len(classes), 1, 2)
    left, right = axes[0]
    for number, of in enumerate(classes):
        colour = COLOURS[number % len(COLOURS)]
        name = plain(of.label, 20)
        area = "–" if of.auc is None else f"{of.auc.value:.3f}{_interval(of.auc)}"
        left.plot(of.roc.x, of.roc.y, color=colour, linewidth=1.8, label=f"{name}: {area}")
        right.step(
            np.concatenate([[0.0], of.precision.x]),
            np.concatenate([of.precision.y[:1], of.precision.y]),
            where="pre",
            color=colour,
            linewidth=1.8,
            label=f"{name}: {of.average_precision:.3f} ({of.images} of {of.images + of.others})",
        )
        for axis, band in ((left, of.roc), (right, of.precision)):
            if band.low is not None and band.high is not None:
                axis.fill_between(GRID, band.low, band.high, color=colour, alpha=0.13, linewidth=0)
    _roc_axes(left, "ROC (band: 95 % of resamples of the patients)")
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02), aspect="equal")
    right.set_title("precision and recall", fontsize=9)
    titles = "area under the curve (95 % interval)", "average precision (images of the class)"
    for axis, title in zip((left, right), titles, strict=True):
        axis.legend(
            fontsize=8,
            title=title,
            title_fontsize=8,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.16),
        )
    return png(figure)


def _interval(estimate: Estimate) -> str:
    """The ends of an interval in brackets; nothing where there is none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({estimate.low:.2f} to {estimate.high:.2f})"

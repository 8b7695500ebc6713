"""Pictures of ROC curves; the area in a legend is that under the curve that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from methods.reporting.pictures.canvas import COLOURS, canvas, plain, png

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

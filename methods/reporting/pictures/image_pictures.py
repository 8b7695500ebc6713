"""Pictures of single images: errors beside their neighbours, and a map of the features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from methods.reporting.pictures.canvas import COLOURS, DPI, INCHES, canvas, plain, png

Pixels = NDArray[np.uint8]

ERRORS_OF_A_PICTURE = 4
"""Maximum number of misclassified images in one picture, so that it stays within its size."""
TILE_PIXELS = 110
"""Edge of an image in a picture, in pixels."""
BLOCK, TITLE, ROW = 3.25, 0.3, 1.65
"""Width of an error with its neighbours, of its title and distance of rows, in widths of a tile."""


@dataclass(frozen=True)
class Misclassified:
    """A test image that was given another class than its own.

    Attributes:
        name: short name of the image.
        label: its class.
        predicted: the class that it was given.
        stated: how sure the classifier was, in words.
        pixels: (H, W, 3) of the image.
        nearest: (H, W, 3) of the nearest training image of ``label`` and of ``predicted``; None
            where there is none.
    """

    name: str
    label: str
    predicted: str
    stated: str
    pixels: Pixels
    nearest: tuple[Pixels | None, Pixels | None]


def misclassified(errors: Sequence[Misclassified]) -> bytes:
    """Draw each error beside the nearest training image of its class and of the predicted one."""
    n_rows = -(-len(errors) // 2)
    figure = Figure(figsize=(INCHES, INCHES / (2 * BLOCK) * ROW * n_rows), dpi=DPI)
    axis = figure.add_axes((0, 0, 1, 1))
    for number, error in enumerate(errors):
        row, column = divmod(number, 2)
        left, top = column * BLOCK + 0.1, row * ROW + TITLE
        title = f"{plain(error.label, 18)} taken for {plain(error.predicted, 18)} ({error.stated})"
        axis.text(left, top - 0.06, title, fontsize=8, fontweight="bold", va="bottom")
        captions = (error.name, f"nearest {error.label}", f"nearest {error.predicted}")
        pictures = (error.pixels, *error.nearest)
        for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
            _tile(axis, left + place, top, picture, caption)
    axis.set(xlim=(0, 2 * BLOCK), ylim=(ROW * n_rows, 0), aspect="equal")
    axis.axis("off")
    return png(figure)


def _tile(axis: Any, left: float, top: float, picture: Pixels | None, caption: str) -> None:
    """Draw one image with its caption below, or the words that there is none."""
    if picture is None:
        axis.text(left + 0.48, top + 0.5, "none", fontsize=8, ha="center", color="#777777")
    else:
        side = (TILE_PIXELS, TILE_PIXELS)
        small = np.asarray(Image.fromarray(picture).resize(side, Image.Resampling.LANCZOS))
        axis.imshow(small, extent=(left, left + 0.96, top + 0.96, top), interpolation="nearest")
    axis.text(left + 0.48, top + 1.02, plain(caption, 20), fontsize=7, ha="center", va="top")


def feature_map(
    places: NDArray[np.floating],
    labels: NDArray[np.str_],
    is_test: NDArray[np.bool_],
    is_wrong: NDArray[np.bool_],
) -> bytes:
    """Draw images as points in the plane: by class, by side of the split, and the errors.

    Args:
        places: (n, 2).
        labels: (n,) class; the six most frequent have colours, the others are grey.
        is_test: (n,) whether it is a test image.
        is_wrong: (n,) whether it is a test image that is misclassified.
    """
    figure, axes = canvas(6.0)
    axis = axes[0, 0]
    names, counts = np.unique(labels, return_counts=True)
    ordered = names[np.argsort(-counts, kind="stable")]
    for number, name in enumerate(ordered):
        colour = COLOURS[number] if number < len(COLOURS) else "#999999"
        for side, marker, face in ((~is_test, "o", "none"), (is_test, "^", colour)):
            of = side & (labels == name)
            axis.plot(
                *places[of].T,
                linestyle="none",
                marker=marker,
                markersize=5,
                markeredgecolor=colour,
                markerfacecolor=face,
                label=plain(str(name), 24) if marker == "^" and number < len(COLOURS) else None,
            )
    axis.plot(
        *places[is_wrong].T,
        linestyle="none",
        marker="o",
        markersize=12,
        markeredgecolor="black",
        markerfacecolor="none",
        label="misclassified",
    )
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_title("circles: training images, triangles: test images", fontsize=9)
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    return png(figure)


@dataclass(frozen=True)
class Evidence:
    """A test image with what its positions add to the score of the predicted class.

    Attributes:
        label: its class.
        predicted: the class that it was given.
        pixels: (H, W, 3) of the image.
        parts: (h, w) what each position adds, above 0 for the class and below 0 against it.
    """

    label: str
    predicted: str
    pixels: Pixels
    parts: NDArray[np.floating]

    @property
    def is_right(self) -> bool:
        """Whether the class that it was given is its own."""
        return self.label == self.predicted


EVIDENCE_COLUMNS, EVIDENCE_WIDTH = 3, 2.2
"""Images in a row of the picture of evidence, and the width of each with its map, in tiles."""
STRONGEST = 0.8
"""Opacity of the position that adds most."""
FOR, AGAINST = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)
"""Colours of positions that speak for the predicted class and against it."""


def evidence(images: Sequence[Evidence]) -> bytes:
    """Draw each image, and beside it where the evidence for its predicted class lies."""
    n_rows = -(-len(images) // EVIDENCE_COLUMNS)
    width = EVIDENCE_COLUMNS * EVIDENCE_WIDTH
    figure = Figure(figsize=(INCHES, INCHES / width * ROW * n_rows), dpi=DPI)
    axis = figure.add_axes((0, 0, 1, 1))
    for number, of in enumerate(images):
        row, column = divmod(number, EVIDENCE_COLUMNS)
        left, top = column * EVIDENCE_WIDTH + 0.1, row * ROW + TITLE
        title = plain(of.label, 24) + (
            "" if of.is_right else f" taken for {plain(of.predicted, 18)}"
        )
        axis.text(left, top - 0.06, title, fontsize=8, fontweight="bold", va="bottom")
        _tile(axis, left, top, of.pixels, "image")
        _tile(axis, left + 1, top, _overlaid(of), "evidence")
    axis.set(xlim=(0, width), ylim=(ROW * n_rows, 0), aspect="equal")
    axis.axis("off")
    return png(figure)


def _overlaid(of: Evidence) -> Pixels:
    """The image in grey with its evidence in two colours, (H, W, 3) uint8."""
    height, width = of.pixels.shape[:2]
    coarse = Image.fromarray(of.parts.astype(np.float32))
    parts = np.asarray(coarse.resize((width, height), Image.Resampling.BILINEAR))
    strength = STRONGEST * parts / (float(np.abs(parts).max()) or 1.0)
    grey = of.pixels.mean(axis=2, keepdims=True)
    colour = np.where(strength[..., None] > 0, np.array(FOR), np.array(AGAINST))
    opacity = np.abs(strength)[..., None]
    mixed: Pixels = (grey * (1 - opacity) + colour * opacity).round().astype(np.uint8)
    return mixed

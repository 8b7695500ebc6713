"""The empty picture, its writing as PNG, and what all pictures share: size, colours, short texts.

A picture has at most 50 kB and the same bytes every time.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Colours of Okabe and Ito, which the colour-blind tell apart."""
MAX_BYTES = 50_000
"""Maximum size of a picture in bytes."""
INCHES, DPI = 8.0, 100
"""Width of a picture, and its pixels an inch."""


def plain(text: str, limit: int = 28) -> str:
    """Text that matplotlib shows without reading markup in it."""
    short = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return short.replace("$", r"\$")


def canvas(
    height: float, rows: int = 1, columns: int = 1, **grid: Any
) -> tuple[Figure, NDArray[Any]]:
    """Return an empty picture of ``height`` inches and its axes (rows, columns)."""
    figure = Figure(figsize=(INCHES, height), dpi=DPI, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **grid)


def png(figure: Figure, marks: Sequence[tuple[int, int, int]] = ()) -> bytes:
    """Write the picture with as many colours, then pixels, as fit the size limit.

    The colours of ``marks`` are kept.
    """
    sheet: Any = FigureCanvasAgg(figure)
    sheet.draw()  # savefig would draw twice: once to lay the picture out, once more to keep it
    image = Image.fromarray(np.asarray(sheet.buffer_rgba())).convert("RGB")
    return _within_limit(image, marks)


def _within_limit(image: Image.Image, marks: Sequence[tuple[int, int, int]] = ()) -> bytes:
    for scale in (1.0, 0.8, 0.65, 0.5, 0.35):
        size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
        smaller = image if scale == 1.0 else image.resize(size, Image.Resampling.LANCZOS)
        for colours in (256, 64, 24):
            buffer = io.BytesIO()
            _quantized(smaller, colours, marks).save(buffer, "PNG", optimize=True)
            if buffer.tell() < MAX_BYTES:
                return buffer.getvalue()
    return buffer.getvalue()


def _quantized(
    image: Image.Image, colours: int, marks: Sequence[tuple[int, int, int]]
) -> Image.Image:
    """Reduce the picture to a number of colours that include those of ``marks``.

    A rare colour would otherwise be lost.
    """
    chosen = image.quantize(
        colours - len(marks), Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )
    if not marks:
        return chosen
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        [
            *(chosen.getpalette() or [])[: 3 * (colours - len(marks))],
            *(part for mark in marks for part in mark),
        ]
    )
    return image.quantize(palette=palette, dither=Image.Dither.NONE)

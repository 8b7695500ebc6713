"""Gradient grids: a few hundred numbers by which copies of a picture are near each other.

They are histograms of gradient directions in the cells of a grid (Dalal and Triggs 2005,
"Histograms of Oriented Gradients for Human Detection", section 3) with two deviations: the
magnitudes are divided by those around them before they are counted, and cells overlap. A direction
and its opposite are the same bin, so an inverted picture has the same grid; a picture that is
mirrored or turned by a quarter has the same numbers in other places (:func:`turned_grids`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter

Float32 = NDArray[np.float32]
Grey = NDArray[np.uint8]

TURNS = range(8)
"""Ways to turn a picture: ``turn % 4`` quarters against the clock; from 4 on its mirror image."""
MIRRORED = 4
"""First turn that mirrors the picture left to right before it is turned."""

SIDE = 32
"""Pixels on a side of the pictures that grids are made of."""
_CELLS, _BINS = 5, 8
LENGTH = _CELLS * _CELLS * _BINS
"""Numbers of a grid."""

_TRIMMED_RANGE = 12
"""Maximum range of the grey levels of a row or column that belongs to a border."""
_TRIMMED_ROUNDS = 6
"""Maximum number of borders within each other (black in white in black) that are removed."""
_SMALLEST = 24
"""Minimum number of pixels on a side that are left."""
_BLURRED = 2
"""Rows beside a border that the resize mixed with it, which are removed with it."""

_ROTATION = 4.0
"""Degrees by which a test picture is also rotated."""
_SHIFT = 1
"""Pixels of SIDE (3 %) by which it is also shifted along both axes."""
_PADDED = 4


def trimmed(grey: Grey) -> Grey:
    """Return a picture without borders of one grey level, (h, w) -> (h', w') uint8.

    A border of which less than 24 pixels on a side would remain stays.
    """
    for _ in range(_TRIMMED_ROUNDS):
        rows = np.flatnonzero(np.ptp(grey, axis=1) > _TRIMMED_RANGE)
        columns = np.flatnonzero(np.ptp(grey, axis=0) > _TRIMMED_RANGE)
        if not len(rows) or not len(columns):
            break
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        inner = grey[
            top + _BLURRED * (top > 0) : bottom - _BLURRED * (bottom < grey.shape[0]),
            left + _BLURRED * (left > 0) : right - _BLURRED * (right < grey.shape[1]),
        ]
        if inner.shape == grey.shape or min(inner.shape) < _SMALLEST:
            break
        grey = inner
    return grey


def resized(grey: Grey, side: int) -> Float32:
    """Return a picture antialiased to (side, side) float32 grey levels."""
    small = Image.fromarray(grey).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(small, np.float32)


def changed(small: Float32) -> list[Float32]:
    """Return a picture of SIDE pixels as it is, rotated both ways, and shifted four ways."""
    padded = np.pad(small, _PADDED, "edge")
    inner = slice(_PADDED, -_PADDED)
    rotated = [
        np.asarray(Image.fromarray(padded).rotate(angle, Image.Resampling.BILINEAR))[inner, inner]
        for angle in (-_ROTATION, _ROTATION)
    ]
    shifted = [
        np.roll(padded, (down, across), (0, 1))[inner, inner]
        for down in (-_SHIFT, _SHIFT)
        for across in (-_SHIFT, _SHIFT)
    ]
    return [small, *rotated, *shifted]


def gradient_grids(small: Float32) -> Float32:
    """Return the gradient grids of pictures, (n, SIDE, SIDE) -> (n, 5, 5, 8) float32 of length 1.

    A flat picture has a grid of zeros.
    """
    across, down = np.zeros_like(small), np.zeros_like(small)
    across[:, :, 1:-1] = small[:, :, 2:] - small[:, :, :-2]
    down[:, 1:-1] = small[:, 2:] - small[:, :-2]
    strength = np.hypot(across, down)
    around = uniform_filter(strength, (0, 9, 9), mode="nearest")
    strength /= around + 0.3 * strength.mean((1, 2), keepdims=True) + 1
    direction = np.arctan2(down, across) * np.float32(_BINS / np.pi)
    bins = np.arange(_BINS, dtype=np.float32).reshape(-1, 1, 1)
    apart = np.abs((direction[:, None] - bins + _BINS / 2) % _BINS - _BINS / 2)
    votes = strength[:, None] * np.clip(1 - apart, 0, None)
    cells = _pooling() @ votes @ _pooling().T
    grids: Float32 = np.sqrt(cells).transpose(0, 2, 3, 1).astype(np.float32)
    norms = np.linalg.norm(grids.reshape(len(grids), -1), axis=1)
    return np.asarray(grids / np.where(norms > 0, norms, 1).reshape(-1, 1, 1, 1), np.float32)


def _pooling() -> Float32:
    """Weights of the pixels of a row in each cell, (5, SIDE) float32, triangular."""
    width = SIDE / _CELLS
    centres = (np.arange(_CELLS) + 0.5) * width
    apart = np.abs(np.arange(SIDE) + 0.5 - centres[:, None])
    return np.clip(1 - apart / width, 0, None).astype(np.float32)


def turned(pictures: NDArray[np.float32], turn: int) -> Float32:
    """Return pictures in one of TURNS, (..., s, s)."""
    if turn >= MIRRORED:
        pictures = pictures[..., ::-1]
    return np.rot90(pictures, turn % 4, (-2, -1))


def turned_grids(grids: Float32, turn: int) -> Float32:
    """Return the grids of the same pictures in one of TURNS, (n, 5, 5, 8)."""
    if turn >= MIRRORED:
        grids = grids[:, :, ::-1, -np.arange(_BINS) % _BINS]
    grids = np.rot90(grids, turn % 4, (1, 2))
    return np.roll(grids, _BINS // 2, -1) if turn % 2 else grids

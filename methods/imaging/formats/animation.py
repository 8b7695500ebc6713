"""The images that a viewer shows of an animation, whose file holds patches of a canvas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from methods.imaging.image_format import UndecodableImageError

Disposal = Literal["keep", "clear", "restore"]

Rgba = NDArray[np.unsignedinteger[Any]]
"""Pixels (h, w, 4) uint8 or uint16, alpha last and not multiplied into the colours."""


@dataclass(frozen=True)
class Patch:
    """One step of an animation.

    Attributes:
        left: columns between the left edge of the canvas and the patch; it may lie beyond.
        top: lines between the top of the canvas and the patch.
        width: pixels.
        height: pixels.
        decode: returns the pixels of the patch, (height, width, 4), or raises
            UndecodableImageError.
        disposal: what becomes of its area before the next patch: kept, made transparent, or put
            back to what it was.
        is_blended: whether it lies over the canvas as its alpha says, where it else replaces it.
    """

    left: int
    top: int
    width: int
    height: int
    decode: Callable[[], Rgba]
    disposal: Disposal = "keep"
    is_blended: bool = True


class Animation:
    """Shows the images of an animation; in ascending order each patch is decoded once.

    Args:
        width: pixels of the canvas.
        height: pixels of the canvas.
        patches: the steps.
        dtype: uint8 or uint16.
    """

    def __init__(
        self, width: int, height: int, patches: list[Patch], dtype: type[np.unsignedinteger[Any]]
    ) -> None:
        self._shape = height, width, 4
        self._patches = patches
        self._dtype = dtype
        self._rewind()

    def _rewind(self) -> None:
        self._canvas: Rgba = np.zeros(self._shape, self._dtype)
        self._n_shown = 0
        self._before: Rgba | None = None

    def image(self, number: int) -> Rgba:
        """Return what is shown after a step, (h, w, 4).

        Raises:
            UndecodableImageError: there is no such step, or this or an earlier one is broken.
        """
        if not 0 <= number < len(self._patches):
            raise UndecodableImageError("no such frame")
        if number < self._n_shown - 1:
            self._rewind()
        while self._n_shown <= number:
            self._show(self._n_shown)
        return self._canvas

    def _show(self, number: int) -> None:
        patch = self._patches[number]
        pixels = patch.decode()  # may raise: until here nothing has changed
        if number:
            self._dispose(self._patches[number - 1])
        area = self._area(patch)
        self._before = self._canvas[area].copy() if patch.disposal == "restore" else None
        height, width = self._canvas[area].shape[:2]
        pixels = pixels[:height, :width]
        self._canvas[area] = _over(pixels, self._canvas[area]) if patch.is_blended else pixels
        self._n_shown = number + 1

    def _dispose(self, patch: Patch) -> None:
        if patch.disposal == "clear":
            self._canvas[self._area(patch)] = 0
        elif self._before is not None:
            self._canvas[self._area(patch)] = self._before

    def _area(self, patch: Patch) -> tuple[slice, slice]:
        return (
            slice(patch.top, patch.top + patch.height),
            slice(patch.left, patch.left + patch.width),
        )


def _over(source: Rgba, under: Rgba) -> Rgba:
    """Lay pixels over others ("over" of Porter and Duff, colours not multiplied by alpha)."""
    full = np.iinfo(source.dtype).max
    opacity = source[..., 3]
    is_partial = (opacity > 0) & (opacity < full)
    result = np.where((opacity == full)[..., None], source, under)
    if is_partial.any():
        top, bottom = (layer[is_partial].astype(np.float64) for layer in (source, under))
        above = top[:, 3:] / full
        below = bottom[:, 3:] / full * (1 - above)
        alpha = above + below
        colour = (top[:, :3] * above + bottom[:, :3] * below) / alpha
        result[is_partial] = np.rint(np.concatenate([colour, alpha * full], 1))
    return result


def frames_notice(n_frames: int, n_announced: int, left_out: str | None = None) -> str | None:
    """Say in how far the images of an animation are not those that its header announces.

    Args:
        n_frames: number of images that are there.
        n_announced: number of images in the header.
        left_out: what was left out, or None.
    """
    facts = [left_out] if left_out else []
    if n_frames != n_announced:
        facts.append(f"{n_frames} frames, where the header says {n_announced}")
    return "; ".join(facts) or None

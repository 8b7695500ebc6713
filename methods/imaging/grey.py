"""Grey values of colour images: the luma of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]

LUMA_THOUSANDTHS = np.array([299, 587, 114], np.float32)
"""Weights of red, green and blue in thousandths. Their products with 8-bit values and the sums of
these are whole numbers that float32 holds exactly, so no result depends on the order of a sum."""


def _thousandths(images: NDArray[np.uint8]) -> Float32:
    """Compute a thousand times the luma, (n, H, W) of whole numbers from 0 to 255,000."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(f"grey takes images (n, H, W, 3) uint8, got {images.shape} {images.dtype}")
    thousandths: Float32 = images.astype(np.float32) @ LUMA_THOUSANDTHS
    return thousandths


def luma(images: NDArray[np.uint8]) -> Float32:
    """Compute the luma of RGB images on the scale 0..1; white is exactly 1.

    Args:
        images: (n, H, W, 3) uint8.

    Returns:
        (n, H, W) float32 in 0..1.

    Raises:
        ValueError: another shape or dtype.
    """
    return _thousandths(images) / np.float32(255_000)


def luma_uint8(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compute the luma of RGB images on the scale 0..255, rounded half to even.

    Args:
        images: (n, H, W, 3) uint8.

    Returns:
        (n, H, W) uint8; a grey image keeps its values.

    Raises:
        ValueError: another shape or dtype.
    """
    rounded: NDArray[np.uint8] = np.rint(_thousandths(images) / np.float32(1000)).astype(np.uint8)
    return rounded

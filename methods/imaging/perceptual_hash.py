"""Perceptual hash: 64 bits that stay nearly the same when an image is re-encoded or resized.

The hash is that of Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash
Functions", section 3.1.1, with one deviation: the DCT coefficients are compared with 0, not with
their median. Mirroring an image left to right changes the sign of the odd horizontal frequencies,
and upside down that of the odd vertical ones, so the hash of the mirrored image follows from the
hash itself; a median would move.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Hashes = NDArray[np.uint64]

FLAT_HASH = 1 << 63
"""Hash of an image without contrast; no other hash has this top bit."""

STRAIGHT, LEFT_RIGHT, UPSIDE_DOWN, HALF_A_TURN = TURNS = range(4)
"""Ways to mirror an image: not at all, in one direction, or in both (half a turn)."""

_SIDE, _KEPT = 32, 8
# Rows of the orthonormal DCT-II. scipy.fft takes as long to import as all else that a process which
# decodes images imports.
_DCT = np.cos(np.pi / _SIDE * np.arange(_KEPT)[:, np.newaxis] * (np.arange(_SIDE) + 0.5)) * np.sqrt(
    2 / _SIDE
)
_DCT[0] /= np.sqrt(2)
# a row of 8 coefficients is a byte, the lowest frequency its top bit
_ODD_COLUMNS = 0x5555_5555_5555_5555
_ODD_ROWS = 0x00FF_00FF_00FF_00FF  # the lowest row is the top byte
_TURNED_SIGNS = (0, _ODD_COLUMNS, _ODD_ROWS, _ODD_COLUMNS ^ _ODD_ROWS)
# grey levels; rounding stays far below, so a coefficient that is 0 by symmetry gives the same bit
# everywhere
_ZERO = 1e-3
# norm of the kept coefficients where the grey values' standard deviation is one level
_FLAT = float(_SIDE)


def perceptual_hash(rgb: NDArray[np.uint8]) -> int:
    """Return the signs of the 63 lowest frequencies of an image.

    Encoding, scaling and changes of brightness and contrast leave most of them alone. The image is
    made grey and antialiased to 32 x 32 whatever its aspect ratio; of its DCT-II the top left 8 x 8
    coefficients are used, without the mean. Row by row from the second highest bit on, a bit is 1
    where the coefficient is positive.

    Args:
        rgb: (h, w, 3) or (h, w) uint8.

    Returns:
        0 <= hash < 2^63, or FLAT_HASH where the low frequencies hold less than one grey level of
        contrast: their signs would be those of the noise.
    """
    grey = (
        Image.fromarray(rgb)
        .convert("L")
        .convert("F")
        .resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    )
    low = (_DCT @ np.asarray(grey, np.float64) @ _DCT.T).ravel()[1:]
    if np.linalg.norm(low) < _FLAT:
        return FLAT_HASH
    return int.from_bytes(np.packbits(np.concatenate([[False], low > _ZERO])).tobytes(), "big")


def mirrored_hashes(hashes: Hashes, turn: int) -> Hashes:
    """Return the hashes of the same images mirrored in one of TURNS, of the shape of ``hashes``.

    They are exact but for a coefficient of 0, which has no sign to change. Those of a symmetric
    image are such, and a symmetric image equals its mirror image anyway.
    """
    return hashes ^ np.uint64(_TURNED_SIGNS[turn])

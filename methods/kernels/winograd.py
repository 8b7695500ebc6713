"""Convolution of 6x6 maps with 3x3 kernels as 64 matrix products (Winograd's minimal filtering).

Winograd 1980; Lavin and Gray 2016, F(6x6, 3x3). A 6x6 map with its border of zeros is one 8x8 tile.
Small fixed matrices lift a map and a kernel to 64 numbers, and there a convolution is, for each of
the 64, one product of a matrix of kernels and a matrix of maps: a fifth of the multiplications of
the sum over 9 taps at 36 places. With ``P`` lifting a map, ``R`` lifting a response and ``Q``
lifting a kernel,

    sum over places of z * conv(x, w)  =  sum over f of (R z)_f (Q w)_f (P x)_f
    (T)

for any x, w and z, so the convolution is ``R' (Q w * P x)``, the transposed convolution ``P' (Q w *
R z)``, and the gradient of a kernel ``Q' (R z * P x)``. In float32 the responses differ from those
of ``conv2d``, the plain twin in the tests, by 6e-6 of their spread.

Maps have their places first here, (36, C, N): every step is then a product of plain matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE = 6
"""Height and width of a map, in pixels."""
KERNEL = 3
"""Height and width of a kernel, in pixels."""
PLACES = SIDE**2
"""Pixels of a map."""
TAPS = KERNEL**2
"""Weights of a kernel for one channel."""
TILE = SIDE + KERNEL - 1
"""Height and width of a map with its border of zeros, in pixels."""

POINTS = tuple(map(Fraction, ("0", "1", "-1", "2", "-2", "1/2", "-1/2")))
"""Points at which the polynomials of Toom and Cook are evaluated, beside infinity; of eight sets of
seven points this one loses the fewest digits."""


def _product(roots: Sequence[Fraction]) -> list[Fraction]:
    """Expand the polynomial with these roots into coefficients, the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = (
            [Fraction(0), *coefficients],
            [*(root * c for c in coefficients), Fraction(0)],
        )
        coefficients = [a - b for a, b in zip(shifted, scaled, strict=True)]
    return coefficients


def toom_cook() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Compute the matrices of equation T in one dimension.

    There, conv is a correlation without padding of :data:`TILE` numbers with :data:`KERNEL` taps.

    Returns:
        P (8, 8), R (8, 6) and Q (8, 3).
    """
    others = [[q for q in POINTS if q != p] for p in POINTS]
    inputs = [[*_product(rest), Fraction(0)] for rest in others] + [_product(POINTS)]
    responses = [[p**i for i in range(SIDE)] for p in POINTS]
    responses.append([Fraction(int(i == SIDE - 1)) for i in range(SIDE)])
    kernels = [
        [p**j / math.prod(p - q for q in rest) for j in range(KERNEL)]
        for p, rest in zip(POINTS, others, strict=True)
    ]
    kernels.append([Fraction(int(j == KERNEL - 1)) for j in range(KERNEL)])
    p, r, q = (np.array(rows, np.float64) for rows in (inputs, responses, kernels))
    return p, r, q


@cache
def _matrix(name: str, transposed: bool) -> Tensor:
    """Return P (64, 36), R (64, 36) or Q (64, 9) for two dimensions, or its transpose."""
    one = dict(zip("PRQ", toom_cook(), strict=True))[name]
    two = np.kron(one, one)
    if name == "P":  # the border of the tile is zero
        inside = np.pad(np.ones((SIDE, SIDE), np.bool_), (TILE - SIDE) // 2).ravel()
        two = two[:, inside]
    return torch.from_numpy(np.ascontiguousarray(two.T if transposed else two, np.float32))


def _times(name: str, values: Tensor, transposed: bool = False) -> Tensor:
    """Multiply a matrix of :func:`_matrix` with the first axis of the values."""
    matrix = _matrix(name, transposed)
    return (matrix @ values.reshape(matrix.shape[1], -1)).view(len(matrix), *values.shape[1:])


def places_first(maps: Tensor) -> Tensor:
    """Rearrange maps (N, C, 6, 6) -> (36, C, N)."""
    return maps.permute(2, 3, 1, 0).reshape(PLACES, *maps.shape[1::-1])


def places_last(maps: Tensor) -> Tensor:
    """Invert :func:`places_first`: (36, C, N) -> (N, C, 6, 6)."""
    return maps.view(SIDE, SIDE, *maps.shape[1:]).permute(3, 2, 0, 1)


def taps_first(kernels: Tensor) -> Tensor:
    """Rearrange kernels (K, C, 3, 3) -> (9, K, C)."""
    return kernels.permute(2, 3, 0, 1).reshape(TAPS, *kernels.shape[:2])


def taps_last(kernels: Tensor) -> Tensor:
    """Invert :func:`taps_first`: (9, K, C) -> (K, C, 3, 3)."""
    return kernels.view(KERNEL, KERNEL, *kernels.shape[1:]).permute(2, 3, 0, 1)


def lift_maps(maps: Tensor) -> Tensor:
    """Multiply maps with P: (36, C, N) -> (64, C, N)."""
    return _times("P", maps)


def lower_maps(lifted: Tensor) -> Tensor:
    """Multiply lifted maps with P': (64, C, N) -> (36, C, N)."""
    return _times("P", lifted, transposed=True)


def lift_responses(responses: Tensor) -> Tensor:
    """Multiply responses with R: (36, K, N) -> (64, K, N)."""
    return _times("R", responses)


def lower_responses(lifted: Tensor) -> Tensor:
    """Multiply lifted responses with R': (64, K, N) -> (36, K, N)."""
    return _times("R", lifted, transposed=True)


def lift_kernels(kernels: Tensor) -> Tensor:
    """Multiply kernels with Q: (9, K, C) -> (64, K, C)."""
    return _times("Q", kernels)


def lower_kernels(lifted: Tensor) -> Tensor:
    """Multiply lifted kernels with Q': (64, K, C) -> (9, K, C)."""
    return _times("Q", lifted, transposed=True)

"""Products of float32 matrices on a CPU, by the fastest of the libraries that torch and NumPy
bring.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PROCESSORS = Path("/proc/cpuinfo")


@cache
def by_onednn() -> bool:
    """Whether oneDNN multiplies here: on AMD processors with AVX-512, which MKL and OpenBLAS treat
    as if they had AVX2.

    On a core of Zen 5 it does 235 thousand million operations a second, MKL 110, OpenBLAS 125 (256
    rows and more).
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return False
    return PROCESSORS.exists() and "AuthenticAMD" in PROCESSORS.read_text()


def _dense(matrix: Tensor) -> Tensor:
    """The matrix without gaps between its rows (or its columns), as with them oneDNN is a hundred
    times slower.
    """
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of (m, k) and (k, n): what a linear layer without a bias computes from the
    transpose of ``b``.
    """
    product: Tensor = torch.ops.mkldnn._linear_pointwise(
        _dense(a), _dense(b).t(), None, "none", [], ""
    )
    return product


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of (m, k) and (k, n), or of (f, m, k) and (f, k, n)."""
    if (torch.is_grad_enabled() and (a.requires_grad or b.requires_grad)) or not by_onednn():
        return a @ b
    if a.ndim == 2:
        return _product(a, b)
    products = torch.empty(len(a), a.shape[1], b.shape[2])
    for product, one, other in zip(products, a, b, strict=True):
        product.copy_(_product(one, other))
    return products


def add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """``total += a @ b`` of (f, m, k) and (f, k, n), in place. Nothing is learned through it."""
    if not by_onednn():
        total.baddbmm_(a, b)
        return
    for some, one, other in zip(total, a, b, strict=True):
        some.add_(_product(one, other))


def numpy_matmul(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """``a @ b`` of (m, k) and (k, n)."""
    if not by_onednn():
        return a @ b
    one, other = (
        torch.from_numpy(matrix if matrix.flags.writeable else matrix.copy()) for matrix in (a, b)
    )
    product: NDArray[np.float32] = _product(one, other).numpy()
    return product

"""Products by either library: the same numbers, whatever the strides, and gradients where they are
asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.kernels import products
from methods.kernels.products import add_product, by_onednn, matmul, numpy_matmul

pytestmark = pytest.mark.usefixtures("either_library")


def _matrices(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _expect(found: Tensor, exact: Tensor) -> None:
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=3e-6 * float(exact.std()))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("batch", [(), (5,)])
@torch.no_grad()
def test_matrices_of_any_strides(batch: tuple[int, ...], turned: bool) -> None:
    a, b = _matrices(*batch, 9, 33), _matrices(*batch, 33, 21, seed=1)
    if turned:
        a, b = a.mT.contiguous().mT, b.mT.contiguous().mT
    _expect(matmul(a, b), a.double() @ b.double())
    # rows with gaps between them
    wide, tall = _matrices(*batch, 9, 66), _matrices(*batch, 33, 42, seed=1)
    _expect(
        matmul(wide[..., ::2], tall[..., :21]), wide[..., ::2].double() @ tall[..., :21].double()
    )


@torch.no_grad()
def test_adding_to_what_is_there() -> None:
    total, a, b = _matrices(4, 6, 8), _matrices(4, 6, 30, seed=1), _matrices(4, 30, 8, seed=2)
    expected = total.double() + a.double() @ b.double()
    add_product(total, a, b)
    _expect(total, expected)


def test_gradients_flow() -> None:
    a, b = _matrices(3, 4).requires_grad_(), _matrices(4, 2)
    matmul(a, b).sum().backward()
    assert a.grad is not None
    torch.testing.assert_close(a.grad, b.sum(dim=1).expand(3, 4))


@pytest.mark.parametrize(
    ("capability", "maker", "expected"),
    [
        ("AVX512", "AuthenticAMD", True),
        ("AVX512", "GenuineIntel", False),
        ("AVX2", "AuthenticAMD", False),
        ("AVX512", None, False),
    ],
)
def test_the_library_is_chosen_by_the_processor(
    capability: str,
    maker: str | None,
    expected: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(products, "PROCESSORS", tmp_path / "cpuinfo")
    if maker:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {maker}\n")
    assert by_onednn.__wrapped__() is (expected and hasattr(torch.ops.mkldnn, "_linear_pointwise"))


@pytest.mark.parametrize("turned", [False, True])
def test_arrays(turned: bool) -> None:
    a, b = _matrices(9, 33).numpy(), _matrices(33, 21, seed=1).numpy()
    if turned:
        a, b = a.T.copy().T, b.T.copy().T
    a.flags.writeable = False
    _expect(
        torch.from_numpy(numpy_matmul(a, b)),
        torch.from_numpy(a.astype(np.float64) @ b.astype(np.float64)),
    )

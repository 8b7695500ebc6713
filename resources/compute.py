"""The device a stage computes on, and the memory it computes in."""

import ctypes
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import dagster as dg

from data_contracts.errors import InputError

Item = TypeVar("Item")


class Compute(dg.ConfigurableResource[None]):
    """``device``: "auto" (CUDA where there is one, then Apple's MPS, then CPU), "cpu", "cuda" or
    "mps".
    """

    device: str = "auto"

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Dagster calls it in every process that computes."""
        give_large_blocks_back()

    def resolve(self) -> str:
        """Name of the torch device.

        Raises:
            InputError: the device asked for is not there.
        """
        import torch

        there = {
            "cpu": True,
            "cuda": torch.cuda.is_available(),
            "mps": torch.backends.mps.is_available(),
        }
        if self.device == "auto":
            return next(name for name in ("cuda", "mps", "cpu") if there[name])
        if not there.get(self.device, False):
            available = ", ".join(name for name, yes in there.items() if yes)
            raise InputError(
                f"the device {self.device!r} is not available", f"Use one of: auto, {available}"
            )
        return self.device


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_TRIM_BYTES, _MMAPS = 128 * 1024, 65536
"""What glibc begins with."""
LARGE_BLOCK = 16 * 2**20


def _glibc() -> Any:
    """The library, where there is one that can be told how to keep memory."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "mallopt") else None


def give_large_blocks_back() -> None:
    """From now on a freed block of 16 MB or more goes back to the system at once. Only glibc needs
    to be told.

    By itself it raises that bound to 32 MB as blocks are freed, and keeps what is below it in a
    heap, in which batches leave
    holes: the more batches, the more holes. Training on 100,000 images takes 1.6 GB then, and so
    1.2 GB, a tenth more than on 1,000.
    """
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def in_kept_memory(steps: Iterable[Item]) -> Iterator[Item]:
    """The same items; while one is computed, torch's tensors reuse each other's memory. Only glibc
    needs to be told.

    By itself it gives every large block back to the system, which zeroes its pages anew for the
    next: a third of the processor time of the networks trained from scratch, a seventh of
    fine-tuning. Between the items everything is given back, as what is done there (a checkpoint)
    may take much more memory. While one is computed it takes up to an eighth more.
    """
    libc = _glibc()
    if libc is None:
        yield from steps
        return
    items, end = iter(steps), object()
    while True:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)
        try:
            item = next(items, end)
        finally:
            libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)
            libc.mallopt(_M_MMAP_MAX, _MMAPS)
            libc.malloc_trim(0)
        if item is end:
            return
        yield item  # type: ignore[misc]  # not the end

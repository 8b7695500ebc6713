from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import numpy as np
import pytest

from data_contracts.errors import InputError
from resources.compute import Compute, freed_memory_kept

BLOCK = 64 * 2**20
"""Bytes; above what glibc ever takes from its heap by itself."""


def fresh_pages() -> Iterator[int]:
    """Pages that the system had to zero for a block that is made, filled and freed, again and again."""
    while True:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(BLOCK, np.uint8)
        yield resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_and_given_back_at_the_end() -> None:
    pages = fresh_pages()
    a_block = BLOCK // resource.getpagesize() // 600  # of huge pages there are 512 times fewer
    assert min(islice(pages, 3)) > a_block
    with suppress(ZeroDivisionError), freed_memory_kept():
        next(pages)
        assert max(islice(pages, 3)) < a_block
        _ = 1 / 0  # an error ends it, too
    assert min(islice(pages, 3)) > a_block


def test_devices() -> None:
    assert Compute(device="cpu").resolve() == "cpu"
    assert Compute().resolve() in {"cpu", "cuda", "mps"}
    with pytest.raises(InputError, match=r"abacus.*is not available"):
        Compute(device="abacus").resolve()

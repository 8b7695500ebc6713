from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest

from data_contracts.errors import InputError
from resources.compute import Compute, in_kept_memory

BLOCK = 64 * 2**20
"""Bytes; above what glibc ever takes from its heap by itself."""


def fresh_pages() -> int:
    """Pages that the system zeroes for a block that is made, filled and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(BLOCK, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_within_a_step_and_given_back_after_it() -> None:
    a_block = BLOCK // resource.getpagesize() // 600  # of huge pages there are 512 times fewer

    def steps() -> Iterator[list[int]]:
        yield [fresh_pages() for _ in range(3)]
        yield [fresh_pages() for _ in range(3)]
        raise ZeroDivisionError

    seen = []
    with suppress(ZeroDivisionError):
        for inside in in_kept_memory(steps()):
            seen.append(inside)
            assert min(fresh_pages() for _ in range(3)) > a_block
    assert [[pages > a_block for pages in inside] for inside in seen] == [[True, False, False]] * 2
    assert min(fresh_pages() for _ in range(3)) > a_block  # an error ends it, too


def test_items_of_kept_memory_are_those_of_the_steps() -> None:
    assert list(in_kept_memory(iter([1, None, 3]))) == [1, None, 3]


def test_devices() -> None:
    assert Compute(device="cpu").resolve() == "cpu"
    assert Compute().resolve() in {"cpu", "cuda", "mps"}
    with pytest.raises(InputError, match=r"abacus.*is not available"):
        Compute(device="abacus").resolve()

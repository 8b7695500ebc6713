from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from resources.compute import Compute, in_kept_memory

ROOT = Path(__file__).parents[2]

STEPS = """
import json, mmap, resource
import numpy as np
from resources.compute import in_kept_memory

BLOCK = 64 * 2**20  # above what glibc ever takes from its heap by itself

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fresh_pages():
    before = faults()
    np.ones(BLOCK, np.uint8)
    return faults() - before

def steps():
    for _ in range(2):
        yield [fresh_pages() for _ in range(3)]
    raise ZeroDivisionError

before = faults()
mmap.mmap(-1, BLOCK).write(bytes(BLOCK))
counted = faults() > before
seen = []
try:
    for inside in in_kept_memory(steps()):
        seen.append([*inside, fresh_pages()])
except ZeroDivisionError:
    seen.append(fresh_pages())
a_block = BLOCK // resource.getpagesize() // 600  # of huge pages there are 512 times fewer
print(json.dumps([counted, [[pages > a_block for pages in step] for step in seen[:-1]], seen[-1] > a_block]))
"""
"""In a process of its own: in a heap with holes, as other tests leave it, a freed block may be found again at any time."""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_within_a_step_and_given_back_after_it() -> None:
    done = subprocess.run([sys.executable, "-c", STEPS], cwd=ROOT, capture_output=True, text=True, check=True)
    counted, steps, after_an_error = json.loads(done.stdout)
    if not counted:
        pytest.skip("this system does not count the pages it zeroes")
    assert steps == [[True, False, False, True]] * 2
    assert after_an_error


def test_items_of_kept_memory_are_those_of_the_steps() -> None:
    assert list(in_kept_memory(iter([1, None, 3]))) == [1, None, 3]


def test_devices() -> None:
    assert Compute(device="cpu").resolve() == "cpu"
    assert Compute().resolve() in {"cpu", "cuda", "mps"}
    with pytest.raises(InputError, match=r"abacus.*is not available"):
        Compute(device="abacus").resolve()

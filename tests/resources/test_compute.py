from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_contracts.errors import InputError
from resources.compute import LARGE_BLOCK, Compute, reuse_freed_memory

ROOT = Path(__file__).parents[2]

PROBE = """
import json, mmap, resource, sys
import numpy as np
from resources.compute import give_large_blocks_back, reuse_freed_memory

BLOCK = int(sys.argv[1])

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def fresh():  # whether a block has fresh pages; of huge pages there are 512 times fewer
    before = faults()
    np.ones(BLOCK, np.uint8)
    return faults() - before > BLOCK // resource.getpagesize() // 600

before = faults()
mmap.mmap(-1, BLOCK).write(bytes(BLOCK))
if faults() == before:
    print("not counted")
    sys.exit()
"""

STEPS = """
def steps():
    for _ in range(2):
        yield [fresh() for _ in range(3)]
    raise ZeroDivisionError

seen = []
try:
    for inside in reuse_freed_memory(steps()):
        seen.append([*inside, fresh()])
except ZeroDivisionError:
    seen.append(fresh())
print(json.dumps(seen))
"""

BLOCKS = "print(json.dumps([fresh() for _ in range(4)]))"


def seen(code: str, block: int) -> list[Any]:
    """What a process of its own prints: in a heap with holes, as other tests leave it, a freed
    block may be found again."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE + code, str(block)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    if done.stdout.startswith("not counted"):
        pytest.skip("this system does not count the pages it zeroes")
    found: list[Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_freed_memory_is_used_again_within_a_step_and_given_back_after_it() -> None:
    above_what_glibc_takes_from_its_heap = 64 * 2**20
    *steps, after_an_error = seen(STEPS, above_what_glibc_takes_from_its_heap)
    assert steps == [[True, False, False, True]] * 2
    assert after_an_error


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_a_large_block_goes_back_where_glibc_by_itself_would_keep_it() -> None:
    block = LARGE_BLOCK + 2**20
    assert not seen(BLOCKS, block)[-1]
    assert all(seen(f"give_large_blocks_back()\n{BLOCKS}", block))


def test_dagster_lets_large_blocks_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr("resources.compute.give_large_blocks_back", lambda: called.append(True))

    @dg.asset
    def computes(compute: Compute) -> None: ...

    assert dg.materialize([computes], resources={"compute": Compute()}).success
    assert called == [True]


def test_items_of_kept_memory_are_those_of_the_steps() -> None:
    assert list(reuse_freed_memory(iter([1, None, 3]))) == [1, None, 3]


def test_devices() -> None:
    assert Compute(device="cpu").resolve() == "cpu"
    assert Compute().resolve() in {"cpu", "cuda", "mps"}
    with pytest.raises(InputError, match=r"abacus.*is not available"):
        Compute(device="abacus").resolve()

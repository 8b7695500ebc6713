"""Rows of the table of faults: seeds, and for each whether the fault was survived.

    make faults                                   # the whole table, hours
    .venv/bin/python -m faults 3 13         # these rows anew, the others as they were last counted

Survived: a rerun ends by itself with the same final digest, nothing is lost and nothing is false.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """Outcome of one fault.

    Attributes:
        seed: repeats it.
        survived: whether the goal was reached.
        note: what went wrong, or what was seen.
    """

    seed: int
    survived: bool
    note: str = ""


@dataclass(frozen=True)
class Fault:
    """One row of the table of faults.

    Attributes:
        number: in the table.
        name: what is done.
        goal: what has to hold after it.
        full: how many are injected by ``make faults``; seeds are 0 .. full - 1.
        sample: how many of them by the tests, evenly spread over the seeds and over the kinds.
        kinds: of faults, which the seeds go round.
        inject: one outcome for each seed, in order; the folder is empty and its own.
    """

    number: int
    name: str
    goal: str
    full: int
    sample: int
    inject: Callable[[Sequence[int], Path], Iterator[Outcome]]
    kinds: int = 1

    def sampled(self) -> list[int]:
        """Return the seeds of the sample."""
        spread = [number * self.full // self.sample for number in range(self.sample)]
        return [
            seed - seed % self.kinds + number % self.kinds for number, seed in enumerate(spread)
        ]

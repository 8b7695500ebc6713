"""Tests of a sample of every row of the table of faults; ``make faults`` counts them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import FAULTS
from faults.harness import Fault


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.number} {fault.name}")
def test_survived(fault: Fault, tmp_path: Path) -> None:
    outcomes = list(fault.inject(fault.sampled(), tmp_path))
    assert [outcome.seed for outcome in outcomes] == fault.sampled()
    assert [outcome for outcome in outcomes if not outcome.survived] == []


def test_the_sample_has_every_kind() -> None:
    for fault in FAULTS:
        seeds = fault.sampled()
        assert len(set(seeds)) == fault.sample
        assert set(seeds) <= set(range(fault.full))
        assert len({seed % fault.kinds for seed in seeds}) == min(fault.kinds, fault.sample), (
            fault.name
        )

"""Progress goes to the log where there is no terminal, at most every so many seconds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from resources import progress as module
from resources.progress import progress


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is six seconds after the one before."""
    ticks: Iterator[float] = iter(range(0, 600, 6))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(ticks))
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: False, raising=False)


def test_items_pass_in_order_and_every_ten_seconds_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "medfeat.progress")
    assert list(progress([3, 1, 2], "rows")) == [3, 1, 2]
    assert caplog.messages == ["rows: 1 of 3"]


def test_an_unknown_number_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "medfeat.progress")
    assert list(progress(iter("ab"), "rows")) == ["a", "b"]
    assert list(progress(iter("ab"), "rows", total=2)) == ["a", "b"]
    assert caplog.messages == ["rows: 1 of ?", "rows: 1 of 2"]

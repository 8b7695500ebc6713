"""A run that waits for another says so, can be stopped, and goes on."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import Timeout

from resources import turns
from resources.compute import Compute
from resources.turns import Holder, holder_of, turn

ME = Holder.now("22223333-0000", "skin")
HOLD = """
import sys
from pathlib import Path
from resources.turns import Holder, turn
with turn(Path(sys.argv[1]), "x", Holder.now("1f65aaaa-9999", "chest"), 1):
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held_by_another(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it gets a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_free_lock_is_taken_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with turn(tmp_path / "a", "x", ME, 1):
        assert holder_of(tmp_path / "a") == ME
    assert caplog.messages == []


def test_whom_it_waits_for_is_named_once_and_it_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    lock = tmp_path / "a"
    with held_by_another(lock) as other:
        looks = 0

        def look(_: float) -> None:
            nonlocal looks
            looks += 1
            if looks == 3:
                other.communicate("go\n")

        monkeypatch.setattr(turns.time, "sleep", look)
        with turn(lock, "it computes on cuda", ME, 60):
            assert holder_of(lock) == ME
    waiting, goes_on = caplog.messages
    since = time.strftime("%H:")
    assert waiting.startswith(f"waiting for run 1f65aaaa of chest, since {since}"), waiting
    assert waiting.endswith("(it computes on cuda); Ctrl-C gives up the place")
    assert goes_on.startswith("goes on after ")


def test_a_holder_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    with held_by_another(tmp_path / "a") as other:
        other.kill()
        other.wait()
        with turn(tmp_path / "a", "x", ME, 1):
            pass


def test_the_wait_has_an_end(tmp_path: Path) -> None:
    with (
        held_by_another(tmp_path / "a"),
        pytest.raises(Timeout),
        turn(tmp_path / "a", "x", ME, 0.1),
    ):
        pass


def test_runs_take_turns_on_a_card_and_share_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "POLL_SECONDS", 0.01)
    monkeypatch.setattr("resources.compute.DEVICE_SECONDS", 0.05)
    with Compute(device="cpu").alone(tmp_path, ME):
        pass
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(Compute, "resolve", lambda _: "cuda")
    with Compute().alone(tmp_path, ME):
        lock = tmp_path / "dagster" / "devices" / "cuda.lock"
        assert holder_of(lock) == ME
    with (
        held_by_another(lock),
        pytest.raises(Exception, match="another run has had the device cuda for a day"),
        Compute().alone(tmp_path, ME),
    ):
        pass

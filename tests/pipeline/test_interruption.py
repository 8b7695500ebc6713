"""Ctrl-C and SIGTERM end a command in seconds, in order where that can be, and as canceled."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from data_contracts.records.dataset import DatasetSpec
from pipeline.launch import progress_shown
from resources.store.dataset_store import DatasetStore
from tests.conftest import draw

SECONDS = 5.0
"""What a signal may take to end a command, in seconds.

A machine that does much else takes longer, so a test fails after ten times as long.
"""


def script(body: str) -> list[str]:
    """A process that heeds signals as the command does and then runs ``body``."""
    heed = "from pipeline.interruption import *; import time; heed_signals()\n"
    return [sys.executable, "-c", heed + body]


@contextmanager
def started(command: list[str], until: str = "ready") -> Iterator[subprocess.Popen[str]]:
    """A process of its own group that has printed a line with ``until``."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            if until in line:
                break
        else:
            pytest.fail(f"it ended early: {''.join(seen)} {process.communicate()[1]}")
        yield process
    finally:
        process.kill()
        process.communicate()


def end_of(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    """Exit code and what was still printed after a signal."""
    process.send_signal(number)
    out, err = process.communicate(timeout=10 * SECONDS)
    return process.returncode, out, err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_work_that_cannot_be_left_is_ended(number: signal.Signals, code: int) -> None:
    stuck = (
        "import signal\n"
        "for one in (signal.SIGINT, signal.SIGTERM): signal.signal(one, lambda *_: None)\n"
        "place().kept = 'epoch 16'\n"
        "with at_forced_end(lambda: print('cancelled', flush=True)):\n"
        "    print('ready', flush=True)\n"
        "    while True: time.sleep(60)\n"
    )
    with started(script(stuck)) as process:
        got, out, err = end_of(process, number)
    assert (got, out) == (code, "cancelled\n")
    assert err.strip() == "stopped; the same command goes on from epoch 16"


def test_a_second_ctrl_c_ends_it_at_once() -> None:
    deaf = (
        "import pipeline.interruption as module, signal\n"
        "module.GRACE_SECONDS = 3600\n"
        "signal.signal(signal.SIGINT, lambda *_: print('deaf', flush=True))\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(60)\n"
    )
    with started(script(deaf)) as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "deaf\n"
        code, _, err = end_of(process, signal.SIGINT)
    assert code == 130
    assert "stopped" in err


def test_an_interruption_that_falls_into_a_destructor_is_not_lost() -> None:
    inside = (
        "class Slow:\n"
        "    def __del__(self):\n"
        "        print('inside', flush=True); time.sleep(60)\n"
        "one = Slow()\n"
        "try:\n"
        "    del one\n"
        "    for _ in range(100): time.sleep(0.1)\n"
        "except KeyboardInterrupt: print('in order', flush=True)\n"
    )
    with started(script(inside), "inside") as process:
        code, out, err = end_of(process, signal.SIGINT)
    assert (code, out, err) == (0, "in order\n", "")


def test_ctrl_c_while_the_command_loads_is_no_traceback() -> None:
    loads = (
        "import sys, time; sys.modules['pipeline.cli'] = None\n"
        "import builtins; real = builtins.__import__\n"
        "def slow(name, *rest):\n"
        "    if name == 'pipeline.cli': print('ready', flush=True); time.sleep(60)\n"
        "    return real(name, *rest)\n"
        "from pipeline.start import main\n"
        "builtins.__import__ = slow\n"
        "main()\n"
    )
    with started([sys.executable, "-c", loads]) as process:
        assert end_of(process, signal.SIGINT) == (130, "", "stopped\n")


class TestCommand:
    """A run, a backfill, predictions and a run that waits, each stopped amid its work."""

    @pytest.fixture
    def store(self, home: Path, tmp_path: Path) -> DatasetStore:
        for kind in (0, 1):
            (tmp_path / "images" / str(kind)).mkdir(parents=True)
            for i in range(8):
                path = tmp_path / "images" / str(kind) / f"{i}.png"
                Image.fromarray(draw(kind, i)).save(path)
        store = DatasetStore()
        for name in ("first", "second"):
            store.save_spec(DatasetSpec(name=name, root=tmp_path / "images"))
        return store

    def command(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-c",
            "from pipeline.start import main; main()",
            *words,
            *("--weights", "random", "--set", "filters=4", "epochs=100000", "batch_size=8"),
        ]

    def statuses(self) -> list[dg.DagsterRunStatus]:
        with dg.DagsterInstance.get() as instance:
            return [run.status for run in instance.get_runs()]

    @pytest.mark.parametrize(
        ("words", "number"),
        [
            (("run", "first"), signal.SIGINT),
            (("backfill", "first", "second"), signal.SIGTERM),
            (("predict", "first"), signal.SIGINT),
        ],
    )
    def test_it_ends_as_canceled_with_one_line(
        self, store: DatasetStore, words: tuple[str, ...], number: signal.Signals
    ) -> None:
        with started(self.command(*words), "backbone_features: ") as process:
            time.sleep(1)  # the training has begun, or is about to
            code, _, err = end_of(process, number)
        assert code == 128 + number
        assert err.strip().startswith("stopped; "), err
        assert "Traceback" not in err
        assert self.statuses() == [dg.DagsterRunStatus.CANCELED]  # the other dataset was not begun

    def test_a_run_that_waits_says_for_whom_and_can_be_stopped(self, store: DatasetStore) -> None:
        with (
            store.lock("first", "image_manifest", "1f65aaaa-9999"),
            started(self.command("run", "first"), "waiting for run 1f65aaaa") as process,
        ):
            code, _, err = end_of(process, signal.SIGINT)
        assert code == 130
        assert err.strip().startswith("stopped; "), err
        assert self.statuses() == [dg.DagsterRunStatus.CANCELED]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, dg.DagsterExecutionInterruptedError])
def test_a_signal_that_falls_into_a_line_of_the_log_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise interruption

    monkeypatch.setattr("pipeline.launch.tqdm.write", interrupted)
    with progress_shown(), pytest.raises(interruption):
        logging.getLogger("medfeat.turns").info("waiting")

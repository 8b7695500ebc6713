"""Runs whose process is gone, by what is known of it: a stage's claim, the command that waits, what
Dagster's launcher says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from pipeline.orphans import orphaned_runs
from resources.run_owner import STARTED_HERE, claim_run

GONE = 2**30
STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        yield found


def add(
    instance: dg.DagsterInstance,
    tags: dict[str, str] | None = None,
    status: dg.DagsterRunStatus = STARTED,
) -> str:
    return instance.add_run(
        dg.DagsterRun(job_name="ahn2019", status=status, tags=tags or {})
    ).run_id


def launched(instance: dg.DagsterInstance, pid: int) -> str:
    run_id = add(instance)
    instance.report_engine_event(
        "Started process for run",
        instance.get_run_by_id(run_id),
        dg._core.events.EngineEventData.in_process(pid),
    )
    return run_id


def orphans(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in orphaned_runs(instance)}


def test_a_run_that_a_stage_claimed(instance: dg.DagsterInstance, home: Path) -> None:
    mine = add(instance)
    claim_run(home, mine)
    other = add(instance)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "from pathlib import Path; import resources.run_owner as o; "
            f"o.claim_run(Path('{home}'), '{other}')",
        ],
        check=True,
    )
    assert orphans(instance) == {other}


def test_a_run_of_another_machine_is_left_alone(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add(instance)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("platform.node", lambda: "elsewhere")
        elsewhere.setattr("psutil.Process.create_time", lambda _: 0.0)
        claim_run(home, run_id)
    assert orphans(instance) == set()


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, STARTED])
def test_a_run_whose_command_is_gone(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    gone, mine = (add(instance, {STARTED_HERE: str(pid)}, status) for pid in (GONE, os.getpid()))
    assert orphans(instance) == {gone}
    assert mine


def test_a_run_that_was_launched_and_never_reached_a_stage(instance: dg.DagsterInstance) -> None:
    gone, _ = (launched(instance, pid) for pid in (GONE, os.getpid()))
    assert orphans(instance) == {gone}


def test_a_run_that_ended_is_none(instance: dg.DagsterInstance) -> None:
    add(instance, {STARTED_HERE: str(GONE)}, dg.DagsterRunStatus.SUCCESS)
    assert orphans(instance) == set()


def test_a_number_that_was_given_out_again(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = launched(instance, os.getpid())
    monkeypatch.setattr("psutil.Process.create_time", lambda _: 4e9)
    assert orphans(instance) == {run_id}


def test_a_run_that_dagster_started_again_has_another_process_than_the_command(
    instance: dg.DagsterInstance,
) -> None:
    first = add(instance, {STARTED_HERE: str(GONE)}, dg.DagsterRunStatus.FAILURE)
    again = dg.DagsterRun(
        job_name="ahn2019",
        status=STARTED,
        tags={STARTED_HERE: str(GONE)},
        parent_run_id=first,
        root_run_id=first,
    )
    instance.add_run(again)
    assert orphans(instance) == set()


def test_an_owner_lives_on_when_the_clock_is_set(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add(instance)
    claim_run(home, run_id)
    real = psutil.Process.create_time
    monkeypatch.setattr("psutil.Process.create_time", lambda process: real(process) + 60)
    assert orphans(instance) == set()


def test_an_owner_of_an_earlier_boot_is_gone(
    instance: dg.DagsterInstance, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add(instance)
    with monkeypatch.context() as before:
        before.setattr("resources.run_owner._start_of", lambda _: "another boot 12")
        claim_run(home, run_id)
    assert orphans(instance) == {run_id}

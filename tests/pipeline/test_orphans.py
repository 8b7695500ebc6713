"""Runs whose process is gone, by what is known of it: a stage's claim, the command that waits, what
Dagster's launcher says; and runs of other hosts, which nobody here can judge."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from pipeline.orphans import orphaned_runs
from resources.host import Host
from resources.run_owner import BOOT, HOST, PROCESS, STARTED_HERE, claim_run, command_tags

A = Host("a/12345678", "boot-1 pid:[1]")
B = Host("b/12345678", "boot-1 pid:[1]")
A_AFTER_A_REBOOT = Host(A.name, "boot-2 pid:[1]")
A_IN_A_CONTAINER = Host(A.name, "boot-1 pid:[2]")
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


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Host], None]:
    """Let this process be on another host from now on."""
    return lambda host: monkeypatch.setattr("resources.run_owner.this_host", lambda: host)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database be one that hosts share."""
    monkeypatch.setattr("pipeline.dagster_internals.is_on_this_disk", lambda _: False)


def orphans(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in orphaned_runs(instance)}


def test_a_run_that_a_stage_claimed(instance: dg.DagsterInstance) -> None:
    mine = add(instance)
    claim_run(instance, mine)
    other = claimed_by_one_that_ended(instance)
    assert orphans(instance) == {other}


def claimed_by_one_that_ended(instance: dg.DagsterInstance) -> str:
    run_id = add(instance)
    claim_run(instance, run_id)
    _, start, _ = instance.get_run_by_id(run_id).tags[PROCESS].split()
    instance.add_run_tags(run_id, {PROCESS: f"{GONE} {start} {run_id}"})
    return run_id


def test_a_claim_is_visible_to_all_who_share_the_database(
    instance: dg.DagsterInstance, on: Callable[[Host], None]
) -> None:
    on(A)
    run_id = add(instance)
    claim_run(instance, run_id)
    tags = instance.get_run_by_id(run_id).tags
    assert (tags[HOST], tags[BOOT]) == (A.name, A.boot)
    assert tags[PROCESS].split()[::2] == [str(os.getpid()), run_id]


@pytest.mark.parametrize(
    ("host", "judged"), [(A, True), (B, False), (A_AFTER_A_REBOOT, True), (A_IN_A_CONTAINER, False)]
)
@pytest.mark.usefixtures("shared")
def test_a_host_judges_the_runs_of_its_own_processes_and_of_its_earlier_boots(
    instance: dg.DagsterInstance, on: Callable[[Host], None], host: Host, judged: bool
) -> None:
    on(A)
    of_a_command = add(instance, {**command_tags(), STARTED_HERE: str(GONE)})
    claimed = claimed_by_one_that_ended(instance)
    on(host)
    assert orphans(instance) == ({of_a_command, claimed} if judged else set())


@pytest.mark.parametrize(("host", "dead"), [(A, False), (B, False), (A_AFTER_A_REBOOT, True)])
@pytest.mark.usefixtures("shared")
def test_a_live_run_is_dead_after_a_reboot_alone(
    instance: dg.DagsterInstance, on: Callable[[Host], None], host: Host, dead: bool
) -> None:
    on(A)
    run_id = add(instance, command_tags())
    claim_run(instance, run_id)
    on(host)
    assert orphans(instance) == ({run_id} if dead else set())


@pytest.mark.usefixtures("shared")
def test_a_run_of_an_unknown_host_is_left_alone_where_hosts_share_the_database(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_an_earlier_version = add(instance, {STARTED_HERE: str(GONE)})
    not_yet_claimed = launched(instance, GONE)
    assert orphans(instance) == set()
    monkeypatch.undo()
    monkeypatch.setattr("pipeline.dagster_internals.is_on_this_disk", lambda _: True)
    assert orphans(instance) == {of_an_earlier_version, not_yet_claimed}


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


@pytest.mark.usefixtures("shared")
def test_the_claim_that_dagster_copied_to_the_run_it_started_again_is_not_believed(
    instance: dg.DagsterInstance,
) -> None:
    first = claimed_by_one_that_ended(instance)
    tags = instance.get_run_by_id(first).tags
    instance.report_run_failed(instance.get_run_by_id(first))
    again = dg.DagsterRun(
        job_name="ahn2019", status=STARTED, tags=tags, parent_run_id=first, root_run_id=first
    )
    instance.add_run(again)
    assert orphans(instance) == set()
    claim_run(instance, again.run_id)
    assert orphans(instance) == set()
    _pid, start, _ = instance.get_run_by_id(again.run_id).tags[PROCESS].split()
    instance.add_run_tags(again.run_id, {PROCESS: f"{GONE} {start} {again.run_id}"})
    assert orphans(instance) == {again.run_id}


def test_an_owner_lives_on_when_the_clock_is_set(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = add(instance)
    claim_run(instance, run_id)
    real = psutil.Process.create_time
    monkeypatch.setattr("psutil.Process.create_time", lambda process: real(process) + 60)
    assert orphans(instance) == set()

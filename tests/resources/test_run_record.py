"""The record of runs holds what Dagster's own would, in the same files, and keeps few of them open."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from resources.run_record import OPEN, OpenEventLog


@dg.asset
def thing() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset
def broken() -> None:
    raise ValueError("no")


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        yield found


def test_a_home_has_it_and_dagsters_own_storage_reads_the_same(instance: dg.DagsterInstance, home: Path) -> None:
    assert type(instance.event_log_storage) is OpenEventLog
    result = dg.materialize([thing], instance=instance)
    written = [entry.dagster_event_type for entry in instance.all_logs(result.run_id)]
    assert dg.DagsterEventType.ASSET_MATERIALIZATION in written
    theirs = SqliteEventLogStorage(str(home / "dagster" / "history" / "runs"))
    theirs.register_instance(instance)
    assert [entry.dagster_event_type for entry in theirs.get_logs_for_run(result.run_id)] == written
    assert theirs.get_latest_materialization_events([thing.key]).keys() == {thing.key}


def open_databases() -> set[str]:
    return {file.path for file in psutil.Process().open_files() if file.path.endswith(".db") and "/history/runs/" in file.path}


def test_few_databases_stay_open(instance: dg.DagsterInstance) -> None:
    for _ in range(OPEN + 3):
        dg.materialize([thing], instance=instance)
    assert len(open_databases()) == OPEN
    instance.event_log_storage.dispose()
    assert len(open_databases()) <= 1, "Dagster keeps one of its own"


def test_a_step_that_fails_leaves_it_usable(instance: dg.DagsterInstance) -> None:
    assert not dg.materialize([broken], instance=instance, raise_on_error=False).success
    assert dg.materialize([thing], instance=instance).success


FIVE_RUNS = """
import dagster as dg
from tests.resources.test_run_record import thing
with dg.DagsterInstance.get() as instance:
    for _ in range(5):
        assert dg.materialize([thing], instance=instance).success
"""


def test_two_processes_write_at_once(instance: dg.DagsterInstance) -> None:
    both = [subprocess.Popen([sys.executable, "-c", FIVE_RUNS], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert len(instance.fetch_materializations(thing.key, limit=20).records) == 10

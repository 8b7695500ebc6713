"""The record of runs holds what Dagster's own would, in the same files, and keeps few of them
open."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from resources.dagster_storage import OPEN, OpenEventLog


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


def test_a_home_has_it_and_dagsters_own_storage_reads_the_same(
    instance: dg.DagsterInstance, home: Path
) -> None:
    assert type(instance.event_log_storage) is OpenEventLog
    result = dg.materialize([thing], instance=instance)
    written = [entry.dagster_event_type for entry in instance.all_logs(result.run_id)]
    assert dg.DagsterEventType.ASSET_MATERIALIZATION in written
    theirs = SqliteEventLogStorage(str(home / "dagster" / "history" / "runs"))
    theirs.register_instance(instance)
    assert [entry.dagster_event_type for entry in theirs.get_logs_for_run(result.run_id)] == written
    assert theirs.get_latest_materialization_events([thing.key]).keys() == {thing.key}


def tables_of(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return [
            name
            for (name,) in database.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
            )
        ]


@pytest.mark.parametrize(
    "name", ["history/runs/index.db", "history/runs.db", "schedules/schedules.db"]
)
def test_databases_whose_making_was_interrupted_are_made_whole(home: Path, name: str) -> None:
    path = home / "dagster" / name
    dg.DagsterInstance.get().dispose()
    tables = tables_of(path)
    # whoever is killed has some of the others, in this order
    assert tables[-1] == "alembic_version"
    for number in range(0, len(tables), 3):
        for folder in ("history", "schedules"):
            shutil.rmtree(home / "dagster" / folder)
        dg.DagsterInstance.get().dispose()
        with closing(sqlite3.connect(path)) as database:
            for table in tables[number:]:
                database.execute(f"DROP TABLE {table}")
            if "secondary_indexes" in tables[:number]:
                database.execute("DELETE FROM secondary_indexes")  # the marks come last
            database.commit()
        with dg.DagsterInstance.get() as instance:
            instance.add_dynamic_partitions("dataset", ["one"])
            assert instance.get_dynamic_partitions("dataset") == ["one"]
            assert dg.materialize([thing], instance=instance).success
            assert instance.run_storage.has_built_index("run_partitions")
            assert instance.event_log_storage.has_secondary_index("asset_key_table")
            assert sorted(tables_of(path)) == sorted(tables)


def open_databases() -> set[str]:
    return {
        file.path
        for file in psutil.Process().open_files()
        if file.path.endswith(".db") and "/history/runs/" in file.path
    }


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
from tests.resources.test_dagster_storage import thing
with dg.DagsterInstance.get() as instance:
    for _ in range(5):
        assert dg.materialize([thing], instance=instance).success
"""


def test_two_processes_write_at_once(instance: dg.DagsterInstance) -> None:
    both = [
        subprocess.Popen([sys.executable, "-c", FIVE_RUNS], stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(300) for process in both] == [0, 0]
    assert len(instance.fetch_materializations(thing.key, limit=20).records) == 10

"""The private parts of Dagster that we use are as we use them, and what replaces one behaves so."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._cli import dev
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.scheduler.instigation import InstigatorTick, SensorInstigatorData, TickData
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.schema import BackfillTagsTable, BulkActionsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, _event_logs_directory
from dagster_shared.error import SerializableErrorInfo
from dagster_webserver.webserver import DagsterWebserver

from data_contracts.errors import InputError
from pipeline.dagster_internals import (
    OPEN_DATABASES,
    OpenEventLog,
    postgres_settings,
    runs_of_latest_results,
)
from resources.store.home import DAGSTER_YAML, PROJECT_ROOT

PRODUCT = ("data_contracts", "methods", "resources", "assets", "pipeline")


def test_private_parts_of_dagster_are_used_in_one_module() -> None:
    private = re.compile(r"\bdagster\._|\bdagster_shared\b|\bdagster_webserver\.")
    users = [
        str(path.relative_to(PROJECT_ROOT))
        for package in PRODUCT
        for path in sorted((PROJECT_ROOT / package).rglob("*.py"))
        if private.search(path.read_text())
    ]
    assert users == ["pipeline/dagster_internals.py"]


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (SqliteEventLogStorage.__init__, ["self", "base_dir", "inst_data"]),
        (SqliteEventLogStorage._connect, ["self", "shard"]),
        (SqliteEventLogStorage._initdb, ["self", "engine", "for_index_shard"]),
        (SqliteEventLogStorage.conn_string_for_shard, ["self", "shard_name"]),
        (SqliteEventLogStorage.path_for_shard, ["self", "run_id"]),
        (SqliteEventLogStorage.get_all_run_ids, ["self"]),
        (SqliteEventLogStorage.dispose, ["self"]),
        (SqlEventLogStorage.index_connection, ["self"]),
        (SqlEventLogStorage.delete_events, ["self", "run_id"]),
        (SqlEventLogStorage.reindex_events, ["self", "print_fn", "force"]),
        (SqlEventLogStorage.reindex_assets, ["self", "print_fn", "force"]),
        (SqlEventLogStorage.store_asset_event, ["self", "event", "event_id"]),
        (DagsterSqliteStorage.__init__, ["self", "base_dir", "inst_data"]),
        (DagsterSqliteStorage.from_local, ["base_dir", "inst_data"]),
        (_event_logs_directory, ["base"]),
        (SqlRunStorage.connect, ["self"]),
        (dg.DagsterInstance.update_tick, ["self", "tick"]),
        (dg.DagsterInstance.get_ticks, None),
        (dg.DagsterInstance.update_instigator_state, ["self", "state"]),
        (dg.DagsterInstance.wipe_asset_cached_status, ["self", "asset_keys"]),
        (DagsterWebserver.build_middleware, ["self"]),
        (dev.open_ipc_subprocess, ["parts", "kwargs"]),
    ],
)
def test_functions_take_what_we_give_them(function: Any, parameters: list[str] | None) -> None:
    found = list(inspect.signature(function).parameters)
    assert parameters is None or found == parameters, (
        f"{function.__qualname__} of Dagster {dg.__version__} is another: look at "
        "pipeline/dagster_internals.py"
    )


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (SqlEventLogStorageTable, {"id", "run_id", "dagster_event_type", "asset_key", "partition"}),
        (
            AssetCheckExecutionsTable,
            {"id", "run_id", "asset_key", "check_name", "partition", "execution_status"},
        ),
        (BulkActionsTable, {"key", "status", "body"}),
        (BackfillTagsTable, {"backfill_id"}),
    ],
)
def test_tables_have_the_columns_that_we_read(table: Any, columns: set[str]) -> None:
    assert columns <= set(table.c.keys())


def test_records_have_the_fields_that_we_replace() -> None:
    fields = {"run_keys", "run_requests", "dynamic_partitions_request_results", "log_key"}
    assert fields | {"skip_reason", "error"} <= set(TickData._fields)
    assert "tick_data" in InstigatorTick._fields
    assert "last_run_key" in SensorInstigatorData._fields
    error = SerializableErrorInfo._fields
    assert {"message", "stack", "cls_name", "cause", "context"} == set(error)
    assert {status.name for status in BulkActionStatus} >= {"REQUESTED", "CANCELING", "FAILING"}


def test_the_storage_keeps_what_we_read_of_it(instance: dg.DagsterInstance) -> None:
    storage = instance.event_log_storage
    assert {"_db_lock", "_initialized_dbs", "_base_dir"} <= set(vars(storage))


def test_dagster_dev_starts_the_module_that_we_replace() -> None:
    assert '"-m", "dagster_webserver"' in inspect.getsource(dev)


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
    for _ in range(OPEN_DATABASES + 3):
        dg.materialize([thing], instance=instance)
    assert len(open_databases()) - OPEN_DATABASES in (0, 1), "Dagster may keep one of its own"
    instance.event_log_storage.dispose()
    assert len(open_databases()) <= 1


def test_a_step_that_fails_leaves_it_usable(instance: dg.DagsterInstance) -> None:
    assert not dg.materialize([broken], instance=instance, raise_on_error=False).success
    assert dg.materialize([thing], instance=instance).success


FIVE_RUNS = """
import dagster as dg
from tests.pipeline.test_dagster_internals import thing
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


def test_a_history_without_sql_tables_is_named_with_its_remedy() -> None:
    instance: Any = SimpleNamespace(event_log_storage=object())
    with pytest.raises(InputError, match=r"kept in object.*MEDFEAT_KEEP_RUNS_DAYS=0"):
        runs_of_latest_results(instance)


def test_the_storage_that_dagsters_settings_name(tmp_path: Path) -> None:
    assert postgres_settings(tmp_path / "not made yet") is None
    assert postgres_settings(tmp_path) is None
    yaml = tmp_path / "dagster.yaml"
    yaml.write_text(DAGSTER_YAML)
    assert postgres_settings(tmp_path) is None
    address = {"postgres_url": {"env": "ADDRESS"}}
    yaml.write_text(json.dumps({"storage": {"postgres": address}}))
    assert postgres_settings(tmp_path) == address
    alone = {"module": "dagster_postgres.run_storage", "class": "PostgresRunStorage"}
    yaml.write_text(json.dumps({"run_storage": {**alone, "config": address}}))
    assert postgres_settings(tmp_path) == address

"""Everything that uses private parts of Dagster, which is pinned exactly for this reason.

After an upgrade of Dagster only this module needs review. The test
tests/pipeline/test_dagster_internals.py checks the names, the signatures and the behaviour that it
relies on.

Belongs here: imports from ``dagster._*`` and ``dagster_shared``, and what replaces or reads parts
of Dagster that have no public interface. Does not belong here: decisions (``pipeline.care``).
"""

from __future__ import annotations

import logging
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy as sql
from dagster._core.definitions.utils import is_valid_owner
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.instance.ref import InstanceRef
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.schema import (
    BackfillTagsTable,
    BulkActionsTable,
    RunStorageSqlMetadata,
)
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.runs.sqlite import SqliteRunStorage
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, _event_logs_directory
from dagster._serdes import ConfigurableClassData
from dagster._utils.schedules import is_valid_cron_schedule
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool
from tqdm import tqdm

from data_contracts.errors import InputError

if TYPE_CHECKING:
    from subprocess import Popen

    from starlette.middleware import Middleware

OPEN_DATABASES = 8
"""Maximum number of SQLite databases (one for each run, and one index) that stay open."""

UNFINISHED_BACKFILLS = (
    BulkActionStatus.REQUESTED,
    BulkActionStatus.CANCELING,
    BulkActionStatus.FAILING,
)
"""Statuses of a backfill that still starts or cancels runs."""


def is_cron(text: str) -> bool:
    """Whether a schedule of Dagster can tick by this cron expression."""
    return is_valid_cron_schedule(text)


def is_owner(text: str) -> bool:
    """Whether Dagster takes a text as an owner: a mail address, or ``team:`` and a name."""
    return is_valid_owner(text)


# -- the SQLite storage that dagster.yaml names


class OpenEventLog(SqliteEventLogStorage):
    """Dagster's SQLite event log, with connections that stay open.

    Dagster opens and closes a connection for each event, with statements compiled anew, and SQLite
    tidies up at every close: a run of 37 steps with nothing to compute took 14 s, and takes 5 s
    with this class. Nothing else differs; Dagster's own storage reads the same files. The lock
    around each use of a database is Dagster's own, so a connection has one user at a time.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)
        # Dagster makes the index where its file is missing. A first process that was killed
        # meanwhile leaves a file without some tables, and without the marks that a new index needs
        # no migration. Both calls do nothing where these exist.
        self.reindex_events()
        self.reindex_assets()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Engine:
        engine = self._engines.get(shard)
        if engine is None:
            engine = sql.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        if len(self._engines) > OPEN_DATABASES:
            self._engines.popitem(last=False)[1].dispose()
        return engine

    def close(self, shard: str) -> None:
        """Close the connection to one database, and forget that its tables exist."""
        with self._db_lock:
            engine = self._engines.pop(shard, None)
            if engine is not None:
                engine.dispose()
            self._initialized_dbs.discard(shard)

    def dispose(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()
        super().dispose()


class OpenSqliteStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with :class:`OpenEventLog`, as ``dagster.yaml`` names it."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        # the same marks in the database of runs, which has no runs then
        if not self._run_storage.get_runs_count():
            self._run_storage.migrate()
            self._run_storage.optimize()
        self._event_log_storage = OpenEventLog(_event_logs_directory(base_dir))

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> OpenSqliteStorage:
        return cls.from_local(inst_data=inst_data, **config_value)


def is_on_this_disk(instance: dg.DagsterInstance) -> bool:
    """Tell whether Dagster's storage is SQLite, whose files no other host may use."""
    return isinstance(instance.run_storage, SqliteRunStorage)


# -- the PostgreSQL storage of the extra `postgres`


def postgres_settings(dagster_home: Path) -> Mapping[str, Any] | None:
    """Return the settings of the PostgreSQL storage that ``dagster.yaml`` names; None for another.

    What it takes from the environment stays ``{"env": name}``.

    Raises:
        dagster.DagsterInvalidConfigError: the file is not what Dagster expects.
    """
    if not (dagster_home / "dagster.yaml").is_file():  # then Dagster uses SQLite
        return None
    storage = InstanceRef.from_dir(str(dagster_home)).run_storage_data
    is_postgres = storage is not None and storage.module_name.startswith("dagster_postgres")
    return storage.config_dict if storage is not None and is_postgres else None


def storage_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a database that does not answer, or cannot be read or written."""
    if "dagster_postgres" not in sys.modules:
        return (sql.exc.DBAPIError,)
    from dagster_postgres.utils import DagsterPostgresException

    return sql.exc.DBAPIError, DagsterPostgresException


def first_line_of(error: Exception) -> str:
    """Return why a database does not answer, in the words of its driver."""
    cause = error.__cause__ or error
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__


@contextmanager
def one_line_for_all_retries() -> Iterator[None]:
    """Say once that a database does not answer, where Dagster says so at each of its six tries."""
    said = False

    def is_said(record: logging.LogRecord) -> bool:
        nonlocal said
        if not str(record.msg).startswith("Retrying failed database connection"):
            return True
        if not said:
            waits = "Dagster's database does not answer; trying again for some seconds"
            tqdm.write(waits, file=sys.stderr)
        said = True
        return False

    root = logging.getLogger()
    root.addFilter(is_said)
    try:
        yield
    finally:
        root.removeFilter(is_said)


@contextmanager
def postgres_tables(instance: dg.DagsterInstance) -> Iterator[tuple[Connection, list[str]]]:
    """Open a connection to the database of Dagster's PostgreSQL storage, with its tables' names.

    Every statement is a transaction of its own.
    """
    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        raise TypeError(type(storage).__name__)
    named = {
        table.name
        for metadata in (
            RunStorageSqlMetadata,
            SqlEventLogStorageMetadata,
            ScheduleStorageSqlMetadata,
        )
        for table in metadata.tables.values()
    }
    with storage.connect() as connection:
        present = sql.inspect(connection).get_table_names()
        yield connection, sorted(named.intersection(present))


# -- the history of runs


def runs_of_latest_results(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs that hold the latest materialisation of a partition, or outcome of a check.

    The web UI reads what it says of an asset's partitions from the events of these runs.

    Raises:
        InputError: the history is not in SQL tables.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise InputError(
            f"the history of Dagster is kept in {type(storage).__name__}, which has no SQL tables",
            "Set MEDFEAT_KEEP_RUNS_DAYS=0 to keep all of it",
        )
    events, checks = SqlEventLogStorageTable.c, AssetCheckExecutionsTable.c
    queries = (
        sql.select(sql.func.max(events.id))
        .where(events.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value)
        .group_by(events.asset_key, events.partition),
        sql.select(sql.func.max(checks.id))
        .where(checks.execution_status != AssetCheckExecutionRecordStatus.PLANNED.value)
        .group_by(checks.asset_key, checks.check_name, checks.partition),
    )
    runs: set[str] = set()
    with storage.index_connection() as connection:
        for latest, table in zip(queries, (events, checks), strict=True):
            rows = connection.execute(sql.select(table.run_id).where(table.id.in_(latest)))
            runs.update(run_id for (run_id,) in rows)
    return runs


def delete_check_results(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete the outcomes of a run's asset checks, which ``instance.delete_run`` leaves."""
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            connection.execute(
                AssetCheckExecutionsTable.delete().where(
                    AssetCheckExecutionsTable.c.run_id == run_id
                )
            )


def run_databases(instance: dg.DagsterInstance) -> dict[str, Path]:
    """Return the SQLite database of each run, by run id; none where Dagster has another storage."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return {}
    return {run_id: Path(storage.path_for_shard(run_id)) for run_id in storage.get_all_run_ids()}


def delete_run_database(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete the SQLite database of a deleted run, which ``instance.delete_run`` only empties."""
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return
    if isinstance(storage, OpenEventLog):
        storage.close(run_id)
    database = storage.path_for_shard(run_id)
    for suffix in ("-wal", "-shm", ""):
        Path(f"{database}{suffix}").unlink(missing_ok=True)


def restore_latest_materialization(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Make an asset's own row agree with the events that are left.

    Dagster copies the latest materialisation to it and cannot wipe one partition of an asset.
    """
    latest = instance.fetch_materializations(key, limit=1).records
    if not latest:
        instance.wipe_assets([key])
        return
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        storage.store_asset_event(latest[0].event_log_entry, latest[0].storage_id)
    instance.wipe_asset_cached_status([key])


# -- sensors, schedules and backfills


def switched_off(instance: dg.DagsterInstance) -> list[str]:
    """Return the names of the schedules and sensors that a person has switched off, sorted."""
    return sorted(state.name for state in instance.all_instigator_state() if not state.is_running)


def failing_ticks(instance: dg.DagsterInstance) -> dict[str, str]:
    """Return why the last tick of a schedule or sensor failed, by name, where it did."""
    failing = {}
    for state in instance.all_instigator_state():
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1):
            if tick.status == TickStatus.FAILURE:
                lines = (tick.error.message if tick.error else "").strip().splitlines()
                failing[state.name] = lines[0] if lines else "no reason is recorded"
    return failing


def remove_from_ticks(
    instance: dg.DagsterInstance, mention: re.Pattern[str], partition: str, replacement: str
) -> None:
    """Remove a partition from the history of sensors and schedules; the rest of it stays.

    Args:
        instance: whose history.
        mention: matches a text that speaks of the partition.
        partition: its key.
        replacement: text in the place of a reason or an error that speaks of it.
    """
    logs = instance.compute_log_manager
    for state in instance.all_instigator_state():
        data: Any = state.instigator_data
        last_run_key = getattr(data, "last_run_key", None)
        if last_run_key and mention.search(last_run_key):
            instance.update_instigator_state(state.with_data(data._replace(last_run_key=None)))
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id):
            if tick.status == TickStatus.STARTED:  # the daemon is evaluating it
                continue
            without = _tick_without(tick, mention, partition, replacement)
            if without != tick:
                instance.update_tick(without)
            log_key = tick.tick_data.log_key
            if log_key:
                log = logs.get_log_data(log_key)
                text = (log.stdout or b"") + (log.stderr or b"")
                if mention.search(text.decode(errors="replace")):
                    logs.delete_logs(log_key=log_key)


def _tick_without(
    tick: InstigatorTick, mention: re.Pattern[str], partition: str, replacement: str
) -> InstigatorTick:
    data = tick.tick_data
    error, reason = data.error, data.skip_reason
    if error is not None and mention.search(str(error)):
        error = error._replace(
            message=replacement, stack=[], cls_name=None, cause=None, context=None
        )
    if reason and mention.search(reason):
        reason = replacement
    return tick._replace(
        tick_data=data._replace(
            run_keys=[key for key in data.run_keys if not mention.search(key)],
            run_requests=data.run_requests
            and [request for request in data.run_requests if request.partition_key != partition],
            dynamic_partitions_request_results=[
                result
                for result in data.dynamic_partitions_request_results
                if not mention.search(str(result))
            ],
            skip_reason=reason,
            error=error,
        )
    )


def backfills_of(
    instance: dg.DagsterInstance, partition: str, statuses: Sequence[BulkActionStatus] = ()
) -> list[str]:
    """Return the ids of backfills that have ``partition``; of any status where none is given."""
    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        return []
    mention = re.compile(rf'"{re.escape(partition)}\\*"(?!\s*:)')
    query = sql.select(BulkActionsTable.c.key, BulkActionsTable.c.body)
    if statuses:
        query = query.where(BulkActionsTable.c.status.in_([status.value for status in statuses]))
    with storage.connect() as connection:
        return [key for key, body in connection.execute(query) if mention.search(body or "")]


def delete_backfills(instance: dg.DagsterInstance, backfill_ids: list[str]) -> None:
    """Delete backfills and their tags, for which Dagster has no call."""
    storage = instance.run_storage
    if backfill_ids and isinstance(storage, SqlRunStorage):
        with storage.connect() as connection:
            connection.execute(
                BackfillTagsTable.delete().where(BackfillTagsTable.c.backfill_id.in_(backfill_ids))
            )
            connection.execute(
                BulkActionsTable.delete().where(BulkActionsTable.c.key.in_(backfill_ids))
            )


# -- the web server


def run_web_server(in_front: Callable[[], list[Middleware]]) -> None:
    """Run ``dagster-webserver`` with the options of this process.

    Args:
        in_front: gives the ASGI middleware that sees every request before Dagster's own.
    """
    from dagster_webserver.cli import main
    from dagster_webserver.webserver import DagsterWebserver

    build = DagsterWebserver.build_middleware

    def build_with_ours(server: DagsterWebserver[Any, Any]) -> list[Middleware]:
        return [*in_front(), *build(server)]

    DagsterWebserver.build_middleware = build_with_ours  # type: ignore[method-assign, assignment]
    main()  # type: ignore[no-untyped-call]


def run_dagster_dev(web_server: str) -> None:
    """Run the ``dagster`` command with the options of this process.

    Dagster's own supervision of web server, daemon and code server stays.

    Args:
        web_server: module that ``dagster dev`` runs in the place of ``dagster_webserver``.
    """
    from dagster._cli import dev, main

    start = dev.open_ipc_subprocess  # type: ignore[attr-defined]

    def start_ours(parts: Sequence[str], **kwargs: Any) -> Popen[Any]:
        words = [web_server if part == "dagster_webserver" else part for part in parts]
        started: Popen[Any] = start(words, **kwargs)
        return started

    dev.open_ipc_subprocess = start_ours  # type: ignore[attr-defined]
    main()  # type: ignore[no-untyped-call]

"""Dagster's history: deleting runs with all that is kept of them, and packing the databases.

A run in progress is never deleted for its age, nor one that holds the latest materialisation of a
partition or the latest outcome of a check: the web UI reads what it says of an asset from those.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import dagster as dg

from pipeline.care import postgres
from pipeline.dagster_internals import (
    delete_check_results,
    delete_run_database,
    is_on_this_disk,
    run_databases,
    runs_of_latest_results,
)
from resources.store.home import dagster_home

FINISHED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
"""Statuses of a run that has ended."""
LOCK_SECONDS = 30.0
"""Maximum wait for another process that uses a database, in seconds."""


def delete_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Delete a run, its events, its logs and the outcomes of its checks.

    The run itself goes last: until then an interrupted deletion finds it again.
    """
    delete_check_results(instance, run_id)
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.event_log_storage.delete_events(run_id)
    instance.delete_run(run_id)


def delete_unowned_databases(instance: dg.DagsterInstance) -> None:
    """Delete the SQLite databases of deleted runs, those of an interrupted deletion included.

    Dagster stores a run before its first event, so a database without a run has lost it.
    """
    for run_id in run_databases(instance):
        if not instance.has_run(run_id):
            delete_run_database(instance, run_id)


def pack(databases: Iterable[Path]) -> Iterator[Path]:
    """Overwrite what was deleted from SQLite databases, and free its space.

    SQLite keeps deleted rows in free pages until `VACUUM`.

    Yields:
        the databases that another process kept from being packed.
    """
    for database in databases:
        try:
            with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
                connection.execute("VACUUM")
                # a reader keeps old pages alive
                busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            busy = True
        if busy:
            yield database


def databases_of(folder: Path) -> list[Path]:
    """Return the SQLite databases below Dagster's home, sorted."""
    return sorted(folder.glob("**/*.db"))


def history_bytes(instance: dg.DagsterInstance) -> int:
    """Return the bytes of Dagster's databases, those of SQLite with their journals."""
    if not is_on_this_disk(instance):
        return postgres.tables_bytes(instance)
    files = dagster_home().glob("**/*.db*")
    return sum(path.stat().st_size for path in files if path.exists())


@dataclass(frozen=True)
class Deletion:
    """What was deleted from Dagster's history.

    Attributes:
        runs: number of runs.
        freed_bytes: by how much the databases are smaller.
        in_use: databases that another process kept from being packed.
    """

    runs: int
    freed_bytes: int
    in_use: list[Path]


def old_runs(instance: dg.DagsterInstance, before: datetime) -> list[str]:
    """Return the ids of the runs that may be deleted: ended, created before a time, not needed."""
    candidates = instance.get_run_records(dg.RunsFilter(statuses=FINISHED, created_before=before))
    if not candidates:
        return []
    needed = runs_of_latest_results(instance)
    ids = [record.dagster_run.run_id for record in candidates]
    return [run_id for run_id in ids if run_id not in needed]


def delete_old_runs(instance: dg.DagsterInstance, before: datetime) -> Deletion:
    """Delete the runs of :func:`old_runs`, and pack the SQLite databases that they leave.

    PostgreSQL uses the space again by itself.

    An interrupted deletion leaves no harm: the next one goes on with the runs that are left.
    """
    size = history_bytes(instance)
    runs = old_runs(instance, before)
    for run_id in runs:
        delete_run(instance, run_id)
    delete_unowned_databases(instance)
    shared = set(databases_of(dagster_home())) - set(run_databases(instance).values())
    in_use = list(pack(sorted(shared)))
    return Deletion(len(runs), size - history_bytes(instance), in_use)

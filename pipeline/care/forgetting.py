"""Deleting a dataset for good: everything that was derived from its images, and Dagster's record of
its runs.

Dagster cannot wipe one partition of an asset in its SQL storages, so what it keeps outside the log
of a run is mended here: the last materialisation that it copies (with pictures) to each asset's
row, the outcomes of checks, and what ticks and backfills say.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import sqlalchemy as sql
from dagster._core.execution.backfill import BulkActionStatus
from dagster._core.scheduler.instigation import InstigatorTick, SensorInstigatorData, TickStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.schema import BackfillTagsTable, BulkActionsTable
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster_shared.error import SerializableErrorInfo

from data_contracts.errors import InputError
from data_contracts.records.dataset import check_dataset_name
from pipeline.instance import home_instance
from pipeline.orphans import IN_FLIGHT
from resources.store.dataset_store import ALL_DATASETS, DatasetStore
from resources.store.home import dagster_home

SUMMARY_JOB = "summary"
LOCK_SECONDS = 30.0
_FORGOTTEN = "what this said was about a dataset that is forgotten"
_UNFINISHED_BACKFILLS = [
    BulkActionStatus.REQUESTED,
    BulkActionStatus.CANCELING,
    BulkActionStatus.FAILING,
]


def _places(store: DatasetStore, dataset: str) -> list[Path]:
    """Everything on disk that is the dataset's alone."""
    root = store.root
    places = [
        root / "store" / dataset,
        root / "reports" / dataset,
        root / "unpacked" / dataset,
        root / "datasets" / f"{dataset}.json",
    ]
    return [place for place in places if place.exists()]


def _runs(instance: dg.DagsterInstance, dataset: str) -> list[dg.DagsterRun]:
    return list(instance.get_runs(dg.RunsFilter(tags={"dagster/partition": dataset})))


def _summary_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs of the summary: their log has the figures of every dataset."""
    return list(instance.get_runs(dg.RunsFilter(job_name=SUMMARY_JOB)))


def what_is_forgotten(dataset: str) -> list[str]:
    """Lines that say what :func:`forget_dataset` would delete.

    Raises:
        InputError: there is nothing of this name, or a run or a backfill that concerns it is going
            on.
    """
    store = DatasetStore()
    check_dataset_name(dataset)
    with home_instance() as instance:
        runs, summaries = _runs(instance, dataset), _summary_runs(instance)
        known = dataset in instance.get_dynamic_partitions("dataset")
        backfilled = _backfills(instance, dataset, _UNFINISHED_BACKFILLS)
    if not _places(store, dataset) and not runs and not known:
        raise InputError(
            f"there is nothing of a dataset called {dataset}",
            "See medfeat doctor for those that are registered",
        )
    for what, unfinished in ((dataset, runs), ("the summary", summaries)):
        if any(run.status in IN_FLIGHT for run in unfinished):
            raise InputError(
                f"a run of {what} is going on",
                "Wait for it or end it; medfeat doctor --fix ends those that died",
            )
    if backfilled:
        raise InputError(
            f"a backfill of {dataset} is going on", "Wait for it or cancel it under Runs, Backfills"
        )
    lines = [f"  {place} ({_size(place) / 1e6:.1f} MB)" for place in _places(store, dataset)]
    return [
        *lines,
        f"  {len(runs)} runs in Dagster's record",
        "  the summary over all datasets, which the next run makes anew",
    ]


def _size(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(
        path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink()
    )


def forget_dataset(dataset: str) -> Iterator[str]:
    """Delete it; the specification last, so that an interrupted deletion can be told to go on.

    Dagster's database keeps deleted rows in free pages until it is packed (`VACUUM`): it is packed
    here, where it is SQLite.

    Raises:
        InputError: as :func:`what_is_forgotten`, or another process keeps Dagster's database from
            being packed.
    """
    store = DatasetStore()
    what_is_forgotten(dataset)
    with home_instance() as instance:
        for run in [*_runs(instance, dataset), *_summary_runs(instance)]:
            _forget_run(instance, store, run.run_id)
        for key in instance.get_asset_keys():
            _mend_asset(instance, key)
        _forget_ticks(instance, dataset)
        _delete_backfills(instance, _backfills(instance, dataset))
    for folder in (store.root / "store" / ALL_DATASETS, store.root / "reports" / SUMMARY_JOB):
        shutil.rmtree(folder, ignore_errors=True)
    specification = store.root / "datasets" / f"{dataset}.json"
    for folder in _places(store, dataset):
        if folder != specification:
            shutil.rmtree(folder)
    with home_instance() as instance:
        if instance.has_dynamic_partition("dataset", dataset):
            instance.delete_dynamic_partition("dataset", dataset)
    _pack(dagster_home())
    specification.unlink(missing_ok=True)
    yield f"{dataset} is forgotten. Backups and the images themselves are yours to delete."


def _forget_run(instance: dg.DagsterInstance, store: DatasetStore, run_id: str) -> None:
    """The run itself goes last: until then an interrupted deletion finds it again."""
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        with storage.index_connection() as connection:
            connection.execute(
                AssetCheckExecutionsTable.delete().where(
                    AssetCheckExecutionsTable.c.run_id == run_id
                )
            )
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    (store.root / "dagster" / "run_owners" / f"{run_id}.json").unlink(missing_ok=True)
    instance.delete_run(run_id)


def _mend_asset(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """Make an asset's row say what the events that are left say."""
    left = instance.fetch_materializations(key, limit=1).records
    if not left:
        instance.wipe_assets([key])
        return
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        storage.store_asset_event(left[0].event_log_entry, left[0].storage_id)
    instance.wipe_asset_cached_status([key])


def _forget_ticks(instance: dg.DagsterInstance, dataset: str) -> None:
    """Take the dataset out of what sensors and schedules have done and said; the rest of their
    history stays.
    """
    about = re.compile(rf"(?<![a-z0-9_-]){re.escape(dataset)}(?![a-z0-9_-])")
    logs = instance.compute_log_manager
    for state in instance.all_instigator_state():
        data = state.instigator_data
        if (
            isinstance(data, SensorInstigatorData)
            and data.last_run_key
            and about.search(data.last_run_key)
        ):
            instance.update_instigator_state(state.with_data(data._replace(last_run_key=None)))
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id):
            if tick.status == TickStatus.STARTED:  # is being worked on
                continue
            without = _without(tick, about, dataset)
            if without != tick:
                instance.update_tick(without)
            log_key = tick.tick_data.log_key
            if log_key:
                said = logs.get_log_data(log_key)
                if about.search(
                    ((said.stdout or b"") + (said.stderr or b"")).decode(errors="replace")
                ):
                    logs.delete_logs(log_key=log_key)


def _without(tick: InstigatorTick, about: re.Pattern[str], dataset: str) -> InstigatorTick:
    data = tick.tick_data
    failed = data.error is not None and about.search(str(data.error))
    return tick._replace(
        tick_data=data._replace(
            run_keys=[key for key in data.run_keys if not about.search(key)],
            run_requests=data.run_requests
            and [one for one in data.run_requests if one.partition_key != dataset],
            dynamic_partitions_request_results=[
                one for one in data.dynamic_partitions_request_results if not about.search(str(one))
            ],
            skip_reason=_FORGOTTEN
            if data.skip_reason and about.search(data.skip_reason)
            else data.skip_reason,
            error=SerializableErrorInfo(_FORGOTTEN, [], None) if failed else data.error,
        )
    )


def _backfills(
    instance: dg.DagsterInstance, dataset: str, statuses: list[BulkActionStatus] | None = None
) -> list[str]:
    """Ids of the backfills, of these statuses, that have the dataset among their partitions."""
    storage = instance.run_storage
    if not isinstance(storage, SqlRunStorage):
        return []
    about = re.compile(rf'"{re.escape(dataset)}\\*"(?!\s*:)')
    query = sql.select(BulkActionsTable.c.key, BulkActionsTable.c.body)
    if statuses is not None:
        query = query.where(BulkActionsTable.c.status.in_([status.value for status in statuses]))
    with storage.connect() as connection:
        return [key for key, body in connection.execute(query) if about.search(body or "")]


def _delete_backfills(instance: dg.DagsterInstance, backfill_ids: list[str]) -> None:
    storage = instance.run_storage
    if backfill_ids and isinstance(storage, SqlRunStorage):
        with storage.connect() as connection:
            connection.execute(
                BackfillTagsTable.delete().where(BackfillTagsTable.c.backfill_id.in_(backfill_ids))
            )
            connection.execute(
                BulkActionsTable.delete().where(BulkActionsTable.c.key.in_(backfill_ids))
            )


def _pack(folder: Path) -> None:
    """Overwrite what was deleted in the SQLite databases of an embedded instance."""
    import sqlite3
    from contextlib import closing

    for database in sorted(folder.glob("**/*.db")):
        try:
            with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
                connection.execute("VACUUM")
                # a reader keeps old pages alive
                is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            is_busy = True
        if is_busy:
            raise InputError(
                f"{database} is in use, so what was deleted cannot be overwritten",
                "End medfeat ui and all runs, then forget again",
            )

"""Deleting a dataset for good: all that was derived from its images, and Dagster's record of it.

Dagster cannot wipe one partition of an asset in its SQL storages. What it keeps outside the log of
a run is corrected one by one: the latest materialisation that it copies to each asset's row, the
outcomes of checks, and what ticks and backfills say. Homes of earlier versions have pictures of
patients in the events of runs: deleting the runs deletes them, and packing overwrites them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from data_contracts.errors import InputError
from data_contracts.records.dataset import check_dataset_name
from pipeline.care import postgres
from pipeline.care.history import databases_of, delete_run, delete_unowned_databases, pack
from pipeline.dagster_internals import (
    UNFINISHED_BACKFILLS,
    backfills_of,
    delete_backfills,
    is_on_this_disk,
    remove_from_ticks,
    restore_latest_materialization,
)
from pipeline.instance import home_instance
from pipeline.orphans import IN_FLIGHT
from resources.intake.drops import drops_root, entries_of
from resources.intake.forgotten import mark_forgotten
from resources.store.dataset_store import ALL_DATASETS, DatasetStore
from resources.store.home import dagster_home

SUMMARY_JOB = "summary"
"""Name of the job and of the folder of reports of the summary over all datasets."""
REPLACEMENT = "this text was about a dataset that is forgotten"
"""Text in the place of what ticks say of a forgotten dataset."""
SHOWN_DROPS = 10
"""Maximum number of remaining drops that are named."""


def _places(store: DatasetStore, dataset: str) -> list[Path]:
    """Return the files and folders that belong to this dataset alone."""
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
    """Return the runs of the summary, whose events have the figures of every dataset."""
    return list(instance.get_runs(dg.RunsFilter(job_name=SUMMARY_JOB)))


def what_is_forgotten(dataset: str) -> list[str]:
    """Return lines that say what :func:`forget_dataset` would delete.

    Raises:
        InputError: nothing has this name, or a run or a backfill of it is in progress.
    """
    store = DatasetStore()
    check_dataset_name(dataset)
    with home_instance() as instance:
        runs, summaries = _runs(instance, dataset), _summary_runs(instance)
        is_partition = dataset in instance.get_dynamic_partitions("dataset")
        backfilled = backfills_of(instance, dataset, UNFINISHED_BACKFILLS)
    if not _places(store, dataset) and not runs and not is_partition:
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
        *_what_stays(dataset),
    ]


def _what_stays(dataset: str) -> Iterator[str]:
    """Yield lines that name the drops of a dataset that remain."""
    folder = drops_root() / dataset
    remaining = [path.name for path in entries_of(folder)] if folder.is_dir() else []
    if remaining:
        more = f", and {len(remaining) - SHOWN_DROPS} more" if len(remaining) > SHOWN_DROPS else ""
        yield f"stays: {len(remaining)} drops in {folder}: " + (
            ", ".join(remaining[:SHOWN_DROPS]) + more
        )
        yield f"  no run will start for them until: medfeat add {dataset} FOLDER"


def _size(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(
        path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink()
    )


def forget_dataset(dataset: str) -> Iterator[str]:
    """Delete a dataset; the specification last, so that an interrupted deletion can be repeated.

    Raises:
        InputError: as :func:`what_is_forgotten`, or another process keeps Dagster's database from
            being packed.
    """
    store = DatasetStore()
    what_is_forgotten(dataset)
    mark_forgotten(store, dataset)
    with home_instance() as instance:
        for run in [*_runs(instance, dataset), *_summary_runs(instance)]:
            delete_run(instance, run.run_id)
        delete_unowned_databases(instance)
        for key in instance.get_asset_keys():
            restore_latest_materialization(instance, key)
        mention = re.compile(rf"(?<![a-z0-9_-]){re.escape(dataset)}(?![a-z0-9_-])")
        remove_from_ticks(instance, mention, dataset, REPLACEMENT)
        delete_backfills(instance, backfills_of(instance, dataset))
    for folder in (store.root / "store" / ALL_DATASETS, store.root / "reports" / SUMMARY_JOB):
        shutil.rmtree(folder, ignore_errors=True)
    specification = store.root / "datasets" / f"{dataset}.json"
    for folder in _places(store, dataset):
        if folder != specification:
            shutil.rmtree(folder)
    with home_instance() as instance:
        if instance.has_dynamic_partition("dataset", dataset):
            instance.delete_dynamic_partition("dataset", dataset)
        _overwrite(instance)
        remains = "" if is_on_this_disk(instance) else postgres.remains(instance)
    specification.unlink(missing_ok=True)
    yield f"{dataset} is forgotten. Backups and the images themselves are yours to delete."
    if remains:
        yield remains


def _overwrite(instance: dg.DagsterInstance) -> None:
    """Overwrite what was deleted from Dagster's databases.

    Raises:
        InputError: another process keeps one from being packed.
    """
    if is_on_this_disk(instance):
        in_use = [str(database) for database in pack(databases_of(dagster_home()))]
    else:
        in_use = [] if postgres.pack(instance) else ["Dagster's database in PostgreSQL"]
    if in_use:
        raise InputError(
            f"{in_use[0]} is in use, so what was deleted cannot be overwritten",
            "End medfeat ui and all runs, then forget again",
        )

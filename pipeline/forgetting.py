"""Deleting a dataset for good: everything that was derived from its images, and Dagster's record of its runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from data_contracts.dataset import check_dataset_name
from data_contracts.errors import InputError
from pipeline.automation import IN_FLIGHT
from resources.dataset_store import DatasetStore

SUMMARY = ("_all", "summary")


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


def what_is_forgotten(dataset: str) -> list[str]:
    """Lines that say what :func:`forget_dataset` would delete.

    Raises:
        InputError: there is nothing of this name, or a run of it is going on.
    """
    store = DatasetStore()
    check_dataset_name(dataset)
    with dg.DagsterInstance.get() as instance:
        runs = _runs(instance, dataset)
        known = dataset in instance.get_dynamic_partitions("dataset")
    if not _places(store, dataset) and not runs and not known:
        raise InputError(f"there is nothing of a dataset called {dataset}", "See medfeat doctor for those that are registered")
    if any(run.status in IN_FLIGHT for run in runs):
        raise InputError(f"a run of {dataset} is going on", "Wait for it or end it; medfeat doctor --fix ends those that died")
    lines = [f"  {place} ({_size(place) / 1e6:.1f} MB)" for place in _places(store, dataset)]
    return [
        *lines,
        f"  {len(runs)} runs in Dagster's record",
        "  the summary over all datasets, which the next run makes anew",
    ]


def _size(place: Path) -> int:
    if place.is_file():
        return place.stat().st_size
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def forget_dataset(dataset: str) -> Iterator[str]:
    """Delete it; the specification last, so that an interrupted deletion can be told to go on.

    Dagster's database keeps deleted rows in free pages until it is packed (`VACUUM`): it is packed here, where it is SQLite.
    """
    store = DatasetStore()
    what_is_forgotten(dataset)
    with dg.DagsterInstance.get() as instance:
        assets = {key for key in instance.get_asset_keys() if _has_partition(instance, key, dataset)}
        for run in _runs(instance, dataset):
            instance.delete_run(run.run_id)
            (store.root / "dagster" / "run_owners" / f"{run.run_id}.json").unlink(missing_ok=True)
            shutil.rmtree(store.root / "dagster" / "storage" / run.run_id, ignore_errors=True)
        for key in sorted(assets, key=str):
            instance.wipe_asset_partitions(key, [dataset])
        if instance.has_dynamic_partition("dataset", dataset):
            instance.delete_dynamic_partition("dataset", dataset)
    for name in SUMMARY:
        shutil.rmtree(store.root / ("store" if name == "_all" else "reports") / name, ignore_errors=True)
    for place in _places(store, dataset):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
    _pack(store.root / "dagster")
    yield f"{dataset} is forgotten. Backups and the images themselves are yours to delete."


def _has_partition(instance: dg.DagsterInstance, key: dg.AssetKey, dataset: str) -> bool:
    return dataset in instance.get_materialized_partitions(key)


def _pack(folder: Path) -> None:
    """Overwrite what was deleted in the SQLite databases of an embedded instance."""
    import sqlite3
    from contextlib import closing

    for database in sorted(folder.glob("**/*.db")):
        with closing(sqlite3.connect(database, timeout=30)) as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

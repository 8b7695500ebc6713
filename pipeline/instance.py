"""The Dagster instance of the home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from filelock import FileLock

from resources.atomic_file import make_folder
from resources.dataset_store import DatasetStore
from resources.home import dagster_home


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Dagster's databases are made, and partitions added, by one process at a time: SQLite refuses the second otherwise."""
    make_folder(dagster_home())
    with FileLock(dagster_home() / ".lock"):
        yield


@contextmanager
def home_instance() -> Iterator[dg.DagsterInstance]:
    """The instance, its databases made where this is the first time."""
    with one_at_a_time():
        instance = dg.DagsterInstance.get()
    with instance:
        yield instance


def add_partitions(instance: dg.DagsterInstance, store: DatasetStore) -> None:
    """Make every registered dataset a partition."""
    with one_at_a_time():
        there = set(instance.get_dynamic_partitions("dataset"))
        missing = [name for name in store.datasets() if name not in there]
        if missing:
            instance.add_dynamic_partitions("dataset", missing)

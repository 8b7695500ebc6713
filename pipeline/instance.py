"""Opens and prepares the Dagster instance of the home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock

from data_contracts.errors import InputError
from pipeline.orphans import orphaned_runs, release
from resources.store.atomic_file import DISK_FULL, make_folder, not_written
from resources.store.dataset_store import DatasetStore
from resources.store.home import dagster_home


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one process at a time make Dagster's databases and add partitions.

    SQLite refuses the second otherwise.
    """
    make_folder(dagster_home())
    with FileLock(dagster_home() / ".lock"):
        yield


@contextmanager
def home_instance() -> Iterator[dg.DagsterInstance]:
    """Open the instance; the first time this makes its databases.

    Raises:
        InputError: the databases cannot be read or written, in here or while the instance is used.
    """
    # 0.15 s, and definitions load without; the instance needs all of it anyway
    from sqlalchemy.exc import DBAPIError

    try:
        with one_at_a_time():
            instance = dg.DagsterInstance.get()
        with instance:
            yield instance
    except DBAPIError as error:
        raise InputError(
            f"Dagster's databases in {dagster_home()} cannot be used ({error.orig})",
            "Free space, make the folder writable, or see what medfeat doctor says of them; "
            "nothing stored was damaged",
        ) from error
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise not_written(Path(error.filename or dagster_home()), "a few bytes", error) from error


def prepare_instance(instance: dg.DagsterInstance, store: DatasetStore) -> None:
    """Fail the runs whose process is gone, and make every registered dataset a partition."""
    for run in list(orphaned_runs(instance)):
        release(instance, run)
    with one_at_a_time():
        present = set(instance.get_dynamic_partitions("dataset"))
        missing = [name for name in store.datasets() if name not in present]
        if missing:
            instance.add_dynamic_partitions("dataset", missing)

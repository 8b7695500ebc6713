"""Opens and prepares the Dagster instance of the home."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
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
        InputError: the databases cannot be read or written or do not answer, in here or while the
            instance is used; or dagster.yaml names what cannot be used.
    """
    # 0.15 s, and definitions load without; the instance needs all of it anyway
    from pipeline.dagster_internals import first_line_of, one_line_for_all_retries, storage_errors

    try:
        with one_line_for_all_retries(), _opened() as instance:
            yield instance
    except storage_errors() as error:
        raise _unusable(first_line_of(error)) from error
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise not_written(Path(error.filename or dagster_home()), "a few bytes", error) from error


def _opened() -> dg.DagsterInstance:
    """Open the instance that dagster.yaml describes.

    Raises:
        InputError: it names what is not installed, or is not what Dagster expects.
    """
    from pipeline.dagster_internals import postgres_settings

    settings = dagster_home() / "dagster.yaml"
    try:
        if postgres_settings(dagster_home()) is not None and find_spec("dagster_postgres") is None:
            raise InputError(
                f"{settings} names PostgreSQL, for which a package is missing",
                "Install it: pip install 'medfeat[postgres]'",
            )
        with one_at_a_time():
            return dg.DagsterInstance.get()
    except dg.DagsterInvalidConfigError as error:
        first = error.errors[0].message.strip().splitlines()[0]
        raise InputError(
            f"Dagster cannot use {settings} ({first})", "Mend it (docs/scale.md shows examples)"
        ) from error
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise InputError(
            f"the address of PostgreSQL in {settings} asks for a driver that is not installed",
            "Begin it with postgresql+psycopg2:// (in postgres_db: scheme: postgresql+psycopg2)",
        ) from error


def _unusable(reason: str) -> InputError:
    """Return the error of a database that cannot be used."""
    from pipeline.dagster_internals import postgres_settings

    if postgres_settings(dagster_home()) is not None:
        return InputError(
            f"Dagster's database in PostgreSQL cannot be used ({reason})",
            f"Start it, or mend `storage:` in {dagster_home() / 'dagster.yaml'}; nothing stored "
            "was damaged",
        )
    return InputError(
        f"Dagster's databases in {dagster_home()} cannot be used ({reason})",
        "Free space, make the folder writable, or see what medfeat doctor says of them; "
        "nothing stored was damaged",
    )


def prepare_instance(instance: dg.DagsterInstance, store: DatasetStore) -> None:
    """Fail the runs whose process is gone, and make every registered dataset a partition."""
    for run in list(orphaned_runs(instance)):
        release(instance, run)
    with one_at_a_time():
        present = set(instance.get_dynamic_partitions("dataset"))
        missing = [name for name in store.datasets() if name not in present]
        if missing:
            instance.add_dynamic_partitions("dataset", missing)

"""The datasets that are registered, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg

from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.tables.manifest import MANIFEST, ok_rows
from pipeline.commands.text_table import text_table
from pipeline.instance import home_instance
from resources.store.dataset_store import DatasetStore

HEAD = ("dataset", "task", "images", "classes", "last run")


def dataset_lines(store: DatasetStore) -> Iterator[str]:
    """Yield a line of column heads, then one for each dataset: its task, images and last run.

    Images and classes are those of the last manifest, "-" where there is none yet.
    """
    datasets = store.datasets()
    if not datasets:
        yield "no dataset is registered yet; add one: medfeat add NAME FOLDER, or: medfeat demo"
        return
    with home_instance() as instance:
        rows = [HEAD, *(_row(store, instance, name) for name in datasets)]
    yield from text_table(rows)


def _row(
    store: DatasetStore, instance: dg.DagsterInstance, dataset: str
) -> tuple[str, str, str, str, str]:
    """Return the cells of one dataset."""
    try:
        task = store.spec(dataset).task
        images, classes = _counts(store, dataset)
    except InputError as error:
        return dataset, "unreadable", "-", "-", error.what
    return dataset, task, images, classes, _last_run(instance, dataset)


def _counts(store: DatasetStore, dataset: str) -> tuple[str, str]:
    """Return the numbers of usable images and of classes of the last manifest."""
    if store.record(dataset, names.IMAGE_MANIFEST) is None:
        return "-", "-"
    rows = ok_rows(store.main_table(dataset, names.IMAGE_MANIFEST, MANIFEST)).to_pylist()
    classes = {label for row in rows if row["label"] for label in row["label"].split("|")}
    return str(len(rows)), str(len(classes))


def _last_run(instance: dg.DagsterInstance, dataset: str) -> str:
    """Return the study, end and time of a dataset's last run in words; "-" where there is none."""
    of_dataset = dg.RunsFilter(tags={"dagster/partition": dataset})
    record = next(iter(instance.get_run_records(of_dataset, limit=1)), None)
    if record is None:
        return "-"
    when = record.create_timestamp.strftime("%Y-%m-%d %H:%M UTC")
    run = record.dagster_run
    return f"{run.job_name}, {run.status.value.lower()}, {when}"

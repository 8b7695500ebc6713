"""What sensors, schedules and backfills share: idle datasets, last settings, run requests."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import dagster as dg

from data_contracts import asset_names as names
from data_contracts.records.dataset import DatasetSpec, Task
from data_contracts.studies.registry import repeated_job, usual_study
from pipeline.automation.staleness import chain_of, last_settings
from pipeline.graph import GRAPH
from pipeline.launch import fields_of, run_config
from pipeline.orphans import IN_FLIGHT
from resources.store.dataset_store import DatasetStore
from resources.store.stored_results import StoredResult, promoted

SCHEDULED_STUDIES = sorted({usual_study(task).name for task in get_args(Task)})
"""Studies that schedules and the drop sensor run, one for each kind of labels."""


@cache
def study_assets(study: str) -> tuple[dg.AssetsDefinition, ...]:
    """Return the assets of a job."""
    job = GRAPH.resolve_job_def(study)
    return tuple(
        GRAPH.resolve_assets_def(key) for key in sorted(job.asset_layer.executable_asset_keys)
    )


def code_versions(study: str) -> dict[str, str]:
    """Return the code version of every asset of a job, by name."""
    return chain_of(list(study_assets(study)))


def busy_datasets(instance: dg.DagsterInstance) -> set[str]:
    """Return the datasets with a run that is queued or in progress."""
    runs = instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT))
    return {run.tags["dagster/partition"] for run in runs if "dagster/partition" in run.tags}


def still_valid_settings(
    store: DatasetStore, dataset: str, job: str, result: StoredResult | None = None
) -> dict[str, Any]:
    """Return the settings that a job repeats for a dataset: those of its promoted result.

    Where it has none, or an asset was no part of it, they are those of the last outputs; settings
    that the assets of the job do not have any more are left out.

    Args:
        store: of the home.
        dataset: name of the dataset.
        job: that repeats them.
        result: the promoted one, where a caller has it: looking for it reads every record.

    Returns:
        value of each setting, by ``asset.key``.
    """
    if result is None:
        result = promoted(store, dataset, repeated_job(job, store.spec(dataset).task))
    settings = last_settings(store, dataset, code_versions(job)) | (
        result.settings if result else {}
    )
    present = {
        f"{asset.key.path[-1]}.{field}" for asset in study_assets(job) for field in fields_of(asset)
    }
    return {key: value for key, value in settings.items() if key in present}


def request(store: DatasetStore, spec: DatasetSpec, run_key: str, why: str) -> dg.RunRequest:
    """Return a request for the usual study of a dataset, with the settings that it repeats."""
    job = usual_study(spec.task).name
    config = run_config(study_assets(job), still_valid_settings(store, spec.name, job), "auto")
    return dg.RunRequest(
        run_key=run_key,
        job_name=job,
        partition_key=spec.name,
        run_config=config,
        tags={"medfeat/why": why},
    )


def was_begun(instance: dg.DagsterInstance, store: DatasetStore, dataset: str, job: str) -> bool:
    """Tell whether the job of a study was ever started for a dataset."""
    runs = dg.RunsFilter(job_name=job, tags={"dagster/partition": dataset})
    return store.record(dataset, names.report(job)) is not None or bool(
        instance.get_runs(runs, limit=1)
    )

"""What the sensor and the schedule have in common: which datasets are free, and how their runs are asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg

from data_contracts.ahn2019 import AHN2019
from pipeline.launch import fields_of, run_config
from pipeline.staleness import chain_of, last_settings
from resources.dataset_store import DatasetStore

STUDY = AHN2019.name
"""The study that scheduled runs materialise."""

IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@cache
def study_assets(study: str) -> tuple[dg.AssetsDefinition, ...]:
    """The assets of a job, a study's or another."""
    from pipeline.definitions import defs

    job = defs.resolve_job_def(study)
    return tuple(defs.resolve_assets_def(key) for key in sorted(job.asset_layer.executable_asset_keys))


def code_versions(study: str) -> dict[str, str]:
    """Code version of every asset of a study's job, by name."""
    return chain_of(list(study_assets(study)))


def busy_datasets(instance: dg.DagsterInstance) -> set[str]:
    """Datasets with a run that is queued or going on."""
    runs = instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT))
    return {run.tags["dagster/partition"] for run in runs if "dagster/partition" in run.tags}


def still_valid_settings(store: DatasetStore, dataset: str, job: str) -> dict[str, Any]:
    """The settings of a dataset's last outputs, as ``asset.key`` -> value: those that the job's assets (still) have."""
    known = {f"{asset.key.path[-1]}.{field}" for asset in study_assets(job) for field in fields_of(asset)}
    return {key: value for key, value in last_settings(store, dataset, code_versions(job)).items() if key in known}


def request(store: DatasetStore, dataset: str, run_key: str, why: str) -> dg.RunRequest:
    """A run of the study with the settings of the dataset's last one."""
    config = run_config(study_assets(STUDY), still_valid_settings(store, dataset, STUDY), "auto")
    return dg.RunRequest(run_key=run_key, partition_key=dataset, run_config=config, tags={"medfeat/why": why})

"""What the sensor and the schedule have in common: which datasets are free, and how their runs are asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

import dagster as dg

from data_contracts.study import AHN2019
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
    """The assets of a study's job."""
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


def request(store: DatasetStore, dataset: str, run_key: str, why: str) -> dg.RunRequest:
    """A run of the study with the settings of the dataset's last one."""
    assets = study_assets(STUDY)
    settings: dict[str, Any] = last_settings(store, dataset, code_versions(STUDY))
    known = {f"{asset.key.path[-1]}.{field}" for asset in assets for field in fields_of(asset)}
    config = run_config(assets, {key: value for key, value in settings.items() if key in known}, "auto")
    return dg.RunRequest(run_key=run_key, partition_key=dataset, run_config=config, tags={"medfeat/why": why})

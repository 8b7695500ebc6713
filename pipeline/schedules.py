"""Work that starts by the clock."""

import os
from collections.abc import Iterator

import dagster as dg

from data_contracts.ahn2019 import AHN2019
from data_contracts.errors import InputError
from pipeline.automation import STUDY, busy_datasets, code_versions, request
from pipeline.jobs import JOBS
from pipeline.staleness import NEVER_RUN, has_drops, stale_reason
from resources.dataset_store import DatasetStore

NIGHTLY_CRON = os.environ.get("MEDFEAT_NIGHTLY") or "0 3 * * *"
TIME_ZONE = os.environ.get("MEDFEAT_TIME_ZONE") or "UTC"


@dg.schedule(
    name="nightly",
    job=JOBS[AHN2019.name],
    cron_schedule=NIGHTLY_CRON,
    execution_timezone=TIME_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Reconciles: one run for each dataset whose results do not stand for all that has arrived (new, changed or "
    "deleted files, a run that failed, newer code). A dataset that was never run and has no drops is left alone. "
    "Time: MEDFEAT_NIGHTLY (cron) in MEDFEAT_TIME_ZONE.",
)
def nightly(context: dg.ScheduleEvaluationContext, store: DatasetStore) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """One run request for each stale dataset that no run is working on."""
    partitions = set(context.instance.get_dynamic_partitions("dataset"))
    busy = busy_datasets(context.instance)
    versions = code_versions(STUDY)
    asked = 0
    for dataset in store.datasets():
        if dataset not in partitions or dataset in busy:
            continue
        try:
            why = stale_reason(store, dataset, versions)
        except InputError as error:
            context.log.warning(str(error))
            continue
        if why is None or (why == NEVER_RUN and not has_drops(store, dataset)):
            continue
        asked += 1
        yield request(store, dataset, f"{dataset}:{context.scheduled_execution_time:%Y-%m-%dT%H:%M}", why)
    if not asked:
        yield dg.SkipReason("every dataset is up to date")

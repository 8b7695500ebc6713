"""Work that starts by the clock."""

from collections.abc import Iterator

import dagster as dg

from data_contracts.study import AHN2019
from pipeline.jobs import JOBS
from resources.dataset_store import DatasetStore


@dg.schedule(
    name="nightly",
    job=JOBS[AHN2019.name],
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    description="Every night, one run for each registered dataset. A dataset whose folder has not changed computes nothing.",
)
def nightly(context: dg.ScheduleEvaluationContext, store: DatasetStore) -> Iterator[dg.RunRequest]:
    """One run request for each dataset that is registered and has its partition."""
    registered = set(store.datasets())
    for dataset in context.instance.get_dynamic_partitions("dataset"):
        if dataset in registered:
            yield dg.RunRequest(run_key=f"{dataset}:{context.scheduled_execution_time:%Y-%m-%d}", partition_key=dataset)

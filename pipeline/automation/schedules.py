"""Schedules: nightly runs of the datasets whose results are not up to date."""

from collections.abc import Iterator

import dagster as dg

from data_contracts.errors import InputError
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.studies.lyndon2015 import LYNDON2015
from data_contracts.studies.registry import usual_study
from pipeline import environment
from pipeline.automation.requests import busy_datasets, code_versions, request, was_begun
from pipeline.automation.staleness import has_drops, stale_reason
from pipeline.jobs import JOBS
from resources.store.dataset_store import DatasetStore

NIGHTLY_CRON = environment.value_of(environment.NIGHTLY)
"""Time of all nightly schedules, as a cron expression."""
TIME_ZONE = environment.value_of(environment.TIME_ZONE)
"""Time zone of the cron expression."""


def reconciler(name: str, study: str) -> dg.ScheduleDefinition:
    """Return the nightly schedule of a study; a Dagster schedule starts runs of one job."""

    @dg.schedule(
        name=name,
        job=JOBS[study],
        cron_schedule=NIGHTLY_CRON,
        execution_timezone=TIME_ZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Runs {study} for each dataset whose usual study it is and whose results are "
        "not up to date (new, changed or deleted files, a run that failed, newer code). A dataset "
        "without drops is left alone until the study was started for it once. Time: "
        "MEDFEAT_NIGHTLY (cron) in MEDFEAT_TIME_ZONE.",
    )
    def reconcile(
        context: dg.ScheduleEvaluationContext, store: DatasetStore
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Yield a run request for each stale dataset without a run in progress."""
        partitions = set(context.instance.get_dynamic_partitions("dataset"))
        busy = busy_datasets(context.instance)
        requested = 0
        for dataset in store.datasets():
            if dataset not in partitions or dataset in busy:
                continue
            try:
                spec = store.spec(dataset)
                if usual_study(spec.task).name != study:
                    continue
                why = stale_reason(store, dataset, code_versions(study))
                if why is None or not (
                    has_drops(store, dataset) or was_begun(context.instance, store, dataset, study)
                ):
                    continue
                run_request = request(
                    store, spec, f"{dataset}:{context.scheduled_execution_time:%Y-%m-%dT%H:%M}", why
                )
            except InputError as error:  # an error of one dataset does not stop the others
                context.log.warning(str(error))
                continue
            requested += 1
            yield run_request
        if not requested:
            yield dg.SkipReason("every dataset is up to date")

    return reconcile


nightly = reconciler("nightly", AHN2019.name)
nightly_several_labels = reconciler("nightly_several_labels", LYNDON2015.name)

SCHEDULES = [nightly, nightly_several_labels]

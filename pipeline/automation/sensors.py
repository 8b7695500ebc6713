"""Sensors: runs that start when images arrive, and the summary after runs."""

import re

import dagster as dg

from assets.core.partitions import DATASETS
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.dataset import NAME_PATTERN, DatasetSpec
from data_contracts.records.facts import ManifestFacts
from pipeline.automation.alerts import alert_after_failures
from pipeline.automation.requests import SCHEDULED_STUDIES, busy_datasets, request
from pipeline.jobs import JOBS, SUMMARY
from pipeline.orphans import is_waited_for
from resources.intake.arrivals import find_arrivals
from resources.intake.drops import drops_root
from resources.intake.forgotten import is_forgotten
from resources.intake.system_entries import is_left_out
from resources.store.dataset_store import DatasetStore

POLL_SECONDS = 30
"""Minimum time between two checks of the drop folder, in seconds."""


def datasets_with_drops() -> list[str]:
    """Return the folders below the drop folder that can be datasets, sorted."""
    root = drops_root()
    if not root.is_dir():
        return []
    return sorted(
        path.name for path in root.iterdir() if path.is_dir() and not is_left_out(path.name)
    )


@dg.sensor(
    jobs=[JOBS[job] for job in SCHEDULED_STUDIES],
    minimum_interval_seconds=POLL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Checks drops/<dataset>/: registers a dataset that is not registered yet and "
    "starts one run for each dataset with new files that have settled. "
    "Off and on under Automation.",
)
def drops(context: dg.SensorEvaluationContext, store: DatasetStore) -> dg.SensorResult:
    """Return a run request for each dataset whose accepted drops have changed.

    The run key is the signature of all accepted files, so nothing is requested twice.
    """
    requests, added = [], []
    notes: list[str] = []
    waits: list[str] = []
    busy = busy_datasets(context.instance)
    partitions = set(context.instance.get_dynamic_partitions("dataset"))
    for dataset in datasets_with_drops():
        if not re.fullmatch(NAME_PATTERN, dataset):  # a person's name, perhaps: not repeated
            notes.append(
                "a folder in the drop folder has a name that no dataset can have "
                "(1 to 63 of a-z, 0-9, _ and -)"
            )
            continue
        try:
            run_request, waiting = _due(store, dataset, busy)
        except InputError as error:  # an error of one dataset does not stop the others
            notes.append(str(error))
            continue
        waits += waiting
        if run_request is None:
            continue
        if dataset not in partitions:
            added.append(dataset)
        requests.append(run_request)
    for note in notes:
        context.log.warning(note)
    said = "; ".join(dict.fromkeys([*notes, *waits]))
    if requests and waits:
        context.log.info(said)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[DATASETS.build_add_request(added)] if added else [],
        skip_reason=None if requests else dg.SkipReason(said or "nothing new has arrived"),
    )


def _due(
    store: DatasetStore, dataset: str, busy: set[str]
) -> tuple[dg.RunRequest | None, list[str]]:
    """Return a request for the run that a dataset needs, or None, and what waits and why.

    The drops are examined in any case, so that they can settle while a run is in progress.
    """
    registered = dataset in store.datasets()
    if not registered and is_forgotten(store, dataset):
        return None, ["drops of a forgotten dataset are left alone until it is added again"]
    spec = (
        store.spec(dataset)
        if registered
        else DatasetSpec(name=dataset, root=drops_root() / dataset, unlabelled=True)
    )
    arrival = find_arrivals(store, spec)
    waits = arrival.waits_in_words()
    if not arrival.intake.drops:
        return None, waits
    record = store.record(dataset, names.IMAGE_MANIFEST)
    facts = record.facts if record is not None else None
    if isinstance(facts, ManifestFacts) and facts.arrival == arrival.signature:
        return None, waits
    if dataset in busy:
        return None, [*waits, f"{dataset}: what has arrived waits for the run that goes on"]
    if not registered:
        store.save_spec(spec)
    return request(store, spec, f"{dataset}:{arrival.signature}", "drop"), waits


@dg.run_status_sensor(
    name="summary_after_runs",
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=list(JOBS.values()),
    request_job=SUMMARY,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Updates the summary over all datasets after every run of a study that did not "
    "update it itself.",
)
def summary_after_runs(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """Request one run of the summary for each run of a study that no command waits for."""
    if is_waited_for(context.dagster_run):
        return dg.SkipReason("the command line updates the summary itself")
    return dg.RunRequest(run_key=context.dagster_run.run_id)


SENSORS = [drops, summary_after_runs, alert_after_failures]

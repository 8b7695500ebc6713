"""Work that starts when something arrives."""

import re

import dagster as dg

from assets.core.partitions import DATASETS
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.dataset import NAME_PATTERN, DatasetSpec
from data_contracts.records.facts import ManifestFacts
from pipeline.automation.requests import SCHEDULED_STUDIES, busy_datasets, request
from pipeline.jobs import JOBS, SUMMARY
from pipeline.orphans import is_waited_for
from resources.intake.arrivals import find_arrivals
from resources.intake.drops import drops_root
from resources.store.dataset_store import DatasetStore

LOOK_EVERY_SECONDS = 30


def datasets_with_drops() -> list[str]:
    """Folders below the drop folder that can be datasets, sorted."""
    root = drops_root()
    if not root.is_dir():
        return []
    return sorted(
        path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )


@dg.sensor(
    jobs=[JOBS[job] for job in SCHEDULED_STUDIES],
    minimum_interval_seconds=LOOK_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks at drops/<dataset>/: registers a dataset it does not know yet and starts one run for each dataset with "
    "something new that has settled. Off and on under Automation.",
)
def drops(context: dg.SensorEvaluationContext, store: DatasetStore) -> dg.SensorResult:
    """One run request for each dataset whose drops have changed, known by the signature of all that
    counts.
    """
    requests, added, notes = [], [], []
    busy = busy_datasets(context.instance)
    partitions = set(context.instance.get_dynamic_partitions("dataset"))
    for dataset in datasets_with_drops():
        if not re.fullmatch(NAME_PATTERN, dataset):  # its name may be a person's: it is not told
            notes.append(
                "a folder in the drop folder has a name that no dataset can have (1 to 63 of a-z, 0-9, _ and -)"
            )
            continue
        try:
            wanted = _due(store, dataset, busy)
        except InputError as error:  # one dataset's trouble is not another's
            notes.append(str(error))
            continue
        if wanted is None:
            continue
        if dataset not in partitions:
            added.append(dataset)
        requests.append(wanted)
    for note in notes:
        context.log.warning(note)
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[DATASETS.build_add_request(added)] if added else [],
        skip_reason=None
        if requests
        else dg.SkipReason("; ".join(dict.fromkeys(notes)) or "nothing new has settled"),
    )


def _due(store: DatasetStore, dataset: str, busy: set[str]) -> dg.RunRequest | None:
    """The run that a dataset needs, if any. Looks at its drops in any case, so that they can settle
    while a run goes on.
    """
    registered = dataset in store.datasets()
    spec = (
        store.spec(dataset)
        if registered
        else DatasetSpec(name=dataset, root=drops_root() / dataset, unlabelled=True)
    )
    arrival = find_arrivals(store, spec)
    if dataset in busy or not arrival.intake.drops:
        return None
    record = store.record(dataset, names.IMAGE_MANIFEST)
    facts = record.facts if record is not None else None
    if isinstance(facts, ManifestFacts) and facts.arrival == arrival.signature:
        return None
    if not registered:
        store.save_spec(spec)
    return request(store, spec, f"{dataset}:{arrival.signature}", "drop")


@dg.run_status_sensor(
    name="summary_after_runs",
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=list(JOBS.values()),
    request_job=SUMMARY,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Brings the page of all datasets up to date after every run of a study that did not do so itself.",
)
def summary_after_runs(context: dg.RunStatusSensorContext) -> dg.RunRequest | dg.SkipReason:
    """One run of the summary for each run of a study; the command line makes its own."""
    if is_waited_for(context.dagster_run):
        return dg.SkipReason("the command line brings the summary up to date itself")
    return dg.RunRequest(run_key=context.dagster_run.run_id)


SENSORS = [drops, summary_after_runs]

"""Runs whose process died, which Dagster leaves STARTED.

Several hosts may share a database. Each judges the runs of its own processes alone; those of other
hosts are left to Dagster's ``run_monitoring``, which ends them after their maximum runtime.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg

from resources.run_owner import STARTED_HERE, is_claimed, owner_lives, place_of, process_lives

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Statuses of a run that has, or had, a process and has not ended."""
IN_FLIGHT = [dg.DagsterRunStatus.QUEUED, *UNFINISHED]
"""Statuses of a run that is queued or has not ended."""
UNCLAIMED_SECONDS = 600.0
"""Age in seconds from which a run without a known process counts as one that never started."""


def is_waited_for(run: dg.DagsterRun) -> bool:
    """Tell whether a command started a run and waits for it.

    A run that Dagster starts again has the tags of the first one, and another process.
    """
    return STARTED_HERE in run.tags and run.parent_run_id is None


def orphaned_runs(instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    """Yield the unfinished runs of this host whose process is gone."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        alive = _may_be_alive(instance, record)
        age = time.time() - record.create_timestamp.timestamp()
        if alive is False or (alive is None and age > UNCLAIMED_SECONDS):
            yield record.dagster_run


def _may_be_alive(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool | None:
    """Tell whether a run is alive, or on another host; None where nothing is known of its process.

    A run without a host (of an earlier version, or launched and not yet at its first stage) is on
    this host if the database is.
    """
    from pipeline.dagster_internals import is_on_this_disk  # loads SQLAlchemy, 0.15 s

    run = record.dagster_run
    is_owned = is_claimed(run)
    # the other tags of a run that Dagster started again are those of the first one
    place = place_of(run.tags) if is_owned or is_waited_for(run) else None
    if place == "earlier boot":
        return False
    if place == "elsewhere" or (place is None and not is_on_this_disk(instance)):
        return True
    return owner_lives(run) if is_owned else _was_launched_and_lives(instance, record)


def _was_launched_and_lives(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool | None:
    """Tell whether the process of a run that no stage has claimed is alive.

    None where that process is unknown.
    """
    if is_waited_for(record.dagster_run):
        return process_lives(
            int(record.dagster_run.tags[STARTED_HERE]), record.create_timestamp.timestamp()
        )
    if not isinstance(instance.run_launcher, dg.DefaultRunLauncher):
        return None
    for entry in instance.all_logs(
        record.dagster_run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT
    ):
        event = entry.dagster_event
        pid = event.engine_event_data.metadata.get("pid") if event is not None else None
        if pid is not None:
            return process_lives(int(str(pid.value)), entry.timestamp)
    return None


def release(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Mark an orphaned run as failed."""
    instance.report_run_failed(
        run, "The process of this run is gone (killed, or the machine went down)."
    )

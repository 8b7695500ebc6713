"""Runs whose process died: Dagster keeps them STARTED and their pool slots taken, so the next run would wait for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator

import dagster as dg

from resources.home import medfeat_home
from resources.run_owner import owner_is_alive

UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
UNCLAIMED_SECONDS = 600.0
"""A run that no process has claimed for so long never got as far as its first stage."""


def orphaned_runs(instance: dg.DagsterInstance) -> Iterator[dg.DagsterRun]:
    """Unfinished runs whose process is gone."""
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNFINISHED)):
        alive = owner_is_alive(medfeat_home(), record.dagster_run.run_id)
        age = time.time() - record.create_timestamp.timestamp()
        if alive is False or (alive is None and age > UNCLAIMED_SECONDS):
            yield record.dagster_run


def release(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Mark an orphaned run as failed and give its pool slots back."""
    instance.report_run_failed(run, "The process of this run is gone (killed, or the machine went down).")
    instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)

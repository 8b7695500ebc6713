"""How long Dagster's history is kept: old runs are deleted every night, and SQLite is packed."""

import logging
from datetime import UTC, datetime, timedelta

import dagster as dg

from pipeline import environment
from pipeline.automation.schedules import NIGHTLY_CRON, TIME_ZONE
from resources.run_owner import claim_run

log = logging.getLogger("medfeat.history")

KEEP_RUNS_DAYS = environment.KEEP_RUNS_DAYS.name
"""Environment variable: age in days from which a run is deleted; 0 keeps every run."""


def oldest_kept() -> datetime | None:
    """Return the time before which runs are deleted, or None where every run is kept.

    Raises:
        InputError: the environment variable is not a number of days.
    """
    days = int(environment.value_of(environment.KEEP_RUNS_DAYS))
    return datetime.now(UTC) - timedelta(days=days) if days else None


@dg.op(description="Deletes the runs that are too old, with their events, and packs SQLite.")
def delete_old_history(context: dg.OpExecutionContext) -> None:
    """Delete runs that are older than MEDFEAT_KEEP_RUNS_DAYS, but none that the UI still needs."""
    from pipeline.care.history import delete_old_runs  # loads SQLAlchemy, 0.15 s

    claim_run(context.instance, context.run_id)
    before = oldest_kept()
    if before is None:
        log.info("%s is 0: every run is kept", KEEP_RUNS_DAYS)
        return
    outcome = delete_old_runs(context.instance, before)
    log.info("%d runs deleted, %.1f MB freed", outcome.runs, outcome.freed_bytes / 1e6)
    for database in outcome.in_use:
        log.warning("%s is in use and is packed another night", database)


@dg.job(
    executor_def=dg.in_process_executor,
    description="Deletes runs that are older than MEDFEAT_KEEP_RUNS_DAYS (default 90; 0 keeps all) "
    "with their events, except those that hold the latest materialisation of a dataset, and packs "
    "Dagster's SQLite databases.",
)
def history() -> None:
    """Delete the old part of Dagster's history."""
    delete_old_history()


@dg.schedule(
    job=history,
    cron_schedule=NIGHTLY_CRON,
    execution_timezone=TIME_ZONE,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Starts the job that deletes runs older than MEDFEAT_KEEP_RUNS_DAYS, on nights "
    "when there are any.",
)
def nightly_history(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run where a run is too old."""
    from pipeline.care.history import old_runs  # loads SQLAlchemy, 0.15 s

    before = oldest_kept()
    if before is None:
        return dg.SkipReason(f"{KEEP_RUNS_DAYS} is 0: every run is kept")
    if not old_runs(context.instance, before):
        return dg.SkipReason(f"no run that may go was started before {before:%Y-%m-%d}")
    return dg.RunRequest()

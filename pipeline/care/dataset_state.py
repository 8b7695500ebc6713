"""How each dataset stands: its last run, its drops, and whether its results are up to date."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches

import dagster as dg

from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.facts import ManifestFacts
from data_contracts.studies.registry import usual_study
from pipeline.automation.requests import code_versions
from pipeline.automation.staleness import stale_reason
from pipeline.launch import failure_reason
from resources.intake.arrivals import find_arrivals
from resources.intake.drops import Drop, drops_root
from resources.store.dataset_store import DatasetStore

LIKE = 0.75
"""Smallest similarity, 0..1, of a drop folder's name to a dataset that is taken for a mistake."""


@dataclass(frozen=True)
class LastRun:
    """A run and how it ended.

    Attributes:
        run_id: of Dagster.
        job: study, or another job.
        status: of Dagster, in lower case: success, failure, canceled, started, queued, ...
        time: when it ended, or else when it was made, in seconds since 1970.
        why: why it failed, in one line; empty where it did not.
    """

    run_id: str
    job: str
    status: str
    time: float
    why: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it did not fail."""
        return self.status != "failure"

    def __str__(self) -> str:
        text = f"run {self.run_id[:8]} ({self.job}) {in_words(self.status)} {at(self.time)}"
        return f"{text}: {self.why}" if self.why else text


@dataclass(frozen=True)
class DatasetState:
    """How a dataset stands.

    Attributes:
        dataset: its name.
        task: "single-label" or "multi-label".
        images: usable images of the last manifest; None before the first.
        last_run: the youngest run of it; None where Dagster has none.
        drops: number of drops that count.
        unread_drops: drops that began to count after the last run that ended well began.
        waiting: number of drops that have not settled.
        waits: the first of them and why, a line each.
        stale: why its results are not up to date; "" where they are.
        problem: why the dataset cannot be examined; "" where it can.
        like: dataset for whose drop folder its own was probably mistaken; "" for none.
    """

    dataset: str
    task: str
    images: int | None
    last_run: LastRun | None
    drops: int = 0
    unread_drops: int = 0
    waiting: int = 0
    waits: tuple[str, ...] = ()
    stale: str = ""
    problem: str = ""
    like: str = ""


def at(seconds: float) -> str:
    """Return a time in UTC, for a person."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def in_words(status: str) -> str:
    """Return how a run ended, or goes on, as a verb."""
    known = {"success": "ended well", "failure": "failed", "canceled": "was stopped"}
    return known.get(status, f"is {status}")


def states(store: DatasetStore, instance: dg.DagsterInstance) -> Iterator[DatasetState]:
    """Yield the state of every registered dataset, by name; opens no image."""
    for dataset in store.datasets():
        runs = instance.get_run_records(dg.RunsFilter(tags={"dagster/partition": dataset}))
        last = described(instance, runs[0]) if runs else None
        try:
            yield _state(store, dataset, store.spec(dataset), last, runs)
        except InputError as error:
            yield DatasetState(dataset, "", None, last, problem=str(error))


def _state(
    store: DatasetStore,
    dataset: str,
    spec: DatasetSpec,
    last: LastRun | None,
    runs: Sequence[dg.RunRecord],
) -> DatasetState:
    arrival = find_arrivals(store, spec)
    root = arrival.intake.spec.root
    record = store.record(dataset, names.IMAGE_MANIFEST)
    facts = record.facts if record is not None else None
    manifest = facts if isinstance(facts, ManifestFacts) else None
    all_read = manifest is not None and manifest.arrival == arrival.signature
    drops = arrival.intake.drops
    return DatasetState(
        dataset=dataset,
        task=spec.task,
        images=None if manifest is None else manifest.usable_images,
        last_run=last,
        drops=len(drops),
        unread_drops=0 if all_read and last and last.is_well else _unread(drops, runs),
        waiting=arrival.waiting,
        waits=tuple(arrival.waits_in_words()),
        stale=stale_reason(store, dataset, code_versions(usual_study(spec.task).name)) or "",
        problem="" if root.exists() else f"the folder {root} does not exist. Mount it",
        like=_mistaken_for(store, spec),
    )


def _unread(drops: tuple[Drop, ...], runs: Sequence[dg.RunRecord]) -> int:
    """Return how many drops began to count after the last run that ended well had begun."""
    began = [
        record.create_timestamp.timestamp()
        for record in runs
        if record.dagster_run.status is dg.DagsterRunStatus.SUCCESS
    ]
    return sum(drop.accepted_at > max(began, default=0.0) for drop in drops)


def _mistaken_for(store: DatasetStore, spec: DatasetSpec) -> str:
    """Return the dataset whose name a drop folder nearly has that became one by itself."""
    if not spec.unlabelled or spec.root != drops_root() / spec.name:
        return ""
    others = [name for name in store.datasets() if name != spec.name]
    return next(iter(get_close_matches(spec.name, others, 1, LIKE)), "")


def described(instance: dg.DagsterInstance, record: dg.RunRecord) -> LastRun:
    """Return a run of Dagster's history with why it failed."""
    run = record.dagster_run
    ended = record.end_time or record.create_timestamp.timestamp()
    why = _why_failed(instance, run) if run.status is dg.DagsterRunStatus.FAILURE else ""
    job = run.job_name if not run.job_name.startswith("__") else "assets chosen in the UI"
    return LastRun(run.run_id, job, run.status.value.lower(), ended, why)


def _why_failed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """Return the first reason that a run gives for its failure, in one line."""
    for kind in (dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE):
        for entry in instance.all_logs(run.run_id, of_type=kind):
            event = entry.dagster_event
            if event is None:
                continue
            is_step = kind is dg.DagsterEventType.STEP_FAILURE
            why = failure_reason(event)[0] if is_step else event.message
            if why:
                return _one_line(why)
    return "no reason is recorded"


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0].rstrip(".") if lines else ""


def failures_since(
    instance: dg.DagsterInstance, since: datetime
) -> list[tuple[dg.RunRecord, bool]]:
    """Return the runs that failed after a time, and whether a later one of the same ended well."""
    failed = instance.get_run_records(
        dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], created_after=since)
    )
    return [(record, _was_mended(instance, record)) for record in failed]


def _was_mended(instance: dg.DagsterInstance, failed: dg.RunRecord) -> bool:
    run = failed.dagster_run
    tags: Mapping[str, str] = {
        key: value for key, value in run.tags.items() if key == "dagster/partition"
    }
    later = dg.RunsFilter(
        job_name=run.job_name,
        tags=tags,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        created_after=failed.create_timestamp,
    )
    return bool(instance.get_runs(later, limit=1))

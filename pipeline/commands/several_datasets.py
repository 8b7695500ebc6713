"""A study for several datasets, one after another, and the table of how each ended."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.studies.registry import STUDY_JOBS
from pipeline.automation.backfills import choose
from pipeline.automation.requests import study_assets
from pipeline.commands.answer import figure_text, main_figures
from pipeline.commands.stored_runs import repeated_settings
from pipeline.commands.text_table import text_table
from pipeline.launch import DONE, INPUT_WRONG, check_labels, run_config, run_job
from resources.store.dataset_store import DatasetStore

IN_WORDS = {DONE: "done", INPUT_WRONG: "input is wrong"}
"""How a run ended by its exit code; every other code is a failure."""


@dataclass(frozen=True)
class Ended:
    """How a dataset of a backfill ended.

    Attributes:
        dataset: its name.
        job: the study's job.
        outcome: in a word or two.
        figure: of the study's own method; "" without a report.
        seconds: wall time.
        run_id: Dagster run; "" where none was started.
        message: why it did not run or end well; "" where it did.
        exit_code: of its run; 0 where there was nothing to do.
    """

    dataset: str
    job: str
    outcome: str
    figure: str = ""
    seconds: float = 0.0
    run_id: str = ""
    message: str = ""
    exit_code: int = DONE


@dataclass(frozen=True)
class Backfill:
    """What is run.

    Attributes:
        jobs: the job for each dataset in question, in order.
        only_stale: leave out datasets whose results are up to date.
        from_drop: leave out datasets without a drop on this day or later; None for all.
        given: settings that were given; others are repeated from the promoted result.
        defaults: repeat nothing: settings that are not given have their defaults.
        device: "auto", "cpu", "cuda" or "mps".
    """

    jobs: Mapping[str, str]
    only_stale: bool
    from_drop: str | None
    given: Mapping[str, Any]
    defaults: bool
    device: str


def run_backfill(
    store: DatasetStore, backfill: Backfill, say: Callable[[str], None], dry_run: bool
) -> list[Ended]:
    """Run every dataset that is due; a failure does not stop the others.

    Args:
        store: store of the home.
        backfill: what is run.
        say: gets a line before each dataset and one after it.
        dry_run: say what would be run, and run nothing.

    Raises:
        InputError: a setting that was given is unknown in one of the studies or out of range, or
            ``from_drop`` is not a date.
    """
    for job in dict.fromkeys(backfill.jobs.values()):
        run_config(study_assets(job), backfill.given, backfill.device)
    due, unreadable = choose(store, backfill.jobs, backfill.only_stale, backfill.from_drop)
    tags = {"medfeat/backfill": uuid.uuid4().hex[:8]}
    ended = []
    for number, (dataset, job) in enumerate(backfill.jobs.items(), 1):
        begin = f"[{number}/{len(backfill.jobs)}] {dataset}"
        if dataset in unreadable:
            one = _refused(dataset, job, unreadable[dataset])
        elif dataset not in due:
            one = Ended(dataset, job, "nothing to do")
        else:
            say(f"{begin}: {job}")
            try:
                one = _run(store, backfill, dataset, say, None if dry_run else tags)
            except InputError as error:
                one = _refused(dataset, job, str(error))
        ended.append(one)
        say(f"{begin}: {one.outcome}{f' ({one.message})' if one.message else ''}")
    return ended


def _refused(dataset: str, job: str, why: str) -> Ended:
    """How a dataset ends whose input is wrong."""
    wrong = IN_WORDS[INPUT_WRONG]
    return Ended(dataset, job, wrong, message=why, exit_code=INPUT_WRONG)


def _run(
    store: DatasetStore,
    backfill: Backfill,
    dataset: str,
    say: Callable[[str], None],
    tags: Mapping[str, str] | None,
) -> Ended:
    """Run the job of one dataset, or only say with which settings where there are no ``tags``.

    Raises:
        InputError: its settings or labels are wrong, or which result is promoted cannot be read.
    """
    started, job = time.monotonic(), backfill.jobs[dataset]
    settings, line = dict(backfill.given), None
    if not backfill.defaults:
        settings, line = repeated_settings(store, dataset, job, settings)
    if line is not None:
        say(line)
    if tags is None:
        return Ended(dataset, job, "would run")
    check_labels(store, dataset)
    outcome = run_job(job, dataset, settings, backfill.device, tags)
    return Ended(
        dataset,
        job,
        IN_WORDS.get(outcome.exit_code, "failed"),
        _figure(store, dataset, job) if outcome.exit_code == DONE else "",
        round(time.monotonic() - started, 1),
        outcome.run_id,
        outcome.message,
        outcome.exit_code,
    )


def _figure(store: DatasetStore, dataset: str, job: str) -> str:
    """The figure of the study's own method."""
    figures = main_figures(store, job, store.upstream(dataset, names.report(job)))
    study = STUDY_JOBS[job]
    title = study.method(study.main).title
    return figure_text(figures[title]) if title in figures else ""


def table_lines(ended: Sequence[Ended]) -> list[str]:
    """The table at the end: a line for each dataset."""
    rows = [("dataset", "study", "outcome", "its own method", "seconds", "run")]
    rows += [
        (one.dataset, one.job, one.outcome, one.figure, f"{one.seconds:.1f}", one.run_id[:8])
        for one in ended
    ]
    return list(text_table(rows))


def as_json(ended: Sequence[Ended]) -> str:
    """The outcomes as a JSON array of objects."""
    return json.dumps([asdict(one) for one in ended], indent=1)

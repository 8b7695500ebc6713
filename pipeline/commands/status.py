"""The table of `medfeat status`: how each dataset stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipeline.care.dataset_state import DatasetState, at, in_words, states
from pipeline.commands.text_table import text_table
from pipeline.instance import home_instance
from resources.store.dataset_store import DatasetStore

COLUMNS = ("dataset", "task", "images", "last run", "waits", "results")
"""Headings of the table."""


def dataset_states() -> list[DatasetState]:
    """Return the state of every registered dataset, by name."""
    with home_instance() as instance:
        return list(states(DatasetStore(), instance))


def status_text(found: Sequence[DatasetState]) -> str:
    """Return a table for a terminal, a line a dataset, with what waits and fails below it."""
    if not found:
        return "no dataset is registered. Register one: medfeat add NAME FOLDER"
    rows = [COLUMNS, *map(_row, found)]
    return "\n".join([*text_table(rows), *(note for state in found for note in _notes(state))])


def _row(state: DatasetState) -> tuple[str, ...]:
    run = state.last_run
    results = "up to date" if not state.stale else "stale"
    return (
        state.dataset,
        state.task or "?",
        "?" if state.images is None else str(state.images),
        "never" if run is None else f"{in_words(run.status)} {at(run.time)}",
        f"{state.waiting} drop{'s' if state.waiting > 1 else ''}" if state.waiting else "-",
        "?" if state.problem else results,
    )


def _notes(state: DatasetState) -> list[str]:
    run = state.last_run
    return [
        *([f"{state.dataset}: {run}"] if run is not None and run.why else []),
        *(f"waits: {line}" for line in state.waits),
        *([f"{state.dataset}: stale: {state.stale}"] if state.stale else []),
        *([f"{state.dataset}: {state.problem}"] if state.problem else []),
    ]


def status_json(found: Sequence[DatasetState]) -> str:
    """Return the states as a JSON array of objects."""
    return json.dumps([_as_object(state) for state in found], indent=1)


def _as_object(state: DatasetState) -> dict[str, Any]:
    values = asdict(state)
    if state.last_run is not None:
        values["last_run"]["time"] = at(state.last_run.time)
    return values

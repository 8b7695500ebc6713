"""Decides which datasets a backfill runs, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from data_contracts.errors import InputError
from pipeline.automation.requests import code_versions, still_valid_settings
from pipeline.automation.staleness import stale_reason
from pipeline.launch import overridden
from resources.intake.arrivals import find_arrivals
from resources.store.dataset_store import DatasetStore
from resources.store.stored_results import StoredResult


def choose(
    store: DatasetStore, jobs: Mapping[str, str], only_stale: bool, from_drop: str | None
) -> tuple[list[str], dict[str, str]]:
    """Return the datasets to run, in order, and why others cannot be examined.

    Args:
        store: store of the home.
        jobs: the job to run for each registered dataset in question.
        only_stale: leave out datasets whose results are up to date.
        from_drop: leave out datasets without a drop that was accepted on this day (ISO 8601, UTC)
            or later.

    Raises:
        InputError: ``from_drop`` is not a date.
    """
    since = _since(from_drop) if from_drop is not None else None
    chosen, problems = [], {}
    for dataset, job in jobs.items():
        try:
            drops = (
                find_arrivals(store, store.spec(dataset)).intake.drops if since is not None else ()
            )
            if since is not None and not any(drop.accepted_at >= since for drop in drops):
                continue
            if only_stale and stale_reason(store, dataset, code_versions(job)) is None:
                continue
        except InputError as error:
            problems[dataset] = str(error)
            continue
        chosen.append(dataset)
    return chosen, problems


def _since(day: str) -> float:
    try:
        since = datetime.fromisoformat(day)
    except ValueError:
        raise InputError(
            f"{day!r} is not a date", "Write for example --from-drop 2026-11-20"
        ) from None
    return (since if since.tzinfo else since.replace(tzinfo=UTC)).timestamp()


def with_repeated_settings(
    store: DatasetStore,
    dataset: str,
    job: str,
    given: Mapping[str, Any],
    result: StoredResult | None = None,
) -> dict[str, Any]:
    """Return the settings that a job repeats for a dataset, overridden by those given.

    ``result`` is the promoted one, where a caller has it; see :func:`still_valid_settings`.
    """
    return overridden(still_valid_settings(store, dataset, job, result), given)

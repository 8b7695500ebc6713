"""Checks the environment, the store and the runs, and repairs what can be repaired."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import dagster as dg

from data_contracts.errors import InputError
from pipeline import environment
from pipeline.automation.alerts import Alerts
from pipeline.care import postgres
from pipeline.care.dataset_state import DatasetState, described, failures_since, states
from pipeline.care.disk_need import bytes_needed
from pipeline.care.history import databases_of, history_bytes, old_runs
from pipeline.care.retention import KEEP_RUNS_DAYS, oldest_kept
from pipeline.care.store_health import damaged_files, mend
from pipeline.dagster_internals import (
    failing_ticks,
    is_on_this_disk,
    postgres_settings,
    switched_off,
)
from pipeline.instance import home_instance
from pipeline.orphans import orphaned_runs, release
from resources.cores import cores
from resources.intake.arrivals import find_arrivals
from resources.intake.drops import drops_root
from resources.intake.site_key import FINGERPRINT, names_of
from resources.store.dataset_store import DatasetStore
from resources.store.home import (
    dagster_home,
    free_bytes,
    medfeat_home,
    network_file_system,
    site_key_path,
)

LOW_DISK_BYTES = 5 * 10**9
"""Free space below which a warning is given, in bytes beyond what features still need."""


@dataclass(frozen=True)
class Finding:
    """One line that `medfeat doctor` prints."""

    state: Literal["ok", "warning", "problem"]
    text: str


def examine(fix: bool, days: int = 7) -> Iterator[Finding]:
    """Yield the findings of every check in turn.

    Args:
        fix: mark runs whose process is gone as failed, and compute damaged files again.
        days: how far back failed runs are looked for.
    """
    has_history = True
    try:
        yield from _runs(fix)  # first: a run may wait for a dead one
    except InputError as error:  # the other checks still run
        has_history = False
        yield Finding("problem", str(error))
    yield from _environment()
    yield from _store()
    yield from _site_key()
    yield from _datasets()
    if has_history:
        yield from _or_why_not(_outcomes(days))
    yield from _weights()
    yield from _databases()
    if has_history:
        yield from _or_why_not(_history())
    yield from _stored_files(fix)
    if has_history:
        yield from _or_why_not(_automation())


def _or_why_not(findings: Iterator[Finding]) -> Iterator[Finding]:
    """Yield the findings of a check; an input error becomes one, so the other checks still run."""
    try:
        yield from findings
    except InputError as error:
        yield Finding("problem", str(error))


def _environment() -> Iterator[Finding]:
    import torch

    from resources.compute import Compute

    yield Finding(
        "ok",
        f"medfeat {version('medfeat')}, Python {sys.version.split()[0]}, "
        f"torch {torch.__version__}, Dagster {dg.__version__}",
    )
    yield Finding("ok", f"device: {Compute().resolve()} ({cores()} CPU cores)")
    wrong = list(environment.faults())
    yield from (Finding("problem", str(error)) for error in wrong)
    if not wrong:
        named = ", ".join(environment.set_variables()) or "none is set"
        yield Finding("ok", f"environment variables: {named}")


def _store() -> Iterator[Finding]:
    home = medfeat_home()
    sizes = ", ".join(
        f"{name} {_bytes_below(home / name) / 1e6:.0f} MB"
        for name in ("store", "reports", "unpacked", "dagster")
    )
    yield Finding("ok", f"store {home} is writable ({sizes})")
    for folder, what in ((home, "the store"), (dagster_home(), "Dagster's database")):
        kind = network_file_system(folder)
        if kind is not None:
            yield Finding(
                "problem",
                f"{what} lies on a network file system ({kind}), whose locks neither HDF5 nor "
                "SQLite can rely on. Set MEDFEAT_HOME to a folder on a local disk",
            )
    outside = not dagster_home().is_relative_to(home)
    yield Finding(
        "warning" if outside else "ok",
        f"Dagster home {dagster_home()}"
        + (
            " is not in the store: the command line and the UI show the same runs only if both "
            "have this DAGSTER_HOME"
            if outside
            else ""
        ),
    )
    drops = drops_root()
    yield Finding(
        "ok",
        f"drop folder {drops}"
        + ("" if drops.is_dir() else " (does not exist yet: nothing was dropped)"),
    )


def _bytes_below(folder: Path) -> int:
    """Return the bytes of the files below a folder, which may vanish meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.lstat().st_size
    return total


def _site_key() -> Iterator[Finding]:
    path, home = site_key_path(), medfeat_home()
    if not path.exists() and not (home / FINGERPRINT).exists():
        yield Finding("ok", f"site key {path}: made with the first dataset")
        return
    try:
        names_of(home, "doctor", show=False)
    except InputError as error:
        yield Finding("problem", str(error))
        return
    if path.is_relative_to(home):
        yield Finding(
            "warning",
            f"site key {path} lies in the store, so that a copy of the store carries it. "
            "Move it elsewhere",
        )
    elif path.stat().st_mode & 0o077:
        yield Finding(
            "warning", f"site key {path} can be read by other users. Run: chmod 600 {path}"
        )
    else:
        yield Finding(
            "ok", f"site key {path} (keep a backup: without it names and groups cannot be resolved)"
        )


def _datasets() -> Iterator[Finding]:
    store, needed = DatasetStore(), 0
    for name in store.datasets():
        try:
            arrival = find_arrivals(store, store.spec(name))
            root = arrival.intake.spec.root
            if not root.exists():
                raise InputError(
                    f"the folder {root} does not exist", "Mount it, or register the dataset again"
                )
            needed += bytes_needed(store, name)
        except InputError as error:
            yield Finding("problem", f"dataset {name}: {error}")
            continue
        drops = f", {len(arrival.intake.drops)} drops" if arrival.intake.drops else ""
        yield Finding("ok", f"dataset {name}: {root}{drops}")
    free = free_bytes(medfeat_home())
    state: Literal["ok", "warning", "problem"] = "ok"
    if needed + LOW_DISK_BYTES > free:
        state = "problem" if needed > free else "warning"
    yield Finding(
        state,
        f"{free / 1e9:.1f} GB free; features still to be computed take up to {needed / 1e9:.1f} GB",
    )


def _outcomes(days: int) -> Iterator[Finding]:
    """Yield how the last run of each dataset ended, what waits, and what failed of late."""
    since = datetime.now(UTC) - timedelta(days=days)
    with home_instance() as instance:
        found = list(states(DatasetStore(), instance))
        last = {state.last_run.run_id for state in found if state.last_run is not None}
        failed = [
            (described(instance, record), record.dagster_run.tags.get("dagster/partition"), mended)
            for record, mended in failures_since(instance, since)
        ]
    yield from (finding for state in found for finding in _of_dataset(state))
    for run, dataset, mended in failed:
        if run.run_id not in last:
            of_what = f"dataset {dataset}: " if dataset else ""
            after = "; a later one ended well" if mended else ""
            yield Finding("warning" if mended else "problem", f"{of_what}{run}{after}")
    if not failed:
        yield Finding("ok", f"no run failed in the last {days} days")


def _of_dataset(state: DatasetState) -> Iterator[Finding]:
    """Yield what there is to say of the runs and drops of a dataset."""
    run, name = state.last_run, state.dataset
    has_failed = run is None or not run.is_well
    if run is not None:
        remedy = f". Mend it, then: medfeat backfill {name}" if has_failed else ""
        yield Finding("problem" if has_failed else "ok", f"dataset {name}: last {run}{remedy}")
    for line in state.waits:
        yield Finding("ok", f"waits: {line}")
    if state.unread_drops:
        yield Finding(
            "problem" if run is not None and has_failed else "warning",
            f"dataset {name}: {state.unread_drops} of {state.drops} drops are in no run that ended "
            f"well. Run: medfeat backfill {name}",
        )
    if state.stale and run is not None:
        yield Finding("warning", f"dataset {name}: results are not up to date ({state.stale})")
    if state.like:
        yield Finding(
            "problem" if has_failed else "warning",
            f"dataset {name} was made by a drop folder whose name is nearly {state.like}. If it "
            f"was mistyped: move its drops to {drops_root() / state.like}, then medfeat forget "
            f"{name}",
        )


def _databases() -> Iterator[Finding]:
    """Yield how the storage is that dagster.yaml names."""
    settings = postgres_settings(dagster_home())
    if settings is None:
        yield from _sqlite()
        return
    if postgres.has_password(settings):
        yield Finding(
            "problem",
            f"{dagster_home() / 'dagster.yaml'} holds the password of PostgreSQL, which Dagster "
            "hands to its processes as an argument that every user of this machine can see. Change "
            "the password, take it out, and set PGPASSWORD (docs/scale.md)",
        )
    left = len(databases_of(dagster_home()))
    if left:
        yield Finding(
            "warning",
            f"{left} SQLite databases lie in {dagster_home()} although the history is in "
            "PostgreSQL: medfeat forget does not reach the runs in them. Delete them",
        )


def _sqlite() -> Iterator[Finding]:
    broken = 0
    for database in sorted(dagster_home().glob("**/*.db")):
        try:
            with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
                answer = connection.execute("PRAGMA quick_check").fetchone()[0]
        except sqlite3.DatabaseError as error:
            answer = str(error)
        if answer != "ok":
            broken += 1
            yield Finding(
                "problem",
                f"{database} is damaged ({answer}). Restore it from a backup; the store itself "
                "does not need it",
            )
    if not broken:
        yield Finding("ok", f"Dagster's databases are intact (SQLite in {dagster_home()})")


def _history() -> Iterator[Finding]:
    before = oldest_kept()
    with home_instance() as instance:
        runs = instance.get_runs_count()
        overdue = 0 if before is None else len(old_runs(instance, before - timedelta(days=2)))
        size = f"{history_bytes(instance) / 1e6:.1f} MB"
        server = None if is_on_this_disk(instance) else postgres.server_of(instance)
    if server is not None:
        yield Finding("ok", f"Dagster's history is in PostgreSQL {server.version}, {server.place}")
    if server is not None and server.is_in_clear:
        yield Finding(
            "warning",
            "the connection to PostgreSQL crosses the network unencrypted. Add "
            f"?sslmode=verify-full to the address in {dagster_home() / 'dagster.yaml'}",
        )
    kept = "every run is kept" if before is None else f"runs before {before:%Y-%m-%d} go at night"
    text = f"Dagster's history: {runs} runs, {size}; {kept} ({KEEP_RUNS_DAYS})"
    if overdue:
        text += f". {overdue} of them are overdue: the schedule nightly_history did not run"
    yield Finding("warning" if overdue else "ok", text)


def _weights() -> Iterator[Finding]:
    from resources.weights import alexnet_weights

    try:
        weights = alexnet_weights("auto")
    except InputError as error:
        yield Finding("problem", str(error))
        return
    yield Finding(
        "warning" if weights.notice else "ok",
        f"AlexNet weights: {weights.origin}, SHA-256 {weights.sha256}. {weights.notice}".strip(),
    )


def _runs(fix: bool) -> Iterator[Finding]:
    orphans = 0
    with home_instance() as instance:
        for run in orphaned_runs(instance):
            orphans += 1
            if fix:
                release(instance, run)
                yield Finding("ok", f"run {run.run_id[:8]} was orphaned and is now marked failed")
            else:
                yield Finding(
                    "problem",
                    f"run {run.run_id[:8]} is {run.status.value} but its process is gone. "
                    "Run: medfeat doctor --fix",
                )
    if not orphans:
        yield Finding("ok", "no orphaned runs")


def _stored_files(fix: bool) -> Iterator[Finding]:
    store = DatasetStore()
    damages = list(damaged_files(store))
    if not damages:
        yield Finding("ok", "every stored file is as it was stored")
        return
    if not fix:
        for damage in damages:
            again = (
                "Register the dataset again: medfeat add --replace"
                if not damage.asset
                else "Run: medfeat doctor --fix"
            )
            yield Finding("problem", f"{damage}. {again}")
        return
    for line in mend(store, damages):
        yield Finding("warning", line)
    for damage in damaged_files(store):
        yield Finding("problem", f"{damage}, still")


def _automation() -> Iterator[Finding]:
    with home_instance() as instance:
        statuses = instance.get_daemon_statuses().values()
        beats = [status for status in statuses if status.last_heartbeat is not None]
        off = switched_off(instance)
        failing = failing_ticks(instance)
    if not any(status.healthy for status in beats):
        yield Finding(
            "warning",
            "Dagster's daemon is not running: no drop is picked up and no schedule ticks. Start "
            "it: medfeat ui, or a service (docs/operations.md)",
        )
    else:
        yield Finding("ok", "Dagster's daemon is running")
        for status in beats:
            if status.last_heartbeat and status.last_heartbeat.errors:
                first = str(status.last_heartbeat.errors[0].message).strip().splitlines()[0]
                yield Finding("problem", f"daemon {status.daemon_type} reports: {first}")
    ways = ", ".join(Alerts.from_environment().ways)
    yield Finding("ok", f"alerts of failed runs: {ways or 'off (MEDFEAT_ALERT_MAIL_TO)'}")
    for name, why in failing.items():
        yield Finding("problem", f"the last tick of {name} failed: {why}")
    for name in off:
        yield Finding("warning", f"{name} is switched off. Switch it on under Automation in the UI")

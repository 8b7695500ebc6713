"""Checks of the environment, the store and the runs, and what can be mended."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from data_contracts.errors import InputError
from pipeline.orphans import orphaned_runs, release
from resources.dataset_store import DatasetStore
from resources.home import free_bytes, medfeat_home

LOW_DISK_BYTES = 5 * 10**9


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's."""

    state: Literal["ok", "warning", "problem"]
    text: str


def examine(fix: bool) -> Iterator[Finding]:
    """Every check in turn; ``fix`` fails runs whose process is gone."""
    yield from _environment()
    yield from _store()
    yield from _weights()
    yield from _runs(fix)


def _environment() -> Iterator[Finding]:
    import torch

    from resources.compute import Compute

    yield Finding("ok", f"Python {sys.version.split()[0]}, torch {torch.__version__}, Dagster {dg.__version__}")
    yield Finding("ok", f"device: {Compute().resolve()} ({os.cpu_count()} CPU cores)")


def _store() -> Iterator[Finding]:
    home = medfeat_home()
    free = free_bytes(home)
    yield Finding("ok", f"store {home} is writable")
    state: Literal["ok", "warning"] = "ok" if free > LOW_DISK_BYTES else "warning"
    yield Finding(state, f"{free / 1e9:.1f} GB free on its disk")
    store = DatasetStore()
    for name in store.datasets():
        try:
            spec = store.spec(name)
        except InputError as error:
            yield Finding("problem", str(error))
            continue
        if spec.root.is_dir():
            yield Finding("ok", f"dataset {name}: {spec.root}")
        else:
            yield Finding(
                "problem", f"dataset {name}: the folder {spec.root} is not there. Mount it, or register the dataset again"
            )
    for database in sorted((home / "dagster").glob("**/*.db")):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            answer = connection.execute("PRAGMA quick_check").fetchone()[0]
        if answer != "ok":
            yield Finding(
                "problem", f"{database} is damaged ({answer}). Restore it from a backup; the store itself does not need it"
            )


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
    with dg.DagsterInstance.get() as instance:
        for run in orphaned_runs(instance):
            orphans += 1
            if fix:
                release(instance, run)
                yield Finding("ok", f"run {run.run_id[:8]} was orphaned and is now marked failed")
            else:
                yield Finding(
                    "problem", f"run {run.run_id[:8]} is {run.status.value} but its process is gone. Run: medfeat doctor --fix"
                )
    if not orphans:
        yield Finding("ok", "no orphaned runs")

"""A backfill says what it would run, and what is wrong with one dataset stops no other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from pipeline.commands.several_datasets import Backfill, Ended, run_backfill
from pipeline.launch import INPUT_WRONG
from resources.store.dataset_store import DatasetStore
from tests.assets.plans import new_store

JOBS = {"first": "ahn2019", "second": "ahn2019"}
ALL = Backfill(JOBS, only_stale=False, from_drop=None, given={}, defaults=False, device="auto")


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    store = new_store(tmp_path)
    for name in JOBS:
        store.save_spec(DatasetSpec(name=name, root=tmp_path))
    return store


def planned(store: DatasetStore, backfill: Backfill) -> tuple[list[Ended], list[str]]:
    said: list[str] = []
    return run_backfill(store, backfill, said.append, dry_run=True), said


def test_every_dataset_that_is_due_would_run(store: DatasetStore) -> None:
    ended, said = planned(store, ALL)
    assert [(one.dataset, one.outcome, one.exit_code) for one in ended] == [
        ("first", "would run", 0),
        ("second", "would run", 0),
    ]
    assert said[:2] == ["[1/2] first: ahn2019", "[1/2] first: would run"]


def test_a_dataset_whose_promoted_run_cannot_be_read_stops_no_other(store: DatasetStore) -> None:
    path = store.root / "store" / "first" / "promoted.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    ended, said = planned(store, ALL)
    assert [one.exit_code for one in ended] == [INPUT_WRONG, 0]
    assert "promoted.json" in ended[0].message
    assert said[-1] == "[2/2] second: would run"


def test_a_setting_that_no_study_has_is_refused_before_the_first(store: DatasetStore) -> None:
    said: list[str] = []
    wrong = dataclasses.replace(ALL, given={"filtres": 64})
    with pytest.raises(InputError, match="no setting 'filtres'"):
        run_backfill(store, wrong, said.append, dry_run=True)
    assert said == []

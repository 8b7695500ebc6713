"""What runs around every plan: reuse, identity, unavailable outputs, facts and open readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assets.core.plan import (
    Output,
    Plan,
    Stage,
    StageDefinition,
    StageResult,
    UnavailableError,
    Work,
    run_stage,
)
from assets.core.settings import StageConfig
from data_contracts.errors import ContractError, InputError
from data_contracts.records.facts import NearDuplicateFacts, ReportFacts
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader
from tests.assets.plans import (
    DATASET,
    image_id,
    manifest_row,
    new_store,
    store_features,
    store_manifest,
    store_record,
)

FACTS = ReportFacts(verdict="It helps.")


class Settings(StageConfig):
    """Settings of the stage of these tests."""

    factor: int = 1
    """A number that decides what is computed."""


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return new_store(tmp_path)


class Counted:
    """A stage whose plan says how often it was computed."""

    def __init__(self, store: DatasetStore, **fields: Any) -> None:
        self.store, self.computed, self.plan = store, 0, Plan(self.compute)
        self.fields = {"inputs": ("upstream",), **fields}
        self.facts: Any = FACTS

    def compute(self, work: Work) -> Output:
        self.computed += 1
        return Output(content=self.computed, facts=self.facts, pictures=[("a picture", b"png")])

    def run(self, make: Callable[[Any], Plan] | None = None, **settings: Any) -> StageResult:
        definition = StageDefinition(
            "toy", Settings, make or (lambda here: self.plan), **self.fields
        )
        here = Stage(DATASET, "toy", Settings(**settings), self.store)
        return run_stage(definition, here, "run")


def test_equal_inputs_and_settings_are_not_computed_again(store: DatasetStore) -> None:
    store_record(store, "upstream")
    stage = Counted(store)
    first, second = stage.run(), stage.run()
    assert (first.reused, second.reused, stage.computed) == (False, True, 1)
    assert second.record == first.record
    assert first.record.inputs == {"upstream": store.need_record(DATASET, "upstream").data_version}
    assert [picture.title for picture in first.record.pictures] == ["a picture"]
    assert stage.run(factor=2).record.fingerprint != first.record.fingerprint
    assert stage.run(force=True).reused is False
    assert stage.computed == 3
    assert stage.run(factor=2).reused is True, "an output of earlier settings stays"


def test_a_code_version_and_an_incomplete_output_are_computed_again(store: DatasetStore) -> None:
    store_record(store, "upstream")
    stage = Counted(store)
    stage.run()
    stage.fields["code_version"] = "2"
    assert stage.run().reused is False
    stage.plan = Plan(stage.compute, is_complete=lambda: False)
    assert stage.run().reused is False
    stage.plan = Plan(stage.compute, always=True)
    assert stage.run().reused is False


def test_an_identity_stands_for_the_versions_of_the_inputs(store: DatasetStore) -> None:
    store_record(store, "upstream", summary={"version": 1})
    stage = Counted(store)
    stage.plan = Plan(stage.compute, identity={"images": ["a"]})
    first = stage.run()
    changed = store_record(store, "upstream", summary={"version": 2})
    second = stage.run()
    assert second.reused is True
    assert second.record.inputs == {"upstream": changed.data_version} != first.record.inputs
    stage.plan = Plan(stage.compute, identity={"images": ["a", "b"]})
    assert stage.run().reused is False


def test_a_missing_input_is_named(store: DatasetStore) -> None:
    stage = Counted(store)
    with pytest.raises(InputError, match="upstream"):
        stage.run()
    assert stage.computed == 0


def test_an_unavailable_output_is_stored_with_its_reason(store: DatasetStore) -> None:
    def unavailable(here: Any) -> Plan:
        raise UnavailableError("no weights")

    store_record(store, "upstream")
    stage = Counted(store, facts=ReportFacts)
    result = stage.run(unavailable)
    assert result.record.unavailable == "no weights"
    assert store.need_record(DATASET, "toy") == result.record
    assert stage.run().record.unavailable == "", "it is tried again"


def test_what_an_unavailable_input_is_needed_for_is_unavailable_too(store: DatasetStore) -> None:
    def needs(here: Any) -> Plan:
        here.needs("upstream")
        raise AssertionError("an unavailable input was not noticed")

    store_record(store, "upstream", unavailable="no weights")
    assert Counted(store).run(needs).record.unavailable == "no weights"


def test_another_kind_of_facts_is_a_fault(store: DatasetStore) -> None:
    store_record(store, "upstream")
    stage = Counted(store, facts=ReportFacts)
    stage.facts = NearDuplicateFacts(pairs=0, test_images=0, share=0.0)
    with pytest.raises(ContractError, match="toy gave no ReportFacts"):
        stage.run()
    stage.facts = FACTS
    assert stage.run().record.facts_as(ReportFacts) == FACTS


def test_a_record_without_facts_is_computed_again_once(store: DatasetStore) -> None:
    store_record(store, "upstream")
    stage = Counted(store)
    stage.facts = None
    stage.run()
    stage.facts, stage.fields["facts"] = FACTS, ReportFacts
    assert [stage.run().reused, stage.run().reused] == [False, True]


@pytest.mark.parametrize("fails", [True, False])
def test_readers_are_closed_when_the_stage_ends(
    store: DatasetStore, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[FeatureReader] = []
    monkeypatch.setattr(FeatureReader, "close", lambda reader: closed.append(reader))

    def reads(here: Any) -> Plan:
        reader = here.features("features")

        def compute(work: Work) -> Output:
            assert closed == []
            if fails:
                raise InputError("broken", "mend it")
            return Output(content=reader.rows(0, 1).tolist())

        return Plan(compute)

    store_manifest(store, [manifest_row(0, "train", "a")])
    store_features(store, "features", [image_id(0)], np.ones((1, 2), np.float32), backbone="x")
    stage = Counted(store, inputs=("features",))
    if fails:
        with pytest.raises(InputError, match="broken"):
            stage.run(reads)
    else:
        stage.run(reads)
    assert len(closed) == 1

"""Facts: every kind survives its record, an unknown kind is refused, old records are readable."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from data_contracts.errors import InputError
from data_contracts.records import facts
from data_contracts.records.assessment import (
    Assessment,
    CalibrationFigures,
    ConfidenceBand,
    Estimate,
)
from data_contracts.records.facts import AnyFacts, EvaluationFacts, Facts, ReportFacts
from data_contracts.records.output_record import OutputRecord
from data_contracts.records.sealed import sealed_json, unsealed_json

KINDS: tuple[type[Facts], ...] = get_args(get_args(AnyFacts)[0])
SHARE = Estimate(value=0.5, low=0.25, high=0.75, n=20, groups=10, method="Wilson")
CALIBRATION = CalibrationFigures(
    n=40,
    stated=0.8,
    right=SHARE,
    ece=0.1,
    ece_by_chance=0.2,
    brier=0.3,
    slope=None,
    intercept=None,
    band=ConfidenceBand(low=0.7, high=0.9, stated=0.8, right=SHARE),
)
ASSESSED = Assessment(
    accuracy=SHARE,
    accuracy_out_of_fold=None,
    calibration=CALIBRATION,
    calibration_out_of_fold=None,
    two_classes=None,
)
VALUES: dict[Any, Any] = {
    int: 3,
    float: 0.25,
    str: "text",
    dict[int, float]: {512: 1.5},
    dict[str, str]: {"cae": "the CAE"},
    CalibrationFigures | None: CALIBRATION,
    Estimate | None: SHARE,
    dict[str, Estimate]: {"mass": SHARE},
    dict[str, float]: {"mass": 0.5},
    dict[str, Assessment]: {"tuned": ASSESSED},
    int | None: 7,
    facts.SplitFacts: facts.SplitFacts(images=3, placeholder_images={"group_id": 2}),
}
"""A value of every type that a field of facts has."""


def _record(**fields: Any) -> dict[str, Any]:
    record = {
        "asset": "svm_evaluation_cae",
        "dataset": "tiny",
        "fingerprint": "f",
        "data_version": "v",
        "code_version": "1",
        "settings": {},
        "inputs": {},
        "run_id": "r",
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": 0.0,
        "peak_memory_bytes": 0,
    }
    return record | fields


def _example(kind: type[Facts]) -> Facts:
    fields = kind.model_fields.items()
    return kind(**{name: VALUES[f.annotation] for name, f in fields if name != "kind"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_survives_its_record(kind: type[Facts]) -> None:
    stated = _example(kind)
    record = OutputRecord(**_record(facts=stated))
    again = OutputRecord.model_validate(unsealed_json(sealed_json(record.model_dump(mode="json"))))
    assert again.facts == stated
    assert type(again.facts) is kind
    assert again.facts_as(kind) == stated


def test_every_model_of_facts_that_has_a_kind_can_be_stored() -> None:
    with_kind = {
        model
        for model in vars(facts).values()
        if isinstance(model, type) and issubclass(model, Facts) and "kind" in model.model_fields
    }
    assert with_kind == set(KINDS)
    assert len({model.model_fields["kind"].default for model in KINDS}) == len(KINDS)


@pytest.mark.parametrize(
    "stored",
    [
        {"kind": "another", "verdict": "text"},
        {"verdict": "text"},
        {"kind": "report"},
        {"kind": "report", "verdict": "text", "more": 1},
    ],
)
def test_facts_of_no_kind_or_of_other_fields_are_refused(stored: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OutputRecord.model_validate(_record(facts=stored))


def test_a_record_of_before_facts_is_readable_and_says_so() -> None:
    record = OutputRecord.model_validate(_record(summary={"training images": 3}))
    assert record.facts is None
    with pytest.raises(InputError, match="stored by an earlier version") as error:
        record.facts_as(EvaluationFacts)
    assert error.value.remedy == "Materialise svm_evaluation_cae again"


def test_facts_of_another_kind_and_of_an_unavailable_output_are_not_given() -> None:
    other = OutputRecord(**_record(facts=ReportFacts(verdict="text")))
    with pytest.raises(InputError, match="stored by an earlier version"):
        other.facts_as(EvaluationFacts)
    missing = OutputRecord(**_record(unavailable="no weights"))
    with pytest.raises(InputError, match="is not available: no weights"):
        missing.facts_as(EvaluationFacts)

"""Sidecars of earlier versions stay readable, and nothing else is let in."""

import json

import pytest
from pydantic import ValidationError

from data_contracts.records.model_sidecar import ModelSidecar

SIDECAR = {
    "architecture": "methods.training.cae.ConvAutoEncoder",
    "settings": {"filters": 4},
    "input_shape": [256, 6, 6],
    "fitted_on": "0123456789abcdef",
    "curve": [{"epoch": 1.0, "train_error": 0.5}],
    "weights_sha256": "a" * 64,
}


def test_fields_that_earlier_versions_stored_are_ignored() -> None:
    older = json.dumps({**SIDECAR, "fitted_rows": 12, "input_energy": 3.5})
    assert ModelSidecar.model_validate_json(older) == ModelSidecar(**SIDECAR)
    assert "fitted_rows" not in ModelSidecar.model_validate_json(older).model_dump()


def test_any_other_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="unknown"):
        ModelSidecar.model_validate_json(json.dumps({**SIDECAR, "unknown": 1}))
    with pytest.raises(ValidationError):
        ModelSidecar.model_validate_json("[]")

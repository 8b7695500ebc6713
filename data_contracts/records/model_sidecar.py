"""The JSON record beside a stored model: what it is, and how and on what it was fitted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

RETIRED = frozenset({"fitted_rows", "input_energy"})
"""Fields that earlier versions stored and nothing read; they are ignored."""


class ModelSidecar(BaseModel):
    """Record of one model.

    Attributes:
        architecture: name of the module that reads the weights.
        settings: every setting that decided the weights, besides the data.
        input_shape: shape of one row that it was fitted on.
        fitted_on: data version of the rows that it was fitted on.
        curve: learning curve, one entry an epoch.
        weights_sha256: of the safetensors file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    settings: dict[str, Any]
    input_shape: tuple[int, ...]
    fitted_on: str
    curve: list[dict[str, float]]
    weights_sha256: str = ""

    @model_validator(mode="before")
    @classmethod
    def _without_retired_fields(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {name: value for name, value in fields.items() if name not in RETIRED}

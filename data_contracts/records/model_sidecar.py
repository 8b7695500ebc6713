"""The JSON beside a stored model: what it is, how and on what it was fitted."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class ModelSidecar(BaseModel):
    """Sidecar of one model.

    Attributes:
        architecture: name of the module that reads the weights.
        settings: everything that decided the weights beside the data.
        input_shape: shape of one row it was fitted on.
        fitted_on: data version of the rows.
        fitted_rows: how many.
        curve: learning curve, one entry an epoch.
        input_energy: what errors in the curve are relative to.
        weights_sha256: of the safetensors file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    settings: dict[str, Any]
    input_shape: tuple[int, ...]
    fitted_on: str
    fitted_rows: int
    curve: list[dict[str, float]]
    input_energy: float
    weights_sha256: str = ""

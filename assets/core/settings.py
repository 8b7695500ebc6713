"""Settings that several assets have, each with its default and its help text.

Belongs here: the base of every asset's run config, and one mix-in for each setting that two or more
assets share. The docstring below a field is its help text in the web UI. A default that a function
of ``methods`` also has is taken from there.
"""

from typing import Any, ClassVar, Literal

import dagster as dg
from pydantic import ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError

from data_contracts.errors import InputError
from methods.settings import SVM_C


class StageConfig(dg.Config):
    """Run config that every asset has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    speed_only: ClassVar[frozenset[str]] = frozenset({"force"})
    """Fields that cannot change a result, and so are not part of an output's fingerprint."""

    force: bool = False
    """Compute again although nothing changed."""

    def __init__(self, **values: Any) -> None:
        """Raises InputError where a value is out of range."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise InputError(
                f"{name} is {first['input']}", first["msg"].replace("Input", "It", 1)
            ) from None

    def settings(self) -> dict[str, Any]:
        """The fields that decide the result."""
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in self.speed_only}


class SeedSetting(StageConfig):
    """The seed of everything that an asset draws at random."""

    seed: NonNegativeInt = 0
    """Seed of every random draw."""


class BootstrapSetting(StageConfig):
    """The number of bootstrap resamples behind an interval."""

    bootstrap_resamples: PositiveInt = 10_000
    """Number of bootstrap resamples behind each interval."""


class SvmSettings(StageConfig):
    """The linear SVM."""

    c: PositiveFloat = SVM_C
    """Weight of the loss of the SVM: the paper's regularisation parameter."""
    tolerance: PositiveFloat = 1e-5
    """The SVM stops at this gradient norm, relative to that at zero, and at this duality gap,
    relative to the objective."""


class DicomWindowSetting(StageConfig):
    """Which grey values of a DICOM image are shown."""

    voi: Literal["file", "full"] = "file"
    """Grey values of DICOM: "file" takes the file's own window, "full" all of its range."""


class CodePrecisionSetting(StageConfig):
    """The stored precision of codes, which are sparse and bounded."""

    dtype: Literal["float16", "float32"] = "float16"
    """Stored precision."""

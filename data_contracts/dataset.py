"""What a user says about a dataset: where it lies and how it is to be split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from data_contracts.errors import InputError

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
DatasetName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def check_dataset_name(name: str) -> str:
    """``name`` itself where it can be a partition key and a folder.

    Raises:
        InputError: it has other characters than a-z 0-9 _ -, starts with _ or -, or is longer than 63.
    """
    if not re.match(NAME_PATTERN, name) or name.endswith("\n"):
        raise InputError(
            f"the dataset name {name!r} is not allowed",
            "Use 1 to 63 of a-z, 0-9, _ and -, starting with a letter or digit, for example chest-xray",
        )
    return name


class DatasetSpec(BaseModel):
    """Specification of one dataset, stored as JSON under ``datasets/``.

    Attributes:
        name: partition key and folder name.
        root: absolute folder of the images (read only).
        task: what the labels are.
        split: "given" where folders or the manifest say train and test (a missing split is an error), "stratified" to
            ignore them and draw one, "auto" to take what is there and draw one where nothing is.
        test_fraction: share of a drawn test split; realised to the nearest 1/k.
        split_seed: seed of a drawn split.
        unlabelled: whether images without a label are allowed (they get the split "unlabelled").
        synthetic: generated images; every report of them says so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: DatasetName
    root: Path
    task: Literal["single-label"] = "single-label"
    split: Literal["auto", "given", "stratified"] = "auto"
    test_fraction: float = Field(default=0.25, ge=0.05, le=0.5)
    split_seed: int = Field(default=0, ge=0)
    unlabelled: bool = False
    synthetic: bool = False

    @field_validator("root")
    @classmethod
    def _absolute(cls, root: Path) -> Path:
        if not root.is_absolute():
            raise ValueError("root is an absolute path")
        return root

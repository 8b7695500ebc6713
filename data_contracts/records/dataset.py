"""What a user says about a dataset: where it lies and how it is to be split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from data_contracts.errors import InputError

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
Task = Literal["single-label", "multi-label"]
DatasetName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def check_dataset_name(name: str) -> str:
    """``name`` itself where it can be a partition key and a folder.

    Raises:
        InputError: it has other characters than a-z 0-9 _ -, starts with _ or -, or is longer than
            63.
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
        root: absolute path of the images (read only): a folder, an archive or a MedMNIST-style
            .npz. A dataset that lives from drops alone names its own drop folder.
        task: what the labels are; several labels of one image are written ``a|b``.
        split: "given" where folders or the manifest say train and test (a missing split is an
            error), "stratified" to ignore them and draw one, "auto" to take what is there and draw
            one where nothing is.
        test_fraction: share of a drawn test split; realised to the nearest 1/k.
        split_seed: seed of a drawn split.
        unlabelled: whether images without a label are allowed (they get the split "unlabelled").
        synthetic: generated images; every report of them says so.
        new_labels: what becomes of labelled images that arrive in a drop: "hold" (they are
            featurised and predicted, and neither train nor test), "train" (they extend the training
            side), "given" (as the drop's own split says).
        show_names: whether file names may be written to manifests, logs and reports. Off, a keyed
            pseudonym stands for each.
        allow_burned_in: whether DICOM files that say their pixels carry annotations are taken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: DatasetName
    root: Path
    task: Task = "single-label"
    split: Literal["auto", "given", "stratified"] = "auto"
    test_fraction: float = Field(default=0.25, ge=0.05, le=0.5)
    split_seed: int = Field(default=0, ge=0)
    unlabelled: bool = False
    synthetic: bool = False
    new_labels: Literal["hold", "train", "given"] = "hold"
    show_names: bool = False
    allow_burned_in: bool = False

    @field_validator("root")
    @classmethod
    def _absolute(cls, root: Path) -> Path:
        if not root.is_absolute():
            raise ValueError("root is an absolute path")
        return root

"""The specification of a dataset: where its images lie and how they are split."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from data_contracts.errors import InputError
from data_contracts.slice_axis import DEFAULT_SLICE_AXIS, SliceAxis

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""Allowed names of a dataset: safe as a partition key, a folder and a part of an address."""
Task = Literal["single-label", "multi-label"]
DatasetName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def check_dataset_name(name: str) -> str:
    """Return ``name`` where it can be a partition key and a folder.

    Raises:
        InputError: it has other characters than a-z 0-9 _ -, starts with _ or -, or has more than
            63.
    """
    if not re.match(NAME_PATTERN, name) or name.endswith("\n"):
        raise InputError(
            f"the dataset name {name!r} is not allowed",
            "Use 1 to 63 of a-z, 0-9, _ and -, starting with a letter or digit, for example "
            "chest-xray",
        )
    return name


class DatasetSpec(BaseModel):
    """Specification of one dataset, stored as JSON under ``datasets/``.

    Attributes:
        name: partition key and folder name.
        root: absolute path of the images (read only): a folder, an archive or a MedMNIST-style
            .npz. A dataset that consists of drops alone names its own drop folder.
        task: whether an image has one label or several; several are written ``a|b``.
        split: "given" where folders or the manifest state train and test (a missing split is an
            error), "stratified" to ignore them and draw one, "auto" to use a given split and draw
            one where none is given.
        test_fraction: share of the images in a drawn test split; realised to the nearest 1/k.
        split_seed: seed of a drawn split.
        unlabelled: whether images without a label are allowed (they get the split "unlabelled").
        synthetic: whether the images are generated; every report of them says so.
        new_labels: use of labelled images that arrive in a drop: "hold" (features and predictions
            are computed for them, but they neither train nor test), "train" (they extend the
            training side), "given" (as the drop's own split states).
        show_names: whether file names may be written to manifests, logs and reports; otherwise a
            keyed pseudonym replaces each.
        exact_ids: whether identifiers of groups and patients are taken as they are written:
            otherwise forms of one identifier are joined, placeholders are no identifiers, and the
            patient of a DICOM header stands above a listed group.
        keep_given_split: whether images, groups and patients that are on both sides of a given
            split stay where they are; every result says how many.
        allow_burned_in: whether DICOM files whose header declares burned-in annotations are
            accepted.
        slice_axis: kind of the slices into which volumes (NIfTI) are cut.
        follow_links: folder that links in the dataset and its drops may lead into, such as the
            store of git-annex or DVC, as an absolute path without links in it, or None.
        literal: words that are classes although they are written like a missing value, such as NA.
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
    exact_ids: bool = False
    keep_given_split: bool = False
    allow_burned_in: bool = False
    slice_axis: SliceAxis = DEFAULT_SLICE_AXIS
    follow_links: Path | None = None
    literal: tuple[str, ...] = ()

    @field_validator("keep_given_split")
    @classmethod
    def _nothing_else_is_drawn(cls, keep: bool, others: ValidationInfo) -> bool:
        if keep and others.data.get("split") == "stratified":
            raise ValueError("a given split is kept or another one drawn (--split), not both")
        return keep

    @field_validator("root", "follow_links")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_absolute():
            raise ValueError("it must be an absolute path")
        return path

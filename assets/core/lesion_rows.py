"""The images of two classes of lesions with their folds, for cross-validated classifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from assets.core.manifest_rows import manifest_of
from assets.core.settings import SeedSetting, StageConfig
from data_contracts.errors import InputError
from data_contracts.records.hashing import content_hash
from data_contracts.studies.huynh2016 import HUYNH2016
from methods.curation.manifest_rows import kept_together
from resources.store.dataset_store import DatasetStore

MALIGNANT = "malignant"
"""Class that is the positive one by default."""
FOLDS = 5
"""Number of folds of every cross-validation."""


class GroupingSettings(StageConfig):
    """What the folds keep together, and which class is scored."""

    group_by: Literal["lesion", "patient"] = "lesion"
    """What the folds keep together: the group of the manifest, or the stricter patient_id."""
    positive_class: str = ""
    """Class whose probability is scored; by default "malignant" where there is one, else the second
    by name."""


class FoldConfig(SeedSetting, GroupingSettings):
    """Settings of every cross-validated evaluation; they must agree for methods to be compared."""


class FitConfig(FoldConfig):
    """Settings of what is fitted in the folds."""

    grid_search: Literal["nested", "flat"] = "nested"
    """Folds that choose the kernel: "nested" takes inner folds of the training folds, "flat" the
    very folds that are scored, which is optimistic."""
    zero_variance: Literal["train", "all"] = "train"
    """Images over which a column must be constant to be removed: those of the training folds, or
    all."""
    select_features: Literal["none", "anova"] = "none"
    """Filter of the columns: "anova" keeps those of the largest F over the training folds, their
    number chosen with the kernel."""


@dataclass(frozen=True)
class PartedPatients:
    """How many patients have images in more than one fold.

    Attributes:
        parted: patients with images in two or more folds.
        patients: patients.
        images: images of the parted ones.
    """

    parted: int
    patients: int
    images: int

    def sentence(self) -> str:
        """What a reader must know."""
        if not self.parted:
            return f"None of {self.patients} patients has images in two folds."
        return (
            f"{self.parted} of {self.patients} patients have lesions in two or more folds "
            f"({self.images} images), so classifiers are tested on patients that they were "
            "trained on; group_by=patient keeps each patient in one fold."
        )


@dataclass(frozen=True)
class LesionRows:
    """Labelled images of two classes, in the order of their ids.

    Attributes:
        ids: image ids, sorted.
        positive: (n,) bool, whether each image is of the positive class.
        classes: negative and positive class.
        lesions: smallest image id of each image's lesion; its own where no group is given.
        patients: smallest image id of each image's patient; as ``lesions`` where none is given.
        groups: what the folds keep together.
        fold: (n,) int64, the fold in which each image is tested.
        has_lesions: whether any group is given.
        parted: patients in two folds, counted over all images; None where no patient is given.
    """

    ids: list[str]
    positive: np.ndarray
    classes: tuple[str, str]
    lesions: list[str]
    patients: list[str]
    groups: list[str]
    fold: np.ndarray
    has_lesions: bool
    parted: PartedPatients | None = None

    @property
    def version(self) -> str:
        """Hash of what is fitted and scored in which fold; methods of equal hashes compare."""
        return content_hash(
            [self.ids, self.positive.tolist(), self.lesions, self.patients, self.fold.tolist()]
        )

    def only(self, ids: Sequence[str]) -> "LesionRows":
        """The rows of ``ids``, in their own order."""
        kept = set(ids)
        at = [i for i, image_id in enumerate(self.ids) if image_id in kept]
        return replace(
            self,
            ids=[self.ids[i] for i in at],
            positive=self.positive[at],
            lesions=[self.lesions[i] for i in at],
            patients=[self.patients[i] for i in at],
            groups=[self.groups[i] for i in at],
            fold=self.fold[at],
        )


def lesion_rows(store: DatasetStore, dataset: str, config: FoldConfig) -> LesionRows:
    """The labelled images with their folds; a given train or test side plays no part.

    Raises:
        InputError: there are not two classes, no such positive class, no patient ids to group by, a
            lesion of both classes, or too few groups for the folds.
    """
    from methods.classifiers.polynomial_svm import outer_folds

    usable = [row for row in manifest_of(store, dataset).to_pylist() if row["status"] != "rejected"]
    rows = sorted(
        (row for row in usable if row["status"] == "ok" and row["split"] in ("train", "test")),
        key=lambda row: row["image_id"],
    )
    classes = _classes(dataset, rows, config.positive_class)
    has_patients = any(row["patient_id"] or row["header_patient_id"] for row in rows)
    if config.group_by == "patient" and not has_patients:
        raise InputError(
            f"no image of {dataset} has a patient",
            "Fill the column patient_id of its manifest, or run with --set group_by=lesion",
        )
    no_patient = {"patient_id": None, "header_patient_id": None, "group_source": None}
    lesion_of = kept_together([row | no_patient for row in usable])
    patient_of = kept_together(usable)
    ids = [row["image_id"] for row in rows]
    positive = np.array([row["label"] == classes[1] for row in rows])
    lesions, patients = [lesion_of[i] for i in ids], [patient_of[i] for i in ids]
    _refuse_mixed_lesions(dataset, lesions, positive)
    groups = patients if config.group_by == "patient" else lesions
    try:
        fold = outer_folds(positive, groups, config.seed, FOLDS)
    except ValueError as error:
        raise InputError(
            f"{dataset} cannot be cross-validated: {error}",
            "Add images of other lesions to that class",
        ) from error
    has_lesions = any(row["group_id"] for row in rows)
    parted = _parted(patients, fold) if has_patients else None
    return LesionRows(ids, positive, classes, lesions, patients, groups, fold, has_lesions, parted)


def _parted(patients: Sequence[str], fold: np.ndarray) -> PartedPatients:
    """Count the patients (n,) that have images in two folds (n,) or more."""
    folds_of: dict[str, set[int]] = {}
    for patient, number in zip(patients, fold.tolist(), strict=True):
        folds_of.setdefault(patient, set()).add(number)
    parted = {patient for patient, folds in folds_of.items() if len(folds) > 1}
    images = sum(patient in parted for patient in patients)
    return PartedPatients(len(parted), len(folds_of), images)


def _classes(
    dataset: str, rows: Sequence[Mapping[str, Any]], positive_class: str
) -> tuple[str, str]:
    """The negative and the positive class of rows of the manifest.

    Raises:
        InputError: there are not two, or the positive one that was asked for is not among them.
    """
    names = sorted({row["label"] for row in rows})
    if len(names) != 2:
        raise InputError(
            f"{dataset} has {len(names)} classes, and {HUYNH2016.name} tells two apart",
            "Leave the other images unlabelled",
        )
    chosen = positive_class or (MALIGNANT if MALIGNANT in names else names[1])
    if chosen not in names:
        raise InputError(
            f"{dataset} has no class {chosen!r}", f"Set positive_class to {names[0]} or {names[1]}"
        )
    return (names[1] if chosen == names[0] else names[0]), chosen


def _refuse_mixed_lesions(dataset: str, lesions: Sequence[str], positive: np.ndarray) -> None:
    """Check that all images of a lesion are of one class.

    Raises:
        InputError: there are lesions with images of both classes.
    """
    sides = {
        side: {lesion for lesion, of in zip(lesions, positive, strict=True) if of == side}
        for side in (False, True)
    }
    if mixed := sides[False] & sides[True]:
        raise InputError(
            f"{len(mixed)} lesions of {dataset} have images of both classes",
            "Correct their label or group_id in the manifest; where PatientID of DICOM files "
            "stands for the lesion, list the lesions there",
        )

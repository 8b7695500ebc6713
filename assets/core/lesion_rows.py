"""The images of two classes of lesions with their folds: what every cross-validated classifier is
fitted and scored on.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import NonNegativeInt

from assets.core.manifest_rows import manifest_of
from assets.core.stage import StageConfig
from data_contracts.errors import InputError
from data_contracts.records.hashing import content_hash
from data_contracts.studies.huynh2016 import HUYNH2016
from methods.curation.manifest_rows import ManifestRow, kept_together
from resources.store.dataset_store import DatasetStore

MALIGNANT = "malignant"
FOLDS = 5


class FoldConfig(StageConfig):
    """Settings of every cross-validated evaluation; they must agree for methods to be compared."""

    group_by: Literal["lesion", "patient"] = "lesion"
    """What the folds keep together: the group of the manifest, or the stricter patient_id."""
    positive_class: str = ""
    """Class whose probability is scored; by default "malignant" where there is one, else the second
    by name."""
    seed: NonNegativeInt = 0
    """Of the folds."""


@dataclass(frozen=True)
class LesionRows:
    """Labelled images of two classes, in the order of their ids.

    Attributes:
        ids: image ids, sorted.
        positive: (n,) bool.
        classes: negative and positive class.
        lesions: smallest image id of each image's lesion; its own where no group is given.
        patients: smallest image id of each image's patient; as ``lesions`` where none is given.
        groups: what the folds keep together.
        fold: (n,) int64.
        has_lesions: whether any group is given.
    """

    ids: list[str]
    positive: np.ndarray
    classes: tuple[str, str]
    lesions: list[str]
    patients: list[str]
    groups: list[str]
    fold: np.ndarray
    has_lesions: bool

    @property
    def version(self) -> str:
        """Hash of what is fitted and scored in which fold: equal means that two methods can be
        compared.
        """
        return content_hash(
            [self.ids, self.positive.tolist(), self.lesions, self.patients, self.fold.tolist()]
        )

    def only(self, ids: list[str]) -> "LesionRows":
        """Those of ``ids``."""
        wanted = set(ids)
        at = [i for i, image_id in enumerate(self.ids) if image_id in wanted]
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

    whole = [row for row in manifest_of(store, dataset).to_pylist() if row["status"] != "rejected"]
    rows = sorted(
        (row for row in whole if row["status"] == "ok" and row["split"] in ("train", "test")),
        key=lambda row: row["image_id"],
    )
    names = sorted({row["label"] for row in rows})
    if len(names) != 2:
        raise InputError(
            f"{dataset} has {len(names)} classes, and {HUYNH2016.name} tells two apart",
            "Leave the other images unlabelled",
        )
    chosen = config.positive_class or (MALIGNANT if MALIGNANT in names else names[1])
    if chosen not in names:
        raise InputError(
            f"{dataset} has no class {chosen!r}", f"Set positive_class to {names[0]} or {names[1]}"
        )
    has_patients = any(row["patient_id"] for row in rows)
    if config.group_by == "patient" and not has_patients:
        raise InputError(
            f"no image of {dataset} has a patient",
            "Fill the column patient_id of its manifest, or group by lesion",
        )
    entries = [ManifestRow(**row) for row in whole]
    lesion_of = kept_together([replace(entry, patient_id=None) for entry in entries])
    patient_of = kept_together(entries)
    ids = [row["image_id"] for row in rows]
    positive = np.array([row["label"] == chosen for row in rows])
    lesions, patients = [lesion_of[i] for i in ids], [patient_of[i] for i in ids]
    both = {
        lesion for lesion, is_positive in zip(lesions, positive, strict=True) if is_positive
    } & {lesion for lesion, is_positive in zip(lesions, positive, strict=True) if not is_positive}
    if both:
        raise InputError(
            f"{len(both)} lesions of {dataset} have images of both classes",
            "Correct their label or group_id",
        )
    groups = patients if config.group_by == "patient" else lesions
    try:
        fold = outer_folds(positive, groups, config.seed, FOLDS)
    except ValueError as error:
        raise InputError(
            f"{dataset} cannot be cross-validated: {error}",
            "Add images of other lesions to that class",
        ) from error
    other = names[1] if chosen == names[0] else names[0]
    return LesionRows(
        ids,
        positive,
        (other, chosen),
        lesions,
        patients,
        groups,
        fold,
        any(row["group_id"] for row in rows),
    )

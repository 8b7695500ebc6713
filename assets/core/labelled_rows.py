"""The labelled images of a dataset: what every classifier is fitted on and scored on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from assets.core.manifest_rows import manifest_of
from data_contracts.errors import InputError
from data_contracts.records.hashing import content_hash
from data_contracts.studies.registry import check_task
from data_contracts.studies.study import Study
from methods.curation.leakage import find_leaks, leak_error
from methods.curation.manifest_rows import ManifestRow, can_be_drawn, kept_together
from resources.store.dataset_store import DatasetStore


@dataclass(frozen=True)
class LabelledRows:
    """Labelled images in the order of their ids.

    Attributes:
        ids: image ids, sorted.
        labels: (n,) class of each, or its label set as "a|b".
        train: positions of the training images.
        test: positions of the test images.
        groups: of each image the smallest id among all that its group and its patient, listed or
            named by a header, connect it with; its own where it has none.
        has_groups: whether any group was given.
    """

    ids: list[str]
    labels: np.ndarray
    train: np.ndarray
    test: np.ndarray
    groups: list[str]
    has_groups: bool

    @property
    def version(self) -> str:
        """Hash of what a classifier is fitted and scored on; equal hashes can be compared."""
        return content_hash(
            [self.ids, self.labels.tolist(), self.train.tolist(), self.test.tolist(), self.groups]
        )

    @property
    def test_version(self) -> str:
        """Hash of the test images with their labels: of one test split, whatever is trained on."""
        return content_hash([[self.ids[i] for i in self.test], self.labels[self.test].tolist()])

    @property
    def train_groups(self) -> list[str] | None:
        """Groups of the training images, for intervals; None where there are none."""
        return [self.groups[i] for i in self.train] if self.has_groups else None

    @property
    def test_groups(self) -> list[str] | None:
        """Groups of the test images, for intervals; None where there are none."""
        return [self.groups[i] for i in self.test] if self.has_groups else None


def groups_by_image(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Group of each image that rows of the manifest name, by its id: the patient above others.

    An image without a group is one of its own; equal pixels are no group.
    """
    return kept_together([ManifestRow(**{**row, "pixel_sha256": None}) for row in rows])


def labelled_rows(store: DatasetStore, dataset: str, study: Study) -> LabelledRows:
    """The labelled images that train or test.

    Raises:
        InputError: the task is not the study's, or an image or a group is on both sides of the
            split and the user did not say to keep it.
    """
    spec = store.spec(dataset)
    check_task(dataset, spec.task, study)
    manifest = manifest_of(store, dataset).to_pylist()
    leaks = [] if spec.keep_given_split else find_leaks(manifest)
    if leaks:
        raise leak_error(dataset, leaks, can_be_drawn(manifest, spec))
    rows = [row for row in manifest if row["status"] == "ok" and row["split"] in ("train", "test")]
    rows.sort(key=lambda row: row["image_id"])
    together = groups_by_image(rows)
    split = np.array([row["split"] for row in rows])
    return LabelledRows(
        ids=[row["image_id"] for row in rows],
        labels=np.array([row["label"] for row in rows], dtype=np.str_),
        train=np.flatnonzero(split == "train"),
        test=np.flatnonzero(split == "test"),
        groups=[together[row["image_id"]] for row in rows],
        has_groups=any(row["group_id"] or row["patient_id"] for row in rows),
    )


def scorable_rows(store: DatasetStore, dataset: str, study: Study) -> LabelledRows:
    """The labelled images, enough of them to fit a classifier and to score it.

    Raises:
        InputError: as :func:`labelled_rows`, or there are fewer than two classes to learn or no
            test image.
    """
    rows = labelled_rows(store, dataset, study)
    classes = len(set(rows.labels[rows.train]))
    if not len(rows.test) or classes < 2:
        raise InputError(
            f"{dataset} has {len(rows.train)} labelled training images of {classes} classes "
            f"and {len(rows.test)} labelled test images",
            "An evaluation needs two classes to learn and test images to score",
        )
    return rows

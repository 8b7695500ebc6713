"""The labelled images of a dataset: what every classifier is fitted on and scored on."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from assets.core.manifest_rows import ManifestVersion, manifest_of, manifest_version, scored_images
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.hashing import content_hash
from data_contracts.studies.registry import check_task
from data_contracts.studies.study import Study
from methods.curation.leakage import find_leaks, leak_error
from methods.curation.manifest_rows import can_be_drawn, kept_together
from resources.store.dataset_store import DatasetStore

GROUP_COLUMNS = [
    "image_id",
    "status",
    "drop",
    "copy_of",
    "group_id",
    "group_source",
    "patient_id",
    "header_patient_id",
]
"""Columns of the manifest that say which images belong together."""
LEAK_COLUMNS = [*GROUP_COLUMNS, "path", "frame", "split", "pixel_sha256"]
"""Columns of the manifest in which a leak of the split is seen."""


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


def groups_by_image(images: pa.Table) -> dict[str, str]:
    """Group of each image of a manifest by its id: the patient above others.

    An image without a group is one of its own; equal pixels are no group.
    """
    return kept_together(images.select(GROUP_COLUMNS).to_pylist())


def labelled_rows(store: DatasetStore, dataset: str, study: Study) -> LabelledRows:
    """The labelled images that train or test.

    Raises:
        InputError: the task is not the study's, or an image or a group is on both sides of the
            split and the user did not say to keep it.
    """
    spec = store.spec(dataset)
    check_task(dataset, spec.task, study)
    return _labelled(manifest_version(store, dataset), spec)


@lru_cache(maxsize=1)
def _labelled(version: ManifestVersion, spec: DatasetSpec) -> LabelledRows:
    """The labelled images of a manifest; raises as :func:`labelled_rows`."""
    manifest = manifest_of(version.store, version.dataset)
    if not spec.keep_given_split:
        leaks = find_leaks(manifest.select(LEAK_COLUMNS).to_pylist())
        if leaks:
            raise leak_error(version.dataset, leaks, can_be_drawn(manifest.to_pylist(), spec))
    rows = scored_images(version.store, version.dataset)
    together = groups_by_image(rows)
    ids, split = rows["image_id"].to_pylist(), np.array(rows["split"].to_pylist(), np.str_)
    return LabelledRows(
        ids=ids,
        labels=np.array(rows["label"].to_pylist(), dtype=np.str_),
        train=np.flatnonzero(split == "train"),
        test=np.flatnonzero(split == "test"),
        groups=[together[image_id] for image_id in ids],
        has_groups=any(any(rows[name].to_pylist()) for name in ("group_id", "patient_id")),
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

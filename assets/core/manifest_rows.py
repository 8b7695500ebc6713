"""Rows of a dataset's current image manifest, as the assets ask for them."""

from dataclasses import dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.asset_names import IMAGE_MANIFEST
from data_contracts.tables.manifest import MANIFEST, ok_rows
from resources.store.atomic_file import FileStamp
from resources.store.dataset_store import DatasetStore


@dataclass(frozen=True)
class ManifestVersion:
    """A stored image manifest as it lies on the disk; an equal one has the same rows.

    Attributes:
        store: of the home.
        dataset: partition key.
        sha256: digest that its record states.
        stamp: of its file.
    """

    store: DatasetStore
    dataset: str
    sha256: str
    stamp: FileStamp


def manifest_version(store: DatasetStore, dataset: str) -> ManifestVersion:
    """The version of the current image manifest.

    Raises:
        InputError: it has not been materialised.
        ContractError: its file is gone.
    """
    record = store.need_record(dataset, IMAGE_MANIFEST)
    file = store.need_file(record, MANIFEST)
    return ManifestVersion(store, dataset, file.sha256, store.stamp_of(record, file))


def manifest_of(store: DatasetStore, dataset: str) -> pa.Table:
    """The current image manifest; its bytes and rules are checked once in a process.

    Raises:
        InputError: it has not been materialised.
    """
    return _manifest(manifest_version(store, dataset))


@lru_cache(maxsize=1)
def _manifest(version: ManifestVersion) -> pa.Table:
    return version.store.main_table(version.dataset, IMAGE_MANIFEST, MANIFEST)


def usable_images(store: DatasetStore, dataset: str) -> pa.Table:
    """The usable images of the current manifest, sorted by their ids."""
    return _usable(manifest_version(store, dataset))


@lru_cache(maxsize=1)
def _usable(version: ManifestVersion) -> pa.Table:
    return ok_rows(_manifest(version))


def usable_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the usable images, sorted."""
    ids: list[str] = usable_images(store, dataset)["image_id"].to_pylist()
    return ids


def scored_images(store: DatasetStore, dataset: str) -> pa.Table:
    """The usable images that train or test a classifier, sorted by their ids."""
    images = usable_images(store, dataset)
    return images.filter(pc.is_in(images["split"], value_set=pa.array(["train", "test"])))


def scored_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the usable images that train or test a classifier, sorted."""
    ids: list[str] = scored_images(store, dataset)["image_id"].to_pylist()
    return ids


def label_in_words(label: str | None) -> str:
    """A label for a caption: "" is none of several labels, None an unknown one."""
    return "(no label)" if label is None else label or "(none of them)"

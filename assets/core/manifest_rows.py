"""Rows of a dataset's current image manifest, as the assets ask for them."""

import pyarrow as pa

from data_contracts.asset_names import IMAGE_MANIFEST
from data_contracts.tables.manifest import MANIFEST, ok_rows
from resources.store.dataset_store import DatasetStore


def manifest_of(store: DatasetStore, dataset: str) -> pa.Table:
    """The current image manifest.

    Raises:
        InputError: it has not been materialised.
    """
    return store.main_table(dataset, IMAGE_MANIFEST, MANIFEST)


def usable_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the usable images, sorted."""
    ids: list[str] = ok_rows(manifest_of(store, dataset))["image_id"].to_pylist()
    return ids


def scored_ids(store: DatasetStore, dataset: str) -> list[str]:
    """Ids of the usable images that train or test a classifier, sorted."""
    rows = ok_rows(manifest_of(store, dataset)).to_pylist()
    return [row["image_id"] for row in rows if row["split"] in ("train", "test")]


def label_in_words(label: str | None) -> str:
    """A label for a caption: "" is none of several labels, None an unknown one."""
    return "(no label)" if label is None else label or "(none of them)"

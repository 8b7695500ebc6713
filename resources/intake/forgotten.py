"""Datasets that were forgotten: the sensor of drops registers none of them again by itself.

A mark is an empty file that is named with a keyed hash, so that the home does not hold the name.
"""

from pathlib import Path

from resources.intake.site_key import names_of
from resources.store.atomic_file import make_folder, write_atomically
from resources.store.dataset_store import DatasetStore

FOLDER = "forgotten"
"""Folder of the marks, below that of the specifications."""


def _mark_of(store: DatasetStore, dataset: str) -> Path:
    mark = names_of(store.root, dataset, show=False).signature("forgotten")
    return store.root / "datasets" / FOLDER / mark


def mark_forgotten(store: DatasetStore, dataset: str) -> None:
    """Keep drops of this name from becoming a dataset.

    Raises:
        InputError: there is no usable site key, or the mark cannot be written.
    """
    mark = _mark_of(store, dataset)
    make_folder(mark.parent)
    write_atomically(mark, b"")


def is_forgotten(store: DatasetStore, dataset: str) -> bool:
    """Whether a dataset of this name was forgotten and not added again.

    Raises:
        InputError: there is no usable site key.
    """
    return (store.root / "datasets" / FOLDER).is_dir() and _mark_of(store, dataset).exists()


def lift_mark(store: DatasetStore, dataset: str) -> None:
    """Let drops of this name count again, because the dataset is added.

    Raises:
        InputError: there is no usable site key.
    """
    if is_forgotten(store, dataset):
        _mark_of(store, dataset).unlink(missing_ok=True)

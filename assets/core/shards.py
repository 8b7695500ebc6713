"""Reading and filling feature shards."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from assets.core.manifest_rows import usable_ids
from data_contracts.errors import ContractError, InputError
from data_contracts.records.feature_shard import FeatureSet
from resources.progress import progress
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureReader, FeatureStore, Produce

READ_ROWS = 256
"""Number of images read and computed at once; bounds the memory of every feature stage."""


def stored_features(store: DatasetStore, dataset: str, asset: str) -> FeatureStore:
    """The current shards of ``asset``.

    Raises:
        InputError: the asset has not been materialised, or is not available.
        ContractError: it stores no features.
    """
    record = store.need_record(dataset, asset)
    if record.unavailable:
        raise InputError(
            f"{asset} of {dataset} is not available: {record.unavailable}",
            "Mend that, and run again",
        )
    if record.feature_set is None:
        raise ContractError(f"{asset} of {dataset} stores no features", "Name an asset that does")
    return FeatureStore(store, dataset, record.feature_set)


def open_features(
    store: DatasetStore, dataset: str, asset: str, image_ids: Sequence[str] | None = None
) -> FeatureReader:
    """Reader over the current shards of ``asset``: of all usable images, or of ``image_ids``.

    Raises:
        InputError: the asset has not been materialised, or is of another set of images.
    """
    shards = stored_features(store, dataset, asset)
    return shards.reader(list(image_ids) if image_ids is not None else usable_ids(store, dataset))


class RowSource(Protocol):
    """Rows of images that are read by position."""

    @property
    def image_ids(self) -> list[str]:
        """Ids of the images, in the order of the rows."""

    def take(self, positions: Sequence[int], /) -> np.ndarray:
        """Return rows by position, in the order asked for."""


def in_blocks(
    compute_rows: Callable[[np.ndarray], np.ndarray],
    source: RowSource,
    features: FeatureSet,
    rows_at_once: int,
    caption: str,
) -> Produce:
    """A function that fills shards of ``features`` from blocks of rows of ``source``.

    Args:
        compute_rows: from a block of rows to the rows that are stored.
        source: rows of the images that will be asked for.
        features: shape and dtype of the stored rows.
        rows_at_once: rows of a block; bounds the memory.
        caption: name of the work in the progress bar.
    """
    position = {image_id: i for i, image_id in enumerate(source.image_ids)}

    def produce(batch: list[str]) -> np.ndarray:
        rows = np.empty((len(batch), *features.row_shape), features.dtype)
        for start in progress(
            range(0, len(batch), rows_at_once), caption, len(batch), size=rows_at_once
        ):
            block = source.take([position[i] for i in batch[start : start + rows_at_once]])
            rows[start : start + len(block)] = compute_rows(block)
        return rows

    return produce

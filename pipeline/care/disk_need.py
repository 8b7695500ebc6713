"""Estimates how much disk the features of a dataset will take."""

from __future__ import annotations

import numpy as np

from assets.features.auto_encoder import CaeModelConfig, EncodeConfig
from assets.features.frozen_networks import AlexNetConfig
from data_contracts import asset_names as names
from data_contracts.records.facts import ManifestFacts
from data_contracts.records.feature_shard import FeatureSet
from methods.imaging.preprocessing import PreprocessingSettings
from resources.intake.arrivals import find_arrivals
from resources.intake.drops import file_stamps
from resources.store.dataset_store import DatasetStore

CONV5_SHAPE = (256, 6, 6)
"""Row shape of the features of AlexNet's fifth layer: channels, height, width."""
CODE_POSITIONS = 9
"""Number of positions at which each filter of the auto-encoder gives a code."""


def _defaults() -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return NumPy dtype and row shape of every asset of shards, with default settings."""
    side = PreprocessingSettings().size
    codes = (EncodeConfig().dtype, (CaeModelConfig().filters, CODE_POSITIONS))
    return {
        names.PREPARED_IMAGES: ("uint8", (side, side, 3)),
        names.ALEXNET_CONV5: (AlexNetConfig().dtype, CONV5_SHAPE),
        names.CAE_FEATURES: codes,
        names.RANDOM_CAE_FEATURES: codes,
    }


def _row_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return int(np.dtype(dtype).itemsize * np.prod(shape))


def bytes_needed(store: DatasetStore, dataset: str) -> int:
    """Return the uncompressed bytes of the features still to be computed, an upper bound of disk.

    Every file below the dataset's folder and its drops counts as one image; an archive that was
    never unpacked counts as one.

    Raises:
        InputError: the dataset's files cannot be read, or a record is damaged.
    """
    spec = store.spec(dataset)
    intake = find_arrivals(store, spec).intake
    n_files = sum(len(drop.files) for drop in intake.drops)
    if not intake.in_drops_only and spec.root.exists():
        n_files += len(file_stamps(spec.root.resolve(), spec.follow_links))
    manifest = store.record(dataset, names.IMAGE_MANIFEST)
    n_images = (
        manifest.facts.usable_images
        if manifest is not None and isinstance(manifest.facts, ManifestFacts)
        else n_files
    )
    needed = 0
    sizes = _defaults()
    maps = store.record(dataset, names.BACKBONE_FEATURES)
    # else AlexNet's own shards
    if maps is not None and maps.feature_set is not None and maps.feature_set.kind == maps.asset:
        sizes[maps.asset] = (maps.feature_set.dtype, maps.feature_set.row_shape)
    for asset, (dtype, shape) in sizes.items():
        record = store.record(dataset, asset)
        stored_set: FeatureSet | None = record.feature_set if record is not None else None
        stored = (record.rows or 0) if record is not None else 0
        per_row = (
            _row_bytes(stored_set.dtype, stored_set.row_shape)
            if stored_set is not None
            else _row_bytes(dtype, shape)
        )
        needed += max(n_images - stored, 0) * per_row
    return needed

"""What a run would take on a machine without a card, said before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.core.stage import DEFINITIONS
from assets.evaluations.cae_seeds import CHEAP_WORK
from data_contracts import asset_names as names
from resources.cores import cores
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import number_of_files
from resources.store.dataset_store import DatasetStore

CHEAP_SECONDS = 40.0
"""Seconds of one core that a training of CHEAP_WORK takes."""
LONG_SECONDS = 30 * 60.0
"""Estimated time in seconds from which a run is announced as long."""
SHORTER = ((1024, 40), (1024, 15), (256, 40), (256, 15), (256, 5))
"""Numbers of filters and epochs that are proposed in the place of longer ones, in this order."""


def training_seconds(images: int, filters: int, epochs: int) -> float:
    """Estimated seconds of a training of the auto-encoder on all cores of this machine."""
    return CHEAP_SECONDS * images * filters * epochs / CHEAP_WORK / cores()


def estimate_line(
    store: DatasetStore, dataset: str, settings: Mapping[str, Any], device: str
) -> str | None:
    """Say what the training of the auto-encoder would take, and a shorter setting.

    Args:
        store: store of the home.
        dataset: name of a registered dataset.
        settings: of the run, ``key`` or ``asset.key``; others have their defaults.
        device: "auto", "cpu", "cuda" or "mps".

    Returns:
        None where it is short, where there is a card, or where one with these settings is stored.
    """
    defaults = DEFINITIONS[names.CAE_MODEL].config_type().settings()
    chosen = {
        key: settings.get(f"{names.CAE_MODEL}.{key}", settings.get(key, defaults[key]))
        for key in ("filters", "epochs")
    }
    if not all(isinstance(value, int) for value in chosen.values()):
        return None  # refused with its reason when the run begins
    stored = store.record(dataset, names.CAE_MODEL)
    if stored is not None and all(stored.settings.get(k) == v for k, v in chosen.items()):
        return None
    filters, epochs = chosen["filters"], chosen["epochs"]
    images = _files(store, dataset)
    if training_seconds(images, filters, epochs) < LONG_SECONDS or _has_card(device):
        return None
    shorter = next(
        (one for one in SHORTER if training_seconds(images, *one) < LONG_SECONDS), SHORTER[-1]
    )
    return (
        f"{dataset}: training {filters:,} filters for {epochs} epochs on up to {images:,} images "
        f"takes about {_in_words(training_seconds(images, filters, epochs))} on "
        f"{cores()} cores without a card; about {_in_words(training_seconds(images, *shorter))}: "
        f"--set filters={shorter[0]} epochs={shorter[1]}"
    )


def _files(store: DatasetStore, dataset: str) -> int:
    """Number of files that have arrived for a dataset: about that of its images."""
    return number_of_files(find_arrivals(store, store.spec(dataset)).intake)


def _has_card(device: str) -> bool:
    """Whether a run would compute on a card."""
    from resources.compute import Compute

    return device != "cpu" and Compute(device=device).resolve() != "cpu"


def _in_words(seconds: float) -> str:
    minutes = max(round(seconds / 60), 1)
    return f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"

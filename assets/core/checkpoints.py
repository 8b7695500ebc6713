"""Checkpoints of a training, on the way and after a kill."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from assets.core.stage import Work
from resources.store.dataset_store import DatasetStore
from resources.store.model_store import drop_checkpoint, load_checkpoint, save_checkpoint

CHECKPOINT_INTERVAL_FACTOR = 20
"""Checkpoints are this many times as far apart as one takes to write: they cost at most 5 % of the
training."""


class Checkpoint(Protocol):
    """What a training needs to go on."""

    @property
    def tensors(self) -> Mapping[str, Any]:
        """Weights, and the optimiser's state."""

    @property
    def state(self) -> Mapping[str, Any]:
        """JSON-able."""


class SpacedCheckpoints:
    """Checkpoints of the training of one output."""

    def __init__(self, store: DatasetStore, work: Work) -> None:
        self._place = (store, work.dataset, work.asset, work.fingerprint)
        self._spent, self._saved_at = 0.0, float("-inf")

    def load(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Tensors and state of the last checkpoint of the same output, or None."""
        return load_checkpoint(*self._place)

    def offer(self, take: Callable[[], Checkpoint]) -> None:
        """Store a checkpoint if the last one is long enough ago."""
        started = time.monotonic()
        if started - self._saved_at < CHECKPOINT_INTERVAL_FACTOR * self._spent:
            return
        checkpoint = take()
        save_checkpoint(*self._place, checkpoint.tensors, checkpoint.state)
        self._saved_at = time.monotonic()
        self._spent = self._saved_at - started

    def drop(self) -> None:
        """Remove it, once the output is stored."""
        drop_checkpoint(*self._place)

"""Stored checkpoints of a training, from which a run that was killed goes on."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from assets.core.plan import Work
from resources.progress import place
from resources.store.model_store import drop_checkpoint, load_checkpoint, save_checkpoint

if TYPE_CHECKING:
    from methods.training.loop import Checkpoint

CHECKPOINT_INTERVAL_FACTOR = 20
"""Time between two checkpoints, as a multiple of the time that writing one takes.

Checkpoints so cost at most 5 % of a training.
"""


class SpacedCheckpoints:
    """Checkpoints of the training of one output."""

    def __init__(self, work: Work) -> None:
        self._place = (work.store, work.dataset, work.asset, work.fingerprint)
        self._spent, self._saved_at = 0.0, float("-inf")

    def load(self) -> "Checkpoint | None":
        """Return the last checkpoint of the same output, or None."""
        from methods.training.loop import Checkpoint

        stored = load_checkpoint(*self._place)
        if stored:
            place().kept = f"epoch {int(stored[1].get('epochs', 0)) + 1}"
        return Checkpoint(*stored) if stored else None

    def offer(self, take: Callable[[], "Checkpoint"], epoch: int) -> None:
        """Store a checkpoint after an epoch (counted from 1) if the last one is long enough ago."""
        started = time.monotonic()
        if started - self._saved_at < CHECKPOINT_INTERVAL_FACTOR * self._spent:
            return
        checkpoint = take()
        save_checkpoint(*self._place, checkpoint.tensors, checkpoint.state)
        self._saved_at = time.monotonic()
        self._spent = self._saved_at - started
        place().kept = f"epoch {epoch + 1}"

    def drop(self) -> None:
        """Remove it, once the output is stored."""
        drop_checkpoint(*self._place)
        place().kept = ""

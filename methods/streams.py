"""Work side by side on a CPU: small pieces on a thread each use it better than all threads in every operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], at_once: int | None = None) -> list[Result]:
    """``work(item)`` of every item, in their order, in streams that share torch's threads.

    Args:
        work: runs with or without gradients, as the caller does.
        items: the pieces.
        at_once: most streams; None: as many as torch has threads.
    """
    threads = torch.get_num_threads()
    streams = max(min(threads, len(items), threads if at_once is None else at_once), 1)
    if streams == 1:
        return [work(item) for item in items]
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def alike(item: Item) -> Result:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return work(item)

    torch.set_num_threads(threads // streams)  # a thread takes this number over when it first computes
    try:
        with ThreadPoolExecutor(streams) as pool:
            return list(pool.map(alike, items))
    finally:
        torch.set_num_threads(threads)

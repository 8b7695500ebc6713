"""Streams: pieces of work side by side on a CPU, each on a few of torch's threads.

Small batches on a thread each use a processor better than all threads in every operation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def _pool(streams: int, each: int) -> ThreadPoolExecutor:
    """Return the threads of so many streams, which each have so many of torch's threads.

    They are kept: in a new thread oneDNN prepares every operation anew, which takes a millisecond.
    """
    return ThreadPoolExecutor(streams, f"stream of {each}")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a fork has none of its parent's threads


@contextmanager
def _torch_threads(number: int) -> Iterator[None]:
    """Give torch this many threads, here and in threads that first compute in this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], at_once: int | None = None
) -> list[Result]:
    """Run ``work(item)`` of every item in streams that share torch's threads.

    Args:
        work: runs with or without gradients, as the caller does.
        items: pieces of work.
        at_once: maximum number of streams; None means one for each of torch's threads.

    Returns:
        The results in the order of the items. Where one fails, its error is raised once no item is
        being worked on any more.
    """
    threads = torch.get_num_threads()
    streams = max(min(threads, len(items), threads if at_once is None else at_once), 1)
    if streams == 1:
        return [work(item) for item in items]
    each = threads // streams
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def run(item: Item) -> Result:
        if torch.get_num_threads() != each:  # a thread keeps the number that it first computed with
            torch.set_num_threads(each)
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return work(item)

    with _torch_threads(each):
        futures = [_pool(streams, each).submit(run, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)

"""Work side by side on a CPU: small pieces on a thread each use it better than all threads in every
operation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def _threads(number: int, each: int) -> ThreadPoolExecutor:
    """Made once: in a new thread oneDNN prepares every product anew, which takes a millisecond."""
    return ThreadPoolExecutor(number, f"stream of {each}")


os.register_at_fork(after_in_child=_threads.cache_clear)  # the threads themselves stay behind


@contextmanager
def threads_each(number: int) -> Iterator[None]:
    """Torch has so many threads in each thread that first computes in this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def submit(number: int, each: int, work: Callable[[Item], Result], item: Item) -> Future[Result]:
    """``work(item)`` in one of so many threads, each of which has ``each`` of torch's threads.

    For calls in :func:`threads_each` of that number, which may end when the work is done.
    """

    def alone() -> Result:
        # a thread has a number of its own, from when it first computed
        if torch.get_num_threads() != each:
            torch.set_num_threads(each)
        return work(item)

    return _threads(number, each).submit(alone)


def settle(futures: Collection[Future[Any]]) -> None:
    """Take back what is not begun, and wait for the rest."""
    for future in futures:
        future.cancel()
    wait(futures)


def finished(futures: Sequence[Future[Result]]) -> list[Result]:
    """Their results, in their order; where one fails its error, once none is at work any more."""
    try:
        return [future.result() for future in futures]
    finally:
        settle(futures)


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], at_once: int | None = None
) -> list[Result]:
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

    each = threads // streams
    with threads_each(each):
        return finished([submit(streams, each, alike, item) for item in items])

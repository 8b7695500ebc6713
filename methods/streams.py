"""Work side by side on a CPU: small pieces on a thread each use it better than all threads in every operation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


@cache
def threads_of(number: int, each: int) -> ThreadPoolExecutor:
    """So many threads, made once: oneDNN prepares every product anew in a new one, which takes a millisecond.

    Args:
        number: of threads.
        each: of torch's threads that each of them has: ``torch.set_num_threads`` must have been called with it when they are
            given work, as a thread takes it over when it starts.
    """
    return ThreadPoolExecutor(number, f"stream of {each}", initializer=torch.get_num_threads)  # asking takes it over


os.register_at_fork(after_in_child=threads_of.cache_clear)  # the threads themselves stay behind


def finished(futures: Sequence[Future[Result]]) -> list[Result]:
    """Their results, in their order; where one fails its error, once none is at work any more."""
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()
        wait(futures)


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

    torch.set_num_threads(threads // streams)
    try:
        return finished([threads_of(streams, threads // streams).submit(alike, item) for item in items])
    finally:
        torch.set_num_threads(threads)

"""Progress of long work: a bar on a terminal, log lines elsewhere (Dagster shows them)."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("medfeat.progress")
T = TypeVar("T")
LOG_EVERY_SECONDS = 10.0
"""Minimum interval between two log lines, in seconds."""


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Iterate over ``items`` and show progress under the name ``what``."""
    count = total if total is not None else len(items) if isinstance(items, Sized) else None
    if sys.stderr.isatty():
        yield from tqdm(items, desc=what, total=count, leave=False)
        return
    last = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last > LOG_EVERY_SECONDS:
            last = time.monotonic()
            log.info("%s: %s of %s", what, done, count if count is not None else "?")
        yield item

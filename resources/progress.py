"""Progress of a run: where it is, a bar on a terminal, log lines elsewhere (Dagster shows them)."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("medfeat.progress")
T = TypeVar("T")
LOG_EVERY_SECONDS = 10.0
"""Minimum interval between two log lines, in seconds."""


@dataclass
class Place:
    """Where this process is in its run.

    Attributes:
        run_id: the Dagster run; "" before the first stage.
        dataset: that it works on.
        number: of the present stage, from 1.
        of: number of the run's stages.
        kept: what a stopped training goes on from, in words; "" outside of one.
        images: number of images that the stage computes shard by shard; 0 outside of that.
        images_done: those whose shards are stored.
    """

    run_id: str = ""
    dataset: str = ""
    number: int = 0
    of: int = 0
    kept: str = ""
    images: int = 0
    images_done: int = 0

    def __str__(self) -> str:
        """The beginning of a line, such as "[ 3/37] "."""
        return f"[{self.number:>{len(str(self.of))}}/{self.of}] " if self.of else ""


_PLACE = Place()


def place() -> Place:
    """Where this process is in its run; a run has one process."""
    return _PLACE


def enter_stage(run_id: str, dataset: str, of: int) -> None:
    """Note that the next stage of a run of ``of`` stages begins."""
    if _PLACE.run_id != run_id:
        _PLACE.run_id, _PLACE.number = run_id, 0
    _PLACE.dataset, _PLACE.number, _PLACE.of, _PLACE.kept = dataset, _PLACE.number + 1, of, ""


@contextmanager
def in_shards(images: int) -> Iterator[Callable[[int], None]]:
    """Let the progress of each shard be shown as that of ``images`` images together.

    Yields:
        to be called with the number of images of a shard that is stored.
    """

    def stored(number: int) -> None:
        _PLACE.images_done += number

    _PLACE.images, _PLACE.images_done = images, 0
    try:
        yield stored
    finally:
        _PLACE.images = _PLACE.images_done = 0


@dataclass(frozen=True)
class _Shown:
    """What is shown of some work.

    Attributes:
        what: the work, in words.
        unit: what is counted.
        of: number of units in all; None where it is unknown.
        done: those of them that were done before the work began.
        size: number of units in an item.
    """

    what: str
    unit: str
    of: int | None
    done: int
    size: int

    def after(self, items: int) -> int:
        """Units that are done after so many items; the last one may have fewer."""
        units = self.done + items * self.size
        return units if self.of is None else min(units, self.of)


def progress(
    items: Iterable[T],
    what: str,
    total: int | None = None,
    *,
    size: int = 1,
    unit: str = "image",
    done: int = 0,
    describe: Callable[[T], str] | None = None,
) -> Iterator[T]:
    """Iterate over ``items`` and show progress under the name ``what``.

    Args:
        items: what is worked through.
        what: the work, in words.
        total: number of units, with those that were done before; by default those of the items.
        size: number of units in an item; the last one may have fewer.
        unit: what is counted, in the singular.
        done: number of units that were done before, by a run that was stopped.
        describe: what to say of the last item that is done, such as the error after an epoch.
    """
    of = total
    if of is None and isinstance(items, Sized):
        of = len(items) * size + done
    if unit == "image" and _PLACE.images:
        of, done = _PLACE.images, _PLACE.images_done
    shown = _Shown(what, unit, of, done, size)
    show = _with_bar if sys.stderr.isatty() else _with_lines
    yield from show(items, shown, describe)


def _with_bar(
    items: Iterable[T], shown: _Shown, describe: Callable[[T], str] | None
) -> Iterator[T]:
    caption = f"  {_PLACE.dataset} {_PLACE}{shown.what}" if _PLACE.dataset else shown.what
    with tqdm(
        desc=caption,
        total=shown.of,
        initial=shown.done,
        leave=False,
        unit=f" {shown.unit}s",
        dynamic_ncols=True,
    ) as bar:
        for number, item in enumerate(items, 1):
            yield item
            bar.update(shown.after(number) - bar.n)
            if describe is not None:
                bar.set_postfix_str(describe(item), refresh=False)


def _with_lines(
    items: Iterable[T], shown: _Shown, describe: Callable[[T], str] | None
) -> Iterator[T]:
    began = last = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last <= LOG_EVERY_SECONDS:
            continue
        last, units = now, shown.after(number)
        line = f"{shown.what}: {units:,} of {'?' if shown.of is None else f'{shown.of:,}'}"
        rate = (units - shown.done) / (now - began)
        if shown.of is not None and rate > 0:
            line += f" {shown.unit}s, {_duration((shown.of - units) / rate)} left"
        log.info(line if describe is None else f"{line}; {describe(item)}")


def seldom(say: Callable[[T], None]) -> Callable[[T], None]:
    """Return ``say`` as a function that says nothing so soon after it has said something."""
    said = float("-inf")

    def say_seldom(item: T) -> None:
        nonlocal said
        if time.monotonic() - said > LOG_EVERY_SECONDS:
            said = time.monotonic()
            say(item)

    return say_seldom


def _duration(seconds: float) -> str:
    """A duration in words: 40 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"

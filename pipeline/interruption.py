"""Ctrl-C and SIGTERM end any command within a few seconds, wherever it is.

A signal first raises KeyboardInterrupt, so that a run ends in order. Some work cannot be left
(a long product in compiled code, a wait of a library that puts signals off), so a thread that
learns of the signal from the interpreter itself ends the process after :data:`GRACE_SECONDS`. That
harms nothing: every file is written whole or not at all, as for a process that is killed.
"""

from __future__ import annotations

import _thread
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from typer.core import TyperGroup

from resources.progress import place

GRACE_SECONDS = 3.0
"""Time from a signal to the end of a process that does not end by itself, in seconds."""
INTERRUPTIONS = ("KeyboardInterrupt", "DagsterExecutionInterruptedError")
"""Names of the exceptions that a signal raises; Dagster's own is not imported for its name."""
AGAIN_SECONDS = 0.05
"""Time after which an interruption that a destructor swallowed is raised again, in seconds."""
CANCEL_SECONDS = 1.0
"""Maximum time to mark a run as canceled before such an end, in seconds."""


class Stopped(BaseException):
    """A person stopped the command.

    The parser of arguments lets it pass, unlike KeyboardInterrupt.
    """


class StoppableGroup(TyperGroup):
    """Commands whose interruption leaves the parser of arguments as :class:`Stopped`."""

    def invoke(self, ctx: Any) -> Any:
        """Call the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Stopped from None


class _Signals:
    """What is known of the signals of this process.

    Attributes:
        first: number of the first signal that asked for the end; None before.
        at_end: called before a process that does not end by itself is ended.
        repeated: whether the next signal is the first one again, raised by this process itself.
    """

    first: int | None = None
    at_end: Callable[[], None] | None = None
    repeated: bool = False


_SIGNALS = _Signals()


def exit_code() -> int:
    """The exit code of a command that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_SIGNALS.first or signal.SIGINT)


def was_interrupted() -> bool:
    """Whether a signal has asked for the end of this command."""
    return _SIGNALS.first is not None


def farewell() -> str:
    """The line that a stopped command ends with."""
    kept = place().kept
    if kept:
        return f"stopped; the same command goes on from {kept}"
    return "stopped; what was finished is stored, and the same command goes on from there"


@contextmanager
def at_forced_end(action: Callable[[], None]) -> Iterator[None]:
    """Call ``action`` if the process must be ended while the block runs."""
    _SIGNALS.at_end = action
    try:
        yield
    finally:
        _SIGNALS.at_end = None


def heed_signals() -> None:
    """Let SIGINT and SIGTERM end this process in order, or after :data:`GRACE_SECONDS`.

    Call it once, in the main thread.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.unraisablehook = _raise_again
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, writing), name="signals", daemon=True).start()


def _raise_again(lost: sys.UnraisableHookArgs) -> None:
    """Raise an interruption once more that fell into a destructor, where Python drops it."""
    if lost.exc_type.__name__ not in INTERRUPTIONS:
        sys.__unraisablehook__(lost)
    elif threading.current_thread() is threading.main_thread():
        timer = threading.Timer(AGAIN_SECONDS, _interrupt_again)
        timer.daemon = True
        timer.start()


def _interrupt_again() -> None:
    _SIGNALS.repeated = True
    _thread.interrupt_main()


def _watch(reading: socket.socket, writing: socket.socket) -> None:
    """Note the signals that arrive; end the process some time after the first, or at the second.

    ``writing`` is kept, as nothing else refers to it.
    """
    while True:
        for number in reading.recv(16):
            if number not in (signal.SIGINT, signal.SIGTERM):
                continue
            if _SIGNALS.repeated:
                _SIGNALS.repeated = False
                continue
            if _SIGNALS.first is not None:
                _end()
            _SIGNALS.first = number
            timer = threading.Timer(GRACE_SECONDS, _end)
            timer.daemon = True
            timer.start()


def _end() -> None:
    """End this process at once; its run is marked as canceled where that can be done."""
    if _SIGNALS.at_end is not None:
        last = threading.Thread(target=_quietly, args=(_SIGNALS.at_end,), daemon=True)
        last.start()
        last.join(CANCEL_SECONDS)
    end_now()


def end_now() -> NoReturn:
    """Say that the command stopped and end this process.

    The interpreter's own end is left out: it takes seconds after torch and Dagster were loaded, and
    nothing can end it.
    """
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.write(f"\r{farewell()}\n")
        sys.stderr.flush()
    os._exit(exit_code())


def _quietly(action: Callable[[], None]) -> None:
    with suppress(Exception):
        action()

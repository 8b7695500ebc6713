"""Keeps what pydicom and its codecs would print, warn, log or raise from the outside: it quotes
what a file holds.
"""

from __future__ import annotations

import ctypes
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from methods.imaging.dicom.errors import UndecodableDicomError
from methods.imaging.preprocessing import quiet_pillow

_QUIET_LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "rle", "libjpeg")
_QUIET_MODULES = r"(pydicom|pylibjpeg|openjpeg|rle|libjpeg|gdcm|_gdcm)(\.|$)"
_ABOVE_CRITICAL = logging.CRITICAL + 1

_Result = TypeVar("_Result")


class _QuietLibraries:
    """Silences pydicom and its codecs while any thread reads a DICOM file; their warnings and log
    records quote tag values.

    Warning filters belong to the process, and two guards that save and restore them would undo each
    other when they overlap. So this one stands inside the guard for Pillow, which restores them
    when the last thread leaves, and only adds its filters.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with quiet_pillow():
            with self._lock:
                if self._inside == 0:
                    self._silence()  # what the codecs say while they are imported
                    import pydicom.pixels  # noqa: F401  gives its logger a level of its own when it is first imported

                    self._silence()
                self._inside += 1
            try:
                yield
            finally:
                with self._lock:
                    self._inside -= 1

    @staticmethod
    def _silence() -> None:
        warnings.filterwarnings("ignore", module=_QUIET_MODULES)
        for name in _QUIET_LOGGERS:
            logger = logging.getLogger(name)
            # Records of child loggers skip a parent's `disabled` but inherit its level and stop
            # where it does not propagate.
            logger.setLevel(_ABOVE_CRITICAL)
            logger.propagate = False
            logger.disabled = True


_quiet_libraries = _QuietLibraries()


def safely(work: Callable[[], _Result]) -> _Result:
    """The result of `work`; whatever it raises becomes an UndecodableDicomError, for these
    libraries raise nearly everything.

    A MemoryError stays one: whether it speaks against the file only the caller knows, who may have
    set the limit. The error is raised outside of the handler: chained to the library's exception, a
    traceback would print that one's message.
    """
    with _quiet_libraries():
        try:
            return work()
        except UndecodableDicomError as error:
            reason = str(error)
        except MemoryError:
            raise
        except Exception as error:
            reason = f"broken DICOM data ({type(error).__name__})"
    raise UndecodableDicomError(reason)


@contextmanager
def quiet_c_library() -> Iterator[None]:
    """Keeps the JPEG codec inside GDCM from printing to stderr, a line for each frame of 12 bits.

    C's ``stderr`` stands for a closed mouth for the few milliseconds of a call, and Python's own
    stays as it is.
    """
    found = _c_stderr()
    if found is None:  # a C library that names it otherwise stays noisy
        yield
        return
    pointer, nowhere = found
    with _gdcm_lock:
        before = pointer.value
        pointer.value = nowhere
        try:
            yield
        finally:
            pointer.value = before


# GDCM holds the interpreter's lock while it decodes, so this one costs nothing
_gdcm_lock = threading.Lock()


@cache
def _c_stderr() -> tuple[ctypes.c_void_p, int] | None:
    """The C library's ``stderr`` and a stream that goes nowhere."""
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    nowhere = library.fopen(b"/dev/null", b"w")
    for name in ("stderr", "__stderrp"):  # Linux, macOS
        try:
            pointer = ctypes.c_void_p.in_dll(library, name)
        except ValueError:
            continue
        return (pointer, int(nowhere)) if nowhere else None
    return None

"""Silences pydicom and its codecs, whose messages and exceptions quote what a file holds."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from methods.imaging.image_format import UndecodableImageError
from methods.imaging.quiet import ignoring_warnings

_QUIET_LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "rle", "libjpeg")
_QUIET_MODULES = r"(PIL|pydicom|pylibjpeg|openjpeg|rle|libjpeg|gdcm|_gdcm)(\.|$)"
_ABOVE_CRITICAL = logging.CRITICAL + 1

_Result = TypeVar("_Result")


def _silence_libraries() -> None:
    """Silence pydicom and its codecs, whose warnings and log records quote tag values."""
    _silence_loggers()  # before the import, during which codecs log
    import pydicom.pixels  # noqa: F401  sets the level of its logger when imported first

    _silence_loggers()


def _silence_loggers() -> None:
    for name in _QUIET_LOGGERS:
        logger = logging.getLogger(name)
        # Records of child loggers skip a parent's `disabled` but inherit its level and stop
        # where it does not propagate.
        logger.setLevel(_ABOVE_CRITICAL)
        logger.propagate = False
        logger.disabled = True


def safely(work: Callable[[], _Result]) -> _Result:
    """Return the result of `work`; whatever it raises becomes an UndecodableImageError.

    These libraries raise nearly every exception. A MemoryError stays one: whether the file is to
    blame only the caller knows, who may have set the limit. The error is raised outside of the
    handler: chained to the library's exception, a traceback would print that one's message.
    """
    with ignoring_warnings(_QUIET_MODULES, _silence_libraries):
        try:
            return work()
        except UndecodableImageError as error:
            reason = str(error)
        except MemoryError:
            raise
        except Exception as error:
            reason = f"broken DICOM data ({type(error).__name__})"
    raise UndecodableImageError(reason)


@contextmanager
def quiet_c_library() -> Iterator[None]:
    """Keep the JPEG codec inside GDCM from printing a line to stderr for each frame of 12 bits.

    During the few milliseconds of a call the C library's ``stderr`` writes to /dev/null; Python's
    own ``sys.stderr`` is not touched.
    """
    c_stderr = _c_stderr()
    if c_stderr is None:  # a C library that names it otherwise goes on printing
        yield
        return
    pointer, null_stream = c_stderr
    with _gdcm_lock:
        before = pointer.value
        pointer.value = null_stream
        try:
            yield
        finally:
            pointer.value = before


# GDCM holds the interpreter's lock while it decodes, so this one costs nothing
_gdcm_lock = threading.Lock()


@cache
def _c_stderr() -> tuple[ctypes.c_void_p, int] | None:
    """Return the C library's ``stderr`` pointer and a stream that writes to /dev/null."""
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    null_stream = library.fopen(b"/dev/null", b"w")
    for name in ("stderr", "__stderrp"):  # Linux, macOS
        try:
            pointer = ctypes.c_void_p.in_dll(library, name)
        except ValueError:
            continue
        return (pointer, int(null_stream)) if null_stream else None
    return None

"""The process that decodes untrusted files; only ``resources.intake.limited_decoder`` starts it.

It imports only what a decoder needs, limits itself, and answers in JSON: if a file takes a decoder
over, data comes out of it and never code.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from data_contracts.slice_axis import SliceAxis
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError

HEADROOM = 4 * 2**30
"""Maximum bytes of address space that one file may add, beside another copy of the file.

The largest image that is accepted, 100 megapixels, takes up to 2.5 GiB."""

NEEDS_MEMORY = f"decoding it takes more than {HEADROOM // 2**30} GiB of memory"

_PR_SET_PDEATHSIG = 1
"""Option of Linux's prctl: the signal that a process gets when its parent dies."""

_WORST_SCORE = "1000"
"""Score with which Linux kills this process first where memory runs out."""


def main() -> None:
    """Answer requests until the other end of the socket is closed; the argument is its number."""
    if sys.platform == "linux":
        # in the middle of a decode it would not notice that the socket was closed
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # so that the run itself is not killed where memory runs out
        Path("/proc/self/oom_score_adj").write_text(_WORST_SCORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core of a crash would hold the image
    with Connection(int(sys.argv[1])) as connection:
        connection.send_bytes(b"ready")
        # a dying decoder's messages can quote the file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        while True:
            try:
                request = json.loads(connection.recv_bytes())
                data = connection.recv_bytes()
            except EOFError:
                return
            # processor time; its signal ends the process even in C code
            signal.setitimer(signal.ITIMER_PROF, request["seconds"])
            answer = _answer(data, request["slice_axis"])
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send_bytes(answer)
            del data


def _answer(data: bytes, slice_axis: SliceAxis) -> bytes:
    try:
        with _memory_limit(len(data)):
            facts = inspect_file(data, slice_axis=slice_axis)
    except UndecodableImageError as error:
        return json.dumps({"fault": str(error)}).encode()
    except MemoryError:
        return json.dumps({"fault": NEEDS_MEMORY}).encode()
    return json.dumps({"facts": facts}, default=_as_json).encode()


def _as_json(value: object) -> object:
    """Return what JSON has for facts and for the identifiers, which are a set."""
    return sorted(value) if isinstance(value, frozenset) else vars(value)


@contextmanager
def _memory_limit(n_bytes: int) -> Iterator[None]:
    """Limit the address space to its present size, HEADROOM and one more copy of the file.

    Linux alone tells the present size and enforces the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limits = [
            now + HEADROOM + n_bytes,
            *(limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY),
        ]
        resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


if __name__ == "__main__":
    main()

"""The process that decodes bytes nobody has vouched for; ``resources.intake.limited_decoder``
starts it and is the one to talk to it.

It imports what a decoder needs and no more, gives itself limits, and answers in JSON: should a
decoder be taken over by what it decodes, then data comes out of it and never code.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path

from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import UndecodableImageError

HEADROOM = 4 * 2**30
"""Bytes of address space for one file beyond what the process has when it begins with it, and
beyond another copy of the file. The largest image that is accepted, 100 megapixels, takes up to 2.5
GiB."""

NEEDS_MEMORY = f"decoding it takes more than {HEADROOM // 2**30} GiB of memory"

_PR_SET_PDEATHSIG = 1
_WORST_SCORE = "1000"


def main() -> None:
    """Answer until the other end of the socket, whose number is the argument, is closed."""
    if sys.platform == "linux":
        # in the middle of a decode it would not see that end
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # where memory runs out the run is not what is killed
        Path("/proc/self/oom_score_adj").write_text(_WORST_SCORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the core of a crash would hold the image
    with Connection(int(sys.argv[1])) as connection:
        connection.send_bytes(b"ready")
        # a dying decoder's words can quote the file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        while True:
            try:
                request = json.loads(connection.recv_bytes())
                data = connection.recv_bytes()
            except EOFError:
                return
            # of processor time; its signal ends the process, C or not
            signal.setitimer(signal.ITIMER_PROF, request["seconds"])
            answer = _answer(data, request["decode"])
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.send_bytes(answer)
            del data


def _answer(data: bytes, decode: bool) -> bytes:
    try:
        with _memory_limit(len(data)):
            facts = asdict(inspect_file(data, decode))
    except UndecodableImageError as error:
        return json.dumps({"fault": str(error)}).encode()
    except MemoryError:
        return json.dumps({"fault": NEEDS_MEMORY}).encode()
    return json.dumps({"facts": facts}, default=sorted).encode()  # the identifiers are a set


@contextmanager
def _memory_limit(n_bytes: int) -> Iterator[None]:
    """HEADROOM and room for one more copy of the file; only Linux tells how much there is already
    and keeps to the limit.
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

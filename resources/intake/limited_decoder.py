"""Decoding files in processes that may crash, hang or run out of memory without harm to the run.

Each process has one file at a time, so there is no doubt which file a crash or a hang is due to,
and no other file suffers. They are started by ``subprocess``, not as a pool of ``multiprocessing``
or of a library on top of it: those import the caller's ``__main__`` into each process (all of
Dagster, where a run is the caller) and take their answers out of pickles.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from data_contracts.errors import InputError
from data_contracts.slice_axis import DEFAULT_SLICE_AXIS, SliceAxis
from methods.imaging.image_format import FileFacts, UndecodableImageError

SECONDS = 60.0
"""Processor seconds allowed for a file, beside those of BYTES_PER_SECOND.

The slowest image at the pixel limit, a TIFF of floats, takes a quarter of it, so that a busy
machine makes no image undecodable."""

BYTES_PER_SECOND = 2**20
"""Bytes of a file that add one processor second, since a file of many frames takes longer."""

PATIENCE = 4
"""Wall-clock limit as a multiple of the processor-time limit."""

TRIES = 2
"""Maximum processes that may die of one file before it is refused.

A hang is not tried again: it would hold up a core for another minute, and its limit is so wide that
chance is no explanation, while others can kill a process, when memory runs out for instance."""

KILLED = f"({signal.SIGKILL.name})"
"""Suffix of the reason where the system or a person killed the last process.

That says something of the machine and nothing of the file: a decoder is the first to be killed
where memory runs out, and a limit of its own that a file exceeds gives another reason."""

_ROOT = Path(__file__).parents[2]
"""Folder from which the process imports ``resources``."""

_FACTS = TypeAdapter(FileFacts)
"""Parser of a decoder's answer."""


class _DeadProcessError(Exception):
    """A decoder process ended; the message says how."""


class _Process:
    """One running ``resources.intake.decoder_process``."""

    def __init__(self, slice_axis: SliceAxis) -> None:
        self._slice_axis = slice_axis
        self._connection, theirs = Pipe()
        command = [sys.executable, "-m", "resources.intake.decoder_process", str(theirs.fileno())]
        with theirs:
            # Ctrl-C goes to the group of the terminal and is the caller's to handle.
            self._process = subprocess.Popen(
                command,
                cwd=_ROOT,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},  # there is a process a core already
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                process_group=0,
            )

    def wait_until_ready(self) -> None:
        """Wait until it has started.

        Raises:
            _DeadProcessError: it could not.
        """
        try:
            self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._death() from None

    def inspect(self, data: bytes) -> FileFacts:
        """Inspect one file.

        Raises:
            UndecodableImageError: the decoder refuses it.
            TimeoutError: there is no answer in time; the message is a reason.
            _DeadProcessError: the process died of it.
        """
        seconds = SECONDS + len(data) / BYTES_PER_SECOND
        try:
            request = {"slice_axis": self._slice_axis, "seconds": seconds}
            self._connection.send_bytes(json.dumps(request).encode())
            self._connection.send_bytes(data)
            if not self._connection.poll(PATIENCE * seconds):
                raise TimeoutError(f"decoding it takes more than {PATIENCE * seconds:.0f} s")
            answer = json.loads(self._connection.recv_bytes())
        except (EOFError, ConnectionError):
            if self._process.wait() == -signal.SIGPROF:
                raise TimeoutError(
                    f"decoding it takes more than {seconds:.0f} s of processor time"
                ) from None
            raise self._death() from None
        if "fault" in answer:
            raise UndecodableImageError(answer["fault"])
        return _FACTS.validate_python(answer["facts"])

    def end(self) -> None:
        """Kill the process, whatever it does."""
        self._process.kill()
        self._process.wait()

    def _death(self) -> _DeadProcessError:
        status = self._process.wait()
        how = f"exit status {status}"
        with suppress(ValueError):
            how = signal.Signals(-status).name
        return _DeadProcessError(how)


class LimitedDecoder:
    """Calls :func:`methods.imaging.image_file.inspect_file` in processes with limits.

    There are as many processes as threads that call at once, the first started by the first call.
    Use it as a context manager, or call :meth:`close`.

    Args:
        slice_axis: axis along which volumes are cut.

    Attributes:
        slice_axis: as given.
    """

    def __init__(self, slice_axis: SliceAxis = DEFAULT_SLICE_AXIS) -> None:
        self.slice_axis: SliceAxis = slice_axis
        self._lock = threading.Lock()
        self._processes: set[_Process] = set()
        self._idle: list[_Process] = []
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def inspect(self, data: bytes) -> FileFacts:
        """Decode one file and read its facts.

        Args:
            data: bytes of the file; its content decides the format.

        Raises:
            UndecodableImageError: the decoder refuses it, takes too much time or memory, or dies of
                it each time.
            InputError: no process can be started.
            CancelledError: :meth:`close` was called meanwhile.
        """
        how = ""
        for attempt in range(TRIES):
            process = self._ready(fresh=attempt > 0)
            try:
                facts = process.inspect(data)
            except UndecodableImageError:
                self._give_back(process)
                raise
            except TimeoutError as error:
                self._drop(process)
                raise UndecodableImageError(str(error)) from None
            except _DeadProcessError as error:
                self._drop(process)
                how = str(error)
            else:
                self._give_back(process)
                return facts
        raise UndecodableImageError(f"its decoder died of it {TRIES} times ({how})")

    def close(self) -> None:
        """End all processes; calls in other threads that wait for one are cancelled."""
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.end()

    def _ready(self, fresh: bool) -> _Process:
        with self._lock:
            self._check_open()
            if self._idle and not fresh:
                return self._idle.pop()
            try:
                process = _Process(self.slice_axis)
            except OSError as error:
                raise _no_process(str(error.strerror)) from None
            self._processes.add(process)
        try:
            process.wait_until_ready()
        except _DeadProcessError as error:
            self._drop(process)
            raise _no_process(str(error)) from None
        return process

    def _give_back(self, process: _Process) -> None:
        with self._lock:
            self._idle.append(process)

    def _drop(self, process: _Process) -> None:
        with self._lock:
            process.end()
            self._processes.discard(process)
            self._check_open()

    def _check_open(self) -> None:
        if self._closed:
            raise CancelledError


def _no_process(why: str) -> InputError:
    return InputError(
        f"no process could be started to decode images in ({why})",
        "Free memory, or raise the limit of processes (ulimit -u)",
    )

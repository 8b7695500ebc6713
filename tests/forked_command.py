"""The ``medfeat`` command in a process of its own that has loaded its modules already.

Python's fork server loads them once. A command then takes a fraction of a second, where most of it
is otherwise the import of Dagster and torch; that a command also works in a new interpreter is
shown by the tests of the wheel, of signals and of the environment.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 300
"""Maximum time that a command may take, in seconds."""
LOADED = [
    "pipeline.cli",
    "pipeline.definitions",
    "alembic.command",
    "dagster._core.storage.sqlite_storage",
    "sqlalchemy.dialects.sqlite",
    "methods.features.frozen_network",
    "methods.reporting.figures",
    "methods.classifiers.linear_classifier",
    "matplotlib.pyplot",
    "torch._dynamo",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "sklearn.model_selection",
    "sklearn.svm",
    __name__,
]
"""Modules that are loaded before the first command, and before the first fault that kills."""


def _serve(words: list[str], environment: dict[str, str], out: str, err: str) -> None:
    """Be the command: its words, its environment, and files in the place of its streams."""
    for descriptor, path in ((1, out), (2, err)):
        target = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.dup2(target, descriptor)
        os.close(target)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["medfeat", *words]
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - the process ends with it
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    from pipeline.cli import main

    main()


def forked_command(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``medfeat`` with these words, and variables beside those of this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        for path in (out, err):
            path.touch()
        arguments = (words, {**os.environ, **environment}, str(out), str(err))
        process = context.Process(target=_serve, args=arguments)
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, SECONDS, out.read_bytes(), err.read_bytes())
        return subprocess.CompletedProcess(
            words, process.exitcode, out.read_text(), err.read_text()
        )

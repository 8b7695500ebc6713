"""A PostgreSQL server in a folder of its own, where its programs are on the machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = next(
    (
        folder
        for folder in (
            *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
            *(Path(found).resolve().parent for found in [shutil.which("pg_ctl")] if found),
        )
        if (folder / "initdb").is_file() and (folder / "pg_ctl").is_file()
    ),
    None,
)
USER = "postgres" if os.geteuid() == 0 else None
"""User that the server runs as: it refuses root."""
PASSWORD = "not-for-any-log-7c1e"


@dataclass
class Server:
    """A server on 127.0.0.1 that asks for a password.

    Attributes:
        folder: its data.
        port: it listens on.
    """

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """Address for dagster.yaml, without the password."""
        return f"postgresql+psycopg2://medfeat@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        self._pg_ctl(
            "start", "-l", str(self.folder / "log"), "-o", f"-p {self.port} -h 127.0.0.1 -k ''"
        )

    def stop(self) -> None:
        self._pg_ctl("stop", "-m", "fast")

    def _pg_ctl(self, *words: str) -> None:
        assert PROGRAMS is not None
        command = [str(PROGRAMS / "pg_ctl"), "-D", str(self.folder), "-w", "-t", "60", *words]
        subprocess.run(
            command,
            check=True,
            user=USER,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )


@contextmanager
def running_server() -> Iterator[Server]:
    """Make a server in a temporary folder and start it; end and delete it afterwards."""
    assert PROGRAMS is not None
    top = Path(tempfile.mkdtemp(prefix="medfeat-pg-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server = Server(top / "data", int(probe.getsockname()[1]))
    try:
        (top / "password").write_text(PASSWORD)
        if USER is not None:
            for path in (top, top / "password"):
                shutil.chown(path, USER)
        command = [
            *(str(PROGRAMS / "initdb"), "-D", str(server.folder), "-U", "medfeat", "--no-sync"),
            *("-A", "scram-sha-256", "--pwfile", str(top / "password"), "--locale=C", "-E", "UTF8"),
        ]
        subprocess.run(command, check=True, user=USER, cwd="/", stdout=subprocess.DEVNULL)
        server.start()
        try:
            yield server
        finally:
            if (server.folder / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(top)

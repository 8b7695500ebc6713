"""``python -m pipeline.web.ui``: ``dagster`` as it is, except that ``dagster dev`` starts
:mod:`pipeline.web.server`.
"""

from __future__ import annotations

from collections.abc import Sequence
from subprocess import Popen
from typing import Any

from dagster._cli import dev, main

PLAIN, GUARDED = "dagster_webserver", "pipeline.web.server"


def start_guarded_server() -> None:
    """Dagster's own supervision of server, daemon and code server stays; only the module that the
    server runs is another.
    """
    start = dev.open_ipc_subprocess  # type: ignore[attr-defined]

    def start_guarded(parts: Sequence[str], **kwargs: Any) -> Popen[Any]:
        started: Popen[Any] = start(
            [GUARDED if part == PLAIN else part for part in parts], **kwargs
        )
        return started

    dev.open_ipc_subprocess = start_guarded  # type: ignore[attr-defined]


if __name__ == "__main__":
    start_guarded_server()
    main()  # type: ignore[no-untyped-call]

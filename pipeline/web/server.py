"""``python -m pipeline.web.server``: ``python -m dagster_webserver`` behind
:class:`pipeline.web.guard.SameOrigin`.
"""

from __future__ import annotations

import os
from typing import Any

from dagster_webserver.cli import main
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from pipeline.web.address import ANY_NAME
from pipeline.web.guard import SameOrigin


def guard() -> None:
    """Put the guard in front of every server that Dagster builds in this process."""
    build = DagsterWebserver.build_middleware

    def build_guarded(server: DagsterWebserver[Any, Any]) -> list[Middleware]:
        return [Middleware(SameOrigin, any_name=os.environ.get(ANY_NAME) == "1"), *build(server)]

    DagsterWebserver.build_middleware = build_guarded  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    guard()
    main()  # type: ignore[no-untyped-call]

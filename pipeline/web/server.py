"""``python -m pipeline.web.server``: Dagster's web server behind our guard, with our pictures."""

from __future__ import annotations

import os

from starlette.middleware import Middleware

from pipeline.dagster_internals import run_web_server
from pipeline.web.address import ANY_NAME
from pipeline.web.guard import SameOrigin
from pipeline.web.pictures import StoredPictures


def in_front() -> list[Middleware]:
    """Return the middleware in front of Dagster's, the outermost first."""
    guard = Middleware(SameOrigin, any_name=os.environ.get(ANY_NAME) == "1")
    return [guard, Middleware(StoredPictures)]


if __name__ == "__main__":
    run_web_server(in_front)

"""``python -m pipeline.web.server``: Dagster's web server behind a guard, with our reports."""

from __future__ import annotations

from starlette.middleware import Middleware

from pipeline.dagster_internals import run_web_server
from pipeline.environment import UI_ANY_NAME, value_of
from pipeline.web.guard import SameOrigin
from pipeline.web.pictures import StoredPictures
from pipeline.web.reports import PublishedReports


def in_front() -> list[Middleware]:
    """Return the middleware in front of Dagster's, the outermost first."""
    guard = Middleware(SameOrigin, any_name=value_of(UI_ANY_NAME) == "1")
    return [guard, Middleware(StoredPictures), Middleware(PublishedReports)]


if __name__ == "__main__":
    run_web_server(in_front)

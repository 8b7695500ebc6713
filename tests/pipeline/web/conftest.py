"""A client of our middleware, with a stand-in for Dagster behind it."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from pipeline.web.server import in_front

HERE = "http://127.0.0.1:3000"


@pytest.fixture
def client() -> TestClient:
    def dagster(request: Request) -> PlainTextResponse:
        return PlainTextResponse("dagster")

    routes = [Route("/{path:path}", dagster, methods=["GET", "POST"])]
    return TestClient(Starlette(routes=routes, middleware=in_front()), base_url=HERE)

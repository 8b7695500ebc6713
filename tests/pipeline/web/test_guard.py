"""What other web pages, and strangers' names of this machine, get from the web UI: nothing."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from pipeline.web.guard import SameOrigin

HERE = "127.0.0.1:3000"
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
OWN_PAGE = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "origin": f"http://{HERE}"}


def client(any_name: bool = False) -> TestClient:
    def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("done")

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("done")
        await socket.close()

    routes = [
        Route("/{path:path}", answer, methods=["GET", "POST"]),
        WebSocketRoute("/graphql", talk),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(SameOrigin, any_name=any_name)])
    return TestClient(app, base_url=f"http://{HERE}")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/graphql", {}),  # a program
        ("POST", "/graphql", OWN_PAGE),
        # a browser that knows no Sec-Fetch-Site
        ("POST", "/graphql", {"origin": f"http://{HERE}"}),
        # typed in
        (
            "GET",
            "/",
            {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        ),
        ("GET", "/runs/1", LINK),
        ("GET", "/", {"host": "localhost:8000"}),  # through an SSH tunnel
        ("GET", "/", {"host": "localhost"}),
        ("GET", "/", {"host": "[::1]:3000"}),
        ("GET", "/", {"host": "127.8.9.10:3000"}),
    ],
)
def test_own_pages_programs_and_followed_links_are_let_through(
    method: str, path: str, headers: dict[str, str]
) -> None:
    answer = client().request(method, path, headers=headers)
    assert (answer.status_code, answer.text) == (200, "done")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/graphql", {"sec-fetch-site": "cross-site", "origin": "https://evil.example"}),
        (
            "POST",
            "/graphql",
            {"sec-fetch-site": "same-site", "origin": "http://localhost:8080"},
        ),  # another server of this machine
        ("POST", "/graphql", {"origin": "https://evil.example"}),
        ("POST", "/graphql", {"origin": "http://127.0.0.1:3001"}),
        ("POST", "/graphql", {"origin": "null"}),
        ("POST", "/graphql", {"origin": "http://[broken"}),
        ("POST", "/runs/1", LINK),  # a form
        ("GET", "/graphql", LINK),  # a link with a command in it
        (
            "GET",
            "/graphql",
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "no-cors",
                "sec-fetch-dest": "image",
            },
        ),
        ("GET", "/", {**LINK, "sec-fetch-dest": "iframe"}),  # to be clicked on unknowingly
        (
            "GET",
            "/report_asset_materialization/x",
            {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        ),
    ],
)
def test_other_pages_are_refused(method: str, path: str, headers: dict[str, str]) -> None:
    answer = client().request(method, path, headers=headers)
    assert (answer.status_code, answer.text) == (403, "another page's request is refused\n")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1:3000",
        "localhost.evil.example:3000",
        "",
        "[broken",
    ],
)
def test_a_name_that_a_stranger_points_here_is_refused_unless_a_proxy_is_in_front(
    host: str,
) -> None:
    answer = client().get("/", headers={"host": host, "sec-fetch-site": "same-origin"})
    assert answer.status_code == 403
    assert "127.0.0.1 or localhost" in answer.text
    assert (
        client(any_name=True)
        .get("/", headers={"host": host, "sec-fetch-site": "same-origin"})
        .status_code
        == 200
    )
    assert (
        client(any_name=True)
        .get("/", headers={"host": host, "sec-fetch-site": "cross-site"})
        .status_code
        == 403
    )


def test_another_page_opens_no_web_socket() -> None:
    with client().websocket_connect(
        "/graphql", headers={"origin": f"http://{HERE}", "host": HERE}
    ) as socket:
        assert socket.receive_text() == "done"
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        client().websocket_connect("/graphql", headers={"origin": "https://evil.example"}),
    ):
        pass
    assert refused.value.code == 1008

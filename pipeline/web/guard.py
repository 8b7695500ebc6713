"""Refuses requests that other web pages send to the web UI.

Dagster's server checks neither the origin of a request nor the name it is called by. A browser
sends to this machine what any page that is open in it asks for, and says so in headers that no page
can change. Programs without a browser send none of them and are let through.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

COMMANDS = "/graphql"
"""Path at which Dagster takes commands, in the address of a GET too."""
POLICY_VIOLATION = 1008
"""Close code of a refused WebSocket (RFC 6455, section 7.4.1)."""


class SameOrigin:
    """ASGI middleware: only the UI's own pages, and programs, talk to the server.

    Args:
        app: the server.
        any_name: take any name of the server in ``Host``, as behind a proxy; otherwise only names
            of this machine's loopback, because any other may be a stranger's that he let point to
            it (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, any_name: bool) -> None:
        self.app = app
        self.any_name = any_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 (or close the WebSocket) with the reason, or pass on."""
        reason = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if reason is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(POLICY_VIOLATION, reason)(scope, receive, send)
        else:
            await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self.any_name and not _is_loopback(host):
            return (
                "this server is called 127.0.0.1 or localhost; "
                "behind a proxy start it with --behind-proxy"
            )
        site = headers.get("sec-fetch-site")
        if site is None:
            origin = headers.get("origin")
            foreign = origin is not None and _netloc(origin) != host
        else:
            foreign = site not in ("same-origin", "none")
        if foreign and not _is_followed_link(scope, headers):
            return "another page's request is refused"
        return None


def _netloc(url: str) -> str | None:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    """Tell whether a ``Host`` header names this machine's loopback, with or without a port."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _is_followed_link(scope: Scope, headers: Headers) -> bool:
    """Tell whether a person followed a link to a page, which shows something and does nothing."""
    return (
        scope.get("method") == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
        and not scope["path"].startswith(COMMANDS)
    )

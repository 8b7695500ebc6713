"""What a page that the product writes may hold: no script but one of its own, nothing from
elsewhere, and a policy that says so to the browser."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

ACTIVE = {
    "script",
    "iframe",
    "frame",
    "object",
    "embed",
    "applet",
    "link",
    "base",
    "form",
    "svg",
    "math",
    "audio",
    "video",
    "template",
}
ADDRESSES = {
    "src",
    "href",
    "srcset",
    "action",
    "formaction",
    "data",
    "poster",
    "background",
    "ping",
    "cite",
    "xlink:href",
}
POLICY = {
    "default-src": "'none'",
    "img-src": "data:",
    "style-src": "'unsafe-inline'",
    "base-uri": "'none'",
    "form-action": "'none'",
}

BESIDE = re.compile(r"[a-z0-9-]+\.(csv|tex|json|html)")
"""Address of a file in the folder of the page, to which a link may lead."""

EVIL = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "' onmouseover='alert(1)",
    '" style="background:url(//evil.example)',
    "</style><style>@import '//evil.example/x.css'",
    "</title><base href=//evil.example>",
    "--><iframe src=javascript:alert(1)>",
    "{{ 7*7 }}{% include '/etc/passwd' %}",
]
"""Class names, file names and settings of somebody who has read how pages are attacked."""


class _Page(HTMLParser):
    def __init__(self, script: str) -> None:
        super().__init__(convert_charrefs=True)
        self.script = script
        self.dangers: list[str] = []
        self.policies: list[tuple[str | None, dict[str, str]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag in ACTIVE and not (tag == "script" and self.script and not attrs):
            self.dangers.append(f"<{tag}>")
        for name, value in attrs:
            where, text = f"<{tag} {name}>", (value or "").strip().lower()
            if name.startswith("on"):
                self.dangers.append(f"{where} is an event")
            known = ("data:image/png;base64,", "data:image/jpeg;base64,", "#")
            leads_beside = tag == "a" and BESIDE.fullmatch(value or "")
            if name in ADDRESSES and not (text.startswith(known) or leads_beside):
                self.dangers.append(f"{where} is {text[:40]}")
            if name == "style":
                self._check_style(where, text)
        given = dict(attrs)
        match (given.get("http-equiv") or "").lower():
            case "content-security-policy":
                parts = [part.split(maxsplit=1) for part in (given.get("content") or "").split(";")]
                self.policies.append(
                    (
                        self.open[-2] if len(self.open) > 1 else None,
                        {part[0]: part[1] for part in parts},
                    )
                )
            case "":
                pass
            case other:
                self.dangers.append(f"<meta http-equiv={other}>")
        if tag in ("meta", "img", "br", "hr", "input", "col"):
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            continue

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script" and data != self.script:
            self.dangers.append("another script")
        if self.open and self.open[-1] == "style":
            self._check_style("<style>", data.lower())

    def _check_style(self, where: str, text: str) -> None:
        self.dangers += [
            f"{where} has {word}"
            for word in ("url(", "@import", "expression(", "image-set(")
            if word in text
        ]


def dangers_of(html: str, script: str = "") -> list[str]:
    """Everything in a page that runs, or that loads something; empty is as it should be.

    ``script`` is the only one that may run; the page's policy must then name its hash.
    """
    page = _Page(script)
    page.feed(html)
    page.close()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    expected = POLICY | ({"script-src": f"'sha256-{digest}'"} if script else {})
    policy = [] if page.policies == [("head", expected)] else [f"its policies are {page.policies}"]
    return page.dangers + policy

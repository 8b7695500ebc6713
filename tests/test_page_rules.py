"""The rules see what is dangerous: without this, a page that passes them says nothing."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.page_rules import dangers_of

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action "
    "'none'"
)
META = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'


def page(body: str, head: str = META) -> str:
    return f"<!doctype html><html><head>{head}</head><body>{body}</body></html>"


def test_a_plain_page_has_none() -> None:
    assert (
        dangers_of(
            page(
                '<a href="#x">y</a><img src="data:image/png;base64,AA==">'
                '<p style="width: 1%">&lt;script&gt;</p>'
            )
        )
        == []
    )


@pytest.mark.parametrize(
    "body",
    [
        "<script>1</script>",
        "<ScRiPt src=x>",
        "<img src=x>",
        "<img src='data:image/svg+xml,<svg/>'>",
        "<p onclick=1>",
        "<a href=javascript:1>",
        "<a href='https://x.example'>",
        "<p style='background: URL(x)'>",
        "<style>@import 'x'</style>",
        "<svg>",
        "<iframe>",
        "<form>",
        "<base href=x>",
        "<meta http-equiv=refresh content=0>",
        META,
    ],
)
def test_a_danger_is_seen(body: str) -> None:
    assert dangers_of(page(body)) != []


@pytest.mark.parametrize(
    "head",
    ["", META.replace("default-src 'none'; ", ""), META.replace("img-src data:", "img-src *")],
)
def test_another_policy_is_seen(head: str) -> None:
    assert dangers_of(page("", head)) != []


def test_one_script_is_allowed_where_the_policy_names_its_hash() -> None:
    digest = base64.b64encode(hashlib.sha256(b"1;").digest()).decode()
    named = META.replace("; base-uri", f"; script-src 'sha256-{digest}'; base-uri")
    assert dangers_of(page("<script>1;</script>", named), "1;") == []
    assert dangers_of(page("<script>1;</script>"), "1;") != [], "the browser would not run it"
    for other in ("<script>2;</script>", "<script src=x>1;</script>"):
        assert dangers_of(page(other, named), "1;") != []

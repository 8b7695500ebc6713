"""The page of assets is that of the code."""

from __future__ import annotations

from docs.tools.assets import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "the assets have changed: run `make docs`"

"""Pages: every text is escaped and on one line, and a missing value is an error."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from methods.reporting.document import Report, to_html
from methods.reporting.page_template import page_template, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcode and 漢字", "plain, ünïcode and 漢字"),
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("bell\x07", r"bell\x07"),
        ("right\u202eleft", r"right\u202eleft"),
        ("half\ud800", r"half\ud800"),
        ("joined\u200d\u200c", "joined\u200d\u200c"),
        ("", ""),
    ],
)
def test_what_does_not_show_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_text_is_escaped_and_put_on_one_line() -> None:
    report = Report("a <b>\n& c\u202e", "", (), (), "")
    page = to_html(report)
    assert "<title>a &lt;b&gt; &amp; c\\u202e</title>" in page
    assert "<b>" not in page


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        page_template("report_page").render()

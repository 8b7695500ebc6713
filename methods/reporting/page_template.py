"""Jinja templates of pages that people open.

Every text is escaped and put on one line, and an undefined name is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup


def visible(text: str) -> str:
    """Put ``text`` on one line, with each character that does not show spelt out.

    Such are controls, direction overrides and lone surrogates.

    The joiners U+200C and U+200D stay: several scripts are spelt with them.
    """
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c in "\u200c\u200d"
        else " "
        if c.isspace()
        else c.encode("unicode_escape").decode("ascii")
        for c in text
    )


@cache
def page_template(name: str, **filters: Callable[..., Any]) -> Template:
    """Load the template ``<name>.html.jinja`` of this folder, with the filters of pages."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: (
            visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        ),
    )
    environment.filters |= filters
    return environment.from_string(
        resources.files("methods.reporting").joinpath(f"{name}.html.jinja").read_text("utf-8")
    )

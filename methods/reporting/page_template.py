"""Jinja templates of pages that people open: everything escaped, on one line, and nothing undefined
passes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup


def visible(text: str) -> str:
    """``text`` on one line, with each character that does not show (control, direction override,
    lone surrogate) spelt out.

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
    """The template ``methods/<name>.html.jinja``, with filters of its own."""
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

"""The page that lists the reports of all datasets, or the files of one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from jinja2 import Environment, StrictUndefined, Template

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --paper: #fdfdfc; --ink: #1c2126; --soft: #5c6670;
  --line: #d9dee3; --accent: #0b5a7a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15191d; --ink: #e4e7ea; --soft: #9aa5af; --line: #343c44; --accent: #7cc4e2; }
}
body { margin: 0 auto; max-width: 60rem; padding: 2.5rem clamp(1rem, 4vw, 2.5rem);
  background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  font: 400 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.1rem; margin: 1.75rem 0 .25rem; }
a { color: var(--accent); }
ul { list-style: none; margin: 0; padding: 0; border-top: 1px solid var(--line); }
li { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1.5rem;
  padding: .4rem 0; border-bottom: 1px solid var(--line); }
li span, p { color: var(--soft); }
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% if not groups %}
<p>There is no report yet. A run of a study makes one: medfeat run NAME</p>
{% endif %}
{% for heading, entries in groups %}
{% if heading %}
<h2><a href="{{ heading }}/">{{ heading }}</a></h2>
{% endif %}
<ul>
{% for entry in entries %}
<li><a href="{{ entry.link }}">{{ entry.text }}</a>
<span>{{ entry.when }}, {{ entry.amount }}</span></li>
{% endfor %}
</ul>
{% endfor %}
</body>
</html>
"""


@dataclass(frozen=True, order=True)
class Entry:
    """A file in the list.

    Attributes:
        link: path of the file below the folder that is listed.
        changed: time of its last change, in seconds since 1970.
        size: in bytes.
    """

    link: str
    changed: float
    size: int

    @property
    def folder(self) -> str:
        """The first part of the path, "" for a file of the folder itself."""
        return self.link.partition("/")[0] if "/" in self.link else ""

    @property
    def text(self) -> str:
        """The path below that folder."""
        return self.link.removeprefix(f"{self.folder}/")

    @property
    def when(self) -> str:
        """The time of the last change, in UTC."""
        return f"{datetime.fromtimestamp(self.changed, UTC):%Y-%m-%d %H:%M} UTC"

    @property
    def amount(self) -> str:
        """The size in kB or MB."""
        kilobytes = self.size / 1e3
        return f"{kilobytes / 1e3:.1f} MB" if kilobytes >= 1e3 else f"{kilobytes:.0f} kB"


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_PAGE)


def index_page(folder: str, entries: Sequence[Entry]) -> str:
    """Return the page that lists files by the folder that they lie in.

    Args:
        folder: path of what is listed below the folder of reports, "" for all of it.
        entries: the files.
    """
    folders = sorted({entry.folder for entry in entries})
    groups = [(name, [one for one in entries if one.folder == name]) for name in folders]
    title = f"Reports: {folder}" if folder else "Reports of all datasets"
    return _template().render(title=title, groups=groups)

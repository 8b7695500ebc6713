"""The page of every asset and its settings, from the definitions themselves: ``make docs``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from assets.core.stage import definition_of
from pipeline.graph import ASSETS

PAGE = Path(__file__).parents[1] / "assets.md"
HEAD = """# Every asset and its settings

`make docs` writes this page from the code. A setting goes to every asset that has it
(`--set seed=3`) or to one (`--set svm_evaluation_cae.c=10`). The same help stands beside each field
of *Config* in the web UI. Every asset also has `force`: compute again although nothing changed.

"""


def _cell(text: object) -> str:
    """Text for a cell of a Markdown table."""
    return re.sub(r"\s+", " ", str(text)).strip().replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    """A field's default as it is typed after ``--set name=``."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "(required)"
    return "" if value is None else f"`{value}`" if value != "" else '`""`'


def _families(assets: list[dg.AssetsDefinition]) -> Iterator[list[dg.AssetsDefinition]]:
    """Assets with the same settings and the same description but for their own name, together."""
    together: dict[tuple[Any, ...], list[dg.AssetsDefinition]] = {}
    for asset in assets:
        spec = asset.specs_by_key[asset.key]
        config = definition_of(asset).config_type
        stem = asset.key.path[-1].split("_")[0]
        together.setdefault((spec.group_name, config, stem), []).append(asset)
    yield from together.values()


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    groups: dict[str, list[dg.AssetsDefinition]] = {}
    for asset in ASSETS:
        groups.setdefault(str(asset.specs_by_key[asset.key].group_name), []).append(asset)
    for group, members in groups.items():
        parts.append(f"## {group}\n\n")
        for family in _families(members):
            parts += _family(family)
    return "".join(parts)


def _family(family: list[dg.AssetsDefinition]) -> Iterator[str]:
    """One heading, what each member stores, and their settings."""
    names = [asset.key.path[-1] for asset in family]
    yield f"### {', '.join(f'`{name}`' for name in names)}\n\n"
    descriptions: dict[str, list[str]] = {}
    for asset, name in zip(family, names, strict=True):
        text = _cell(asset.specs_by_key[asset.key].description)
        descriptions.setdefault(text, []).append(name)
    for text, of in descriptions.items():
        which = "" if len(descriptions) == 1 else f"{', '.join(of)}: "
        yield f"- {which}{text}\n"
    fields = definition_of(family[0]).config_type.model_fields
    shown = {name: field for name, field in fields.items() if name != "force"}
    if shown:
        yield "\n| setting | default | |\n| --- | --- | --- |\n"
        for name, field in shown.items():
            yield f"| `{name}` | {_default(field)} | {_cell(field.description or '')} |\n"
    yield "\n"


if __name__ == "__main__":
    PAGE.write_text(page())

"""The settings of studies as a person reads them: name, type, default and meaning."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from data_contracts.errors import InputError
from data_contracts.studies.registry import STUDY_JOBS
from pipeline.graph import GRAPH
from pipeline.launch import fields_of


@dataclass(frozen=True)
class Setting:
    """A setting of a study.

    Attributes:
        name: as it is written after ``--set``.
        kind: its type in words.
        default: as it is typed after ``--set name=``; "" where there is none.
        meaning: one or more sentences.
        assets: names of the assets of the study that have it, sorted.
    """

    name: str
    kind: str
    default: str
    meaning: str
    assets: tuple[str, ...]


def settings_of(job: str) -> list[Setting]:
    """Return the settings of a study's job, by name.

    Where assets have a setting of the same name with another default or meaning, each is listed.

    Raises:
        InputError: there is no such study.
    """
    if job not in STUDY_JOBS:
        raise InputError(f"there is no study {job!r}", f"The studies are: {', '.join(STUDY_JOBS)}")
    keys = GRAPH.resolve_job_def(job).asset_layer.executable_asset_keys
    having: dict[tuple[str, str, str, str], list[str]] = {}
    for key in keys:
        for name, field in fields_of(GRAPH.resolve_assets_def(key)).items():
            meaning = re.sub(r"\s+", " ", field.description or "").strip()
            one = (name, kind_in_words(field), default_in_words(field), meaning)
            having.setdefault(one, []).append(key.path[-1])
    return [Setting(*one, tuple(sorted(having[one]))) for one in sorted(having)]


def settings_text(settings: list[Setting], studies: str) -> Iterator[str]:
    """Yield the lines that a terminal shows of settings.

    Args:
        settings: of one study.
        studies: name of the study.
    """
    yield f"Settings of {studies}. A list is written with commas: --set filter_sizes=32,64"
    yield "A setting goes to every stage that has it; for one stage: --set STAGE.NAME=VALUE"
    several = {one.name for one in settings if sum(o.name == one.name for o in settings) > 1}
    for one in settings:
        yield ""
        default = f" [default: {one.default}]" if one.default else ""
        yield f"{one.name}  ({one.kind}){default}"
        if one.meaning:
            yield f"    {one.meaning}"
        if one.name in several:
            shown = ", ".join(one.assets[:4]) + (", …" if len(one.assets) > 4 else "")
            yield f"    of {shown}"


def default_in_words(field: FieldInfo) -> str:
    """Return a field's default as it is typed after ``--set name=``; "" where there is none."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "(required)"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value) or '""'


def kind_in_words(field: FieldInfo) -> str:
    """Return the type of a field in words, e.g. "list of integers above 0"."""
    kind, bounds = _unwrapped(field.annotation, list(field.metadata))
    if get_origin(kind) is list:
        inner, inner_bounds = _unwrapped(get_args(kind)[0], [])
        return f"list of {_noun(inner)}s{_bounds(inner_bounds)}"
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    return _noun(kind) + _bounds(bounds)


def _unwrapped(kind: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """Return a type without ``Annotated`` and ``None``, and what pydantic knows of its range."""
    while True:
        if get_origin(kind) is Annotated:
            metadata = [*metadata, *kind.__metadata__]
            kind = get_args(kind)[0]
        elif get_origin(kind) in (Union, types.UnionType):
            kind = next(one for one in get_args(kind) if one is not type(None))
        else:
            return kind, metadata


def _noun(kind: Any) -> str:
    names = {bool: "true or false", int: "integer", float: "number", str: "text"}
    return names.get(kind, "value")


def _bounds(metadata: list[Any]) -> str:
    """Return the range that pydantic allows, in words that follow a noun."""
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}
    found = [
        f" {words[limit]} {getattr(one, limit):g}"
        for limit in words
        for one in metadata
        if getattr(one, limit, None) is not None
    ]
    return "".join(found)

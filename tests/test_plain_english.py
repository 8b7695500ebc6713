"""The mechanical part of plain English: how a docstring begins, and how long a line is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "data_contracts",
    "methods",
    "resources",
    "assets",
    "pipeline",
    "docs",
    "benchmarks",
    "faults",
)
FRAGMENT = re.compile(r"(Of|As|At most|At least|By which|In which|From which|Else|So many|Those)\b")
"""Beginnings of a docstring that can only be understood with the name above it."""


def _documented(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring, those of constants and fields included."""
    for node in ast.walk(ast.parse(path.read_text())):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else []:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_docstring_begins_with_a_sentence(folder: str) -> None:
    fragments = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        if ".venv" not in path.parts
        for line, text in _documented(path)
        if FRAGMENT.match(text)
    ]
    assert fragments == []


def test_fragments_are_noticed(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""A module."""\nROWS = 3\n"""Of a manifest."""\n')
    assert [(line, bool(FRAGMENT.match(text))) for line, text in _documented(module)] == [
        (1, False),
        (3, True),
    ]

"""Kinds of notices: what is written is read again, and every notice of the code has a kind."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from data_contracts.records import notices
from data_contracts.records.notices import KINDS, OTHER, Notice, NoticeKind, Weight
from methods.reporting import headings

ROOT = Path(__file__).parents[3]
SHOUTED = re.compile(r"[A-Z][A-Z'-]+( [A-Z][A-Z'-]*)+: ")
"""How a notice begins that was written without its kind."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.words)
def test_what_a_kind_says_is_read_as_that_kind(kind: NoticeKind) -> None:
    assert Notice.read(kind.says("3 of 9: x")) == Notice(kind, "3 of 9: x")
    sections = {value for name, value in vars(headings).items() if name.isupper()}
    assert kind.section in {"", *sections}


def test_a_text_of_no_kind_is_a_notice_to_keep_in_mind() -> None:
    assert Notice.read("something else") == Notice(OTHER, "something else")
    assert OTHER.weight is Weight.CAUTION


def test_methods_behind_the_words_are_kept() -> None:
    assert Notice.read("RANDOM WEIGHTS (A, B)").detail == "(A, B)"


def test_the_marker_names_alarms_and_counts_the_rest() -> None:
    texts = ["NOT CONVERGED: A", "NOT CONVERGED: B"]
    assert notices.marker(texts) == "1 notice"
    assert notices.marker([*texts, "TRANSDUCTIVE: x"]) == "Transductive, 1 more notice"
    assert notices.marker([]) == ""


def test_no_stage_writes_a_notice_without_its_kind() -> None:
    written = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for folder in ("assets", "methods/curation", "methods/reporting", "resources")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and SHOUTED.match(node.value)
    ]
    assert written == []

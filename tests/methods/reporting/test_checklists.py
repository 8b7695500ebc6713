"""Checklists: every item once, and places that are headings of sections."""

from __future__ import annotations

import re

import pytest

from methods.reporting import checklists, headings
from methods.reporting.checklists import (
    CHECKLISTS,
    NOT_KNOWN,
    Checklist,
    Item,
    checklist_table,
    overview_table,
)

HEADINGS = {value for name, value in vars(headings).items() if name.isupper()}


@pytest.mark.parametrize(
    ("checklist", "items"),
    [(checklists.TRIPOD_AI, 27), (checklists.CLAIM, 42), (checklists.STARD, 30)],
)
def test_every_item_once_and_in_order(checklist: Checklist, items: int) -> None:
    numbers = [item.number for item in checklist.items]
    assert len(set(numbers)) == len(numbers)
    whole = [int(re.sub(r"\D", "", number)) for number in numbers]
    assert sorted(set(whole)) == list(range(1, items + 1))
    assert whole == sorted(whole)


@pytest.mark.parametrize("checklist", CHECKLISTS)
def test_every_place_is_a_heading(checklist: Checklist) -> None:
    assert {place for item in checklist.items for place in item.places} <= HEADINGS
    assert len({item.name for item in checklist.items}) == len(checklist.items)


def test_an_item_leads_to_the_first_section_that_is_there() -> None:
    item = Item("1", "Limits", ("Integrity", "Result"))
    assert item.place(["Result"]) == "Result"
    assert item.place(["Result", "Integrity"]) == "Integrity"
    assert item.place([]) == ""


def test_what_no_section_answers_is_said() -> None:
    checklist = Checklist("Short", "Source.", (Item("1", "A", ("Result",)), Item("2", "B")))
    table = checklist_table(checklist, {"Result": "report.html#section-1"})
    assert [row[1] for row in table.rows] == ["Result", NOT_KNOWN]
    assert table.links["Result"] == "report.html#section-1"
    assert table.caption == "Source."


def test_the_overview_counts_what_is_left_for_the_authors() -> None:
    table = overview_table([], "checklist.html")
    assert [row[2] for row in table.rows] == [0, 0, 0]
    full = overview_table(HEADINGS, "checklist.html")
    for row, checklist in zip(full.rows, CHECKLISTS, strict=True):
        left = sum(not item.places for item in checklist.items)
        assert row[1:4] == (len(checklist.items), len(checklist.items) - left, left)

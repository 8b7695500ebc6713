"""Identifiers are compared in one form, and the words that stand for none are recognised."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.identifiers import is_placeholder, normal_id


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        *((text, "7") for text in ("7", "7.0", "0007", "7.", "+7", "7e0", "7.00", "+007.0")),
        *((text, "7") for text in ("\uff17", "\u0667", " 7\t", "\xa07", "7\0", "\u200b7\ufeff")),
        ("1234567.0", "1234567"),
        ("-7.0", "-7"),
        ("-0", "0"),
        ("000", "0"),
        ("1e+05", "100000"),
        ("1.2345678901234568e+18", "1234567890123456800"),
        ("1.20E1", "12"),
        ("9007199254740993", "9007199254740993"),
        ("9007199254740992.0", "9007199254740992"),
        ("0" * 30 + "12345678901234567890123", "12345678901234567890123"),
        ("Mu\u0308ller", "M\xfcller"),
        ("\uff21\uff17", "A7"),
        ("\uff8a\uff9e", "\u30d0"),
        ("A\xa0 7", "A 7"),
        ("Doe^John^^ ", "Doe^John"),
    ],
)
def test_forms_of_one_identifier(text: str, normal: str) -> None:
    assert normal_id(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        *("P7", "p7", "12.1", "12.10", "1.2.840.10008", "12e3", "00e5", "0x7", "7-0", "7^A", "^7"),
        *("A 7", "A7", "\xb2", "Doe^John", "1.2e0", "2026-11-30", "7,0", "7/0", "-7", "e5"),
    ],
)
def test_what_is_no_other_form_is_kept(text: str) -> None:
    assert normal_id(text) == text


@settings(deadline=None)
@given(st.text())
def test_the_form_is_final_and_no_composition_matters(text: str) -> None:
    normal = normal_id(text)
    assert normal_id(normal) == normal
    assert normal_id(unicodedata.normalize("NFD", text)) == normal_id(
        unicodedata.normalize("NFC", text)
    )


@settings(deadline=None)
@given(st.integers(-(10**40), 10**40), st.integers(-(10**40), 10**40))
def test_numbers_are_one_only_where_they_are_equal(one: int, other: int) -> None:
    assert (normal_id(f"{one:050d}") == normal_id(f"{other}.0")) == (one == other)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ANONYMOUS",
            "Anonymous",
            "anon",
            "UNKNOWN",
            "None",
            "N/A",
            "n.a.",
            "nan",
            "NULL",
            "Test",
        ),
        *("0", "000000", "0.0", "X", "xxx", "XXXX", "REMOVED", "DEIDENTIFIED", "De-Identified"),
        *("", " ", "^", "^^^^", "?", "-", "---", ".", "-1", "Anonymous^Patient", "ANON^ANON^"),
        *("no name", "Not Available", "Patient", "\u533f\u540d", "anonymisiert", "An\xf3nimo"),
    ],
)
def test_what_stands_for_nobody(text: str) -> None:
    assert is_placeholder(text)
    assert is_placeholder(f" {text}\0", {"P1", "4711001"})


@pytest.mark.parametrize(
    "text",
    [
        *("ANON0001", "Anonymous-12", "TEST7", "P0", "Naomi", "NA12878", "a", "n", "y", "1", "-2"),
        *("case 3", "None-1", "Testa^Maria", "XY", "Xaver", "patient 7", "\u2605"),
    ],
)
def test_what_may_stand_for_somebody(text: str) -> None:
    assert not is_placeholder(text)


def test_the_first_of_a_numbering_is_somebody() -> None:
    assert not is_placeholder("0", {"1", "2"})
    assert not is_placeholder("000", {"12"})
    assert is_placeholder("0", {"4711001", "P1"})
    assert not is_placeholder("X", {"w"})
    assert is_placeholder("XX", {"w"})

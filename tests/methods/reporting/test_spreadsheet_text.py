"""A text in a CSV file is shown by a spreadsheet, and never run."""

from __future__ import annotations

import pytest

from methods.reporting.spreadsheet_text import spreadsheet_safe


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("", ""),
        ("benign", "benign"),
        ("a=b", "a=b"),
        ("IDC-2 (x)", "IDC-2 (x)"),
        ("Ångström 良性", "Ångström 良性"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("＝1", "'＝1"),
        ("＋1", "'＋1"),
        ("－1", "'－1"),
        ("＠x", "'＠x"),
        ("\tx", "'x"),
        ("\rx", "'x"),
        ("\nx", "'x"),
        ("\t=1", "'=1"),
        ("\x00=1", "'=1"),
        ("\ufeff=1", "'=1"),
        ("  =1", "'  =1"),
        ("\u3000=1", "'\u3000=1"),
        ('"=1', "'\"=1"),
        (" \"' =1", "' \"' =1"),
        ("“=1", "'“=1"),
        ("'=1", "'=1"),
        ("'quoted'", "'quoted'"),
        ('"quoted"', '"quoted"'),
        ("\u200d=1", "'\u200d=1"),
        ("a\r\nb\x07\x85\u2028c", "abc"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("caf\udce9", "caf\\udce9"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
    ],
)
def test_spreadsheet_safe(cell: str, safe: str) -> None:
    assert spreadsheet_safe(cell) == safe
    assert spreadsheet_safe(safe) == safe, "idempotent"


def test_no_short_text_runs() -> None:
    alphabet = "=+-@\t\r\n '\"a＝\x00"
    for cell in (a + b + c for a in alphabet for b in alphabet for c in alphabet):
        safe = spreadsheet_safe(cell)
        assert spreadsheet_safe(safe) == safe
        assert safe.lstrip(" \"'")[:1] not in tuple("=+-@＝") or safe.startswith("'")

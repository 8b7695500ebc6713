"""The normal form of identifiers of patients and groups, and the words that stand for none.

Two identifiers are of one patient where their normal forms are equal. Forms that a program or a
keyboard changes are made equal: composition of accents, widths, blanks, invisible characters, and
the ways to write a whole number. Case, other characters and fractions are kept, since a hospital
may tell patients apart by them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

_WHOLE = re.compile(r"([+-]?)0*([0-9]+?)(?:\.0*)?")
"""A whole number: a sign, zeros in front, digits, a fraction of zeros."""
_SCIENTIFIC = re.compile(r"([+-]?)([1-9])(?:\.([0-9]+?)0*)?[eE]\+?([0-9]{1,2})")
"""A number as Python, R and spreadsheets write a float: one digit other than 0 before the point.

Other texts with an e between digits (12e3, 00e5) are codes rather than numbers.
"""

_PLACEHOLDER_WORDS = (
    "anonymous anonymized anonymised anonymize anonymise anonym anonymisiert anonyme anonimo "
    "anónimo anônimo anoniem anon unknown unk unbekannt inconnu desconocido desconhecido "
    "sconosciuto onbekend unspecified undefined undisclosed none null nan nil na removed deleted "
    "redacted hidden masked blanked blank empty missing deidentified deid test dummy default "
    "nobody noname noid tbd confidential patient subject 匿名 不明 未知"
)
"""Words, casefolded, that stand where an identifier was taken out."""
_FILLER_WORDS = (
    "patient patients name id identifier subject person case number no not the de identified "
    "available applicable given known set data value"
)
"""Words that name nobody where they stand with placeholders or with each other."""
_PLACEHOLDERS, _FILLERS = (
    frozenset(words.split()) for words in (_PLACEHOLDER_WORDS, _FILLER_WORDS)
)
_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ")
_LARGEST_COUNT = 999
"""Largest number that is taken for a patient's number in a list that begins with 0."""


def normal_id(text: str) -> str:
    """Return the form of an identifier in which it is compared, "" where nothing is left.

    Unicode NFC; full-width and half-width characters and the digits of all scripts as ASCII has
    them; no control or invisible characters; single blanks, none at the ends; no empty components
    at the end of a person's name (DICOM PS3.5 6.2); a whole number as its digits alone, computed on
    the text, so that no digit is lost. A number with a fraction is kept: 12.1 and 12.10 can be two
    lesions of patient 12.
    """
    folded = "".join(_folded(character) for character in unicodedata.normalize("NFC", text))
    spaced = " ".join(unicodedata.normalize("NFC", folded).split())
    trimmed = spaced.rstrip("^ ")
    if match := _WHOLE.fullmatch(trimmed):
        sign, digits = match.groups()
        return f"-{digits}" if sign == "-" and digits != "0" else digits
    if match := _SCIENTIFIC.fullmatch(trimmed):
        sign, first, fraction, exponent = match.groups()
        zeros = int(exponent) - len(fraction or "")
        if zeros >= 0:
            return f"{'-' if sign == '-' else ''}{first}{fraction or ''}{'0' * zeros}"
    return trimmed


def _folded(character: str) -> str:
    """Return a character as identifiers are compared: "" for one that nobody sees."""
    if character.isascii() and character.isprintable():
        return character
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category in ("Cc", "Cf"):
        return ""
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if unicodedata.decomposition(character).startswith(("<wide>", "<narrow>")):
        return unicodedata.normalize("NFKC", character)
    return character


def is_placeholder(text: str, others: Collection[str] = ()) -> bool:
    """Whether an identifier stands for no patient, as ANONYMOUS, unknown, n/a, ?, 0 and XXX do.

    Args:
        text: the identifier.
        others: normal forms of the other identifiers of its column. Beside small numbers 0 is the
            first of a numbering, and beside W or Y an X is a letter of one.
    """
    normal = normal_id(text)
    words = re.findall(r"[^\W\d_]+|\d+", normal.casefold())
    joined = "".join(words)
    if not set(normal) - _PUNCTUATION or normal == "-1":
        return True
    if set(joined) == {"0"}:
        return not any(
            other.isdecimal() and 0 < len(other) <= 3 and 0 < int(other) <= _LARGEST_COUNT
            for other in others
        )
    if set(joined) == {"x"}:
        return len(joined) > 1 or not {"w", "y"} & {other.casefold() for other in others}
    return joined in _PLACEHOLDERS or (
        len(words) > 1 and all(word in _PLACEHOLDERS or word in _FILLERS for word in words)
    )

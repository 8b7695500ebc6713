"""Lookup tables: descriptors, packed entries and clamping, by hand (PS3.3 C.11.1.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from methods.imaging.dicom.lookup_table import (
    LookupTable,
    read_descriptor,
    table_entries,
    table_words,
)
from methods.imaging.image_format import UndecodableImageError


def test_inputs_outside_take_the_ends_and_halves_go_to_the_even_entry() -> None:
    table = LookupTable(-1, np.array([10.0, 20.0, 30.0]), 8)
    values = np.array([[-99.0, -1.0, -0.5], [0.5, 1.0, 99.0]])
    np.testing.assert_array_equal(table(values), [[10, 10, 20], [20, 30, 30]])


@pytest.mark.parametrize(
    ("value", "little", "words"),
    [
        (b"\x01\x02\x03", True, [0x0201]),
        (b"\x01\x02\x03\x04", False, [0x0102, 0x0304]),
        (-1, True, [0xFFFF]),
        ([1, -2], True, [1, 0xFFFE]),
    ],
)
def test_words_of_any_vr_are_unsigned(value: Any, little: bool, words: list[int]) -> None:
    assert table_words(value, little).tolist() == words


@pytest.mark.parametrize(
    ("value", "signed", "expected"),
    [
        ([256, 0, 8], False, (256, 0, 8)),
        ([0, 0, 16], False, (65536, 0, 16)),
        ([4, 0xFFFE, 12], True, (4, -2, 12)),
        ([4, 0xFFFE, 12], False, (4, 0xFFFE, 12)),
    ],
)
def test_only_the_first_input_has_a_sign(
    value: list[int], signed: bool, expected: tuple[int, int, int]
) -> None:
    assert read_descriptor(value, signed, True) == expected


def test_a_descriptor_of_two_words_is_refused() -> None:
    with pytest.raises(UndecodableImageError, match="a lookup table is broken"):
        read_descriptor([256, 0], False, True)


def test_entries_of_eight_bits_may_share_a_word_low_byte_first() -> None:
    words = np.array([0x0201, 0x0403])
    assert table_entries(words, 4, 8).tolist() == [1, 2, 3, 4]
    assert table_entries(words, 2, 8).tolist() == [1, 3], "a word each: the high byte is dropped"
    assert table_entries(words, 1, 10).tolist() == [0x0201]


@pytest.mark.parametrize(("count", "bits"), [(5, 8), (3, 12), (1, 0), (1, 17)])
def test_a_table_with_too_few_entries_or_odd_bits_is_refused(count: int, bits: int) -> None:
    with pytest.raises(UndecodableImageError, match="a lookup table is broken"):
        table_entries(np.array([0x0201, 0x0403]), count, bits)

"""A changed bit anywhere in what was sealed is seen."""

from __future__ import annotations

import pytest

from data_contracts.records.sealed import (
    DIGEST_BYTES,
    seal,
    sealed_json,
    unsealed_bytes,
    unsealed_json,
)

CONTENT = {"name": "a", "numbers": [1, 2.5, None], "more": {"ü": True}}


def test_what_is_sealed_comes_back() -> None:
    assert unsealed_json(sealed_json(CONTENT)) == CONTENT
    assert unsealed_bytes(b"some bytes" + seal(b"some bytes")) == b"some bytes"
    assert sealed_json(dict(reversed(CONTENT.items()))) == sealed_json(CONTENT)


def test_every_changed_bit_of_json_is_seen_or_changes_nothing() -> None:
    sealed = sealed_json(CONTENT)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            # a newline that became another white space
            assert unsealed_json(bytes(changed)) == CONTENT, bit
        except ValueError:
            continue


def test_every_changed_bit_and_every_cut_of_bytes_is_seen() -> None:
    sealed = b"some bytes" + seal(b"some bytes")
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="not those that were stored"):
            unsealed_bytes(bytes(changed))
    for length in (0, 5, DIGEST_BYTES, len(sealed) - 1):
        with pytest.raises(ValueError, match="not those that were stored"):
            unsealed_bytes(sealed[:length])


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'"text"', b'{"name": "a"}', b"\xff"])
def test_what_was_never_sealed_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        unsealed_json(data)

"""Content that is stored with its own SHA-256, so that a changed bit is detected on reading.

It protects files that no record lists with their digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from data_contracts.records.hashing import json_sha256

SEAL = "sha256_of_the_rest"
"""Key of the digest in sealed JSON."""
DIGEST_BYTES = 32
"""Length in bytes of the digest that follows sealed bytes."""


def sealed_json(content: Mapping[str, Any], indent: int | None = 1) -> bytes:
    """Return JSON with sorted keys and one more key, the digest of the others.

    Args:
        content: values that JSON can hold; no key is SEAL.
        indent: spaces a level; None for one line, which is made several times as fast.
    """
    sealed = {**content, SEAL: json_sha256(content)}
    return json.dumps(sealed, sort_keys=True, indent=indent).encode()


def unsealed_json(data: bytes) -> dict[str, Any]:
    """Return the content of sealed JSON.

    Raises:
        ValueError: it is no JSON object, has no digest, or does not match its digest.
    """
    content = json.loads(data)
    if not isinstance(content, dict) or content.pop(SEAL, None) != json_sha256(content):
        raise ValueError("its bytes are not those that were stored")
    return content


def seal(data: bytes) -> bytes:
    """Return the digest to store after ``data``, DIGEST_BYTES long.

    It is returned alone, since appending it here would copy the whole of a checkpoint.
    """
    return hashlib.sha256(data).digest()


def unsealed_bytes(stored: bytes) -> bytes:
    """Return the bytes before the digest.

    Raises:
        ValueError: the digest is missing, or is that of other bytes.
    """
    data = stored[:-DIGEST_BYTES]
    if len(stored) < DIGEST_BYTES or hashlib.sha256(data).digest() != stored[-DIGEST_BYTES:]:
        raise ValueError("its bytes are not those that were stored")
    return data

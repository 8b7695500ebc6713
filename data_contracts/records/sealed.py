"""What is stored together with the SHA-256 of itself, so that a changed bit is seen in files that
nothing else lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from data_contracts.records.hashing import json_sha256

SEAL = "sha256_of_the_rest"
DIGEST_BYTES = 32


def sealed_json(content: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys and one key more, the seal.

    Args:
        content: what JSON can hold; no key is SEAL.
    """
    return json.dumps({**content, SEAL: json_sha256(content)}, sort_keys=True, indent=1).encode()


def unsealed_json(data: bytes) -> dict[str, Any]:
    """What was sealed.

    Raises:
        ValueError: it is no JSON object, has no seal, or is not as it was sealed.
    """
    content = json.loads(data)
    if not isinstance(content, dict) or content.pop(SEAL, None) != json_sha256(content):
        raise ValueError("its bytes are not those that were stored")
    return content


def seal(data: bytes) -> bytes:
    """What is stored behind ``data``, of DIGEST_BYTES. By itself, as putting it there would copy
    all of a checkpoint.
    """
    return hashlib.sha256(data).digest()


def unsealed_bytes(stored: bytes) -> bytes:
    """What was sealed.

    Raises:
        ValueError: the digest is not its own.
    """
    data = stored[:-DIGEST_BYTES]
    if len(stored) < DIGEST_BYTES or hashlib.sha256(data).digest() != stored[-DIGEST_BYTES:]:
        raise ValueError("its bytes are not those that were stored")
    return data

"""Digests of JSON-able values, which name records, settings and sets of features."""

from __future__ import annotations

import hashlib
import json


def json_sha256(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of ``value``, 64 hexadecimal digits.

    Canonical JSON has sorted keys and no white space, so equal values have equal digests. A value
    that JSON cannot hold, such as a path, counts as its text.
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def content_hash(value: object) -> str:
    """Return the first 16 hexadecimal digits of :func:`json_sha256`, as a part of file names."""
    return json_sha256(value)[:16]

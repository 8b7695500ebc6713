"""The index of shards lists what can be a shard, each once."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from data_contracts.records.feature_shard import ShardEntry, ShardIndex

ENTRY: dict[str, Any] = {
    "shard": "s.h5",
    "rows": 2,
    "sha256": "0" * 64,
    "bytes": 8,
    "image_ids": ["a" * 64, "b" * 64],
}


def test_an_entry_comes_back_as_it_was_written() -> None:
    index = ShardIndex(shards=[ShardEntry(**ENTRY), ShardEntry(**{**ENTRY, "shard": "t.h5"})])
    assert ShardIndex.model_validate(index.model_dump(mode="json")) == index


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard": "../s.h5"}, "shard"),
        ({"shard": "s.h5\n"}, "shard"),
        ({"shard": "s.parquet"}, "shard"),
        ({"rows": 0, "image_ids": []}, "rows"),
        ({"rows": 1025, "image_ids": ["a" * 64] * 1025}, "rows"),
        ({"image_ids": ["a" * 64]}, "one entry a row"),
        ({"path": "x"}, "path"),
    ],
)
def test_an_entry_that_breaks_a_rule_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ShardEntry(**{**ENTRY, **change})


def test_a_shard_that_is_listed_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="listed twice"):
        ShardIndex(shards=[ShardEntry(**ENTRY), ShardEntry(**ENTRY)])

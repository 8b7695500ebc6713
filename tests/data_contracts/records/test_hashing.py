"""Digests stay what they are: stored fingerprints, keys and seals were made with them."""

from pathlib import PurePosixPath

import pytest

from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.hashing import content_hash, json_sha256
from data_contracts.records.sealed import sealed_json

VALUE = {"b": [1, 2.5, None], "a": {"ü": True}}
DIGEST = "1d44e843f260da50c7436a2f8f04b511003558a7836855e9d615eacf8bc99d3e"
SET = FeatureSet(
    kind="alexnet_conv5",
    dtype="float16",
    row_shape=(256, 6, 6),
    preprocessing={"resize": "stretch"},
    backbone="alexnet",
    weights_sha256="a" * 64,
    layer="conv5",
    code_version="3",
)


def test_known_digests() -> None:
    assert json_sha256(VALUE) == DIGEST
    assert content_hash(VALUE) == DIGEST[:16]
    assert content_hash([]) == "4f53cda18c2baa0c"


def test_what_json_cannot_hold_counts_as_its_text() -> None:
    assert content_hash(PurePosixPath("/x/y")) == content_hash("/x/y") == "6762e88e164f8da1"


def test_the_order_of_keys_does_not_matter_and_that_of_a_list_does() -> None:
    assert json_sha256(dict(reversed(VALUE.items()))) == DIGEST
    assert json_sha256({**VALUE, "b": [2.5, 1, None]}) != DIGEST


def test_a_known_seal() -> None:
    assert f'"sha256_of_the_rest": "{DIGEST}"'.encode() in sealed_json(VALUE)


def test_known_keys_of_a_set_and_of_a_shard() -> None:
    assert SET.key == "a49dfa7ca7d8bc05"
    assert SET.shard_key(["0" * 64, "1" * 64]) == "d7773293743d57d1"


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "other"), ("row_shape", (256, 6, 5)), ("layer", None), ("method", {"a": 1})],
)
def test_every_field_of_a_set_changes_its_key(name: str, value: object) -> None:
    assert SET.model_copy(update={name: value}).key != SET.key

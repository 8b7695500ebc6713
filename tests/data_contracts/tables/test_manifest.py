"""The rules of the manifest, computed by columns, agree with rules that look at one row after
another."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.tables.contract import repeated_rows
from data_contracts.tables.manifest import MANIFEST, SPLITS, STATUSES
from data_contracts.tables.rules import outside_root

ID = re.compile(r"[0-9a-f]{64}")
FACTS = ("image_id", "split", "width", "height", "mode", "format")


def half_a_centre(row: dict[str, Any]) -> bool:
    x, y = row["center_x"], row["center_y"]
    return (x is None) != (y is None) or not all(v is None or v >= 0 for v in (x, y))


PLAIN = {
    "status is ok, duplicate or rejected": lambda row: row["status"] not in STATUSES,
    "path is relative and stays under the root": lambda row: outside_root(row["path"]),
    "frame is not negative": lambda row: row["frame"] is not None and row["frame"] < 0,
    "image_id is 64 lower-case hexadecimal digits": lambda row: (
        row["image_id"] is not None and not ID.fullmatch(row["image_id"])
    ),
    "split is train, test, unlabelled or held": lambda row: (
        row["split"] is not None and row["split"] not in SPLITS
    ),
    "a row that is not ok has a reason, an ok row has none": lambda row: (
        (row["status"] == "ok") != (row["reason"] is None)
    ),
    "an ok row has an image_id, a split, a size, a mode and a format": lambda row: (
        row["status"] == "ok" and None in [row[name] for name in FACTS]
    ),
    "a centre has both numbers, from 0": half_a_centre,
    "an ok row is labelled, or its split is unlabelled": lambda row: (
        row["status"] == "ok" and (row["label"] is None) != (row["split"] == "unlabelled")
    ),
}
"""Each rule but that of equal ids, as a function of one row that breaks it."""

PATHS = (
    "a.png", "/a", "..", "a/..", "../a", "a/../b", "...", ".", "./", "", "//", "a..b", "./.", ".a",
    "a/.", "a\n..", "\n", " ", "..a", "é/.../b", "a\\..\\b",
)  # fmt: skip
IDS = (None, "a" * 64, "b" * 64, "A" * 64, "a" * 63, "a" * 65, "", "a" * 64 + "\n", "\n" + "a" * 64)
VALUES: dict[str, tuple[Any, ...]] = {
    "status": ("ok", "duplicate", "rejected", "", "OK"),
    "path": PATHS,
    "frame": (None, 0, -1, 7),
    "image_id": IDS,
    "split": (None, "train", "test", "unlabelled", "held", "", "Train"),
    "reason": (None, "", "why"),
    "label": (None, "", "x"),
    "width": (None, 3),
    "height": (None, 3),
    "mode": (None, "L"),
    "format": (None, "PNG"),
    "center_x": (None, 0.0, -0.5, float("nan"), float("inf"), -0.0),
    "center_y": (None, 0.0, -0.5, float("nan"), 3.0),
    "bytes": (1,),
}
ROWS = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in VALUES.items()})


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=MANIFEST.schema)


def test_every_rule_has_a_plain_twin() -> None:
    assert set(PLAIN) | {"an image_id is ok once"} == set(MANIFEST.rules)


@pytest.mark.parametrize("rule", PLAIN)
@given(rows=st.lists(ROWS, max_size=12))
def test_a_rule_finds_what_its_plain_twin_finds(rule: str, rows: list[dict[str, Any]]) -> None:
    found = list(MANIFEST.rules[rule](table_of(rows)))
    assert found == [number for number, row in enumerate(rows) if PLAIN[rule](row)]


@given(rows=st.lists(ROWS, max_size=12))
def test_an_image_that_is_ok_twice_is_found_at_its_second_row(rows: list[dict[str, Any]]) -> None:
    seen: set[str | None] = set()
    expected = []
    for number, row in enumerate(rows):
        if row["status"] == "ok":
            if row["image_id"] in seen:
                expected.append(number)
            seen.add(row["image_id"])
    assert list(MANIFEST.rules["an image_id is ok once"](table_of(rows))) == expected


@given(rows=st.lists(ROWS, max_size=12))
def test_repeated_keys_are_found_with_empty_cells_among_them(rows: list[dict[str, Any]]) -> None:
    keys = [(row["path"], row["frame"]) for row in rows]
    expected = [number for number, key in enumerate(keys) if key in keys[:number]]
    assert repeated_rows(table_of(rows), ("path", "frame")) == expected

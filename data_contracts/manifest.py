"""The image manifest: one row for each file found under a dataset's root.

An image is known by the SHA-256 of its bytes (``image_id``); among rows with status ``ok`` it is unique. Paths are only
where the bytes were found.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.table import TableContract

STATUSES = ("ok", "duplicate", "rejected")
SPLITS = ("train", "test", "unlabelled")
_ID = re.compile(r"[0-9a-f]{64}")

MANIFEST_SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=True),  # sha256 of the bytes, hex; empty only where unreadable
        pa.field("path", pa.string(), nullable=False),  # relative to the root, with /
        pa.field("status", pa.string(), nullable=False),  # ok | duplicate | rejected
        pa.field("reason", pa.string(), nullable=True),  # why it is not ok
        pa.field("label", pa.string(), nullable=True),
        pa.field("split", pa.string(), nullable=True),  # train | test | unlabelled
        pa.field("group_id", pa.string(), nullable=True),  # patient, lesion ...: never on both sides
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("width", pa.int32(), nullable=True),  # pixels, as stored (before EXIF orientation)
        pa.field("height", pa.int32(), nullable=True),
        pa.field("mode", pa.string(), nullable=True),  # Pillow's pixel mode
        pa.field("format", pa.string(), nullable=True),  # JPEG, PNG, TIFF, BMP, WEBP
    ]
)


def _column(table: pa.Table, name: str) -> list[object]:
    values: list[object] = table[name].to_pylist()
    return values


def _bad_path(table: pa.Table) -> Sequence[int]:
    paths = [PurePosixPath(str(p)) for p in _column(table, "path")]
    return [i for i, p in enumerate(paths) if p.is_absolute() or ".." in p.parts or not p.parts]


def _ok_incomplete(table: pa.Table) -> Sequence[int]:
    names = ("status", "image_id", "split", "width", "height", "mode", "format")
    rows = zip(*(_column(table, n) for n in names), strict=True)
    return [i for i, (status, *rest) in enumerate(rows) if status == "ok" and any(v is None for v in rest)]


def _ok_twice(table: pa.Table) -> Sequence[int]:
    seen: set[object] = set()
    twice = []
    for i, (status, image_id) in enumerate(zip(_column(table, "status"), _column(table, "image_id"), strict=True)):
        if status == "ok":
            if image_id in seen:
                twice.append(i)
            seen.add(image_id)
    return twice


def _label_and_split_disagree(table: pa.Table) -> Sequence[int]:
    rows = zip(_column(table, "status"), _column(table, "label"), _column(table, "split"), strict=True)
    return [i for i, (status, label, split) in enumerate(rows) if status == "ok" and (label is None) != (split == "unlabelled")]


def _group_on_both_sides(table: pa.Table) -> Sequence[int]:
    side: dict[object, object] = {}
    crossing = []
    rows = zip(_column(table, "status"), _column(table, "group_id"), _column(table, "split"), strict=True)
    for i, (status, group, split) in enumerate(rows):
        if status == "ok" and group is not None and split in ("train", "test") and side.setdefault(group, split) != split:
            crossing.append(i)
    return crossing


MANIFEST = TableContract(
    name="image manifest",
    schema=MANIFEST_SCHEMA,
    key=("path",),
    rules={
        "status is ok, duplicate or rejected": lambda t: [i for i, v in enumerate(_column(t, "status")) if v not in STATUSES],
        "path is relative and stays under the root": _bad_path,
        "image_id is 64 lower-case hexadecimal digits": lambda t: [
            i for i, v in enumerate(_column(t, "image_id")) if v is not None and not _ID.fullmatch(str(v))
        ],
        "split is train, test or unlabelled": lambda t: [
            i for i, v in enumerate(_column(t, "split")) if v is not None and v not in SPLITS
        ],
        "a row that is not ok has a reason, an ok row has none": lambda t: [
            i
            for i, (s, r) in enumerate(zip(_column(t, "status"), _column(t, "reason"), strict=True))
            if (s == "ok") != (r is None)
        ],
        "an ok row has an image_id, a split, a size, a mode and a format": _ok_incomplete,
        "an image_id is ok once": _ok_twice,
        "an ok row is labelled, or its split is unlabelled": _label_and_split_disagree,
        "a group is on one side of the split": _group_on_both_sides,
    },
)


def ok_rows(manifest: pa.Table) -> pa.Table:
    """The usable images, sorted by image_id: the canonical order of every later stage."""
    return manifest.filter(pc.equal(manifest["status"], "ok")).sort_by("image_id")

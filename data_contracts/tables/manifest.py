"""The image manifest: one row for each file of a dataset and its drops, or for each frame of a
multi-frame file.

An image is known by the SHA-256 of its bytes (``image_id``; of a frame, see :func:`frame_id`);
among rows with status ``ok`` it is unique. Paths are only where the bytes were found, and
pseudonyms unless the dataset may show names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.tables.contract import TableContract

STATUSES = ("ok", "duplicate", "rejected")
SPLITS = ("train", "test", "unlabelled", "held")
"""``held``: labelled, but neither trains nor tests."""
PREDICTED_SPLITS = ("unlabelled", "held")
_ID = re.compile(r"[0-9a-f]{64}")

MANIFEST_SCHEMA = pa.schema(
    [
        # sha256 of the bytes, hex; empty only where unreadable
        pa.field("image_id", pa.string(), nullable=True),
        # relative to the root, with /; or a pseudonym and its suffix
        pa.field("path", pa.string(), nullable=False),
        pa.field("frame", pa.int32(), nullable=True),  # from 0; empty where the file is one image
        # the drop it came in, as a pseudonym; empty for the first load
        pa.field("drop", pa.string(), nullable=True),
        pa.field("status", pa.string(), nullable=False),  # ok | duplicate | rejected
        pa.field("reason", pa.string(), nullable=True),  # why it is not ok
        pa.field("label", pa.string(), nullable=True),
        pa.field("split", pa.string(), nullable=True),  # train | test | unlabelled | held
        pa.field("group_id", pa.string(), nullable=True),  # keyed hash of patient, lesion ...
        pa.field("bytes", pa.int64(), nullable=False),
        # keyed hash, where groups are lesions of patients
        pa.field("patient_id", pa.string(), nullable=True),
        # column of the lesion's centre, pixels as stored
        pa.field("center_x", pa.float64(), nullable=True),
        pa.field("center_y", pa.float64(), nullable=True),  # row of it
        pa.field("width", pa.int32(), nullable=True),  # pixels, as stored (before EXIF orientation)
        pa.field("height", pa.int32(), nullable=True),
        # Pillow's pixel mode, or DICOM's photometric interpretation
        pa.field("mode", pa.string(), nullable=True),
        pa.field("format", pa.string(), nullable=True),  # JPEG, PNG, TIFF, BMP, WEBP, DICOM
        # of the decoded pixels; empty where only the header was read
        pa.field("pixel_sha256", pa.string(), nullable=True),
        pa.field("perceptual_hash", pa.uint64(), nullable=True),
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
    return [
        i
        for i, (status, *rest) in enumerate(rows)
        if status == "ok" and any(v is None for v in rest)
    ]


def _ok_twice(table: pa.Table) -> Sequence[int]:
    seen: set[object] = set()
    twice = []
    for i, (status, image_id) in enumerate(
        zip(_column(table, "status"), _column(table, "image_id"), strict=True)
    ):
        if status == "ok":
            if image_id in seen:
                twice.append(i)
            seen.add(image_id)
    return twice


def _label_and_split_disagree(table: pa.Table) -> Sequence[int]:
    rows = zip(
        _column(table, "status"), _column(table, "label"), _column(table, "split"), strict=True
    )
    return [
        i
        for i, (status, label, split) in enumerate(rows)
        if status == "ok" and (label is None) != (split == "unlabelled")
    ]


def _half_a_centre(table: pa.Table) -> Sequence[int]:
    rows = zip(_column(table, "center_x"), _column(table, "center_y"), strict=True)
    return [
        i
        for i, (x, y) in enumerate(rows)
        if (x is None) != (y is None) or not all(v is None or float(str(v)) >= 0 for v in (x, y))
    ]


MANIFEST = TableContract(
    name="image manifest",
    suffix=".parquet",
    schema=MANIFEST_SCHEMA,
    key=("path", "frame"),
    rules={
        "status is ok, duplicate or rejected": lambda t: [
            i for i, v in enumerate(_column(t, "status")) if v not in STATUSES
        ],
        "path is relative and stays under the root": _bad_path,
        "frame is not negative": lambda t: [
            i for i, v in enumerate(_column(t, "frame")) if v is not None and int(str(v)) < 0
        ],
        "image_id is 64 lower-case hexadecimal digits": lambda t: [
            i
            for i, v in enumerate(_column(t, "image_id"))
            if v is not None and not _ID.fullmatch(str(v))
        ],
        "split is train, test, unlabelled or held": lambda t: [
            i for i, v in enumerate(_column(t, "split")) if v is not None and v not in SPLITS
        ],
        "a row that is not ok has a reason, an ok row has none": lambda t: [
            i
            for i, (s, r) in enumerate(zip(_column(t, "status"), _column(t, "reason"), strict=True))
            if (s == "ok") != (r is None)
        ],
        "an ok row has an image_id, a split, a size, a mode and a format": _ok_incomplete,
        "an image_id is ok once": _ok_twice,
        "a centre has both numbers, from 0": _half_a_centre,
        "an ok row is labelled, or its split is unlabelled": _label_and_split_disagree,
    },
)


def frame_id(file_sha256: str, frame: int | None) -> str:
    """``image_id`` of a file that is one image (``frame`` None), or of one frame of a multi-frame
    file.
    """
    if frame is None:
        return file_sha256
    return hashlib.sha256(f"{file_sha256}#{frame}".encode()).hexdigest()


def ok_rows(manifest: pa.Table) -> pa.Table:
    """The usable images, sorted by image_id: the canonical order of every later stage."""
    return manifest.filter(pc.equal(manifest["status"], "ok")).sort_by("image_id")

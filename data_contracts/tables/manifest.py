"""The image manifest: one row for each file of a dataset and its drops, or for each frame of one.

An image is identified by the SHA-256 of its bytes (``image_id``; of a frame, see :func:`frame_id`);
among rows with status ``ok`` it is unique. A path says where the bytes were found; it is a
pseudonym unless the dataset may show names.
"""

from __future__ import annotations

import hashlib
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.slice_axis import DEFAULT_SLICE_AXIS
from data_contracts.tables.contract import TableContract, repeated_rows
from data_contracts.tables.rules import outside_root, rows_that

STATUSES = ("ok", "duplicate", "rejected")
"""Values of ``status``: used, left out as a copy, or left out for the reason given."""
SPLITS = ("train", "test", "unlabelled", "held")
"""Values of ``split``; ``held`` images are labelled, but neither train nor test."""
PREDICTED_SPLITS = ("unlabelled", "held")
"""Splits whose images are predicted."""
_ID = r"\A[0-9a-f]{64}\z"
"""What an ``image_id`` matches, in the syntax of RE2."""

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
        pa.field("label", pa.string(), nullable=True),  # class; several of one image with | between
        pa.field("split", pa.string(), nullable=True),  # train | test | unlabelled | held
        pa.field("group_id", pa.string(), nullable=True),  # keyed hash of patient, lesion ...
        # where the group stands: group_id, PatientID, StudyInstanceUID or frames
        pa.field("group_source", pa.string(), nullable=True),
        pa.field("bytes", pa.int64(), nullable=False),  # size of the file
        # keyed hash, where groups are lesions of patients
        pa.field("patient_id", pa.string(), nullable=True),
        # keyed hash of the patient that the header of the file names
        pa.field("header_patient_id", pa.string(), nullable=True),
        # what was done with these identifiers (methods.curation.identities); parts with ; between
        pa.field("id_notes", pa.string(), nullable=True),
        # image_id of the same bytes on the other side of a given split, where both are kept
        pa.field("copy_of", pa.string(), nullable=True),
        # column of the lesion's centre, upright pixels
        pa.field("center_x", pa.float64(), nullable=True),
        pa.field("center_y", pa.float64(), nullable=True),  # row of it
        # upright pixels: after the EXIF orientation
        pa.field("width", pa.int32(), nullable=True),
        pa.field("height", pa.int32(), nullable=True),  # upright pixels
        # Pillow's pixel mode, or the photometric interpretation of DICOM or TIFF
        pa.field("mode", pa.string(), nullable=True),
        pa.field("format", pa.string(), nullable=True),  # name of the file format in upper case
        # side of a pixel, millimetres; empty where the file does not state it
        pa.field("pixel_mm", pa.float64(), nullable=True),
        # axial | coronal | sagittal where its file is a volume that can be cut along each axis
        pa.field("slice_axis", pa.string(), nullable=True),
        # how its file was read where that is not as its header says
        pa.field("notice", pa.string(), nullable=True),
        # of the decoded pixels; empty where only the header was read
        pa.field("pixel_sha256", pa.string(), nullable=True),
        # methods.imaging.perceptual_hash; empty where only the header was read
        pa.field("perceptual_hash", pa.uint64(), nullable=True),
    ]
)


def _ok_twice(table: pa.Table) -> list[int]:
    """Rows with status ok whose image_id an earlier such row has."""
    positions = pc.indices_nonzero(pc.equal(table["status"], "ok"))
    repeated = repeated_rows(table.take(positions), ("image_id",))
    return [positions[row].as_py() for row in repeated]


def _no_path_below_root(table: pa.Table) -> list[int]:
    """Rows whose path is absolute, empty or could lead out of the root.

    Such a path begins with a slash, has two dots somewhere, or nothing but dots and slashes.
    """
    suspects = pc.indices_nonzero(
        pc.match_substring_regex(table["path"], r"^/|\.\.|^[./]*$")
    ).to_pylist()
    return [row for row in suspects if outside_root(table["path"][row].as_py())]


def _half_a_centre(table: pa.Table) -> pa.ChunkedArray:
    """Whether a centre lacks one of its numbers, or has a negative one or none at all."""
    x, y = table["center_x"], table["center_y"]
    halves = pc.xor(x.is_null(), y.is_null())
    return pc.or_(halves, pc.or_(_is_below_zero(x), _is_below_zero(y)))


def _is_below_zero(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whether a cell that is not empty is not 0 or more; NaN is not."""
    return pc.invert(pc.greater_equal(values, 0)).fill_null(False)


def _is_none_of(column: pa.ChunkedArray, values: tuple[str, ...]) -> pa.ChunkedArray:
    """Whether a cell that is not empty has another value."""
    known = pc.is_in(column, value_set=pa.array(values, column.type))
    return pc.and_(pc.invert(known), column.is_valid())


def _is_ok(table: pa.Table) -> pa.ChunkedArray:
    return pc.equal(table["status"], "ok")


def _lacks_a_fact(table: pa.Table) -> pa.ChunkedArray:
    """Whether an ok row has an empty cell where it must have a value."""
    lacking = [
        table[name].is_null() for name in ("image_id", "split", "width", "height", "mode", "format")
    ]
    return pc.and_(_is_ok(table), reduce(pc.or_, lacking))


MANIFEST = TableContract(
    name="image manifest",
    suffix=".parquet",
    schema=MANIFEST_SCHEMA,
    key=("path", "frame"),
    rules={
        "status is ok, duplicate or rejected": rows_that(
            lambda table: _is_none_of(table["status"], STATUSES)
        ),
        "path is relative and stays under the root": _no_path_below_root,
        "frame is not negative": rows_that(lambda table: pc.less(table["frame"], 0)),
        "image_id is 64 lower-case hexadecimal digits": rows_that(
            lambda table: pc.invert(pc.match_substring_regex(table["image_id"], _ID))
        ),
        "split is train, test, unlabelled or held": rows_that(
            lambda table: _is_none_of(table["split"], SPLITS)
        ),
        "a row that is not ok has a reason, an ok row has none": rows_that(
            lambda table: pc.xor(_is_ok(table), table["reason"].is_null())
        ),
        "an ok row has an image_id, a split, a size, a mode and a format": rows_that(_lacks_a_fact),
        "an image_id is ok once": _ok_twice,
        "a centre has both numbers, from 0": rows_that(_half_a_centre),
        "an ok row is labelled, or its split is unlabelled": rows_that(
            lambda table: pc.and_(
                _is_ok(table),
                pc.xor(
                    table["label"].is_null(),
                    pc.equal(table["split"], "unlabelled").fill_null(False),
                ),
            )
        ),
    },
)
"""One row for each file or frame, used or not, with its label, split, group and facts."""


def frame_id(file_sha256: str, frame: int | None, slice_axis: str | None = None) -> str:
    """Return the ``image_id`` of a file, or of one frame of a multi-frame file.

    Args:
        file_sha256: SHA-256 of the file, hex.
        frame: number of the frame from 0; None where the file is one image.
        slice_axis: axis along which a volume was cut, whose slices differ from axis to axis; None
            where the frames of a file are the same for all.
    """
    if frame is None:
        return file_sha256
    axis = "" if slice_axis in (None, DEFAULT_SLICE_AXIS) else f"#{slice_axis}"
    return hashlib.sha256(f"{file_sha256}{axis}#{frame}".encode()).hexdigest()


def copy_id(image_id: str) -> str:
    """Return the ``image_id`` of a second copy that is kept on the other side of a given split."""
    return hashlib.sha256(f"{image_id}#copy".encode()).hexdigest()


def ok_rows(manifest: pa.Table) -> pa.Table:
    """Return the usable images, sorted by image_id: the canonical order of every later stage."""
    return manifest.filter(pc.equal(manifest["status"], "ok")).sort_by("image_id")

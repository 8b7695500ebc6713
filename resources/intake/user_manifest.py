"""What a user states about each file in a manifest, CSV or Parquet.

Messages name files and lines, never what stands in a cell, which can be a patient's name.

Read by csv and pyarrow, which keep the bounds below. pandas takes the first cell of a row that has
one too many for an index, reads ``"1".png`` as ``1.png``, and takes a row of any length into
memory.
"""

import csv
import datetime
import io
import math
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from methods.curation.labels import is_missing, stated_label
from resources.intake.confined_open import ConfinedOpener, RefusedFileError

MANIFEST_CSV, MANIFEST_PARQUET = MANIFEST_NAMES = ("manifest.csv", "manifest.parquet")

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
    "testing": "test",
}
"""Split that each word means, as the name of a folder or in the split column, in any case.

A validation split counts as train: nothing here is tuned on it, and what needs a held-out part
draws it from train."""

_COLUMNS = ("path", "label", "split", "group_id", "patient_id", "center_x", "center_y")
"""Columns that are read."""

BY_CONTENT = "image_id"
"""Column in place of the path in a manifest that names images by their content."""

IMAGE_ID = re.compile("[0-9a-f]{64}")
"""Form of an image_id."""

FIRST_COLUMNS = ",".join(_COLUMNS[:4])
"""Columns that messages tell the user to write."""

ROWS = 4_000_000
"""Maximum rows of a manifest; each takes about 600 bytes of memory."""

FILE_BYTES = 2**29
"""Maximum bytes of a manifest as a file."""

TEXT_BYTES = 2**30
"""Maximum bytes of the cells that are read from a Parquet manifest.

Packed, they can be ten thousand times smaller."""

FOOTER_BYTES = 2**24
"""Maximum bytes of the footer of a Parquet manifest, which describes its columns and row groups.

Parsed, it takes ten times as much memory."""

CELL_BYTES = csv.field_size_limit()
"""Maximum bytes of a cell of a Parquet manifest: the limit that csv has for a CSV file."""

ROW_CHARACTERS = 2**20
"""Maximum characters of a row of a CSV manifest."""

_BATCH_ROWS = 1024
"""Rows of a Parquet manifest that are unpacked at a time."""

_REMEDY_SHORTER = (
    f"Keep only the columns {','.join(_COLUMNS)}, or register parts of the dataset on their own"
)


@dataclass(frozen=True)
class FileAnnotation:
    """What the user states about one file.

    Attributes:
        label: class, or None where none is given.
        split: "train" or "test", or None where none is given.
        group_id: patient, lesion ..., or None.
        patient_id: where several groups (lesions) are of one patient, or None.
        center: column and row of the lesion's centre in the image, pixels, or None.
        attributes: name and text of each further column that was asked for and is filled.
    """

    label: str | None = None
    split: str | None = None
    group_id: str | None = None
    patient_id: str | None = None
    center: tuple[float, float] | None = None
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class UserManifest:
    """The content of a user's manifest.

    Attributes:
        name: its file name.
        annotations: by path relative to the root, with /.
        outside: listed paths that are absolute or contain "..".
        by_content: by the image_id of an image, wherever in the dataset it lies.
    """

    name: str
    annotations: dict[str, FileAnnotation]
    outside: list[str]
    by_content: dict[str, FileAnnotation] = field(default_factory=dict)


def read_user_manifest(
    root: Path,
    where: str,
    literal: Collection[str] = (),
    opener: ConfinedOpener | None = None,
    further: Collection[str] = (),
) -> UserManifest | None:
    """Read ``manifest.csv`` or ``manifest.parquet`` in a folder; None where it has neither.

    Columns path, label, split, group_id, patient_id, center_x, center_y in any order (path is
    required, others are ignored). An empty cell says nothing, and neither does one that stands for
    a missing value (:func:`methods.curation.labels.is_missing`) in another column than path. Blank
    lines and a byte order mark are allowed; a backslash in a path counts as /.

    A manifest without a path column that has a column image_id lists images by their content: the
    SHA-256 of a file, as predictions name it.

    Args:
        root: the folder, without links in it.
        where: what messages call it.
        literal: labels that are classes although they are written like a missing value.
        opener: opens the manifest; by default one that is confined to ``root``.
        further: names, in lower case, of columns that are read beside those.

    Raises:
        InputError: naming the file and the line: not readable, no path column, an unknown split
            word, a centre that is not two numbers, a row with more cells than columns, a path
            listed twice with different values, or both files there.
    """
    files = [name for name in MANIFEST_NAMES if (root / name).is_file()]
    if not files:
        return None
    if len(files) > 1:
        raise InputError(
            f"{where} has both {MANIFEST_CSV} and {MANIFEST_PARQUET}", "Keep one of the two"
        )
    name = files[0]
    shown = f"{where}/{name}"
    try:
        with open(root / name, "rb", opener=opener or ConfinedOpener(root)) as stream:
            if os.fstat(stream.fileno()).st_size > FILE_BYTES:
                raise InputError(
                    f"{shown} is larger than {FILE_BYTES // 2**20} MiB", _REMEDY_SHORTER
                )
            if name == MANIFEST_CSV:
                rows = _csv_rows(stream, shown)
            else:
                rows = _parquet_rows(stream, shown, {*_COLUMNS, BY_CONTENT, *further})
            return _parse_rows(name, rows, shown, literal, sorted(further))
    except RefusedFileError as error:
        raise InputError(f"{shown} is refused: {error}", "Put the file itself there") from None
    except OSError as error:
        raise InputError(
            f"{shown} cannot be read ({error.strerror})", "Give this user permission to read it"
        ) from None


def _parse_rows(
    name: str,
    rows: Iterator[tuple[int, list[str]]],
    shown: str,
    literal: Collection[str],
    further: Collection[str],
) -> UserManifest:
    """Parse numbered rows, the header first; ``shown`` is what messages call the file."""
    header = [title.strip().lower() for title in next(rows, (1, []))[1]]
    if BY_CONTENT in header and "path" not in header:
        return UserManifest(name, {}, [], _by_content(header, rows, shown, literal))
    if "path" not in header:
        raise InputError(
            f"{shown} has no column 'path' ({len(header)} columns found)",
            f"Begin it with the columns {FIRST_COLUMNS}, separated by commas in a CSV file",
        )
    annotations: dict[str, FileAnnotation] = {}
    outside: dict[str, None] = {}
    for line, values in _values(header, rows, shown):
        listed = values.get("path", "").strip()
        if not listed:
            raise InputError(f"{line} has no path", "Fill the cell, or delete the line")
        path = PurePosixPath(listed.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            outside[listed] = None
            continue
        annotation = _annotation(values, line, literal, further)
        if annotations.setdefault(str(path), annotation) != annotation:
            raise InputError(
                f"{line} lists a path again with other values", "Delete one of the two lines"
            )
    return UserManifest(name, annotations, list(outside))


def _values(
    header: list[str], rows: Iterator[tuple[int, list[str]]], shown: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """The cells of each row by their column, with what messages call its line."""
    for count, (number, cells) in enumerate(rows, 1):
        if count > ROWS:
            raise _too_many_rows(shown)
        line = f"{shown} line {number}"
        if len(cells) > len(header):
            raise InputError(
                f"{line} has {len(cells)} cells, the header {len(header)}",
                'Put a path with a comma between "quotes"',
            )
        yield line, dict(zip(header, cells, strict=False))


def _by_content(
    header: list[str],
    rows: Iterator[tuple[int, list[str]]],
    shown: str,
    literal: Collection[str],
) -> dict[str, FileAnnotation]:
    """What a manifest states about images that it names by their image_id."""
    stated: dict[str, FileAnnotation] = {}
    for line, values in _values(header, rows, shown):
        image_id = values.get(BY_CONTENT, "").strip()
        if not IMAGE_ID.fullmatch(image_id):
            raise InputError(
                f"{line} has no image_id of 64 hexadecimal digits",
                "Copy it from predictions.csv, or delete the line",
            )
        annotation = _annotation(values, line, literal, ())
        if stated.setdefault(image_id, annotation) != annotation:
            raise InputError(
                f"{line} lists an image_id again with other values", "Delete one of the two lines"
            )
    return stated


def _annotation(
    values: dict[str, str], line: str, literal: Collection[str], further: Collection[str]
) -> FileAnnotation:
    return FileAnnotation(
        stated_label(values.get("label", ""), literal),
        _split(_text(values, "split"), line),
        _text(values, "group_id"),
        _text(values, "patient_id"),
        _center(_text(values, "center_x"), _text(values, "center_y"), line),
        tuple((title, text) for title in further if (text := _text(values, title)) is not None),
    )


def _too_many_rows(shown: str) -> InputError:
    return InputError(
        f"{shown} has more than {ROWS:,} rows", "Register parts of the dataset on their own"
    )


def _text(values: dict[str, str], title: str) -> str | None:
    """A cell, or None where it stands for a missing value."""
    cell = values.get(title, "").strip()
    return None if is_missing(cell) else cell


def _split(word: str | None, line: str) -> str | None:
    if word is None:
        return None
    if word.casefold() not in SPLIT_WORDS:
        raise InputError(
            f"{line} has an unknown split",
            "Write train, test or val, or leave the cell empty",
        )
    return SPLIT_WORDS[word.casefold()]


def _center(x: str | None, y: str | None, line: str) -> tuple[float, float] | None:
    if x is None and y is None:
        return None
    try:
        center = float(x or ""), float(y or "")
    except ValueError:
        center = math.nan, math.nan
    if not all(0 <= pixels < math.inf for pixels in center):
        raise InputError(
            f"{line} has a center_x and center_y that are not two numbers from 0",
            "Write the lesion's centre in pixels of that image, column and row, "
            "or leave both cells empty",
        )
    return center


def _csv_rows(stream: BinaryIO, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row that is not blank."""
    row_characters = 0

    def lines() -> Iterator[str]:
        nonlocal row_characters
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        for line in iter(lambda: text.readline(ROW_CHARACTERS + 1), ""):
            row_characters += len(line)
            if row_characters > ROW_CHARACTERS:
                raise InputError(
                    f"{shown} has a row of more than {ROW_CHARACTERS:,} characters", _REMEDY_SHORTER
                )
            yield line

    reader = csv.reader(lines(), strict=True)
    try:
        for cells in reader:
            row_characters = 0
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except UnicodeDecodeError:
        raise InputError(f"{shown} is not UTF-8 text", "Save it again as CSV UTF-8") from None
    except csv.Error as error:
        raise InputError(
            f"{shown} is not CSV ({error})", "Save it again as comma-separated values, UTF-8"
        ) from None


def _parquet_rows(
    stream: BinaryIO, shown: str, read: Collection[str]
) -> Iterator[tuple[int, list[str]]]:
    """Row number (the header is 1) and cells as text, the column names first.

    Columns that are not among ``read`` are left out and never unpacked.
    """
    try:
        stream.seek(-8, os.SEEK_END)
        footer, magic = stream.read(4), stream.read(4)
        if magic == b"PAR1" and int.from_bytes(footer, "little") > FOOTER_BYTES:
            raise InputError(f"{shown} has too many columns or row groups", _REMEDY_SHORTER)
        with pq.ParquetFile(stream) as file:
            metadata, schema = file.metadata, file.schema_arrow
        if metadata.num_rows > ROWS:
            raise _too_many_rows(shown)
        fields = [field for field in schema if field.name.strip().lower() in read]
        if not all(_is_plain(field.type) for field in fields):
            raise InputError(
                f"{shown} has cells that are neither text nor numbers nor dates",
                "Save it with plain columns",
            )
        names = [field.name for field in fields]
        yield 1, names
        if _unpacked_bytes(metadata, names) > TEXT_BYTES:
            raise _too_much_text(shown)
        yield from _parquet_cells(stream, metadata, names, shown)
    except OSError as error:
        raise InputError(
            f"{shown} cannot be read ({error.strerror or 'not Parquet'})",
            "Save it again as Parquet",
        ) from None
    except pa.ArrowException:
        raise InputError(f"{shown} is not Parquet", "Save it again as Parquet") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{shown} holds text that is not UTF-8", "Save it again as Parquet"
        ) from None


def _parquet_cells(
    stream: BinaryIO, metadata: pq.FileMetaData, names: list[str], shown: str
) -> Iterator[tuple[int, list[str]]]:
    """Row number and cells as text of every row, a batch of rows in memory at a time."""
    # As a dictionary, a text that stands in many rows is in memory once.
    file = pq.ParquetFile(stream, metadata=metadata, read_dictionary=names)
    number, text_bytes = 1, 0
    for batch in file.iter_batches(_BATCH_ROWS, columns=names):
        columns = [
            column
            for title, column in zip(batch.schema.names, batch.columns, strict=True)
            if title in names
        ]
        text_bytes += sum(_text_bytes(column, shown) for column in columns)
        if text_bytes > TEXT_BYTES:
            raise _too_much_text(shown)
        texts = [
            [_cell_text(cell) for cell in column.cast(_value_type(column.type)).to_pylist()]
            for column in columns
        ]
        for cells in zip(*texts, strict=True):
            number += 1
            yield number, list(cells)


def _cell_text(cell: object) -> str:
    """A cell as a CSV file would hold it: nothing for a missing one, and a day without its time."""
    if cell is None or cell != cell:  # NaN
        return ""
    if isinstance(cell, datetime.datetime) and cell.time() == datetime.time():
        return cell.date().isoformat()
    return str(cell)


def _too_much_text(shown: str) -> InputError:
    return InputError(f"{shown} unpacks to more than {TEXT_BYTES // 2**20} MiB", _REMEDY_SHORTER)


def _unpacked_bytes(metadata: pq.FileMetaData, names: list[str]) -> int:
    """Bytes of columns as the file states them; their cells have more where many are equal."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in names)


def _is_plain(kind: pa.DataType) -> bool:
    value = _value_type(kind)
    tests = (_is_text, pa.types.is_primitive, pa.types.is_decimal, pa.types.is_null)
    return any(test(value) for test in tests)


def _is_text(kind: pa.DataType) -> bool:
    return kind in (pa.string(), pa.large_string())


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _text_bytes(column: pa.Array, shown: str) -> int:
    """Bytes of the cells of a column of text; 0 for another, each of whose cells is small."""
    if not _is_text(_value_type(column.type)):
        return 0
    is_dictionary = pa.types.is_dictionary(column.type)
    lengths = pc.binary_length(column.dictionary if is_dictionary else column)
    if (pc.max(lengths).as_py() or 0) > CELL_BYTES:
        raise InputError(f"{shown} has a cell of more than {CELL_BYTES:,} bytes", "Shorten it")
    return pc.sum(lengths.take(column.indices) if is_dictionary else lengths).as_py() or 0

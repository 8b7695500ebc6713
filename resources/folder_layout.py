"""What the user says about each file of a dataset: in a ``manifest.csv``, or by the folders it lies in."""

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_contracts.errors import InputError

MANIFEST_CSV = "manifest.csv"

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
    "testing": "test",
}
"""Names of split folders and values of the split column, in any case. A validation split counts as train: nothing here is
tuned on it, and what needs a held-out part draws it from train."""

_NOT_A_LAYOUT_ALONE = {"val", "valid", "validation"}
_COLUMNS = ("path", "label", "split", "group_id")


@dataclass(frozen=True)
class Claim:
    """What the user says about one file.

    Attributes:
        label: class, or None where none is given.
        split: "train" or "test", or None where none is given.
        group_id: patient, lesion ..., or None.
    """

    label: str | None = None
    split: str | None = None
    group_id: str | None = None


@dataclass(frozen=True)
class Listing:
    """What a ``manifest.csv`` says.

    Attributes:
        claims: by path relative to the root, with /.
        leaving: listed paths that are absolute or contain "..".
    """

    claims: dict[str, Claim]
    leaving: list[str]


def claims_by_folders(paths: Iterable[str], root: Path) -> dict[str, Claim]:
    """Claims from ``<split>/<class>/...`` where every top folder is a split word, else from ``<class>/...``.

    The class is the first folder, deeper ones are free. A file directly in the root, or directly in a split folder, has no
    label. Validation folders alone do not make a split layout.

    Args:
        paths: of the candidate images, relative to the root, with /.
        root: for the message.

    Raises:
        InputError: train and test folders lie beside others, so that they could be classes as well.
    """
    parts_of = {path: PurePosixPath(path).parts for path in paths}
    tops = {parts[0] for parts in parts_of.values() if len(parts) > 1}
    others = sorted(top for top in tops if top.casefold() not in SPLIT_WORDS)
    words = {top.casefold() for top in tops if top not in others}
    named = sorted(words - _NOT_A_LAYOUT_ALONE)
    if others and {SPLIT_WORDS[word] for word in named} == {"train", "test"}:
        raise InputError(
            f"{root} has split folders ({', '.join(named)}) beside other folders ({', '.join(others[:3])})",
            f"Move the other folders out of it, or say what is what in a {MANIFEST_CSV} with the columns {','.join(_COLUMNS)}",
        )
    by_split = bool(named) and not others
    claims = {}
    for path, parts in parts_of.items():
        folders = parts[:-1]
        split = SPLIT_WORDS[folders[0].casefold()] if by_split and folders else None
        classes = folders[1:] if by_split else folders
        claims[path] = Claim(label=_text(classes[0]) if classes else None, split=split)
    return claims


def read_listing(root: Path) -> Listing | None:
    """What ``manifest.csv`` in the root says, or None where there is none.

    Columns path, label, split, group_id in any order (path is required, others are ignored). An empty cell says nothing; blank
    lines and a byte order mark are allowed; a backslash in a path counts as /.

    Raises:
        InputError: naming the file and the line: not readable UTF-8 CSV, no path column, an unknown split word, a row with more
            cells than columns, or a path listed twice with different values.
    """
    file = root / MANIFEST_CSV
    if not file.is_file():
        return None
    if not Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root)):
        raise InputError(f"{file} is a link that leaves the dataset's folder", "Put the file itself there")
    lines = _csv_lines(file)
    header = [name.strip().lower() for name in lines[0][1]] if lines else []
    if "path" not in header:
        raise InputError(
            f"{file} has no column 'path' (found: {', '.join(header) or 'nothing'})",
            f"Begin it with the line {','.join(_COLUMNS)}, separated by commas",
        )
    claims: dict[str, Claim] = {}
    leaving = []
    for number, cells in lines[1:]:
        if len(cells) > len(header):
            raise InputError(
                f"{file} line {number} has {len(cells)} cells, the header {len(header)}",
                'Put a path with a comma between "quotes"',
            )
        values = {name: _text(cell) for name, cell in zip(header, cells, strict=False)}
        listed = values["path"]
        if listed is None:
            raise InputError(f"{file} line {number} has no path", "Fill the cell, or delete the line")
        path = PurePosixPath(listed.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            leaving.append(listed)
            continue
        claim = Claim(values.get("label"), _split(values.get("split"), file, number), values.get("group_id"))
        if claims.setdefault(str(path), claim) != claim:
            raise InputError(f"{file} line {number} lists {path} again with other values", "Delete one of the two lines")
    return Listing(claims, leaving)


def _text(cell: str) -> str | None:
    return cell.strip() or None


def _split(word: str | None, file: Path, number: int) -> str | None:
    if word is None:
        return None
    if word.casefold() not in SPLIT_WORDS:
        raise InputError(
            f"{file} line {number} has the unknown split {word!r}", "Write train, test or val, or leave the cell empty"
        )
    return SPLIT_WORDS[word.casefold()]


def _csv_lines(file: Path) -> list[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    try:
        reader = csv.reader(io.StringIO(file.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})", "Give this user permission to read it") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text", "Save it again as CSV UTF-8") from error
    except csv.Error as error:
        raise InputError(f"{file} is not CSV ({error})", "Save it again as comma-separated values, UTF-8") from error

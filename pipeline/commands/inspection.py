"""A look at images before they are added: what would be taken, what not, and why.

The files are read by the function by which ``medfeat add`` and every run read them, decoding
included. Nothing is registered or stored: archives are unpacked into a temporary folder that is
removed, and no site key is needed, as names are shown as they are, on the user's own terminal.
Groups are counted and never shown.
"""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from methods.curation.overview import counted
from pipeline.commands.registration import Rows, check_leaks, spec_of, what_is_taken
from resources.intake.archives import is_archive
from resources.intake.dataset_scan import scan
from resources.intake.drops import Drop, file_stamps
from resources.intake.image_sources import Intake
from resources.intake.npz_images import is_npz
from resources.intake.outcomes import Outcomes
from resources.intake.site_key import Names
from resources.progress import progress

SHOWN_CLASSES = 30
"""Maximum number of classes of which a line each is shown."""

NAME = "dataset"
"""Name of the dataset in messages, as it has none yet."""

_ANY_LAYOUT = {
    "unlabelled": True,
    "task": "multi-label",
    "split": "stratified",
    "keep_given_split": True,
}
"""Fields with which nothing is asked of labels and splits."""


def inspect_path(fields: Mapping[str, Any]) -> Iterator[str]:
    """Read the files at a path as ``medfeat add`` does.

    Args:
        fields: fields of the specification without the name; the root is a folder, an archive, a
            .npz or one file.

    Yields:
        lines that say what would be taken.

    Raises:
        InputError: a field is wrong, or ``medfeat add`` would refuse the path. What could be read
            is said before.
    """
    spec = spec_of({"name": NAME, **fields})
    if not spec.root.exists():
        raise InputError(f"{spec.root} does not exist", "Check the path, or mount the disk")
    known = Outcomes()
    with tempfile.TemporaryDirectory() as unpacked:
        try:
            rows = _rows(spec, Path(unpacked), known)
            refusal = None
        except InputError as error:
            refusal = error
            spec = spec.model_copy(update=_ANY_LAYOUT)
            try:
                rows = _rows(spec, Path(unpacked), known)
            except InputError:
                raise refusal from None
    yield from what_is_taken(str(spec.root), rows, spec)
    yield from (f"  {line}" for line in _counts(rows))
    if refusal is not None:
        raise refusal
    check_leaks(rows, spec)


def _rows(spec: DatasetSpec, unpacked: Path, known: Outcomes) -> Rows:
    """Scan the path into rows of a manifest, with the names as they are."""
    root = spec.root
    one_file = root.is_file() and not is_archive(root) and not is_npz(root)
    drops: tuple[Drop, ...] = ()
    if one_file:
        files = frozenset(file_stamps(root, spec.follow_links))
        drops = (Drop(root.name, root, first_load=True, accepted_at=0.0, files=files),)
        spec = spec.model_copy(update={"unlabelled": True})
    names = Names(spec.name, True, bytes(32))
    intake = Intake(spec, names, unpacked, drops, one_file)
    table = scan(
        intake, known, progress=lambda items: progress(items, "reading files", unit="file")
    )
    return [{**row, "path": row["path"].removeprefix("drops/")} for row in table.to_pylist()]


def _counts(rows: Rows) -> Iterator[str]:
    """Yield the numbers of files and images of each format, of each class, and of groups."""
    usable = [row for row in rows if row["status"] == "ok"]
    images = Counter(row["format"] for row in usable)
    files = {name: len({row["path"] for row in usable if row["format"] == name}) for name in images}
    for name, number in sorted(images.items(), key=lambda item: (-item[1], item[0])):
        yield f"format {name}: {counted(files[name], 'file')}, {counted(number, 'image')}"
    sides: dict[str, Counter[str]] = defaultdict(Counter)
    for row in usable:
        for label in (row["label"] or "").split("|"):
            sides[label][row["split"]] += 1
    sides.pop("", None)
    for label in sorted(sides)[:SHOWN_CLASSES]:
        split = ", ".join(f"{number:,} {side}" for side, number in sorted(sides[label].items()))
        yield f"class {label!r}: {counted(sides[label].total(), 'image')} ({split})"
    if len(sides) > SHOWN_CLASSES:
        yield f"and {len(sides) - SHOWN_CLASSES:,} more classes"
    groups = {row["group_id"] for row in usable} - {None}
    alone = sum(row["group_id"] is None for row in usable)
    yield f"groups: {len(groups):,}; {alone:,} of {len(usable):,} images are in none"

"""Leaks of a split: images, groups or patients that are on both the training and the test side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_contracts.errors import InputError
from methods.curation.identities import LIST_PATIENTS, SOURCES
from methods.curation.manifest_rows import lists_of_patients, patients_of

KINDS = {
    "bytes": "have the same bytes",
    "pixels": "have the same pixels",
    "group": "are of one group",
    "patient": "are of one patient",
}
"""Kinds of leaks, and how the two images are described in a message."""

KEEP_GIVEN_SPLIT = "keep it as it is with --keep-given-split, which every result then says"
"""Remedy in messages about a given split that leaks."""


@dataclass(frozen=True)
class Leak:
    """One image, group or patient that is on both sides.

    Attributes:
        kind: "bytes", "pixels", "group" or "patient".
        train: path of its first training image.
        test: path of its first test image.
        sources: keys of SOURCES where the group or patient stands; none for bytes and pixels.
    """

    kind: str
    train: str
    test: str
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        stands = " and ".join(SOURCES[source] for source in self.sources)
        where = f" ({stands})" if stands else ""
        return f"{self.train} (train) and {self.test} (test) {KINDS[self.kind]}{where}"


def find_leaks(
    rows: Iterable[Mapping[str, Any]], kinds: Iterable[str] = tuple(KINDS)
) -> list[Leak]:
    """Find the images and groups of a manifest that are on both sides, by kind and path.

    Copies that are left out as duplicates count as well: a given split that has the same image
    twice is wrong, whichever copy is used. Images that are equal in bytes are not reported again as
    equal in pixels, nor is a group again as a patient.

    Args:
        rows: rows of the manifest.
        kinds: keys of KINDS to look for.
    """
    return [
        Leak(kind, both["train"][0]["path"], both["test"][0]["path"], _sources(kind, value, both))
        for kind in kinds
        for value, both in crossing(rows, kind).items()
    ]


def crossing(
    rows: Iterable[Mapping[str, Any]], kind: str
) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """Return what is on both sides of a split.

    Args:
        rows: rows of the manifest.
        kind: one of KINDS.

    Returns:
        Rows of each side, "train" and "test", by the value that they share; values in the order of
        their first rows by path and frame.
    """
    listed = list(rows)
    values_of = _values_of(kind, listed)
    on_a_side = [
        row for row in listed if row["status"] != "rejected" and row["split"] in ("train", "test")
    ]
    seen: dict[str, set[str]] = {"train": set(), "test": set()}
    for row in on_a_side:
        seen[row["split"]] |= values_of(row)
    crosses = seen["train"] & seen["test"]
    if not crosses:
        return {}
    on_a_side = [row for row in on_a_side if values_of(row) & crosses]
    on_a_side.sort(key=lambda row: (row["path"], -1 if row["frame"] is None else row["frame"]))
    sides: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in on_a_side:
        for value in sorted(values_of(row)):
            sides[value][row["split"]].append(row)
    return {
        value: dict(both)
        for value, both in sides.items()
        if len(both) == 2 and not _told_otherwise(kind, value, both)
    }


def _values_of(
    kind: str, rows: Sequence[Mapping[str, Any]]
) -> Callable[[Mapping[str, Any]], frozenset[str]]:
    """Return what gives the values of a row that no other side may share."""
    if kind == "patient":
        lists = lists_of_patients(rows)
        return lambda row: patients_of(row, lists)
    if kind == "bytes":
        return lambda row: frozenset({row["copy_of"] or row["image_id"]} - {None})
    column = {"pixels": "pixel_sha256", "group": "group_id"}[kind]
    return lambda row: frozenset({row[column]} - {None})


def _told_otherwise(kind: str, value: str, both: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """Whether two sides share a value that another kind of leak tells already."""
    if kind == "pixels":
        first = [both[side][0] for side in ("train", "test")]
        train, test = (row["copy_of"] or row["image_id"] for row in first)
        return bool(train == test)
    if kind == "patient":
        return all(any(row["group_id"] == value for row in both[side]) for side in both)
    return False


def _sources(
    kind: str, value: str, both: Mapping[str, Sequence[Mapping[str, Any]]]
) -> tuple[str, ...]:
    """Return where a group or patient that two sides share stands, on the one side or the other."""
    columns = {"group": ("group_id",), "patient": ("patient_id", "header_patient_id", "group_id")}
    found: dict[str, None] = {}
    for side in ("train", "test"):
        row = both[side][0]
        names = [column for column in columns.get(kind, ()) if row[column] == value]
        source = row["group_source"] or "group_id"
        named = ["PatientID" if name == "header_patient_id" else name for name in names]
        if "PatientID" in named and row["patient_id"] == row["header_patient_id"]:
            named = ["PatientID"]
        found.update(dict.fromkeys(source if name == "group_id" else name for name in named[:1]))
    return tuple(found)


def leak_error(dataset: str, leaks: Sequence[Leak], may_draw: bool = True) -> InputError:
    """Return the error that tells the user of the leaks, of which there is at least one.

    Args:
        dataset: its name.
        leaks: what is on both sides.
        may_draw: whether a new split can be drawn.
    """
    more = f" and {len(leaks) - 1} more" if len(leaks) > 1 else ""
    sources = {source for leak in leaks for source in leak.sources}
    remedies = ["Put all copies and all images of a group on one side"]
    if sources & {"PatientID", "StudyInstanceUID"}:
        remedies.append(LIST_PATIENTS)
    if may_draw:
        remedies.append("register with --split stratified to draw a new split")
    return InputError(
        f"the split of {dataset} leaks: {leaks[0]}{more}",
        f"{', '.join(remedies)}, or {KEEP_GIVEN_SPLIT}",
    )

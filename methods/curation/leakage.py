"""Leaks of a split: images, groups or patients that are on both the training and the test side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_contracts.errors import InputError

KINDS = {
    "bytes": "have the same bytes",
    "pixels": "have the same pixels",
    "group": "are of one group",
    "patient": "are of one patient",
}
"""Kinds of leaks, and how the two images are described in a message."""
_COLUMN_OF = {
    "bytes": "image_id",
    "pixels": "pixel_sha256",
    "group": "group_id",
    "patient": "patient_id",
}


@dataclass(frozen=True)
class Leak:
    """One image, group or patient that is on both sides.

    Attributes:
        kind: "bytes", "pixels", "group" or "patient".
        train: path of its first training image.
        test: path of its first test image.
    """

    kind: str
    train: str
    test: str

    def __str__(self) -> str:
        return f"{self.train} (train) and {self.test} (test) {KINDS[self.kind]}"


def find_leaks(
    rows: Iterable[Mapping[str, Any]], kinds: Iterable[str] = tuple(KINDS)
) -> list[Leak]:
    """Find the images and groups of a manifest that are on both sides, by kind and path.

    Copies that are left out as duplicates count as well: a given split that has the same image
    twice is wrong, whichever copy is used. Images that are equal in bytes are not reported again as
    equal in pixels.

    Args:
        rows: rows of the manifest.
        kinds: keys of KINDS to look for.
    """
    on_a_side = [
        row for row in rows if row["status"] != "rejected" and row["split"] in ("train", "test")
    ]
    on_a_side.sort(key=lambda row: (row["path"], -1 if row["frame"] is None else row["frame"]))
    leaks = []
    for kind in kinds:
        sides: dict[str, dict[str, Mapping[str, Any]]] = defaultdict(dict)
        for row in on_a_side:
            if row[_COLUMN_OF[kind]] is not None:
                sides[row[_COLUMN_OF[kind]]].setdefault(row["split"], row)
        crossing = [(both["train"], both["test"]) for both in sides.values() if len(both) == 2]
        leaks += [
            Leak(kind, train["path"], test["path"])
            for train, test in crossing
            if kind != "pixels" or train["image_id"] != test["image_id"]
        ]
    return leaks


def leak_error(dataset: str, leaks: Sequence[Leak]) -> InputError:
    """Return the error that tells the user of the leaks, of which there is at least one."""
    more = f" and {len(leaks) - 1} more" if len(leaks) > 1 else ""
    return InputError(
        f"the split of {dataset} leaks: {leaks[0]}{more}",
        "Put all copies and all images of a group on one side, or register with --split "
        "stratified to draw a new split",
    )

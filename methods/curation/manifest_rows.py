"""Manifest rows from the files of a dataset: duplicates, contradicting labels, sides of the split.

Pure functions on rows; the contract of the result is ``data_contracts.tables.manifest.MANIFEST``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.tables.manifest import copy_id
from data_contracts.tables.multilabel import NO_LABEL
from methods.curation.identities import LIST_PATIENTS, SOURCES
from methods.curation.splits import (
    TooFewGroupsError,
    label_group_split,
    on_both_sides,
    stratified_group_split,
)
from methods.imaging.readers import format_names

REDRAW = "register with --split stratified to draw a new split"
"""Remedy in messages about a split that is given and incomplete."""
SEVERAL_LABELS = "several labels (a | in its label), and the dataset is single-label"
"""Reason for which an image of a drop is rejected."""

CONSTANT = (
    "one grey level or colour in all pixels: nothing to learn from; "
    "allow with --set allow_constant=true"
)
"""Reason for which an image whose pixels are all equal is rejected."""

Key = tuple[str, int]
"""Path and frame of a row; the frame is -1 where the file is one image."""

NONE_OF_THEM = ""
"""Label of an image of a multi-label task that is known to have no label."""


@dataclass(frozen=True)
class ManifestRow:
    """One row of the manifest, with the columns of ``MANIFEST_SCHEMA`` as fields.

    One more field, ``constant``, says whether all pixels are of one colour.

    Before :func:`curate` ``split`` is the one that the user gives ("train", "test" or None), and
    ``status`` is "ok" or "rejected".
    """

    image_id: str | None
    path: str
    status: str
    reason: str | None
    label: str | None
    split: str | None
    group_id: str | None
    bytes: int
    group_source: str | None = None
    patient_id: str | None = None
    header_patient_id: str | None = None
    id_notes: str | None = None
    copy_of: str | None = None
    center_x: float | None = None
    center_y: float | None = None
    frame: int | None = None
    drop: str | None = None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    format: str | None = None
    pixel_mm: float | None = None
    slice_axis: str | None = None
    notice: str | None = None
    pixel_sha256: str | None = None
    perceptual_hash: int | None = None
    constant: bool = False

    @property
    def key(self) -> Key:
        """Unique key of the row: its path and frame."""
        return self.path, -1 if self.frame is None else self.frame


def curate(
    rows: Iterable[ManifestRow], spec: DatasetSpec, allow_constant: bool = False
) -> list[ManifestRow]:
    """Mark duplicates and contradicting labels, and put every usable image on a side of the split.

    The split is made on the first load alone (rows without a ``drop``), so that what arrives later
    cannot move it. Labelled images of a drop go where ``spec.new_labels`` says, but never to one
    side while their group or their pixels are on the other, and never with a class that the first
    load does not have: then they are held. Leaks of a *given* split of the first load are left as
    they are: :func:`methods.curation.leakage.find_leaks` finds them, and a check blocks on them
    unless ``spec.keep_given_split`` allows them; then one of the copies on each side stays.

    Args:
        rows: one row for each file or frame, in any order.
        spec: the split policy and whether unlabelled images are allowed; its root is named in
            messages.
        allow_constant: whether an image of one colour is used; else it is rejected, be it the
            copy of another or not. Contradicting labels of its copies are named first.

    Returns:
        As many rows, sorted by path and frame.

    Raises:
        InputError: no usable image, a missing label, class or split, several labels in the first
            load of a single-label dataset (an image of a drop is rejected for it).
    """
    ordered = [_with_parsed_label(row, spec) for row in sorted(rows, key=lambda row: row.key)]
    if spec.split == "stratified":
        ordered = [replace(row, split=None) if row.drop is None else row for row in ordered]
    ordered = _settle_duplicates(ordered, spec.keep_given_split)
    if not allow_constant:
        ordered = [
            replace(row, status="rejected", reason=CONSTANT)
            if row.constant and row.status != "rejected"
            else row
            for row in ordered
        ]
    usable = [row for row in ordered if row.status == "ok"]
    if not usable:
        reasons = Counter(row.reason for row in ordered).most_common(3)
        counts = (
            "; ".join(f"{count} x {reason}" for reason, count in reasons) or "nothing is listed"
        )
        raise InputError(
            f"{spec.root} has no usable image among {len(ordered)} files ({counts})",
            f"Give a folder with whole {format_names()} images",
        )
    first_load = [row for row in ordered if row.drop is None]
    sides = _sides([row for row in usable if row.drop is None], _together(first_load), spec)
    sides |= _sides_of_drops(usable, sides, _together(ordered), spec)
    return [replace(row, split=sides[row.key]) if row.status == "ok" else row for row in ordered]


def can_be_drawn(rows: Iterable[Mapping[str, Any]], spec: DatasetSpec) -> bool:
    """Whether a new split of a dataset with a given one can be drawn.

    Args:
        rows: rows of its manifest.
        spec: its specification.
    """
    first_load = [ManifestRow(**row) for row in rows if row["drop"] is None]
    try:
        curate(first_load, spec.model_copy(update={"split": "stratified"}))
    except InputError:
        return False
    return True


def labels_of(label: str | None, task: str) -> tuple[str, ...]:
    """Return the classes of one image: none, one, or in a multi-label task those between the bars.

    The label "" of a multi-label task has no class.
    """
    if label is None:
        return ()
    return tuple(filter(None, label.split("|"))) if task == "multi-label" else (label,)


def label_matrix(labels: Iterable[str]) -> tuple[list[str], NDArray[np.bool_]]:
    """Return the sorted classes of a multi-label task, and which image has which, (n, L) bool."""
    sets = [set(labels_of(label, "multi-label")) for label in labels]
    names = sorted(set().union(*sets))
    return names, np.array([[name in given for name in names] for given in sets], np.bool_).reshape(
        len(sets), len(names)
    )


def sets_in_words(labels: Sequence[str], sets: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Write each of the label sets (n, L) bool as a text: "a|b", or that there is no label."""
    names = np.asarray(labels, np.str_)
    return np.array(["|".join(names[given].tolist()) or NO_LABEL for given in sets], np.str_)


def one_sided_labels(labels: Iterable[str], splits: Iterable[str]) -> list[str]:
    """Return the classes of a multi-label task that only one side of the split has, or lacks.

    Args:
        labels: (n,) label of each image, as in the manifest.
        splits: (n,) "train" or "test".
    """
    names, truth = label_matrix(labels)
    both = on_both_sides(truth, np.array([split == "test" for split in splits], np.bool_))
    return [name for name, fair in zip(names, both, strict=True) if not fair]


def _with_parsed_label(row: ManifestRow, spec: DatasetSpec) -> ManifestRow:
    """Return the row with its labels sorted.

    In a multi-label task an image that is known to have no label has "", an unlabelled one None.
    """
    known = row.status == "ok" and row.drop is None and not spec.unlabelled
    if row.label is None and spec.task == "multi-label" and known:
        return replace(row, label=NONE_OF_THEM)
    if row.label is None or "|" not in row.label:
        return row
    if spec.task == "single-label":
        if row.drop is not None:
            return replace(row, status="rejected", reason=row.reason or SEVERAL_LABELS)
        raise InputError(
            f"{row.path} in {spec.root} has several labels (a | in its label)",
            "Register with --multi-label, or give one label an image",
        )
    return replace(
        row, label="|".join(sorted({part.strip() for part in row.label.split("|")} - {""}))
    )


def _settle_duplicates(rows: Sequence[ManifestRow], keep_sides: bool) -> list[ManifestRow]:
    """Mark all but one of the usable rows with the same bytes as duplicates.

    Where their labels contradict each other, all labelled ones are rejected. The row that stays is
    the one with most facts (label, first load, split, group), and among equals the first by path. A
    drop cannot contradict the first load, whose label stands.

    Args:
        rows: sorted by path and frame.
        keep_sides: whether one row stays on each side of a given split: of two, that of the
            training side gets an ``image_id`` of its own.
    """
    same_bytes: dict[str | None, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        if row.status == "ok":
            same_bytes[row.image_id].append(row)
    settled: dict[Key, ManifestRow] = {}
    for copies in same_bytes.values():
        first_load = sorted(
            {row.label for row in copies if row.label is not None and row.drop is None}
        )
        labels = first_load or sorted({row.label for row in copies if row.label is not None})
        if len(labels) > 1:
            reason = f"same bytes under labels {', '.join(labels[:-1])} and {labels[-1]}"
            contradicting = [row for row in copies if row.label is not None]
            settled.update(
                {row.key: replace(row, status="rejected", reason=reason) for row in contradicting}
            )
            copies = [row for row in copies if row.label is None]
            if not copies:
                continue
        kept = min(copies, key=_with_most_facts)
        twin = _on_the_other_side(kept, copies) if keep_sides else None
        if twin is not None:
            kept, twin = (kept, twin) if kept.split == "test" else (twin, kept)
            image_id = str(twin.image_id)
            settled[twin.key] = replace(twin, image_id=copy_id(image_id), copy_of=image_id)
        for row in copies:
            if row is not kept and row is not twin:
                settled[row.key] = _duplicate_of(kept, row)
    return [settled.get(row.key, row) for row in rows]


def _with_most_facts(row: ManifestRow) -> tuple[object, ...]:
    """Return the key by which the row that stays is the smallest."""
    return (
        row.label is None,
        row.drop is not None,
        row.split is None,
        row.group_id is None,
        row.key,
    )


def _on_the_other_side(kept: ManifestRow, copies: Sequence[ManifestRow]) -> ManifestRow | None:
    """Return the copy that stays on the side of a given split where ``kept`` is not, or None."""
    sides = {"train": "test", "test": "train"}
    other = [
        row
        for row in copies
        if row.drop is None and row.split == sides.get(str(kept.split)) and row.label is not None
    ]
    return min(other, key=_with_most_facts) if kept.drop is None and other else None


def _duplicate_of(kept: ManifestRow, row: ManifestRow) -> ManifestRow:
    """Return a row marked as a duplicate."""
    other = row.label is not None and row.label != kept.label
    reason = f"same bytes as {kept.path}" + (f", whose label {kept.label} stands" if other else "")
    split = row.split if row.drop is None else None
    return replace(row, status="duplicate", reason=reason, split=split)


def _together(rows: Iterable[ManifestRow]) -> dict[str, str]:
    return kept_together(list(map(vars, rows)))


def kept_together(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return for every image the name of the set that no drawn split may divide.

    A set has all images that are connected by a group, a patient or equal pixels, copies included.
    Its name is the smallest image_id in it, so it does not depend on the names of groups.

    Args:
        rows: rows of the manifest; equal pixels connect where they have ``pixel_sha256``.
    """
    parent: dict[str, str] = {}

    def root(token: str) -> str:
        while parent.setdefault(token, token) != token:
            parent[token] = parent[parent[token]]
            token = parent[token]
        return token

    usable = [row for row in rows if row["status"] != "rejected" and row["image_id"] is not None]
    lists = lists_of_patients(usable)
    for row in usable:
        # sorts before the other tokens: the smallest one names the set
        image = root(f"0{row['image_id']}")
        tokens = [f"t{patient}" for patient in sorted(patients_of(row, lists))]
        if row["copy_of"] is not None:
            tokens.append(f"0{row['copy_of']}")
        if row["group_id"] is not None and row["group_source"] != "PatientID":
            tokens.append(f"g{row['group_id']}")
        if row.get("pixel_sha256") is not None:
            tokens.append(f"p{row['pixel_sha256']}")
        for token in tokens:
            smaller, larger = sorted((root(token), image))
            parent[larger] = image = smaller
    return {row["image_id"]: root(f"0{row['image_id']}")[1:] for row in usable}


def lists_of_patients(rows: Iterable[Mapping[str, Any]]) -> frozenset[str | None]:
    """Return where groups lie below patients: names of drops, None for the first load."""
    return frozenset(row["drop"] for row in rows if row["patient_id"] is not None)


def patients_of(row: Mapping[str, Any], lists: Collection[str | None]) -> frozenset[str]:
    """Return the patients of a row, listed and named by its header, or else its group.

    A group stands for a patient where neither is known, and its whole list names no patient: one
    patient can be the group of the first load and the patient above the lesions of a drop.

    Args:
        row: row of the manifest.
        lists: what :func:`lists_of_patients` gives.
    """
    patients = {row["patient_id"], row["header_patient_id"]} - {None}
    if not patients and row["drop"] not in lists:
        patients = {row["group_id"]} - {None}
    return frozenset(patients)


def _sides(
    usable: Sequence[ManifestRow], together: dict[str, str], spec: DatasetSpec
) -> dict[Key, str]:
    """Return the side of each usable row of the first load: train, test or unlabelled."""
    labelled = [row for row in usable if row.label is not None]
    unlabelled = [row for row in usable if row.label is None]
    if unlabelled and not spec.unlabelled:
        raise InputError(
            f"{len(unlabelled)} of {len(usable)} images in {spec.root} have no label (first: "
            f"{unlabelled[0].path})",
            "Put each into a folder named after its class, fill the label column of manifest.csv, "
            "or register with --unlabelled",
        )
    sides = {row.key: "unlabelled" for row in unlabelled}
    if not labelled:
        return sides
    if (
        len(
            {
                name
                for row in labelled
                for name in labels_of(row.label, spec.task) or (NONE_OF_THEM,)
            }
        )
        == 1
    ):
        raise InputError(
            f"all {len(labelled)} labelled images in {spec.root} have one class, "
            f"{labelled[0].label!r}"
            if labelled[0].label
            else f"all {len(labelled)} images in {spec.root} have no label",
            "Add images of a second class in a folder (or with a label in manifest.csv) of their "
            "own",
        )
    n_given = sum(row.split is not None for row in labelled)
    if spec.split == "stratified" or (spec.split == "auto" and n_given == 0):
        return sides | _drawn(labelled, together, spec)
    if n_given < len(labelled):
        first = next(row.path for row in labelled if row.split is None)
        raise InputError(
            f"{len(labelled) - n_given} of {len(labelled)} labelled images in {spec.root} have no "
            f"split (first: {first})",
            f"Put each below train/ or test/, fill the split column of manifest.csv, or {REDRAW}",
        )
    return sides | _given(labelled, spec)


def _sides_of_drops(
    usable: Sequence[ManifestRow],
    first_load: dict[Key, str],
    together: dict[str, str],
    spec: DatasetSpec,
) -> dict[Key, str]:
    """Return the side of each usable row that came in a drop."""
    first_classes: set[str] = set()
    sides_taken: dict[str, set[str]] = defaultdict(set)
    sides: dict[Key, str] = {}
    for row in usable:
        if row.drop is None:
            first_classes.update(labels_of(row.label, spec.task))
            side = first_load[row.key]
        elif row.label is None:
            side = sides[row.key] = "unlabelled"
        else:
            side = sides[row.key] = {
                "hold": "held",
                "train": "train",
                "given": row.split or "held",
            }[spec.new_labels]
        if side in ("train", "test"):
            sides_taken[together[str(row.image_id)]].add(side)
    for row in usable:
        if sides.get(row.key) in ("train", "test"):
            parted = len(sides_taken[together[str(row.image_id)]]) > 1
            if parted or (
                first_classes and not first_classes.issuperset(labels_of(row.label, spec.task))
            ):
                sides[row.key] = "held"
    return sides


def _drawn(
    labelled: Sequence[ManifestRow], together: dict[str, str], spec: DatasetSpec
) -> dict[Key, str]:
    """Return the sides of a drawn split."""
    rows = sorted(labelled, key=lambda row: str(row.image_id))
    labels = [str(row.label) for row in rows]
    groups = [together[str(row.image_id)] for row in rows]
    try:
        if spec.task == "single-label":
            in_test = stratified_group_split(labels, groups, spec.test_fraction, spec.split_seed)
        else:
            in_test = label_group_split(
                label_matrix(labels)[1], groups, spec.test_fraction, spec.split_seed
            )
    except ValueError as error:
        sources = sorted({row.group_source for row in labelled if row.group_source is not None})
        groups_are = " and ".join(SOURCES[source] for source in sources)
        raise InputError(
            f"no test split can be drawn in {spec.root}: {error}"
            + (f" (groups are {groups_are})" if sources else ""),
            _remedy_for_a_draw(sources, isinstance(error, TooFewGroupsError)),
        ) from error
    return {row.key: "test" if test else "train" for row, test in zip(rows, in_test, strict=True)}


def _remedy_for_a_draw(sources: Collection[str], are_too_few: bool) -> str:
    """Return the remedy where no split can be drawn.

    Args:
        sources: where the groups stand.
        are_too_few: whether no other draw can help, since there are too few groups.
    """
    remedies = ["Add images of other patients to the class", "leave it out"]
    if not are_too_few:
        remedies.append("raise --test-fraction")
    if "group_id" in sources:
        remedies.append("correct group_id in the manifest")
    if {"PatientID", "StudyInstanceUID"} & set(sources):
        remedies.append(LIST_PATIENTS)
    remedies.append(
        "give the split yourself below train/ and test/, where a class may be in train/ alone "
        "(with --keep-given-split if a group is in both)"
    )
    return f"{', '.join(remedies[:-1])}, or {remedies[-1]}"


def _given(labelled: Sequence[ManifestRow], spec: DatasetSpec) -> dict[Key, str]:
    """Return the sides of a given split, which must have both sides and train every class.

    A class that is in train alone is allowed: it can be learned, though not tested.
    """
    sides = {row.key: str(row.split) for row in labelled}
    for side in ("train", "test"):
        if side not in sides.values():
            raise InputError(
                f"the split given in {spec.root} has no {side} images",
                f"Add a {side}/ folder, or {REDRAW}",
            )
    learned = {
        name for row in labelled if row.split == "train" for name in labels_of(row.label, spec.task)
    }
    for row in labelled:
        for name in labels_of(row.label, spec.task):
            if name not in learned:
                raise InputError(
                    f"class {name!r} in {spec.root} is only in the test split (first: {row.path})",
                    f"Move some of its images to train, leave it out, or {REDRAW}",
                )
    return sides

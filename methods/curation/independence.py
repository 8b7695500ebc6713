"""How independent the test side of a dataset is: counts, and the notices of every result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.facts import SplitFacts
from data_contracts.records.notices import (
    GROUPS_ARE_STUDIES,
    IDENTIFIERS_JOINED,
    IMAGE_LEVEL_SPLIT,
    LEAKS_KEPT,
    NO_PATIENT,
    PARTLY_IMAGE_LEVEL_SPLIT,
    PATIENTS_AS_LISTED,
    PATIENTS_DISAGREE,
)
from methods.curation.identities import (
    COLUMNS,
    NOT_CONSULTED,
    ONE_VALUE,
    PLACEHOLDER,
    SEVERAL_FORMS,
    SOURCES,
    STUDY,
)
from methods.curation.leakage import crossing
from methods.curation.manifest_rows import lists_of_patients, patients_of

Rows = Sequence[Mapping[str, Any]]
"""Rows of the manifest."""

GROUP_COLUMN = "the column group_id of a manifest.csv gives each file its patient"
"""Way out of groups that are not patients."""


def split_facts(rows: Rows, spec: DatasetSpec) -> SplitFacts:
    """Count what a reader must know of the groups of a manifest and of its split.

    Args:
        rows: rows of the manifest.
        spec: the dataset's specification.
    """
    usable = [row for row in rows if row["status"] == "ok"]
    divided = [row for row in usable if row["split"] in ("train", "test")]
    notes = [frozenset((row["id_notes"] or "").split("; ")) for row in usable]
    kept = dict.fromkeys(("bytes", "pixels", "group", "patient"), 0)
    if spec.keep_given_split:
        for kind in kept:
            test = {_key(row) for both in crossing(rows, kind).values() for row in both["test"]}
            kept[kind] = sum(row["split"] == "test" and _key(row) in test for row in divided)
    return SplitFacts(
        images=len(divided),
        without_group=sum(row["group_id"] is row["patient_id"] is None for row in divided),
        alone_in_group=_alone(divided),
        by_study=sum(row["group_source"] == STUDY for row in divided),
        placeholder_images=_counts(notes, PLACEHOLDER),
        one_value_images=_counts(notes, ONE_VALUE),
        header_not_consulted=_counts(notes, NOT_CONSULTED).get("PatientID", 0),
        ids_joined=len(_joined(usable)),
        listed_of_several_headers=len(_several(usable, listed_first=True)),
        headers_of_several_listed=len(_several(usable, listed_first=False)),
        kept_same_bytes=kept["bytes"],
        kept_same_pixels=kept["pixels"],
        kept_same_group=kept["group"],
        kept_same_patient=kept["patient"],
    )


def _key(row: Mapping[str, Any]) -> tuple[str, int | None]:
    return row["path"], row["frame"]


def _alone(divided: Rows) -> int:
    """Return how many images have a group or patient that no other file has."""
    lists = lists_of_patients(divided)
    paths: dict[str, set[str]] = defaultdict(set)
    units = []
    for row in divided:
        unit = {row["group_id"], *patients_of(row, lists)} - {None}
        units.append(unit)
        for value in unit:
            paths[value].add(row["path"])
    return sum(bool(unit) and all(len(paths[value]) == 1 for value in unit) for unit in units)


def _counts(notes: Iterable[Collection[str]], note: str) -> dict[str, int]:
    """Return how many images have a note on each column that has any."""
    listed = list(notes)
    counts = {
        column: sum(note.format(column) in of_image for of_image in listed) for column in COLUMNS
    }
    return {column: count for column, count in counts.items() if count}


def _joined(usable: Rows) -> set[str]:
    """Return the groups and patients whose identifier is written in several forms."""
    joined = set()
    for row in usable:
        notes = (row["id_notes"] or "").split("; ")
        for column, name in (
            ("group_id", "group_id"),
            ("patient_id", "patient_id"),
            ("PatientID", "header_patient_id"),
        ):
            if SEVERAL_FORMS.format(column) in notes:
                joined.add(row[name])
    return joined


def _several(usable: Rows, listed_first: bool) -> set[str]:
    """Return the listed patients of several header's patients, or the other way round.

    A listed group of several header's patients counts among the first.
    """
    others: dict[str, set[str]] = defaultdict(set)
    for row in usable:
        header, patient = row["header_patient_id"], row["patient_id"]
        if header is None:
            continue
        listed = {patient} - {None}
        if listed_first and row["group_source"] == "group_id":
            listed.add(row["group_id"])
        for value in listed:
            one, other = (value, header) if listed_first else (header, value)
            others[one].add(other)
    return {value for value, of_value in others.items() if len(of_value) > 1}


def split_notices(facts: SplitFacts) -> list[str]:
    """Return what a reader of any result must know of the groups and of the split."""
    return [
        *_kept(facts),
        *_group_notices(facts),
        *_placeholder_notices(facts),
        *_form_notices(facts),
    ]


def _kept(facts: SplitFacts) -> list[str]:
    """Return the notice of what is on both sides of a split that was kept."""
    parts = [
        f"1 test image is {one}" if count == 1 else f"{count} test images are {several}"
        for count, one, several in (
            (
                facts.kept_same_bytes,
                "also a training image (same bytes)",
                "also training images (same bytes)",
            ),
            (
                facts.kept_same_pixels,
                "also a training image (same pixels, other bytes)",
                "also training images (same pixels, other bytes)",
            ),
            (
                facts.kept_same_group,
                "of a group that is also trained on",
                "of groups that are also trained on",
            ),
            (
                facts.kept_same_patient,
                "of a patient who is also trained on",
                "of patients who are also trained on",
            ),
        )
        if count
    ]
    return [LEAKS_KEPT.says(f"{'; '.join(parts)}; kept by --keep-given-split")] if parts else []


def _group_notices(facts: SplitFacts) -> list[str]:
    """Return the notices of images that are not grouped by patient."""
    alone = facts.without_group + facts.alone_in_group
    if not facts.images:
        return []
    notices = []
    if facts.without_group == facts.images:
        notices.append(
            IMAGE_LEVEL_SPLIT.says("no groups (patients) were given, so the figures are optimistic")
        )
    elif alone == facts.images:
        notices.append(
            IMAGE_LEVEL_SPLIT.says(
                "no two files are of one group, so the groups keep nothing "
                "together, and the figures are optimistic unless each patient has one image"
            )
        )
    elif facts.without_group:
        notices.append(
            PARTLY_IMAGE_LEVEL_SPLIT.says(
                f"{facts.without_group} of {facts.images} images have no "
                "group (patient): figures may be optimistic"
            )
        )
    if facts.by_study:
        notices.append(
            GROUPS_ARE_STUDIES.says(
                f"{facts.by_study} of {facts.images} images are kept together by "
                f"StudyInstanceUID, since their files name no patient; a patient of several "
                f"studies can be on both sides; {GROUP_COLUMN}"
            )
        )
    return notices


def _placeholder_notices(facts: SplitFacts) -> list[str]:
    """Return the notices of identifiers that name nobody."""
    notices = [
        NO_PATIENT.says(
            f"{SOURCES[column]} stands for nobody (a word such as ANONYMOUS, or 0) in "
            f"{count} images and is not used; {GROUP_COLUMN}, and --exact-ids takes it as it is"
        )
        for column, count in facts.placeholder_images.items()
    ]
    notices += [
        NO_PATIENT.says(
            f"{SOURCES[column]} is the same for all images ({count}) and is not used; "
            f"{GROUP_COLUMN}, and --exact-ids takes it as it is"
        )
        for column, count in facts.one_value_images.items()
    ]
    return notices


def _form_notices(facts: SplitFacts) -> list[str]:
    """Return the notices of identifiers that were joined, or that contradict each other."""
    notices = []
    if facts.ids_joined:
        notices.append(
            IDENTIFIERS_JOINED.says(
                f"{facts.ids_joined} groups or patients are written in several "
                "forms (such as 7, 7.0 and 0007) and count as one each; "
                "--exact-ids keeps them apart"
            )
        )
    if facts.listed_of_several_headers:
        notices.append(
            PATIENTS_DISAGREE.says(
                f"{facts.listed_of_several_headers} listed groups or patients have "
                "several patients in the headers of their DICOM files (PatientID); all of them are "
                "kept together"
            )
        )
    if facts.headers_of_several_listed:
        notices.append(
            PATIENTS_DISAGREE.says(
                f"{facts.headers_of_several_listed} patients of DICOM headers "
                "(PatientID) are listed as several patients; all of them are kept together"
            )
        )
    if facts.header_not_consulted:
        notices.append(
            PATIENTS_AS_LISTED.says(
                f"PatientID of {facts.header_not_consulted} DICOM images is not "
                "compared, since a group or patient is listed (--exact-ids)"
            )
        )
    return notices

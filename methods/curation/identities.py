"""Who is on an image: what the user's manifest lists and what the file's header names, as one.

Pure functions on identifiers in clear, which the caller hashes before anything is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from methods.identifiers import is_placeholder, normal_id

Column = Literal["group_id", "patient_id", "PatientID"]
"""Where an identifier stands: a column of the user's manifest, or the header of a DICOM file."""
COLUMNS: tuple[Column, ...] = get_args(Column)

PLACEHOLDER = "{} is a placeholder"
"""Note on an image whose identifier in a column stands for nobody."""
ONE_VALUE = "{} is the same for all images"
"""Note on an image whose identifier in a column all images have."""
SEVERAL_FORMS = "{} is written in several forms"
"""Note on an image whose identifier is written otherwise on another image."""
NOT_CONSULTED = "{} stands behind what is listed"
"""Note on an image whose header was not asked, since the user wants identifiers as listed."""

STUDY = "StudyInstanceUID"
"""Source of a group that is a study: one visit of a patient who is not named."""
FRAMES = "frames"
"""Source of a group that is the frames of one file of a patient who is not named."""

SOURCES = {
    "group_id": "group_id of the manifest",
    "patient_id": "patient_id of the manifest",
    "PatientID": "PatientID of the DICOM files",
    "StudyInstanceUID": "StudyInstanceUID of the DICOM files",
    "frames": "frames of one file",
}
"""Where a group or patient stands, in words."""

LIST_PATIENTS = (
    "list the true patient of each file in the column group_id of a manifest.csv and register with "
    "--exact-ids"
)
"""Remedy where the headers of DICOM files do not name the patients."""

MANY_STUDIES = 4
"""Minimum number of studies (StudyInstanceUID) in which one patient's name is called none.

All files of the first load have it: a program wrote it there."""


@dataclass(frozen=True)
class Claim:
    """What is said of one file, in clear.

    Attributes:
        group_id: group that the user's manifest lists, or None.
        patient_id: patient that it lists, or None.
        header: patient that the file's header names, or None.
        study: study that the header names, or None.
        file: what frames of the file have in common, or None where it is one image.
        drop: the drop it came in, or None for the first load.
        usable: whether it can be used; other files do not decide what is a placeholder.
    """

    group_id: str | None
    patient_id: str | None
    header: str | None
    study: str | None
    file: str | None = None
    drop: str | None = None
    usable: bool = True

    def of(self, column: Column) -> str | None:
        """Return the identifier that stands in a column."""
        return self.header if column == "PatientID" else getattr(self, column)


@dataclass(frozen=True)
class Identity:
    """Who is on the image or images of one file, in clear and in normal form.

    Attributes:
        group_id: group, or None.
        group_source: where it stands: "group_id", "PatientID", STUDY or FRAMES; None without one.
        patient_id: the listed patient; where a group is listed and no patient, the header's.
        header_patient_id: the header's patient, or None.
        notes: what was done with the identifiers, as the constants above say it.
    """

    group_id: str | None = None
    group_source: str | None = None
    patient_id: str | None = None
    header_patient_id: str | None = None
    notes: tuple[str, ...] = ()


def identify(claims: Sequence[Claim], exact: bool = False) -> list[Identity]:
    """Say who is on each image.

    Identifiers are compared in normal form. A placeholder, or one value for all images of the first
    load (of a header: in MANY_STUDIES studies at least), is nobody. A listed group stands below the
    header's patient; without a group it is the header's patient, else the study, else the frames
    of the file. The issuer of a PatientID is not compared: patients of one number of two hospitals
    are kept together, which is safe, where an issuer that some files lack would part one patient.

    Args:
        claims: one for each file, in any order.
        exact: whether identifiers are taken as they are written, placeholders too, and a header is
            only asked where nothing is listed.

    Returns:
        As many identities, in the same order.
    """
    if exact:
        return [_as_written(claim) for claim in claims]
    nobody = {column: _nobody(column, claims) for column in COLUMNS}
    several = _in_several_forms(claims)
    return [_identity(claim, nobody, several) for claim in claims]


def _as_written(claim: Claim) -> Identity:
    """Return the identity of a file whose identifiers are taken as they are written."""
    listed = claim.group_id or claim.patient_id
    header = None if listed else claim.header
    note = NOT_CONSULTED.format("PatientID")
    group, source = _group(claim.group_id, header, claim)
    return Identity(
        group,
        source,
        claim.patient_id,
        header,
        (note,) if claim.header is not None and listed else (),
    )


def _group(listed: str | None, header: str | None, claim: Claim) -> tuple[str | None, str | None]:
    """Return the group of a file and where it stands."""
    if listed is not None:
        return listed, "group_id"
    if header is not None:
        return header, "PatientID"
    if claim.study is not None:
        return f"study {claim.study}", STUDY
    return (claim.file, FRAMES) if claim.file is not None else (None, None)


def _nobody(column: Column, claims: Sequence[Claim]) -> Mapping[bool, Mapping[str, str]]:
    """Return the identifiers of a column that are nobody, each with its note.

    The first key is whether a file came in a drop: no drop moves the groups of the first load.
    """
    ids: dict[bool, set[str]] = {False: set(), True: set()}
    for claim in claims:
        text = claim.of(column)
        if text is not None and claim.usable:
            ids[claim.drop is not None].add(normal_id(text))
    ids[True] |= ids[False]
    nobody = {
        in_drop: {
            value: PLACEHOLDER.format(column)
            for value in values
            if is_placeholder(value, values - {value})
        }
        for in_drop, values in ids.items()
    }
    value = _value_of_all(column, [claim for claim in claims if claim.drop is None])
    if value is not None:
        for notes in nobody.values():
            notes.setdefault(value, ONE_VALUE.format(column))
    return nobody


def _value_of_all(column: Column, first_load: Sequence[Claim]) -> str | None:
    """Return the identifier that all usable files of the first load have, or None.

    Files without a header do not count for the header's.
    """
    usable = [claim for claim in first_load if claim.usable]
    if column == "PatientID":
        usable = [claim for claim in usable if claim.header is not None]
        if len({claim.study for claim in usable} - {None}) < MANY_STUDIES:
            return None
    values = {normal_id(claim.of(column) or "") for claim in usable}
    return next(iter(values)) or None if len(values) == 1 and len(usable) > 1 else None


def _in_several_forms(claims: Sequence[Claim]) -> Mapping[Column, frozenset[str]]:
    """Return for each column the normal forms that are written in more than one way.

    A header is compared with the listed patients, and with the groups where it stands for one.
    """
    forms: dict[bool, dict[str, set[str]]] = {False: defaultdict(set), True: defaultdict(set)}
    for claim in claims:
        for column in COLUMNS:
            text = claim.of(column)
            if text is not None:
                of_patients = column != "group_id"
                forms[of_patients][normal_id(text)].add(text)
                if column == "PatientID" and claim.group_id is None:
                    forms[False][normal_id(text)].add(text)
    groups, patients = (
        frozenset(value for value, texts in forms[of_patients].items() if len(texts) > 1)
        for of_patients in (False, True)
    )
    return {"group_id": groups, "patient_id": patients, "PatientID": patients | groups}


def _identity(
    claim: Claim,
    nobody: Mapping[Column, Mapping[bool, Mapping[str, str]]],
    several: Mapping[Column, frozenset[str]],
) -> Identity:
    """Return the identity of a file whose identifiers are compared in normal form."""
    known: dict[Column, str] = {}
    notes = []
    for column in COLUMNS:
        text = claim.of(column)
        if text is None:
            continue
        value = normal_id(text)
        note = nobody[column][claim.drop is not None].get(value)
        if note is None and not value:
            note = PLACEHOLDER.format(column)
        if note is not None:
            notes.append(note)
            continue
        known[column] = value
        if value in several[column]:
            notes.append(SEVERAL_FORMS.format(column))
    header = known.get("PatientID")
    group, source = _group(known.get("group_id"), header, claim)
    patient = known.get("patient_id") or (header if source == "group_id" else None)
    return Identity(group, source, patient, header, tuple(notes))

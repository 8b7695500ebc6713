"""The scan of a dataset: every file hashed, decoded once, and listed in a manifest.

Nothing is written to the user's folders. Every file in them becomes one row, whatever it is, and a
multi-frame file one row for each frame. No name, identifier or decoder's message of a file leaves
this module except through ``Intake.names``.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import PurePosixPath
from typing import Any, TypeAlias
from unicodedata import normalize

import pyarrow as pa

from data_contracts.errors import InputError
from data_contracts.tables.manifest import MANIFEST, MANIFEST_SCHEMA, frame_id
from methods.curation.identities import Claim, identify
from methods.curation.labels import alike
from methods.curation.lesion_centres import Point, upright_centre
from methods.curation.manifest_rows import ManifestRow, curate
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import FileFacts, Frame, UndecodableImageError
from methods.imaging.readers import (
    HEAD_BYTES,
    can_identify_patients,
    formats_that_identify_patients,
)
from resources.cores import cores
from resources.intake.archives import RefusedArchiveError
from resources.intake.confined_open import RefusedFileError
from resources.intake.image_sources import (
    Intake,
    SourceFile,
    SourceTree,
    labels_by_content,
    source_trees,
)
from resources.intake.limited_decoder import KILLED, LimitedDecoder
from resources.intake.outcomes import Outcomes
from resources.intake.site_key import Names
from resources.intake.user_manifest import FileAnnotation

Progress = Callable[[Iterable[Any]], Iterable[Any]]

MAX_BYTES = 2**30
"""Maximum bytes of a file that is read; no image within the pixel limit is as large."""

UNDECODABLE = "cannot be decoded: "
"""Prefix of the reason of every row whose bytes the decoder refused.

A later scan does not decode such bytes again, unless the system or a person killed the decoder.
That includes files that took too long: the limits are so wide that a busy machine is no
explanation, and a new attempt would hold up every scan for minutes."""

FILES_OF_A_PART = 1000
"""Number of files after which what was decoded is stored: an interrupt loses no more."""

AHEAD = 256
"""Maximum number of files that are being read, or were and wait for the ones before them."""

BURNED_IN = (
    "annotations are burned into its pixels (DICOM BurnedInAnnotation); "
    "allow with --allow-burned-in"
)
NO_SUCH_IMAGE = "its image_id is listed in a manifest, but no image of the dataset has it"
LABEL_IS_IDENTIFIER = "its label is an identifier of the DICOM file"


_Entry: TypeAlias = tuple[str, SourceTree, SourceFile]
"""A file with the name under which the manifest lists it and its tree."""


@dataclass(frozen=True)
class _Inspection:
    """Facts of a file, or why its bytes cannot be used.

    Attributes:
        digest: SHA-256 of its bytes, hex, or None where they were not read.
        n_bytes: its size.
        facts: the decoder's, or None where there is a fault.
        fault: why it cannot be used, or None.
        may_name: whether the label must not be written, since it may be one of the file's own
            identifiers, which could not be read (DICOM).
    """

    digest: str | None = None
    n_bytes: int = 0
    facts: FileFacts | None = None
    fault: str | None = None
    may_name: bool = False


def scan(
    intake: Intake,
    outcomes: Outcomes | None = None,
    allow_constant: bool = False,
    progress: Progress = iter,
) -> pa.Table:
    """Make the manifest of a dataset.

    Args:
        intake: the dataset and its drops.
        outcomes: what is known of bytes that were decoded before: they are not decoded again,
            unless the system or a person killed the decoder. All bytes are always hashed again.
            What is new is stored with it, in parts, so that an interrupted scan loses little.
        allow_constant: whether an image of one colour is used.
        progress: wraps the iteration over files, for a progress bar.

    Returns:
        A valid MANIFEST table, one row for each file or frame, sorted by path and frame.

    Raises:
        InputError: the dataset or its manifest cannot be used, with what to do about it.
    """
    entries = list(_named(intake))
    if not entries:
        where = (
            f"{intake.spec.name} has no drop that has settled"
            if intake.in_drops_only
            else f"{intake.spec.root} is empty"
        )
        raise InputError(
            where if intake.in_drops_only else f"the folder {where}",
            "Wait for the next look, or put a _READY into the drop"
            if intake.in_drops_only
            else "Give the folder that holds the images",
        )
    rows = _all_rows(intake, entries, outcomes or Outcomes(), progress)
    rows = _labelled_later(rows, intake)
    curated = curate(_with_known_labels(rows, intake.names), intake.spec, allow_constant)
    table = pa.Table.from_pylist(
        [{name: getattr(row, name) for name in MANIFEST_SCHEMA.names} for row in curated],
        schema=MANIFEST_SCHEMA,
    )
    return MANIFEST.check(table, f"the manifest of {intake.spec.name}")


def _all_rows(
    intake: Intake, entries: list[_Entry], outcomes: Outcomes, progress: Progress
) -> list[ManifestRow]:
    """Read every file, and return its rows in the order of the files."""
    rows: list[ManifestRow] = []
    claims: list[Claim] = []
    pool, decoder = ThreadPoolExecutor(cores()), LimitedDecoder(intake.spec.slice_axis)
    try:
        inspections = _in_order(pool, lambda entry: _inspect(entry[2], outcomes, decoder), entries)
        for number, ((named, tree, file), inspection) in enumerate(
            zip(progress(entries), inspections, strict=True), 1
        ):
            annotation = tree.annotations.get(file.place, FileAnnotation())
            of_file = _rows(named, tree, annotation, inspection, intake)
            claims += [_claim(annotation, inspection, of_file)] * len(of_file)
            rows += of_file
            if number % FILES_OF_A_PART == 0:
                outcomes.save()
    finally:
        decoder.close()
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the files still queued
        outcomes.save()
    outcomes.finish()
    return _with_identities(rows, claims, intake)


def _labelled_later(rows: list[ManifestRow], intake: Intake) -> list[ManifestRow]:
    """Label images that a drop names by their content.

    Such an image counts as one of that drop from then on, wherever it lies, so that its label goes
    where labels of drops go and the split of the first load stays. A label of the first load
    stands; where it has none, no class is known and nothing is labelled. An id that no image has is
    a rejected row.
    """
    stated = labels_by_content(intake)
    if not stated or not any(row.drop is None and row.label is not None for row in rows):
        return rows
    labelled = []
    for row in rows:
        drop, said = stated.get(str(row.image_id), (None, None))
        stands = row.drop is None and row.label is not None
        if drop is None or said is None or not said.label or row.status != "ok" or stands:
            labelled.append(row)
        else:
            written = intake.names.drop(drop)
            labelled.append(replace(row, label=said.label, split=said.split, drop=written))
    there = {row.image_id for row in rows}
    return labelled + [
        ManifestRow(
            image_id=None,
            path=intake.names.path(f"drops/{drop}/{image_id}"),
            status="rejected",
            reason=NO_SUCH_IMAGE,
            label=None,
            split=None,
            group_id=None,
            bytes=0,
            drop=intake.names.drop(drop),
        )
        for image_id, (drop, _) in stated.items()
        if image_id not in there
    ]


def _in_order(
    pool: ThreadPoolExecutor, inspect: Callable[[_Entry], _Inspection], entries: Iterable[_Entry]
) -> Iterator[_Inspection]:
    """Yield the result of each entry in their order, with at most AHEAD of them under way."""
    waiting: deque[Future[_Inspection]] = deque()
    for entry in entries:
        waiting.append(pool.submit(inspect, entry))
        if len(waiting) == AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def states_labels(intake: Intake) -> bool:
    """Whether the folders or a manifest state a label of any file, without opening the files."""
    return any(
        file.fault is None and tree.annotations.get(file.place, FileAnnotation()).label is not None
        for _, tree, file in _named(intake)
    )


def number_of_files(intake: Intake) -> int:
    """Number of files that could be images, without opening them."""
    return sum(file.fault is None for _, _, file in _named(intake))


def attributes_of_files(intake: Intake) -> dict[str, dict[str, str]]:
    """What manifests state in the further columns of ``intake``, by file as a manifest calls it.

    Files for which none is filled are left out.
    """
    stated = {
        named: tree.annotations.get(file.place, FileAnnotation()).attributes
        for named, tree, file in _named(intake)
    }
    return {named: dict(attributes) for named, attributes in stated.items() if attributes}


def locate(intake: Intake, paths: Iterable[str]) -> dict[str, SourceFile]:
    """Find the files that a manifest calls ``paths``; missing ones are left out."""
    requested = set(paths)
    return {named: file for named, _, file in _named(intake) if named in requested}


def read_image(file: SourceFile, named: str, is_expected: Callable[[str], bool]) -> bytes:
    """Read a file, whose bytes must be those that the manifest was made from.

    Args:
        file: the file.
        named: what the manifest calls it, for messages.
        is_expected: whether a SHA-256 (hex) is the one in the manifest.

    Raises:
        InputError: it is missing, has changed, is no regular file, or lies outside its folder.
    """
    again = "Materialise image_manifest again"
    try:
        with _opened(file) as stream:
            data = stream.read()
    except RefusedFileError as error:
        raise InputError(f"{named} cannot be used any more ({error})", again) from None
    except OSError as error:
        raise InputError(
            f"{named} cannot be read any more ({error.strerror})",
            f"Put it back, or {again.lower()}",
        ) from None
    if not is_expected(hashlib.sha256(data).hexdigest()):
        raise InputError(f"{named} changed since the manifest was made", again)
    return data


def _named(intake: Intake) -> Iterator[_Entry]:
    """Every file of a dataset, with the name under which the manifest lists it."""
    taken: set[str] = set()
    try:
        for tree in source_trees(intake):
            for file in tree.files:
                yield _storable(intake.names.path(file.path), taken), tree, file
    except (RefusedArchiveError, RefusedFileError) as error:
        raise InputError(
            f"{intake.spec.root} is refused: {error}", "Pack it again, or give the folder unpacked"
        ) from None


def _opened(file: SourceFile) -> BufferedReader:
    return open(file.file, "rb", opener=file.opener)


def _inspect(file: SourceFile, outcomes: Outcomes, decoder: LimitedDecoder) -> _Inspection:
    if not file.readable:
        return _Inspection(fault=file.fault)
    try:
        with _opened(file) as stream:
            n_bytes = os.fstat(stream.fileno()).st_size
            fault = file.fault or (
                f"larger than {MAX_BYTES // 2**20} MiB" if n_bytes > MAX_BYTES else None
            )
            if fault is not None:
                may_name = can_identify_patients(stream.read(HEAD_BYTES))
                stream.seek(0)
                return _Inspection(
                    hashlib.file_digest(stream, "sha256").hexdigest(),
                    n_bytes,
                    fault=fault,
                    may_name=may_name,
                )
            data = stream.read()
    except RefusedFileError as error:
        return _Inspection(fault=str(error), may_name=True)
    except OSError as error:
        return _Inspection(fault=f"cannot be read: {error.strerror}", may_name=True)
    digest = hashlib.sha256(data).hexdigest()
    try:
        return _Inspection(digest, len(data), _facts(data, digest, outcomes, decoder))
    except UndecodableImageError as error:
        may_name = can_identify_patients(data)
        return _Inspection(digest, len(data), fault=f"{UNDECODABLE}{error}", may_name=may_name)


def _facts(data: bytes, digest: str, outcomes: Outcomes, decoder: LimitedDecoder) -> FileFacts:
    """Facts of a file, without decoding what is known.

    A file that is not known may crash its decoder, and is inspected in a process with limits. One
    that is known has passed that: its header is read here, and later stages decode the same bytes,
    by their digest, in threads of their own.
    """
    known = outcomes.known.get(digest)
    if isinstance(known, str):
        raise UndecodableImageError(known)
    if known is not None and known.frames[0].facts.format not in formats_that_identify_patients():
        return known
    if known is not None:
        # for the patient, whom no outcome names
        header = inspect_file(data, decode=False, slice_axis=decoder.slice_axis)
        return replace(header, frames=known.frames, notice=known.notice)
    try:
        facts = decoder.inspect(data)
    except UndecodableImageError as error:
        if not str(error).endswith(KILLED):
            outcomes.learn(digest, str(error))
        raise
    outcomes.learn(digest, facts)
    return facts


def _image_ids(digest: str, facts: FileFacts) -> list[str]:
    if len(facts.frames) == 1:
        return [digest]
    return [frame_id(digest, frame, facts.slice_axis) for frame in range(len(facts.frames))]


def _storable(path: str, taken: set[str]) -> str:
    """A path as a manifest can hold it: valid UTF-8 without ".." or a leading /, and unique.

    A number is added where another file has the same one.
    """
    parts = PurePosixPath(path.encode("utf-8", "backslashreplace").decode()).parts
    safe = "/".join(part for part in parts if part.strip("/") not in ("", "..")) or "unnamed"
    unique, number = safe, 1
    while unique in taken:
        number += 1
        unique = f"{safe} ({number})"
    taken.add(unique)
    return unique


def _texts_of(label: str) -> set[str]:
    """A label and its parts at the bars, as identifiers are written."""
    return {_folded(text) for text in (label, *label.split("|"))}


def _folded(text: str) -> str:
    return normalize("NFC", text).strip().casefold()


def _with_known_labels(rows: list[ManifestRow], names: Names) -> list[ManifestRow]:
    """Replace each class of a drop that the first load does not have by a pseudonym."""
    known = {
        part
        for row in rows
        if row.drop is None and row.label is not None
        for part in _parts(row.label)
    }
    if not known:
        return rows

    forms = {alike(part) for part in known}

    def written(label: str) -> str:
        # one that only looks like a known class reveals no name, and a notice shows both
        return (
            "|".join(
                part if part in known or alike(part) in forms else names.label(part)
                for part in _parts(label)
            )
            or label
        )

    return [
        row if row.drop is None or row.label is None else replace(row, label=written(row.label))
        for row in rows
    ]


def _parts(label: str) -> list[str]:
    """The classes that a label with bars lists."""
    return [part.strip() for part in label.split("|") if part.strip()]


def _rows(
    named: str,
    tree: SourceTree,
    annotation: FileAnnotation,
    inspection: _Inspection,
    intake: Intake,
) -> list[ManifestRow]:
    """The rows of one file: one, or one for each frame."""
    facts = inspection.facts
    label, fault = _label_and_fault(annotation, inspection, intake.spec.allow_burned_in)
    frames = facts.frames if facts is not None else ()
    whole = ManifestRow(
        image_id=inspection.digest,
        path=named,
        status="ok" if fault is None else "rejected",
        reason=fault,
        label=label,
        split=annotation.split,
        group_id=None,
        bytes=inspection.n_bytes,
        drop=intake.names.drop(tree.drop) if tree.drop is not None else None,
    )
    if facts is None or fault is not None:
        return [whole]
    ids = _image_ids(str(inspection.digest), facts)
    return [
        _frame_row(
            replace(whole, image_id=image_id, frame=number if len(frames) > 1 else None),
            facts,
            frame,
            annotation.center,
        )
        for number, (image_id, frame) in enumerate(zip(ids, frames, strict=True))
    ]


def _claim(
    annotation: FileAnnotation, inspection: _Inspection, rows: Sequence[ManifestRow]
) -> Claim:
    """What is said of the group and the patient of one file, whose rows are given."""
    facts = inspection.facts
    return Claim(
        annotation.group_id,
        annotation.patient_id,
        facts.patient if facts is not None else None,
        facts.study if facts is not None else None,
        # frames of one file show one patient, whoever it is
        f"file {inspection.digest}" if len(rows) > 1 else None,
        rows[0].drop,
        any(row.status == "ok" for row in rows),
    )


def _with_identities(
    rows: Sequence[ManifestRow], claims: Sequence[Claim], intake: Intake
) -> list[ManifestRow]:
    """The rows with their groups and patients, hashed."""

    def hashed(text: str | None) -> str | None:
        return intake.names.group(text) if text is not None else None

    return [
        replace(
            row,
            group_id=hashed(identity.group_id),
            group_source=identity.group_source,
            patient_id=hashed(identity.patient_id),
            header_patient_id=hashed(identity.header_patient_id),
            id_notes="; ".join(identity.notes) or None,
        )
        for row, identity in zip(rows, identify(claims, intake.spec.exact_ids), strict=True)
    ]


def _frame_row(
    row: ManifestRow, facts: FileFacts, frame: Frame, center: Point | None
) -> ManifestRow:
    """Complete the row of one image by what decoding found of it."""
    notices = [facts.notice]
    if center is not None:
        center, notice = upright_centre(center, frame.facts)
        notices.append(notice)
    return replace(
        row,
        status="ok" if frame.fault is None else "rejected",
        reason=None if frame.fault is None else f"{UNDECODABLE}{frame.fault}",
        center_x=center[0] if center else None,
        center_y=center[1] if center else None,
        slice_axis=facts.slice_axis if row.frame is not None else None,
        notice="; ".join(filter(None, notices)) or None,
        pixel_sha256=frame.pixel_sha256,
        perceptual_hash=frame.perceptual_hash,
        constant=frame.constant,
        **{name: value for name, value in vars(frame.facts).items() if name != "orientation"},
    )


def _label_and_fault(
    annotation: FileAnnotation, inspection: _Inspection, allow_burned_in: bool
) -> tuple[str | None, str | None]:
    """The label that may be written, and why the file is rejected, if it is."""
    facts, fault = inspection.facts, inspection.fault
    label = None if inspection.may_name else annotation.label
    if facts is None:
        return label, fault
    if label is not None and not _texts_of(label).isdisjoint(map(_folded, facts.identifiers)):
        return None, LABEL_IS_IDENTIFIER
    if facts.burned_in and not allow_burned_in:
        return label, BURNED_IN
    return label, fault

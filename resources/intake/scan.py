"""The images that a user gives: found, hashed, decoded once, and listed in a manifest.

Nothing is written to the user's folders. Every file in them becomes one row, whatever it is, and a
multi-frame file one row a frame. No name, identifier or decoder's message of a file leaves this
module but through ``Intake.names``.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from data_contracts.errors import InputError
from data_contracts.tables.manifest import MANIFEST, MANIFEST_SCHEMA, frame_id
from methods.curation.manifest_rows import ManifestRow, curate
from methods.imaging.image_file import inspect_file
from methods.imaging.image_format import FileFacts, Frame, ImageFacts, UndecodableImageError
from methods.imaging.readers import (
    HEAD_BYTES,
    can_identify_patients,
    formats_that_identify_patients,
)
from resources.cores import cores
from resources.intake.archives import RefusedArchiveError
from resources.intake.confined_open import ConfinedOpener, RefusedFileError
from resources.intake.image_sources import Intake, SourceFile, SourceTree, source_trees
from resources.intake.limited_decoder import KILLED, LimitedDecoder
from resources.intake.site_key import Names
from resources.intake.user_manifest import FileAnnotation

Progress = Callable[[Iterable[Any]], Iterable[Any]]

MAX_BYTES = 2**30
"""Size above which a file is rejected unread: no image within the pixel limit is as large."""

UNDECODABLE = "cannot be decoded: "
"""Begins the reason of every row whose bytes were refused by the decoder; a later scan knows them
by it, unless others killed the decoder. One that did not get done in time it knows as well: the
limits are so wide that a busy machine is no explanation, and to try again would hold up every scan
for minutes."""

BURNED_IN = "annotations are burned into its pixels (DICOM BurnedInAnnotation); allow with --allow-burned-in"
LABEL_IS_IDENTIFIER = "its label is an identifier of the DICOM file"


@dataclass(frozen=True)
class _Inspection:
    """Facts of a file, or why its bytes cannot be used.

    Attributes:
        fault: why they cannot be used.
        may_name: the label is not to be written: the file is or may be DICOM, and whom it is of
            could not be read.
    """

    digest: str | None = None
    n_bytes: int = 0
    facts: FileFacts | None = None
    fault: str | None = None
    may_name: bool = False


def scan(
    intake: Intake, known: pa.Table | None = None, decode: bool = True, progress: Progress = iter
) -> pa.Table:
    """Look at every file of a dataset and make its manifest.

    Args:
        intake: the dataset and its drops.
        known: an earlier manifest that was made with ``decode``. Bytes that it knows as whole, or
            as refused by the decoder, are not decoded again; they are always hashed again.
        decode: False opens only the headers: quick, and a truncated image passes.
        progress: wraps the iteration over files, for a progress bar.

    Returns:
        A valid MANIFEST table, one row for each file or frame, sorted by path and frame.

    Raises:
        InputError: the dataset or its manifest cannot be used, with what to do about it.
    """
    found = [(named, tree, file) for named, tree, file in _named(intake)]
    if not found:
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
    outcomes = _outcomes(known) if known is not None else {}
    pool, decoder = ThreadPoolExecutor(cores()), LimitedDecoder()
    rows: list[ManifestRow] = []
    try:
        inspections = pool.map(lambda entry: _inspect(entry[2], outcomes, decode, decoder), found)
        for (named, tree, file), inspection in zip(progress(found), inspections, strict=True):
            rows += _rows(
                named, tree, tree.annotations.get(file.place, FileAnnotation()), inspection, intake
            )
    finally:
        decoder.close()
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the files still queued
    table = pa.Table.from_pylist(
        [vars(row) for row in curate(_with_known_labels(rows, intake.names), intake.spec)],
        schema=MANIFEST_SCHEMA,
    )
    return MANIFEST.check(table, f"the manifest of {intake.spec.name}")


def locate(intake: Intake, paths: Iterable[str]) -> dict[str, SourceFile]:
    """Where the files lie that a manifest calls ``paths``; those that are gone are left out."""
    wanted = set(paths)
    return {named: file for named, _, file in _named(intake) if named in wanted}


def read_image(file: SourceFile, named: str, is_expected: Callable[[str], bool]) -> bytes:
    """Bytes of a file, exactly those that the manifest was made from.

    Args:
        file: where it lies.
        named: what the manifest calls it, for messages.
        is_expected: told the SHA-256 of its bytes, hex, says whether it is the file that is meant.

    Raises:
        InputError: it is gone, has changed, is no regular file, or lies outside its folder.
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


def _named(intake: Intake) -> Iterator[tuple[str, SourceTree, SourceFile]]:
    """Every file with the name it is written by."""
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
    return open(file.file, "rb", opener=ConfinedOpener(file.root))


def _inspect(
    file: SourceFile, outcomes: dict[str, Frame | str], decode: bool, decoder: LimitedDecoder
) -> _Inspection:
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
        return _Inspection(digest, len(data), _facts(data, digest, outcomes, decode, decoder))
    except UndecodableImageError as error:
        may_name = can_identify_patients(data)
        return _Inspection(digest, len(data), fault=f"{UNDECODABLE}{error}", may_name=may_name)


def _facts(
    data: bytes,
    digest: str,
    outcomes: dict[str, Frame | str],
    decode: bool,
    decoder: LimitedDecoder,
) -> FileFacts:
    """Facts of a file, without decoding what an earlier manifest knows.

    What no manifest knows may kill its decoder, and is looked at in a process with limits. What one
    knows has been through that: its header is read here, and the stages that follow decode it, by
    the same digest, in threads of their own.
    """
    outcome = outcomes.get(digest)
    if isinstance(outcome, str):
        raise UndecodableImageError(outcome.removeprefix(UNDECODABLE))
    if outcome is not None and outcome.facts.format not in formats_that_identify_patients():
        return FileFacts((outcome,))
    if outcome is None and frame_id(digest, 0) not in outcomes:
        return decoder.inspect(data, decode)
    header = inspect_file(data, decode=False)  # what is not in a manifest: whom it is of
    frames = [outcomes.get(image_id) for image_id in _image_ids(digest, len(header.frames))]
    known = tuple(frame for frame in frames if isinstance(frame, Frame))
    if len(known) < len(header.frames):
        return decoder.inspect(data, decode)
    return FileFacts(known, header.patient, header.identifiers, header.burned_in)


def _image_ids(digest: str, n_frames: int) -> list[str]:
    return [digest] if n_frames == 1 else [frame_id(digest, frame) for frame in range(n_frames)]


def _outcomes(known: pa.Table) -> dict[str, Frame | str]:
    """What an earlier manifest says about bytes: the facts of a whole image, or why the decoder
    refused it.
    """
    outcomes: dict[str, Frame | str] = {}
    for row in known.to_pylist():
        if row["pixel_sha256"] is not None:
            facts = ImageFacts(row["width"], row["height"], row["mode"], row["format"])
            outcomes[row["image_id"]] = Frame(facts, row["pixel_sha256"], row["perceptual_hash"])
        elif row["image_id"] is not None and _is_of_the_bytes(row["reason"] or ""):
            outcomes[row["image_id"]] = row["reason"]
    return outcomes


def _is_of_the_bytes(reason: str) -> bool:
    return reason.startswith(UNDECODABLE) and not reason.endswith(KILLED)


def _storable(path: str, taken: set[str]) -> str:
    """``path`` as a manifest can hold it (no "..", no leading /, valid UTF-8), numbered where it is
    taken already.
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
    return {text.strip().casefold() for text in (label, *label.split("|"))}


def _with_known_labels(rows: list[ManifestRow], names: Names) -> list[ManifestRow]:
    """The rows with a pseudonym for each class of a drop that the first load does not have."""
    known = {
        part
        for row in rows
        if row.drop is None and row.label is not None
        for part in _parts(row.label)
    }
    if not known:
        return rows

    def written(label: str) -> str:
        return (
            "|".join(part if part in known else names.label(part) for part in _parts(label))
            or label
        )

    return [
        row if row.drop is None or row.label is None else replace(row, label=written(row.label))
        for row in rows
    ]


def _parts(label: str) -> list[str]:
    """The classes that a label may stand for."""
    return [part.strip() for part in label.split("|") if part.strip()]


def _rows(
    named: str,
    tree: SourceTree,
    annotation: FileAnnotation,
    inspection: _Inspection,
    intake: Intake,
) -> list[ManifestRow]:
    """The rows of one file: one, or one for each frame."""
    facts, fault = inspection.facts, inspection.fault
    label = None if inspection.may_name else annotation.label
    if (
        facts is not None
        and label is not None
        and not facts.identifiers.isdisjoint(_texts_of(label))
    ):
        label, fault = None, LABEL_IS_IDENTIFIER
    elif facts is not None and facts.burned_in and not intake.spec.allow_burned_in:
        fault = BURNED_IN
    frames = facts.frames if facts is not None else ()
    # Frames of one file show one patient, whoever it is.
    group = (
        annotation.group_id
        or (facts and facts.patient)
        or (f"file {inspection.digest}" if len(frames) > 1 else None)
    )
    whole = ManifestRow(
        image_id=inspection.digest,
        path=named,
        status="ok" if fault is None else "rejected",
        reason=fault,
        label=label,
        split=annotation.split,
        group_id=intake.names.group(group) if group else None,
        patient_id=intake.names.group(annotation.patient_id) if annotation.patient_id else None,
        center_x=annotation.center[0] if annotation.center else None,
        center_y=annotation.center[1] if annotation.center else None,
        bytes=inspection.n_bytes,
        drop=intake.names.drop(tree.drop) if tree.drop is not None else None,
    )
    if fault is not None:
        return [whole]
    ids = _image_ids(str(inspection.digest), len(frames))
    return [
        replace(
            whole,
            image_id=image_id,
            frame=number if len(frames) > 1 else None,
            pixel_sha256=frame.pixel_sha256,
            perceptual_hash=frame.perceptual_hash,
            **vars(frame.facts),
        )
        for number, (image_id, frame) in enumerate(zip(ids, frames, strict=True))
    ]

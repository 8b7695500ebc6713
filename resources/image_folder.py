"""The folder of images that a user gives: found, hashed, decoded once, and listed in a manifest.

Nothing is written to the folder. Every file in it becomes one row, whatever it is.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from data_contracts.dataset import DatasetSpec
from data_contracts.errors import InputError
from data_contracts.manifest import MANIFEST, MANIFEST_SCHEMA
from methods.curation import ManifestRow, curate
from methods.preprocessing import ImageFacts, UndecodableImageError, inspect_image, read_header
from resources.folder_layout import MANIFEST_CSV, Claim, Listing, claims_by_folders, read_listing

Progress = Callable[[Iterable[Any]], Iterable[Any]]

MAX_BYTES = 2**30
"""Size above which a file is rejected unread: no image within the pixel limit is as large."""

UNDECODABLE = "cannot be decoded: "
"""Begins the reason of every row whose bytes were refused by the decoder; a later scan knows them by it."""

NOT_AN_IMAGE = "not an image file"
_JUNK = ("thumbs.db", "desktop.ini", "readme*", "*.csv", "*.txt", "*.json", "*.md")


@dataclass(frozen=True)
class _Found:
    """A directory entry that is not a folder.

    Attributes:
        path: relative to the root, with /; holds surrogates where the name is not UTF-8.
        fault: why it is rejected without a look inside.
        readable: whether its bytes may be read.
    """

    path: str
    fault: str | None = None
    readable: bool = True


@dataclass(frozen=True)
class _Look:
    """What a look at the bytes gave; ``fault`` is why they cannot be used."""

    image_id: str | None = None
    n_bytes: int = 0
    facts: ImageFacts | None = None
    fault: str | None = None


def scan(spec: DatasetSpec, known: pa.Table | None = None, decode: bool = True, progress: Progress = iter) -> pa.Table:
    """The manifest of a dataset's folder.

    ``manifest.csv`` in the root says what is what; without it the folders do (:mod:`resources.folder_layout`). Files are
    hashed and decoded by as many threads as there are cores; the result does not depend on their number.

    Args:
        spec: root, split policy and whether unlabelled images are allowed.
        known: an earlier manifest that was made with ``decode``. Bytes that it knows as whole, or as refused by the decoder,
            are not decoded again; they are always hashed again.
        decode: False opens only the headers: quick, and a truncated image passes.
        progress: wraps the iteration over files, for a progress bar.

    Returns:
        A valid MANIFEST table, one row for each file, sorted by path.

    Raises:
        InputError: the folder or its ``manifest.csv`` cannot be used, with what to do about it.
    """
    found = _walk(spec.root)
    listing = read_listing(spec.root)
    if listing is None:
        claims = claims_by_folders([file.path for file in found if file.fault is None], spec.root)
    else:
        found, claims = _as_listed(found, listing), listing.claims
    if not found:
        raise InputError(f"the folder {spec.root} is empty", "Give the folder that holds the images")
    outcomes = _outcomes(known) if known is not None else {}
    inspect = inspect_image if decode else read_header
    taken: set[str] = set()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        looks = pool.map(lambda file: _look(spec.root, file, outcomes, inspect), found)
        rows = [
            _row(_storable(file.path, taken), claims.get(file.path, Claim()), look)
            for file, look in zip(progress(found), looks, strict=True)
        ]
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt does not wait for the files still queued
    table = pa.Table.from_pylist([vars(row) for row in curate(rows, spec)], schema=MANIFEST_SCHEMA)
    return MANIFEST.check(table, f"the manifest of {spec.name}")


def read_image(root: Path, path: str, image_id: str) -> bytes:
    """Bytes of an image, exactly those that the manifest was made from.

    Args:
        root: folder of the dataset.
        path: of the image, relative to the root.
        image_id: SHA-256 of its bytes, hex.

    Raises:
        InputError: it is gone, has changed, or lies outside the root.
    """
    file = root / path
    again = "Materialise image_manifest again"
    if not _is_inside(file, root):
        raise InputError(f"{path} leaves the dataset's folder {root}", again)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} in {root} cannot be read any more ({error.strerror})", f"Put it back, or {again.lower()}"
        ) from error
    if hashlib.sha256(data).hexdigest() != image_id:
        raise InputError(f"the file {path} in {root} changed since the manifest was made", again)
    return data


def _is_inside(file: Path, root: Path) -> bool:
    return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(root))


def _walk(root: Path) -> list[_Found]:
    """Every file below the root, those without a fault first, then by path.

    Links to folders are not followed, so no loop can hold the walk.
    """
    if not os.path.exists(root):
        raise InputError(f"the folder {root} does not exist", "Check the path, or mount the disk it is on")
    if not root.is_dir():
        raise InputError(f"{root} is a file, not a folder", "Give the folder that holds the images")
    found = []
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    else:
                        found.append(_classify(root, path))
        except OSError as error:
            raise InputError(
                f"the folder {root / folder} cannot be read ({error.strerror})",
                "Give this user permission to read it (chmod -R u+rX), or move it out of the dataset",
            ) from error
    return sorted(found, key=lambda file: (file.fault is not None, file.path))


def _as_listed(found: Iterable[_Found], listing: Listing) -> list[_Found]:
    """The files as ``manifest.csv`` sees them, and behind them what it lists that is not there or not inside."""
    faults = {file.path: file.fault for file in found if file.path != MANIFEST_CSV}
    files = [
        _Found(file.path, "not listed in manifest.csv") if file.fault is None and file.path not in listing.claims else file
        for file in found
        if file.path != MANIFEST_CSV
    ]
    for path in listing.claims:
        if path not in faults:
            link = next((faults[str(folder)] for folder in PurePosixPath(path).parents if str(folder) in faults), None)
            files.append(_Found(path, link or "listed in manifest.csv but not there", readable=False))
    return files + [_Found(path, "path leaves the dataset's folder", readable=False) for path in listing.leaving]


def _classify(root: Path, path: str) -> _Found:
    file = root / path
    if file.is_symlink():
        if not _is_inside(file, root):
            return _Found(path, "link leaves the dataset's folder", readable=False)
        if file.is_dir():
            return _Found(path, "link to a folder: its files count where they lie", readable=False)
        if not os.path.exists(file):
            return _Found(path, "broken link", readable=False)
    if not file.is_file():
        return _Found(path, "not a regular file", readable=False)
    if path != path.encode("utf-8", "replace").decode():
        return _Found(path, "name is not valid UTF-8")
    parts = PurePosixPath(path).parts
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    if is_hidden or any(fnmatchcase(parts[-1].lower(), pattern) for pattern in _JUNK):
        return _Found(path, NOT_AN_IMAGE)
    return _Found(path)


def _look(root: Path, file: _Found, outcomes: dict[str, ImageFacts | str], inspect: Callable[[bytes], ImageFacts]) -> _Look:
    if not file.readable:
        return _Look(fault=file.fault)
    try:
        with open(root / file.path, "rb") as stream:
            n_bytes = os.fstat(stream.fileno()).st_size
            fault = file.fault or (f"larger than {MAX_BYTES // 2**20} MiB" if n_bytes > MAX_BYTES else None)
            if fault is not None:
                return _Look(hashlib.file_digest(stream, "sha256").hexdigest(), n_bytes, fault=fault)
            data = stream.read()
    except OSError as error:
        return _Look(fault=f"cannot be read: {error.strerror}")
    image_id = hashlib.sha256(data).hexdigest()
    outcome = outcomes.get(image_id)
    if outcome is None:
        try:
            outcome = inspect(data)
        except UndecodableImageError as error:
            outcome = f"{UNDECODABLE}{error}"
    if isinstance(outcome, str):
        return _Look(image_id, len(data), fault=outcome)
    return _Look(image_id, len(data), facts=outcome)


def _outcomes(known: pa.Table) -> dict[str, ImageFacts | str]:
    """What an earlier manifest says about bytes: the facts of a whole image, or why the decoder refused it."""
    outcomes: dict[str, ImageFacts | str] = {}
    for row in known.to_pylist():
        if row["width"] is not None:
            outcomes[row["image_id"]] = ImageFacts(row["width"], row["height"], row["mode"], row["format"])
        elif row["image_id"] is not None and row["reason"].startswith(UNDECODABLE):
            outcomes[row["image_id"]] = row["reason"]
    return outcomes


def _storable(path: str, taken: set[str]) -> str:
    """``path`` as a manifest can hold it (no "..", no leading /, valid UTF-8), numbered where it is taken already."""
    parts = PurePosixPath(path.encode("utf-8", "backslashreplace").decode()).parts
    safe = "/".join(part for part in parts if part.strip("/") not in ("", "..")) or "unnamed"
    unique, number = safe, 1
    while unique in taken:
        number += 1
        unique = f"{safe} ({number})"
    taken.add(unique)
    return unique


def _row(path: str, claim: Claim, look: _Look) -> ManifestRow:
    return ManifestRow(
        image_id=look.image_id,
        path=path,
        status="ok" if look.fault is None else "rejected",
        reason=look.fault,
        label=claim.label,
        split=claim.split,
        group_id=claim.group_id,
        bytes=look.n_bytes,
        **(vars(look.facts) if look.facts else {}),
    )

"""Where the files of a dataset lie: its root (a folder, an archive, a .npz) and its drops, walked
into trees of files.

A tree is what is laid out on its own: it has class folders, split folders or a manifest of its own.
Archives are unpacked whole into a cache beside the store and count as lying where the archive lies;
one with a manifest is a tree of its own.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from resources.intake.archives import RefusedArchiveError, is_archive, unpack
from resources.intake.confined_open import (
    LEAVES,
    NOT_REGULAR,
    ConfinedOpener,
    RefusedFileError,
    is_inside,
    without_links,
)
from resources.intake.drops import MARKER, Drop
from resources.intake.npz_images import is_npz, unpack_npz
from resources.intake.site_key import Names
from resources.intake.user_manifest import (
    MANIFEST_NAMES,
    SPLIT_WORDS,
    FileAnnotation,
    UserManifest,
    annotations_by_folders,
    read_user_manifest,
)
from resources.store.atomic_file import file_sha256, make_folder, remove_unfinished

NOT_AN_IMAGE = "not an image file"
_JUNK = ("thumbs.db", "desktop.ini", "readme*", "*.csv", "*.txt", "*.json", "*.md", "dicomdir")


class _UnusableLayoutError(InputError):
    """The manifest or the folders of a tree cannot be used; a full disk or a missing permission is
    no such error.
    """


@dataclass(frozen=True)
class SourceFile:
    """A directory entry that is not a folder.

    Attributes:
        path: in the dataset, with /; holds surrogates where the name is not UTF-8. It is the user's
            and may name a patient.
        place: in its tree, where archives are no folders: what the layout goes by.
        root: folder that it must lie in, without links in it.
        file: where it lies.
        fault: why it is rejected without a look inside.
        readable: whether its bytes may be read.
    """

    path: str
    place: str
    root: Path
    file: Path
    fault: str | None = None
    readable: bool = True


@dataclass(frozen=True)
class SourceTree:
    """Files that are laid out on their own.

    Attributes:
        files: in the order of the walk.
        annotations: what the user says about them, by place.
        drop: name of the drop they came in, or None for the first load.
    """

    files: tuple[SourceFile, ...]
    annotations: dict[str, FileAnnotation]
    drop: str | None


@dataclass(frozen=True)
class Intake:
    """A dataset with everything that is needed to read its files.

    Attributes:
        spec: of the dataset.
        names: how names are written.
        unpacked: folder of the unpacked archives.
        drops: those that count.
        in_drops_only: whether the dataset has no folder of its own.
    """

    spec: DatasetSpec
    names: Names
    unpacked: Path
    drops: tuple[Drop, ...]
    in_drops_only: bool


def source_trees(intake: Intake) -> list[SourceTree]:
    """The trees of the root, then those of the drops.

    Raises:
        InputError: the root or its manifest cannot be used. A drop whose manifest cannot be used is
            a tree of rejected files.
    """
    found: list[SourceTree] = []
    if not intake.in_drops_only:
        root = intake.spec.root
        if not os.path.exists(root):
            raise InputError(
                f"the folder {root} does not exist", "Check the path, or mount the disk it is on"
            )
        if root.is_dir():
            real = without_links(root)
            found += _laid_out(_walk(real, intake.names), real, str(root), intake)
        elif is_archive(root) or is_npz(root):
            folder = _unpacked(root, without_links(root).parent, intake)
            found += _laid_out(
                [_not_nested(file) for file in _walk(folder, intake.names)],
                folder,
                str(root),
                intake,
            )
        else:
            raise InputError(
                f"{root} is a file, not a folder",
                "Give the folder that holds the images, an archive, or a .npz",
            )
    for drop in intake.drops:
        found += [
            replace(tree, drop=None if drop.first_load else drop.name)
            for tree in _trees_of_drop(drop, intake)
        ]
    return found


def _trees_of_drop(drop: Drop, intake: Intake) -> list[SourceTree]:
    where = f"the drop {intake.names.drop(drop.name)}"
    prefix = f"drops/{drop.name}"
    # what is a folder now and a link later is another
    path = without_links(drop.path.parent) / drop.path.name
    if path.is_symlink() or not path.is_dir():
        root, has_listing = path.parent, False
        files = [replace(_classify(root, drop.name), path=prefix)] if "" in drop.files else []
    else:
        root, has_listing = path, any(name in drop.files for name in MANIFEST_NAMES)
        files = [
            replace(file, path=f"{prefix}/{file.path}")
            for file in _walk(root, intake.names)
            if file.place in drop.files and file.place != MARKER
        ]
    try:
        return _laid_out(files, root, where, intake, has_listing)
    except _UnusableLayoutError as error:
        reason = f"the drop cannot be used: {error.what}"
        return [
            SourceTree(
                tuple(replace(file, fault=file.fault or reason) for file in files), {}, drop.name
            )
        ]


def _laid_out(
    files: Sequence[SourceFile], root: Path, where: str, intake: Intake, has_listing: bool = True
) -> list[SourceTree]:
    """The tree of ``files``, and those of archives among them that have a manifest of their own."""
    own: list[SourceFile] = []
    others: list[SourceTree] = []
    for file in files:
        if file.fault is not None or not (is_archive(file.file) or is_npz(file.file)):
            own.append(file)
            continue
        try:
            folder = _unpacked(file.file, file.root, intake)
        except RefusedArchiveError as error:
            own.append(replace(file, fault=f"archive refused: {error}"))
            continue
        except RefusedFileError as error:
            own.append(replace(file, fault=str(error), readable=False))
            continue
        inside = [_in_archive(member, file) for member in _walk(folder, intake.names)]
        if any((folder / name).is_file() for name in MANIFEST_NAMES):
            shown = f"{where}, archive {intake.names.path(file.path)}"
            inside = [
                replace(member, place=str(member.file.relative_to(folder))) for member in inside
            ]
            others += [_tree(inside, folder, shown)]
        else:
            own += inside
    return [_tree(own, root, where, has_listing), *others]


def _tree(
    files: Sequence[SourceFile], root: Path, where: str, has_listing: bool = True
) -> SourceTree:
    try:
        listing = read_user_manifest(root, where) if has_listing else None
        if listing is not None:
            listed = _as_listed(files, listing, root)
            return SourceTree(tuple(listed), listing.annotations, None)
        ordered = sorted(files, key=lambda file: (file.fault is not None, file.path))
        return SourceTree(
            tuple(ordered),
            annotations_by_folders([file.place for file in ordered if file.fault is None], where),
            None,
        )
    except InputError as error:
        raise _UnusableLayoutError(error.what, error.remedy) from None


def _in_archive(member: SourceFile, archive: SourceFile) -> SourceFile:
    """A member as lying where its archive lies."""
    beside = PurePosixPath(archive.place).parent
    return replace(
        _not_nested(member), path=f"{archive.path}/{member.path}", place=str(beside / member.place)
    )


def _not_nested(member: SourceFile) -> SourceFile:
    nested = is_archive(member.file) or is_npz(member.file)
    return replace(
        member,
        fault=member.fault or ("an archive within an archive is not unpacked" if nested else None),
    )


def _unpacked(archive: Path, root: Path, intake: Intake) -> Path:
    """The folder of an archive's content, unpacked once; without a single folder around split
    folders or a manifest.

    Raises:
        RefusedArchiveError: it is unsafe or damaged.
        RefusedFileError: it is not a file in ``root`` any more.
        InputError: it cannot be read, or the cache cannot be written.
    """
    try:
        digest = file_sha256(archive, ConfinedOpener(root))
    except OSError as error:
        raise InputError(
            f"an archive of {intake.spec.name} cannot be read ({error.strerror})",
            "Give this user permission to read it",
        ) from None
    # .npz is a zip file too
    target = without_links(intake.unpacked) / (
        f"{digest[:16]}-npz" if is_npz(archive) else digest[:16]
    )
    if not target.is_dir():
        make_folder(target.parent, mode=0o700)
        remove_unfinished(target.parent)
        try:
            (unpack_npz if is_npz(archive) else unpack)(
                archive, target, opener=ConfinedOpener(root)
            )
        except InputError:
            if not target.is_dir():  # another process unpacked the same bytes in between
                raise
    inside = sorted(
        entry
        for entry in target.iterdir()
        if entry.name != "__MACOSX" and not entry.name.startswith(".")
    )
    if len(inside) == 1 and inside[0].is_dir():
        below = {entry.name.casefold() for entry in inside[0].iterdir()}
        if below & {*SPLIT_WORDS, *MANIFEST_NAMES} and inside[0].name.casefold() not in SPLIT_WORDS:
            return inside[0]
    return target


def _walk(root: Path, names: Names) -> list[SourceFile]:
    """Every file below the root, those without a fault first, then by path.

    Links to folders are not followed, so no loop can hold the walk.
    """
    return sorted(_entries(root, names), key=lambda file: (file.fault is not None, file.path))


def _entries(root: Path, names: Names) -> Iterator[SourceFile]:
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
                        yield _classify(root, path)
        except OSError as error:
            raise InputError(
                f"the folder {names.path(folder) if folder else root} of {names.dataset} cannot be read ({error.strerror})",
                "Give this user permission to read it (chmod -R u+rX), or move it out of the dataset",
            ) from None


def _classify(root: Path, path: str) -> SourceFile:
    file = root / path
    found = SourceFile(path, path, root, file)
    if file.is_symlink():
        if not is_inside(file, root):
            return replace(found, fault=LEAVES, readable=False)
        if file.is_dir():
            return replace(
                found, fault="link to a folder: its files count where they lie", readable=False
            )
        if not os.path.exists(file):
            return replace(found, fault="broken link", readable=False)
    if not file.is_file():
        return replace(found, fault=NOT_REGULAR, readable=False)
    if path != path.encode("utf-8", "replace").decode():
        return replace(found, fault="name is not valid UTF-8")
    parts = PurePosixPath(path).parts
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    if (
        is_hidden
        or parts[-1] in MANIFEST_NAMES
        or any(fnmatchcase(parts[-1].lower(), pattern) for pattern in _JUNK)
    ):
        return replace(found, fault=NOT_AN_IMAGE)
    return found


def _as_listed(found: Sequence[SourceFile], listing: UserManifest, root: Path) -> list[SourceFile]:
    """The files as the manifest sees them, and behind them what it lists that is not there or not
    inside.
    """
    files = [file for file in found if file.place != listing.name]
    faults = {file.place: file.fault for file in files}
    prefix = found[0].path.removesuffix(found[0].place) if found else ""
    seen = [
        replace(file, fault=f"not listed in {listing.name}")
        if file.fault is None and file.place not in listing.annotations
        else file
        for file in files
    ]
    missing = []
    for place in listing.annotations:
        if place not in faults:
            link = next(
                (
                    faults[str(folder)]
                    for folder in PurePosixPath(place).parents
                    if str(folder) in faults
                ),
                None,
            )
            fault = link or f"listed in {listing.name} but not there"
            missing.append(
                SourceFile(f"{prefix}{place}", place, root, root / place, fault, readable=False)
            )
    outside = [
        SourceFile(
            f"{prefix}{path}", path, root, root, "path leaves the dataset's folder", readable=False
        )
        for path in listing.outside
    ]
    return sorted(seen, key=lambda file: (file.fault is not None, file.path)) + missing + outside

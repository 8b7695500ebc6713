"""The files of a dataset: its root (a folder, an archive, a .npz) and its drops, as source trees.

A source tree is a set of files laid out on its own: it has class folders, split folders or a
manifest of its own. Archives are unpacked whole into a cache beside the store, and their files
count as lying where the archive lies; an archive with a manifest is a tree of its own.
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
"""Patterns of names, in lower case, of files that lie beside images and are none."""


class _UnusableLayoutError(InputError):
    """The manifest or the folders of a tree cannot be used.

    A full disk or a missing permission is no such error.
    """


@dataclass(frozen=True)
class SourceFile:
    """One file of a dataset (any directory entry that is not a folder).

    Attributes:
        path: path in the dataset, with /; holds surrogates where the name is not UTF-8. It is the
            user's and may name a patient.
        place: path in its source tree, where archives are no folders; the layout goes by it.
        root: folder that it must lie in, without links in it.
        file: path on this machine.
        fault: why it is rejected without being opened, or None.
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
        files: the files, in the order of the walk.
        annotations: what the user states about them, by place.
        drop: name of the drop they came in, or None for the first load.
    """

    files: tuple[SourceFile, ...]
    annotations: dict[str, FileAnnotation]
    drop: str | None


@dataclass(frozen=True)
class Intake:
    """A dataset with everything that is needed to read its files.

    Attributes:
        spec: its specification.
        names: written forms of its names.
        unpacked: folder of the unpacked archives.
        drops: the drops that count.
        in_drops_only: whether the dataset has no folder of its own.
    """

    spec: DatasetSpec
    names: Names
    unpacked: Path
    drops: tuple[Drop, ...]
    in_drops_only: bool


def source_trees(intake: Intake) -> list[SourceTree]:
    """List the source trees of the root, then those of the drops.

    Raises:
        InputError: the root or its manifest cannot be used. A drop whose manifest cannot be used is
            a tree of rejected files.
    """
    trees: list[SourceTree] = []
    if not intake.in_drops_only:
        root = intake.spec.root
        if not os.path.exists(root):
            raise InputError(
                f"the folder {root} does not exist", "Check the path, or mount the disk it is on"
            )
        if root.is_dir():
            real = without_links(root)
            trees += _laid_out(_walk(real, intake.names), real, str(root), intake)
        elif is_archive(root) or is_npz(root):
            folder = _unpacked(root, without_links(root).parent, intake)
            trees += _laid_out(
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
        trees += [
            replace(tree, drop=None if drop.first_load else drop.name)
            for tree in _trees_of_drop(drop, intake)
        ]
    return trees


def _trees_of_drop(drop: Drop, intake: Intake) -> list[SourceTree]:
    where = f"the drop {intake.names.drop(drop.name)}"
    prefix = f"drops/{drop.name}"
    # a folder that a link replaces later is not followed
    path = without_links(drop.path.parent) / drop.path.name
    if path.is_symlink() or not path.is_dir():
        root, has_manifest = path.parent, False
        files = [replace(_classify(root, drop.name), path=prefix)] if "" in drop.files else []
    else:
        root, has_manifest = path, any(name in drop.files for name in MANIFEST_NAMES)
        files = [
            replace(file, path=f"{prefix}/{file.path}")
            for file in _walk(root, intake.names)
            if file.place in drop.files and file.place != MARKER
        ]
    try:
        return _laid_out(files, root, where, intake, has_manifest)
    except _UnusableLayoutError as error:
        reason = f"the drop cannot be used: {error.what}"
        return [
            SourceTree(
                tuple(replace(file, fault=file.fault or reason) for file in files), {}, drop.name
            )
        ]


def _laid_out(
    files: Sequence[SourceFile], root: Path, where: str, intake: Intake, has_manifest: bool = True
) -> list[SourceTree]:
    """The tree of some files, and those of archives among them that have their own manifest."""
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
            where_archive = f"{where}, archive {intake.names.path(file.path)}"
            inside = [
                replace(member, place=str(member.file.relative_to(folder))) for member in inside
            ]
            others += [_tree(inside, folder, where_archive)]
        else:
            own += inside
    return [_tree(own, root, where, has_manifest), *others]


def _tree(
    files: Sequence[SourceFile], root: Path, where: str, has_manifest: bool = True
) -> SourceTree:
    try:
        manifest = read_user_manifest(root, where) if has_manifest else None
        if manifest is not None:
            listed = _as_listed(files, manifest, root)
            return SourceTree(tuple(listed), manifest.annotations, None)
        ordered = sorted(files, key=lambda file: (file.fault is not None, file.path))
        return SourceTree(
            tuple(ordered),
            annotations_by_folders([file.place for file in ordered if file.fault is None], where),
            None,
        )
    except InputError as error:
        raise _UnusableLayoutError(error.what, error.remedy) from None


def _in_archive(member: SourceFile, archive: SourceFile) -> SourceFile:
    """A file of an archive, placed where the archive lies."""
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
    """Unpack an archive, unless its bytes were unpacked before, and give the folder.

    A single folder around split folders or a manifest is left out.

    Raises:
        RefusedArchiveError: it is unsafe or damaged.
        RefusedFileError: it is no longer a file in ``root``.
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
    """List every file below a folder, those without a fault first, then by path.

    Links to folders are not followed, so that no loop can hold up the walk.
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
                f"the folder {names.path(folder) if folder else root} of {names.dataset} "
                f"cannot be read ({error.strerror})",
                "Give this user permission to read it (chmod -R u+rX), "
                "or move it out of the dataset",
            ) from None


def _classify(root: Path, path: str) -> SourceFile:
    file = root / path
    source = SourceFile(path, path, root, file)
    if file.is_symlink():
        if not is_inside(file, root):
            return replace(source, fault=LEAVES, readable=False)
        if file.is_dir():
            return replace(
                source, fault="link to a folder: its files count where they lie", readable=False
            )
        if not os.path.exists(file):
            return replace(source, fault="broken link", readable=False)
    if not file.is_file():
        return replace(source, fault=NOT_REGULAR, readable=False)
    if path != path.encode("utf-8", "replace").decode():
        return replace(source, fault="name is not valid UTF-8")
    parts = PurePosixPath(path).parts
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    if (
        is_hidden
        or parts[-1] in MANIFEST_NAMES
        or any(fnmatchcase(parts[-1].lower(), pattern) for pattern in _JUNK)
    ):
        return replace(source, fault=NOT_AN_IMAGE)
    return source


def _as_listed(files: Sequence[SourceFile], manifest: UserManifest, root: Path) -> list[SourceFile]:
    """Match files with a manifest: the files, then what it lists that is missing or outside."""
    prefix = files[0].path.removesuffix(files[0].place) if files else ""
    files = [file for file in files if file.place != manifest.name]
    faults = {file.place: file.fault for file in files}
    matched = [
        replace(file, fault=f"not listed in {manifest.name}")
        if file.fault is None and file.place not in manifest.annotations
        else file
        for file in files
    ]
    missing = []
    for place in manifest.annotations:
        if place not in faults:
            folders = map(str, PurePosixPath(place).parents)
            link = next((faults[folder] for folder in folders if folder in faults), None)
            fault = link or f"listed in {manifest.name} but not there"
            missing.append(
                SourceFile(f"{prefix}{place}", place, root, root / place, fault, readable=False)
            )
    outside = [
        SourceFile(
            f"{prefix}{path}", path, root, root, "path leaves the dataset's folder", readable=False
        )
        for path in manifest.outside
    ]
    matched.sort(key=lambda file: (file.fault is not None, file.path))
    return matched + missing + outside

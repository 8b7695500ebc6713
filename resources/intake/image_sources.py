"""The files of a dataset: its root (a folder, an archive, a .npz) and its drops, as source trees.

A source tree is a set of files laid out on its own: it has class folders, split folders or a
manifest of its own. Archives are unpacked whole into a cache beside the store, and their files
count as lying where the archive lies; an archive with a manifest is a tree of its own.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from resources.intake.archives import RefusedArchiveError, is_archive, unpack
from resources.intake.confined_open import (
    LEAVES,
    NOT_REGULAR,
    ConfinedOpener,
    FolderLinks,
    RefusedFileError,
    is_inside,
    without_links,
)
from resources.intake.drops import MARKER, Drop
from resources.intake.folder_layout import (
    Parts,
    annotations_by_folders,
    has_split_folder,
    likely_images,
    surrounding_folders,
)
from resources.intake.npz_images import is_npz, unpack_npz
from resources.intake.site_key import Names
from resources.intake.system_entries import SYSTEM_ENTRY, is_left_out
from resources.intake.user_manifest import (
    BY_CONTENT,
    MANIFEST_NAMES,
    FileAnnotation,
    UserManifest,
    read_user_manifest,
)
from resources.store.atomic_file import file_sha256, make_folder, remove_unfinished

NOT_AN_IMAGE = "not an image file"

_JUNK = ("readme*", "*.csv", "*.txt", "*.json", "*.md", "dicomdir")
"""Patterns of names, in lower case, of files that lie beside images and are none."""

NOT_THERE = "but not there"
"""End of the reason of a file that a manifest lists and nobody finds."""


class _UnusableLayoutError(InputError):
    """The manifest or the folders of a tree cannot be used.

    A full disk or a missing permission is no such error.
    """


@dataclass(frozen=True)
class SourceFile:
    """One file of a dataset: any directory entry that is not a folder, or a folder of the system.

    Attributes:
        path: path in the dataset, with /; holds surrogates where the name is not UTF-8. It is the
            user's and may name a patient.
        place: path in its source tree, where archives are no folders; the layout goes by it.
        root: folder that it must lie in, without links in it.
        file: path on this machine.
        fault: why it is rejected without being opened, or None.
        readable: whether its bytes may be read.
        store: folder beside ``root`` that its links may lead into, or None.
    """

    path: str
    place: str
    root: Path
    file: Path
    fault: str | None = None
    readable: bool = True
    store: Path | None = None

    @property
    def opener(self) -> ConfinedOpener:
        """What opens it, wherever it leads by then."""
        return ConfinedOpener(self.root, self.store)


@dataclass(frozen=True)
class SourceTree:
    """Files that are laid out on their own.

    Attributes:
        files: the files, in the order of the walk.
        annotations: what the user states about them, by place.
        drop: name of the drop they came in, or None for the first load.
        by_content: what the user states about images of the whole dataset, by image_id.
    """

    files: tuple[SourceFile, ...]
    annotations: dict[str, FileAnnotation]
    drop: str | None
    by_content: Mapping[str, FileAnnotation] = field(default_factory=dict)


@dataclass(frozen=True)
class Intake:
    """A dataset with everything that is needed to read its files.

    Attributes:
        spec: its specification.
        names: written forms of its names.
        unpacked: folder of the unpacked archives.
        drops: the drops that count.
        in_drops_only: whether the dataset has no folder of its own.
        known_classes: classes beside those of the first load by which folders of drops are
            recognised.
        attributes: names of further columns of manifests that are read.
    """

    spec: DatasetSpec
    names: Names
    unpacked: Path
    drops: tuple[Drop, ...]
    in_drops_only: bool
    known_classes: frozenset[str] = frozenset()
    attributes: tuple[str, ...] = ()


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
            files = _walk(real, intake.names, intake.spec.follow_links)
            trees += _laid_out(files, real, str(root), intake, _folders_with_manifest(files))
        elif is_archive(root) or is_npz(root):
            folder = _unpacked(root, ConfinedOpener(without_links(root).parent), intake)
            files = [_not_nested(file) for file in _walk(folder, intake.names)]
            trees += _laid_out(files, folder, str(root), intake, _folders_with_manifest(files))
        else:
            raise InputError(
                f"{root} is a file, not a folder",
                "Give the folder that holds the images, an archive, or a .npz",
            )
    for drop in (drop for drop in intake.drops if drop.first_load):
        trees += [replace(tree, drop=None) for tree in _trees_of_drop(drop, intake)]
    if any(tree.by_content for tree in trees):
        raise InputError(
            f"the manifest of {intake.spec.name} names images by {BY_CONTENT}",
            "Give the column path; only a later drop can name images of the dataset by their "
            f"{BY_CONTENT}",
        )
    known = intake.known_classes | {
        label
        for tree in trees
        for annotation in tree.annotations.values()
        for label in (annotation.label or "").split("|")
    } - {""}
    intake = replace(intake, known_classes=known)
    for drop in (drop for drop in intake.drops if not drop.first_load):
        trees += [replace(tree, drop=drop.name) for tree in _trees_of_drop(drop, intake)]
    return trees


def labels_by_content(intake: Intake) -> dict[str, tuple[str, FileAnnotation]]:
    """What drops state about images of the dataset by their image_id, with the drop's name.

    Of two drops, the later by name counts.
    """
    stated: dict[str, tuple[str, FileAnnotation]] = {}
    for drop in intake.drops:
        with_manifest = any(PurePosixPath(file).name in MANIFEST_NAMES for file in drop.files)
        if not drop.first_load and with_manifest:
            for tree in _trees_of_drop(drop, intake):
                stated |= {image_id: (drop.name, of) for image_id, of in tree.by_content.items()}
    return stated


def _trees_of_drop(drop: Drop, intake: Intake) -> list[SourceTree]:
    where = f"the drop {intake.names.drop(drop.name)}"
    prefix, store = f"drops/{drop.name}", intake.spec.follow_links
    # a folder that a link replaces later is not followed
    path = without_links(drop.path.parent) / drop.path.name
    if path.is_symlink() or not path.is_dir():
        root, manifests = path.parent, frozenset[Parts]()
        file = replace(_classify(root, drop.name, store), path=prefix)
        files = [file] if "" in drop.files else []
    else:
        files = [
            replace(file, path=f"{prefix}/{file.path}")
            for file in _walk(path, intake.names, store)
            if (file.place in drop.files or file.fault == SYSTEM_ENTRY) and file.place != MARKER
        ]
        root, manifests = path, _folders_with_manifest(files)
    try:
        return _laid_out(files, root, where, intake, manifests)
    except _UnusableLayoutError as error:
        reason = f"the drop cannot be used: {error.what}"
        return [
            SourceTree(
                tuple(replace(file, fault=file.fault or reason) for file in files), {}, drop.name
            )
        ]


def _laid_out(
    files: Sequence[SourceFile],
    root: Path,
    where: str,
    intake: Intake,
    manifests: frozenset[Parts],
) -> list[SourceTree]:
    """The tree of some files, and those of archives among them that have their own manifest."""
    own: list[SourceFile] = []
    others: list[SourceTree] = []
    for file in files:
        if file.fault is not None or not (is_archive(file.file) or is_npz(file.file)):
            own.append(file)
            continue
        try:
            folder = _unpacked(file.file, file.opener, intake)
        except RefusedArchiveError as error:
            own.append(replace(file, fault=f"archive refused: {error}"))
            continue
        except RefusedFileError as error:
            own.append(replace(file, fault=str(error), readable=False))
            continue
        members = [_not_nested(member) for member in _walk(folder, intake.names)]
        with_manifest = _folders_with_manifest(members)
        if _folder_of_manifest(members, with_manifest) is not None:
            members = [replace(member, path=f"{file.path}/{member.path}") for member in members]
            where_archive = f"{where}, archive {intake.names.path(file.path)}"
            others.append(_tree(members, folder, where_archive, intake, with_manifest))
        else:
            own += _beside(file, members)
    _check_that_manifests_reach(others, own, where)
    return [_tree(own, root, where, intake, manifests), *others]


def _check_that_manifests_reach(
    archives: Sequence[SourceTree], others: Sequence[SourceFile], where: str
) -> None:
    """Refuse an archive whose manifest lists files that lie outside of it.

    A download in parts may have its manifest in one of them. The images of the others would lose
    what it states: the split and the patients.

    Args:
        archives: trees of the archives that have a manifest of their own.
        others: files beside them, members of archives without a manifest included.
        where: what messages call the folder.

    Raises:
        _UnusableLayoutError: a file that is listed and missing lies elsewhere.
    """
    absent = {
        PurePosixPath(normalize("NFC", file.place)).parts
        for tree in archives
        for file in tree.files
        if file.fault is not None and file.fault.endswith(NOT_THERE)
    }
    if not absent:
        return
    elsewhere = sum(
        any(parts[start:] in absent for start in range(len(parts)))
        for parts in (
            PurePosixPath(normalize("NFC", file.place)).parts
            for file in others
            if file.fault is None
        )
    )
    if elsewhere:
        raise _UnusableLayoutError(
            f"the manifest in an archive of {where} lists files that lie outside of the "
            f"archive, where it does not count ({elsewhere} of them are there)",
            "Unpack all parts into one folder, the manifest at its top, and give that folder",
        )


def _tree(
    files: Sequence[SourceFile],
    root: Path,
    where: str,
    intake: Intake,
    manifests: frozenset[Parts],
) -> SourceTree:
    try:
        folder = _folder_of_manifest(files, manifests)
        if folder is not None:
            opener = ConfinedOpener(root, intake.spec.follow_links)
            manifest = read_user_manifest(
                root.joinpath(*folder), where, intake.spec.literal, opener, intake.attributes
            )
            if manifest is not None and manifest.by_content:
                return _beside_labels(files, manifest)
            if manifest is not None:
                return _as_listed(files, manifest, root, folder)
        ordered = sorted(files, key=lambda file: (file.fault is not None, file.path))
        places = [file.place for file in ordered if file.fault is None]
        annotations = annotations_by_folders(places, where, intake.known_classes)
        return SourceTree(tuple(ordered), annotations, None)
    except InputError as error:
        raise _UnusableLayoutError(error.what, error.remedy) from None


def _beside_labels(files: Sequence[SourceFile], manifest: UserManifest) -> SourceTree:
    """The files beside a manifest that names images by their content, without labels of their own.

    The labels are those of images that lie anywhere in the dataset, here as well.
    """
    others = [file for file in files if PurePosixPath(file.place).name != manifest.name]
    others.sort(key=lambda file: (file.fault is not None, file.path))
    return SourceTree(tuple(others), {}, None, manifest.by_content)


def _folders_with_manifest(files: Sequence[SourceFile]) -> frozenset[Parts]:
    """The folders that a manifest lies in."""
    places = (PurePosixPath(file.place) for file in files)
    return frozenset(place.parent.parts for place in places if place.name in MANIFEST_NAMES)


def _folder_of_manifest(files: Sequence[SourceFile], manifests: frozenset[Parts]) -> Parts | None:
    """The folder whose manifest lists the files: the root, or one that lies around all of them."""
    images = likely_images(file.place for file in files if file.fault is None)
    folder = surrounding_folders(images, lambda around, *_: around in manifests)
    return folder if folder in manifests else None


def _beside(archive: SourceFile, members: Sequence[SourceFile]) -> Iterator[SourceFile]:
    """The files of an archive, placed where it lies.

    Folders around split folders are left out, so that the parts of a split may lie in archives of
    different names.
    """
    images = likely_images(member.place for member in members if member.fault is None)
    around = surrounding_folders(images, lambda _, names, __: has_split_folder(names))
    beside = PurePosixPath(archive.place).parent
    for member in members:
        place = beside.joinpath(_below(member.place, around) or member.place)
        yield replace(member, path=f"{archive.path}/{member.path}", place=str(place))


def _below(place: str, folder: Parts) -> str | None:
    """A place relative to a folder; None where it lies elsewhere."""
    parts = PurePosixPath(place).parts
    return "/".join(parts[len(folder) :]) if parts[: len(folder)] == folder else None


def _not_nested(member: SourceFile) -> SourceFile:
    nested = is_archive(member.file) or is_npz(member.file)
    return replace(
        member,
        fault=member.fault or ("an archive within an archive is not unpacked" if nested else None),
    )


def _unpacked(archive: Path, opener: ConfinedOpener, intake: Intake) -> Path:
    """Unpack an archive, unless its bytes were unpacked before, and give the folder.

    Raises:
        RefusedArchiveError: it is unsafe or damaged.
        RefusedFileError: it is no longer a file that ``opener`` opens.
        InputError: it cannot be read, or the cache cannot be written.
    """
    try:
        digest = file_sha256(archive, opener)
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
            (unpack_npz if is_npz(archive) else unpack)(archive, target, opener=opener)
        except InputError:
            if not target.is_dir():  # another process unpacked the same bytes in between
                raise
    return target


def _walk(root: Path, names: Names, store: Path | None = None) -> list[SourceFile]:
    """List every file below a folder, those without a fault first, then by path.

    Links to folders are not followed, unless they lead into ``store``.
    """
    found = _entries(root, names, store)
    return sorted(found, key=lambda file: (file.fault is not None, file.path))


def _entries(root: Path, names: Names, store: Path | None) -> Iterator[SourceFile]:
    folders, links = [""], FolderLinks(root, store)
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if is_left_out(entry.name):
                        yield SourceFile(
                            path, path, root, root / path, SYSTEM_ENTRY, readable=False
                        )
                    elif entry.is_dir(follow_symlinks=False) or links.follow(entry):
                        folders.append(path)
                    else:
                        yield _classify(root, path, store)
        except OSError as error:
            raise InputError(
                f"the folder {names.path(folder) if folder else root} of {names.dataset} "
                f"cannot be read ({error.strerror})",
                "Give this user permission to read it (chmod -R u+rX), "
                "or move it out of the dataset",
            ) from None


def _classify(root: Path, path: str, store: Path | None) -> SourceFile:
    file = root / path
    source = SourceFile(path, path, root, file, store=store)
    if file.is_symlink():
        if not (is_inside(file, root) or (store is not None and is_inside(file, store))):
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
    name = PurePosixPath(path).name
    if name in MANIFEST_NAMES or any(fnmatchcase(name.lower(), pattern) for pattern in _JUNK):
        return replace(source, fault=NOT_AN_IMAGE)
    return source


def _as_listed(
    files: Sequence[SourceFile], manifest: UserManifest, root: Path, folder: Parts
) -> SourceTree:
    """Match files with a manifest: the files, then what it lists that is missing or outside.

    Paths are compared in Unicode NFC: a manifest and a disk may hold different forms of a name.

    Args:
        files: all files of the tree.
        manifest: what lists them.
        root: folder of the tree.
        folder: where the manifest lies in it; files outside are not listed.
    """
    around = "".join(f"{part}/" for part in folder)
    prefix = (files[0].path.removesuffix(files[0].place) if files else "") + around
    files = [
        replace(file, place=_below(file.place, folder) or f"../{file.place}") for file in files
    ]
    files = [file for file in files if file.place != manifest.name]
    listed = _listed_places(files, manifest)
    matched = [
        replace(file, fault=f"not listed in {manifest.name}")
        if file.fault is None and file.place not in listed
        else file
        for file in files
    ]
    matched.sort(key=lambda file: (file.fault is not None, file.path))
    faults = {file.place: file.fault for file in files}
    missing = []
    for place in manifest.annotations.keys() - set(listed.values()):
        folders = map(str, PurePosixPath(place).parents)
        link = next((faults[above] for above in folders if above in faults), None)
        fault = link or f"listed in {manifest.name} {NOT_THERE}"
        file = root.joinpath(*folder) / place
        missing.append(SourceFile(f"{prefix}{place}", place, root, file, fault, readable=False))
    missing.sort(key=lambda file: file.place)
    fault = "path leaves the dataset's folder"
    outside = [
        SourceFile(f"{prefix}{path}", path, root, root, fault, readable=False)
        for path in manifest.outside
    ]
    annotations = {place: manifest.annotations[path] for place, path in listed.items()}
    return SourceTree((*matched, *missing, *outside), {**manifest.annotations, **annotations}, None)


def _listed_places(files: Sequence[SourceFile], manifest: UserManifest) -> dict[str, str]:
    """The path that a manifest has for each file, by the file's place.

    It is the place itself, else the only path that equals it in Unicode NFC.
    """
    places = [file.place for file in files]
    listed = {place: place for place in places if place in manifest.annotations}
    paths_of, places_of = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for path in manifest.annotations.keys() - listed.keys():
        paths_of[normalize("NFC", path)].append(path)
    for place in places:
        if place not in listed:
            places_of[normalize("NFC", place)].append(place)
    for form, of_form in places_of.items():
        if len(of_form) == 1 and len(paths_of[form]) == 1:
            listed[of_form[0]] = paths_of[form][0]
    return listed

"""The layout of a tree without a manifest: split folders, class folders, and folders around them.

Messages never say what a folder is called, which can be a patient's name.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import PurePosixPath

from data_contracts.errors import InputError
from methods.curation.labels import label_text
from resources.intake.user_manifest import (
    FIRST_COLUMNS,
    MANIFEST_CSV,
    SPLIT_WORDS,
    FileAnnotation,
)

_VALIDATION_WORDS = {"val", "valid", "validation"}
"""Words that do not make a split layout by themselves."""

_DOCUMENTS = frozenset(
    f".{suffix}"
    for suffix in (
        *("pdf", "doc", "docx", "odt", "rtf", "xls", "xlsx", "ods", "ppt", "pptx", "tex", "bib"),
        *("csv", "tsv", "txt", "md", "rst", "log", "json", "jsonl", "xml", "html", "htm", "css"),
        *("yaml", "yml", "toml", "ini", "cfg", "parquet", "db", "sqlite", "sql", "pkl", "lock"),
        *("py", "ipynb", "m", "r", "sh", "bat", "js", "exe", "dll", "url", "lnk", "webloc"),
        *("md5", "sha1", "sha256", "sha512", "asc", "sig", "torrent", "mp4", "avi", "mov", "wav"),
    )
)
"""Suffixes of files that lie beside images and say nothing about the layout."""

IsLayout = Callable[["Parts", set[str], bool], bool]
"""Whether a layout begins in a folder, told by the folder, the names of the folders in it, and
whether an image lies directly in it."""

Parts = tuple[str, ...]
"""Path in a source tree: its folders and its name."""


def annotations_by_folders(
    paths: Iterable[str], where: str, known: Collection[str] = frozenset()
) -> dict[str, FileAnnotation]:
    """Annotate files by their folders: ``<split>/<class>/...`` or ``<class>/...``.

    Folders around the layout are looked through (:func:`surrounding_folders`), also within each
    split folder. The first folder is then the split where every folder beside it is a split word.
    The class is the next one, deeper ones are free. A file beside the class folders has no label.
    Validation folders alone do not make a split layout. Only files that may be images by their
    name decide about the layout.

    Args:
        paths: files that may be images, relative to the root, with /.
        where: what messages call the folder.
        known: classes that the dataset has already.

    Raises:
        InputError: train and test folders lie beside others, so that they could be classes as well.
    """
    parts_of = {path: PurePosixPath(path).parts for path in paths}
    images = likely_images(parts_of)
    outer = surrounding_folders(images, lambda _, names, holds: _is_layout(names, holds, known))
    images = [parts[len(outer) :] for parts in images if parts[: len(outer)] == outer]
    by_split = _is_by_split({parts[0] for parts in images if len(parts) > 1}, where)
    inner = _within_splits(images, known) if by_split else {}
    annotations = {}
    for path, parts in parts_of.items():
        folders = parts[len(outer) : -1] if parts[: len(outer)] == outer else ()
        split = SPLIT_WORDS.get(folders[0].casefold()) if by_split and folders else None
        if by_split and folders:
            around = inner.get(folders[0], ())
            folders = folders[1:]
            folders = folders[len(around) :] if folders[: len(around)] == around else ()
        annotations[path] = FileAnnotation(label_text(folders[0]) if folders else None, split)
    return annotations


def likely_images(paths: Iterable[str]) -> list[Parts]:
    """Files that count for the layout: those that are no documents by their suffix.

    Without a suffix it is those with a digit in their name, as DICOM files have, not LICENSE.
    """
    listed = [PurePosixPath(path) for path in paths]
    return [
        path.parts
        for path in listed
        if path.suffix.lower() not in _DOCUMENTS
        and (path.suffix or any(map(str.isdigit, path.name)))
    ]


def surrounding_folders(images: Collection[Parts], is_layout: IsLayout) -> Parts:
    """The single folders, one in another, that lie around a layout; none where there is no layout.

    A folder that directly holds an image is no such folder, but a class. Images beside the first
    folder are not in the layout.

    Args:
        images: files that may be images.
        is_layout: where it begins.
    """
    around: Parts = ()
    while True:
        depth = len(around)
        below = [parts[depth:] for parts in images if parts[:depth] == around]
        names = {parts[0] for parts in below if len(parts) > 1}
        holds_image = depth > 0 and any(len(parts) == 1 for parts in below)
        if is_layout(around, names, holds_image):
            return around
        if len(names) != 1 or holds_image:
            return ()
        around = (*around, *names)


def has_split_folder(names: Iterable[str]) -> bool:
    """Whether a folder is called train or test, in any of their words."""
    return bool({name.casefold() for name in names} & (set(SPLIT_WORDS) - _VALIDATION_WORDS))


def _is_layout(names: set[str], holds_image: bool, known: Collection[str]) -> bool:
    """Whether folders are split folders or class folders.

    A dataset that has classes already knows them; otherwise classes are two folders or more, in a
    folder without an image.
    """
    if has_split_folder(names):
        return True
    if known:
        return any(label_text(name) in known for name in names)
    return len(names) > 1 and not holds_image


def _is_by_split(tops: set[str], where: str) -> bool:
    """Whether the top folders are split folders.

    Raises:
        InputError: train and test folders lie beside others.
    """
    others = sorted(top for top in tops if top.casefold() not in SPLIT_WORDS)
    words = {top.casefold() for top in tops if top not in others}
    named = sorted(words - _VALIDATION_WORDS)
    if others and {SPLIT_WORDS[word] for word in named} == {"train", "test"}:
        folders = "other folder" if len(others) == 1 else "other folders"
        raise InputError(
            f"{where} has split folders ({', '.join(named)}) beside {len(others)} {folders}",
            "Move the other folders out of it, or say what is what in a "
            f"{MANIFEST_CSV} with the columns {FIRST_COLUMNS}",
        )
    return bool(named) and not others


def _within_splits(images: Sequence[Parts], known: Collection[str]) -> dict[str, Parts]:
    """The folders around the classes of each split folder, where every split has such folders."""
    inner = {}
    for top in {parts[0] for parts in images if len(parts) > 1}:
        below = [parts[1:] for parts in images if parts[0] == top and len(parts) > 1]
        inner[top] = surrounding_folders(
            below, lambda _, names, holds: _is_layout(names, holds, known)
        )
    return inner if all(inner.values()) else {}

"""From files that were found and read to manifest rows: what counts twice, what contradicts itself, which side of the split.

Pure functions on rows; the contract of the result is ``data_contracts.manifest.MANIFEST``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from data_contracts.dataset import DatasetSpec
from data_contracts.errors import InputError
from methods.splits import stratified_group_split

REDRAW = "register with --split stratified to draw a new split"


@dataclass(frozen=True)
class ManifestRow:
    """One row of the manifest, the fields of ``MANIFEST_SCHEMA`` in its order.

    Before :func:`curate` ``split`` is what the user says ("train", "test" or None) and ``status`` is "ok" or "rejected".
    """

    image_id: str | None
    path: str
    status: str
    reason: str | None
    label: str | None
    split: str | None
    group_id: str | None
    bytes: int
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    format: str | None = None


def curate(rows: Iterable[ManifestRow], spec: DatasetSpec) -> list[ManifestRow]:
    """The rows with duplicates and label conflicts marked and every usable image on a side of the split.

    Args:
        rows: one for each file, in any order.
        spec: the split policy and whether unlabelled images are allowed; its root is named in messages.

    Returns:
        As many rows, sorted by path.

    Raises:
        InputError: no usable image, an image or a group on both sides, a missing label, class or split.
    """
    ordered = sorted(rows, key=lambda row: row.path)
    if spec.split == "stratified":
        ordered = [replace(row, split=None) for row in ordered]
    ordered = _settle_duplicates(ordered, spec)
    usable = [row for row in ordered if row.status == "ok"]
    if not usable:
        reasons = Counter(row.reason for row in ordered).most_common(3)
        counts = "; ".join(f"{count} x {reason}" for reason, count in reasons) or "nothing is listed"
        raise InputError(
            f"{spec.root} has no usable image among {len(ordered)} files ({counts})",
            "Give a folder with whole JPEG, PNG, TIFF, BMP or WebP images",
        )
    sides = _sides(usable, _joined_groups(ordered), spec)
    return [replace(row, split=sides[row.path]) if row.status == "ok" else row for row in ordered]


def _settle_duplicates(rows: Sequence[ManifestRow], spec: DatasetSpec) -> list[ManifestRow]:
    """Marks all but one of the usable rows with the same bytes; all of them where their labels contradict each other.

    The row that stays is the one that says most (label, split, group), of those the first by path.
    """
    same_bytes: dict[str | None, list[ManifestRow]] = defaultdict(list)
    for row in rows:
        if row.status == "ok":
            same_bytes[row.image_id].append(row)
    settled = {}
    shared = []
    for copies in same_bytes.values():
        labels = sorted({row.label for row in copies if row.label is not None})
        if len(labels) > 1:
            reason = f"same bytes under labels {', '.join(labels[:-1])} and {labels[-1]}"
            settled.update({row.path: replace(row, status="rejected", reason=reason) for row in copies})
            continue
        by_side = {row.split: row for row in reversed(copies) if row.split is not None}
        if len(by_side) > 1:
            shared.append(by_side)
        kept = min(copies, key=lambda row: (row.label is None, row.split is None, row.group_id is None, row.path))
        reason = f"same bytes as {kept.path}"
        settled.update({row.path: replace(row, status="duplicate", reason=reason) for row in copies if row is not kept})
    if shared:
        train, test = shared[0]["train"].path, shared[0]["test"].path
        raise InputError(
            f"two splits share {len(shared)} image{'s' if len(shared) > 1 else ''} in {spec.root}: "
            f"{train} (train) and {test} (test) have the same bytes",
            f"Delete one of the two, or {REDRAW}",
        )
    return [settled.get(row.path, row) for row in rows]


def _joined_groups(rows: Sequence[ManifestRow]) -> dict[str, str]:
    """One name for groups that hold the same image: a drawn split must not part them, whichever copy was kept."""
    name: dict[str, str] = {}

    def name_of(group: str) -> str:
        while name.setdefault(group, group) != group:
            group = name[group]
        return group

    first_group: dict[str | None, str] = {}
    for row in rows:
        if row.status != "rejected" and row.group_id is not None:
            smaller, larger = sorted((name_of(first_group.setdefault(row.image_id, row.group_id)), name_of(row.group_id)))
            name[larger] = smaller
    return {group: name_of(group) for group in name}


def _sides(usable: Sequence[ManifestRow], joined: dict[str, str], spec: DatasetSpec) -> dict[str, str]:
    """The side of each usable row by path: train, test or unlabelled."""
    labelled = [row for row in usable if row.label is not None]
    unlabelled = [row for row in usable if row.label is None]
    if unlabelled and not spec.unlabelled:
        raise InputError(
            f"{len(unlabelled)} of {len(usable)} images in {spec.root} have no label (first: {unlabelled[0].path})",
            "Put each into a folder named after its class, fill the label column of manifest.csv, or register with --unlabelled",
        )
    sides = {row.path: "unlabelled" for row in unlabelled}
    if not labelled:
        return sides
    if len({row.label for row in labelled}) == 1:
        raise InputError(
            f"all {len(labelled)} labelled images in {spec.root} have one class, {labelled[0].label!r}",
            "Add images of a second class in a folder (or with a label in manifest.csv) of their own",
        )
    n_given = sum(row.split is not None for row in labelled)
    if spec.split == "stratified" or (spec.split == "auto" and n_given == 0):
        return sides | _drawn(labelled, joined, spec)
    if n_given < len(labelled):
        first = next(row.path for row in labelled if row.split is None)
        raise InputError(
            f"{len(labelled) - n_given} of {len(labelled)} labelled images in {spec.root} have no split (first: {first})",
            f"Put each below train/ or test/, fill the split column of manifest.csv, or {REDRAW}",
        )
    return sides | _given(labelled, spec)


def _drawn(labelled: Sequence[ManifestRow], joined: dict[str, str], spec: DatasetSpec) -> dict[str, str]:
    rows = sorted(labelled, key=lambda row: str(row.image_id))
    labels = [str(row.label) for row in rows]
    groups = [str(row.image_id) if row.group_id is None else joined[row.group_id] for row in rows]
    try:
        in_test = stratified_group_split(labels, groups, spec.test_fraction, spec.split_seed)
    except ValueError as error:
        raise InputError(
            f"no test split can be drawn in {spec.root}: {error}",
            "Add images (of other patients) to the class, leave it out, raise test_fraction, or give train/ and test/ yourself",
        ) from error
    return {row.path: "test" if test else "train" for row, test in zip(rows, in_test, strict=True)}


def _given(labelled: Sequence[ManifestRow], spec: DatasetSpec) -> dict[str, str]:
    """The given sides. A class that is in train alone is allowed: it can be learned, though never tested."""
    sides = {row.path: str(row.split) for row in labelled}
    for side in ("train", "test"):
        if side not in sides.values():
            raise InputError(f"the split given in {spec.root} has no {side} images", f"Add a {side}/ folder, or {REDRAW}")
    learned = {row.label for row in labelled if row.split == "train"}
    for row in labelled:
        if row.label not in learned:
            raise InputError(
                f"class {row.label!r} in {spec.root} is only in the test split (first: {row.path})",
                f"Move some of its images to train, leave it out, or {REDRAW}",
            )
    first_of_group: dict[str, ManifestRow] = {}
    for row in labelled:
        if row.group_id is not None:
            first = first_of_group.setdefault(row.group_id, row)
            if first.split != row.split:
                raise InputError(
                    f"group {row.group_id!r} in {spec.root} is on both sides of the split: "
                    f"{first.path} is {first.split}, {row.path} is {row.split}",
                    f"Put all images of a group on one side, or {REDRAW}",
                )
    return sides

"""Registering a dataset, and finding its files again by the names that reports have."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ValidationError

from assets.images import decoded_before
from data_contracts import asset_names as names
from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec, check_dataset_name
from data_contracts.tables.manifest import MANIFEST
from methods.curation.independence import split_facts, split_notices
from methods.curation.labels import label_notices
from methods.curation.leakage import find_leaks, leak_error
from methods.curation.manifest_rows import can_be_drawn
from methods.curation.overview import overview
from pipeline.instance import home_instance, prepare_instance
from resources.intake.arrivals import find_arrivals
from resources.intake.dataset_scan import locate, scan
from resources.intake.forgotten import lift_mark
from resources.progress import progress
from resources.store.dataset_store import DatasetStore

Rows: TypeAlias = Sequence[Mapping[str, Any]]
"""Rows of the manifest."""

_PSEUDONYM = re.compile(r"\b[0-9a-f]{16}\b")


def register(fields: Mapping[str, Any], replace: bool = False) -> Iterator[str]:
    """Read a dataset's files, store its specification and add its partition.

    Args:
        fields: fields of the specification.
        replace: whether a dataset of that name may exist; its specification is then replaced.

    Yields:
        lines that say what was read.

    Raises:
        InputError: a field is wrong, the name is taken, or the files cannot be used as they are.
    """
    spec = spec_of(fields)
    store = DatasetStore()
    stale = _what_is_replaced(store, spec) if spec.name in store.datasets() else []
    if stale and not replace:
        raise InputError(
            f"there is a dataset {spec.name} already ({'; '.join(stale)})",
            f"Choose another name; or give --replace, or first: medfeat forget {spec.name}",
        )
    arrival = find_arrivals(store, spec)
    try:
        rows = scan(
            arrival.intake,
            decoded_before(store, spec),
            progress=lambda items: progress(items, "reading files"),
        ).to_pylist()
        check_leaks(rows, spec)
    except InputError as error:
        if spec.show_names or not _PSEUDONYM.search(error.what):
            raise
        where = f"medfeat find {spec.name} PSEUDONYM --folder {shlex.quote(str(spec.root))}"
        raise InputError(
            error.what, f"{error.remedy}. Which file a pseudonym means: {where}"
        ) from None
    store.save_spec(spec)
    lift_mark(store, spec.name)
    with home_instance() as instance:
        prepare_instance(instance, store)
    yield from what_is_taken(spec.name, rows, spec)
    yield from (f"  replaced: {line}" for line in stale)
    yield from (f"  waits: {line}" for line in arrival.waits_in_words())
    yield from _next_commands(spec, any(row["label"] for row in rows if row["status"] == "ok"))


def _what_is_replaced(store: DatasetStore, spec: DatasetSpec) -> list[str]:
    """Return in words what changes of a registered dataset, and how many results go stale."""
    try:
        before = store.spec(spec.name).model_dump(mode="json")
    except InputError:
        return ["its specification cannot be read"]
    after = spec.model_dump(mode="json")
    changed = [
        f"{key} {before[key]} -> {after[key]}" for key in after if before.get(key) != after[key]
    ]
    lines = [", ".join(changed) or "its specification is the same"]
    stored = store.assets_of(spec.name)
    if stored and changed:
        lines.append(f"{len(stored)} stored outputs are stale until the next run")
    return lines


def _next_commands(spec: DatasetSpec, has_labels: bool) -> Iterator[str]:
    """Yield what can be done with a dataset that was registered."""
    if has_labels:
        yield f"next: medfeat run {spec.name}"
        return
    yield "  notice: no image has a label, so nothing can be learned or scored"
    yield f"next: medfeat run {spec.name} --up-to {names.ALEXNET_CONV5}"
    yield "  (features of all images)"
    yield f"or: medfeat run {spec.name} --up-to {names.NEAR_DUPLICATES}"
    yield "  (which images are near-duplicates of each other)"
    yield f"or: medfeat predict OTHER {shlex.quote(str(spec.root))}"
    yield "  (labels and the nearest labelled images by the classifier of a dataset OTHER)"


def spec_of(fields: Mapping[str, Any]) -> DatasetSpec:
    """Return the specification of a dataset.

    Raises:
        InputError: a field is wrong.
    """
    check_dataset_name(str(fields["name"]))
    try:
        return DatasetSpec.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}", "See medfeat add --help"
        ) from None


def check_leaks(rows: Rows, spec: DatasetSpec) -> None:
    """Compare the sides of the split.

    Raises:
        InputError: an image, its pixels or a group is on both sides, and that is not allowed.
    """
    leaks = find_leaks(rows)
    if leaks and not spec.keep_given_split:
        raise leak_error(spec.name, leaks, can_be_drawn(rows, spec))


def what_is_taken(title: str, rows: Rows, spec: DatasetSpec) -> Iterator[str]:
    """Yield lines that say what was read: images, classes and splits, what is left out, notices.

    Args:
        title: what the first line begins with.
        rows: rows of the manifest.
        spec: the specification that they were read by.
    """
    usable = [row for row in rows if row["status"] == "ok"]
    splits = Counter(row["split"] for row in usable)
    counts = ", ".join(
        f"{splits[s]} {s}" for s in ("train", "test", "unlabelled", "held") if splits[s]
    )
    classes = {label for row in usable if row["label"] for label in row["label"].split("|")}
    yield f"{title}: {len(usable)} images of {len(classes)} classes ({counts})"
    yield from (f"  {line}" for line in overview(rows))
    yield from (f"  notice: {line}" for line in split_notices(split_facts(rows, spec)))
    yield from (f"  notice: {notice}" for notice in label_notices(classes, spec.literal))


def locate_files(dataset: str, what: str, root: Path | None = None) -> Iterator[str]:
    """Lines that say where files lie.

    Args:
        dataset: a registered one, or with ``root`` any name.
        what: the path as a manifest or a message has it, or at least 8 digits of an image id.
        root: folder that could not be registered under this name.

    Raises:
        InputError: nothing is called so.
    """
    store = DatasetStore()
    spec = (
        DatasetSpec(name=check_dataset_name(dataset), root=root)
        if root is not None
        else store.spec(dataset)
    )
    paths = {what}
    if len(what) >= 8 and store.record(dataset, names.IMAGE_MANIFEST) is not None:
        rows = store.main_table(dataset, names.IMAGE_MANIFEST, MANIFEST).to_pylist()
        paths.update(row["path"] for row in rows if (row["image_id"] or "").startswith(what))
    source_of = locate(find_arrivals(store, spec).intake, paths)
    lines = dict.fromkeys(str(source_of[path].file) for path in sorted(source_of))
    if not lines:
        raise InputError(
            f"no file of {dataset} is called {what}",
            "Give the name or the image id as a report has it",
        )
    yield from lines

"""Registering a dataset, and finding its files again by the names that reports have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import ValidationError

from data_contracts.dataset import DatasetSpec, check_dataset_name
from data_contracts.errors import InputError
from data_contracts.manifest import MANIFEST
from methods.leakage import find_leaks, leak_error
from pipeline.launch import prepare_instance
from resources.dataset_store import DatasetStore
from resources.image_folder import locate, scan
from resources.intake import look_at
from resources.progress import progress


def register(fields: Mapping[str, Any]) -> Iterator[str]:
    """Look through a dataset's files, store its specification, add its partition; gives lines that say what was found.

    Args:
        fields: of the specification.

    Raises:
        InputError: a field is wrong, or the files cannot be used as they are.
    """
    check_dataset_name(str(fields["name"]))
    try:
        spec = DatasetSpec.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", "See medfeat add --help") from None
    store = DatasetStore()
    arrival = look_at(store, spec)
    rows = scan(arrival.intake, decode=False, progress=lambda items: progress(items, "reading files")).to_pylist()
    leaks = find_leaks(rows)
    if leaks:
        raise leak_error(spec.name, leaks)
    store.save_spec(spec)
    with dg.DagsterInstance.get() as instance:
        prepare_instance(instance, store)
    usable = [row for row in rows if row["status"] == "ok"]
    splits = Counter(row["split"] for row in usable)
    counts = ", ".join(f"{splits[s]} {s}" for s in ("train", "test", "unlabelled", "held") if splits[s])
    classes = {label for row in usable if row["label"] for label in row["label"].split("|")}
    yield f"{spec.name}: {len(usable)} images of {len(classes)} classes ({counts})"
    reasons = Counter(str(row["reason"]).partition(" as ")[0] for row in rows if row["status"] != "ok")
    for reason, number in reasons.most_common():
        yield f"  left out: {number} - {reason}"
    if arrival.waiting:
        yield f"  not settled yet: {arrival.waiting} drops"


def whereabouts(dataset: str, what: str) -> Iterator[str]:
    """Lines that say where files lie.

    Args:
        dataset: a registered one.
        what: the path as a manifest has it, or at least 8 digits of an image id.

    Raises:
        InputError: nothing is called so.
    """
    store = DatasetStore()
    spec = store.spec(dataset)
    rows = store.main_table(dataset, "image_manifest", ".parquet", MANIFEST).to_pylist()
    called = [row for row in rows if row["path"] == what or (len(what) >= 8 and (row["image_id"] or "").startswith(what))]
    found = locate(look_at(store, spec).intake, {row["path"] for row in called})
    lines = dict.fromkeys(str(found[row["path"]].file) for row in called if row["path"] in found)
    if not lines:
        raise InputError(f"no file of {dataset} is called {what}", "Give the name or the image id as a report has it")
    yield from lines

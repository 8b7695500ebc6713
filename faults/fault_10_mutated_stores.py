"""Stored files and manifests with changed bytes: refused, or computed again, never misread."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.tables.report import REJECTED
from faults import commits
from faults.harness import Fault, Outcome
from faults.mutations import mutated
from faults.os_layer import quick_folder
from faults.study import home_in
from resources.intake.user_manifest import read_user_manifest
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.model_store import load_checkpoint, load_model, save_checkpoint
from resources.store.shard_index import ShardList

ROWS = [("a/1.png", "a", "train"), ("b/2.png", "b", "test"), ("c/3.png", "c", "train")]


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    with quick_folder(folder) as quick, home_in(quick) as store:
        archive = commits.put_archive(quick)
        commits.commit(store, archive, [])
        import torch

        save_checkpoint(store, commits.DATASET, "half", "c", {"w": torch.arange(9.0)}, {"epoch": 2})
        _leave_receipts(store)
        listings = quick / "listings"
        listings.mkdir()
        read = _readers(store, listings)
        truth = {path: reader() for path, reader in read.items()}
        paths = sorted(read)
        for seed in seeds:
            path = paths[np.random.default_rng([seed, 1]).integers(len(paths))]
            yield _changed(seed, path, read[path], truth[path])


def _leave_receipts(store: DatasetStore) -> None:
    """List the shards by an index of all but one, and a receipt of that one, as a kill does."""
    shards = FeatureStore(store, commits.DATASET, commits.SET)
    first, *others = shards.index()
    shards.save_index(others)
    ShardList(shards.folder, commits.SET.key).add(first)


def _changed(seed: int, path: Path, read: Callable[[], object], truth: object) -> Outcome:
    before = path.read_bytes()
    changed, how = mutated(before, np.random.default_rng(seed))
    path.write_bytes(changed)
    try:
        found = read()
    except InputError as error:
        return Outcome(seed, True, f"{path.name}, {how}: {error}")
    except Exception as error:
        return Outcome(seed, False, f"{path.name}, {how}: {error!r}")
    finally:
        path.write_bytes(before)
    return Outcome(
        seed, found == truth or found is None, f"{path.name}, {how}: read as {str(found)[:200]}"
    )


def _readers(store: DatasetStore, listings: Path) -> dict[Path, Callable[[], object]]:
    """Return how each kind of file is read.

    The result is the truth, None where it is computed again, or an InputError.

    A reader returns the content, or None where it is computed again, or raises an InputError.
    """
    dataset, asset = commits.DATASET, commits.ASSET
    folder = store.folder(dataset, asset)
    shards = FeatureStore(store, dataset, commits.SET)

    def rows() -> object:
        try:
            reader = shards.reader(commits.IDS)
        except InputError:
            assert shards.missing(commits.IDS), "what cannot be read is computed again"
            raise
        values = reader.rows(0, len(reader)).tolist()
        reader.close()
        return values

    def model() -> object:
        tensors, sidecar = load_model(store, dataset, asset)
        return tensors["w"].tolist(), sidecar.model_dump()

    def checkpoint() -> object:
        found = load_checkpoint(store, dataset, "half", "c")
        return None if found is None else (found[0]["w"].tolist(), found[1])

    record = store.need_record(dataset, asset)
    name = next(file.name for file in record.files if file.name.endswith(".rejected.parquet"))
    weights = next(file.name for file in record.files if file.name.endswith(".safetensors"))
    readers: dict[Path, Callable[[], object]] = {
        next(folder.glob("*.h5")): rows,
        shards.index_path: rows,
        next(folder.glob("*.receipt")): rows,
        folder / weights: model,
        folder / weights.replace(".safetensors", ".model.json"): model,
        folder / name: lambda: store.main_table(dataset, asset, REJECTED).to_pylist(),
        folder / "current.json": lambda: store.need_record(dataset, asset),
        folder / f"{record.fingerprint}.json": lambda: store.recorded(
            dataset, asset, record.fingerprint
        ),
        store.folder(dataset, "half") / "c.checkpoint": checkpoint,
        store.root / "datasets" / f"{dataset}.json": lambda: store.spec(dataset),
    }
    return readers | _listing_readers(listings)


def _listing_readers(listings: Path) -> dict[Path, Callable[[], object]]:
    """Return how a user's manifests are read.

    Nothing says what they should hold, so what is read has only to be well formed.
    """
    text = io.StringIO()
    csv.writer(text).writerows([("path", "label", "split"), *ROWS])
    columns = dict(zip(("path", "label", "split"), zip(*ROWS, strict=True), strict=True))
    for kind in ("csv", "parquet"):
        (listings / kind).mkdir()
    (listings / "csv" / "manifest.csv").write_text(text.getvalue())
    pq.write_table(pa.table(columns), listings / "parquet" / "manifest.parquet")

    def read(folder: Path) -> object:
        listing = read_user_manifest(folder, "the dataset")
        assert listing is not None
        assert all(
            not Path(place).is_absolute() and ".." not in Path(place).parts
            for place in listing.annotations
        )
        assert {annotation.split for annotation in listing.annotations.values()} <= {
            "train",
            "test",
            "unlabelled",
            None,
        }
        return None

    return {
        next((listings / kind).iterdir()): lambda kind=kind: read(listings / kind)
        for kind in ("csv", "parquet")
    }  # type: ignore[misc]


FAULT = Fault(
    number=10,
    name=(
        "stored HDF5, Parquet, safetensors, records, specifications and a user's manifests with "
        "changed bytes"
    ),
    goal="no death, nothing read that was not stored",
    full=10_000,
    sample=500,
    inject=inject,
)

"""One commit of each kind that a store makes, by the functions that the assets use.

They are shards and their index, checkpoint, model, table, picture, page, record, ledger of drops,
unpacked archive, site key and specification. Called again, it continues as an asset does.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.hashing import content_hash
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.output_record import OutputRecord, StoredFile
from data_contracts.tables.report import REJECTED
from faults.os_layer import count
from faults.study import home_in
from pipeline.care.store_health import damaged_files
from resources.intake.arrivals import find_arrivals
from resources.intake.image_sources import source_trees
from resources.store import feature_store
from resources.store.atomic_file import file_sha256
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.home import prepare_home
from resources.store.model_store import (
    drop_checkpoint,
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
)

DATASET, ASSET = "set", "things"
SET = FeatureSet(kind=ASSET, dtype="float32", row_shape=(4, 3), preprocessing={}, code_version="1")
IDS = sorted(hashlib.sha256(bytes([i])).hexdigest() for i in range(12))
SHARD_ROWS = 4
EPOCHS = 3


def put_archive(folder: Path) -> Path:
    """Write a zip of two files in class folders, of the same bytes each time."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name in ("a/1.png", "b/2.png"):
            archive.writestr(zipfile.ZipInfo(name), name * 50)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images.zip").write_bytes(sink.getvalue())
    return folder / "images.zip"


def rows_of(ids: list[str]) -> np.ndarray:
    """Return the rows of some images, (n, 4, 3) float32, made from their identifiers."""
    digests = np.array([list(bytes.fromhex(image_id)[:12]) for image_id in ids], np.float32)
    return digests.reshape(-1, 4, 3)


@contextmanager
def small_shards() -> Iterator[None]:
    """Make shards of few rows within this context, so that a few images need several."""
    with patch.object(feature_store, "SHARD_ROWS", SHARD_ROWS):
        yield


def commit(
    store: DatasetStore,
    archive: Path,
    computed: list[str],
    stored: Callable[[], None] = lambda: None,
) -> None:
    """Commit everything that is not committed yet.

    Args:
        store: of the home.
        archive: the dataset.
        computed: receives the identifiers of the rows that are computed.
        stored: called when the store has acknowledged one more shard, which must not be lost from
            then on.
    """
    if DATASET not in store.datasets():
        store.save_spec(DatasetSpec(name=DATASET, root=archive))
    arrival = find_arrivals(store, store.spec(DATASET))
    list(source_trees(arrival.intake))
    fingerprint = content_hash("settings")
    with small_shards(), store.lock(DATASET, ASSET):
        shards = FeatureStore(store, DATASET, SET)
        record = store.recorded(DATASET, ASSET, fingerprint)
        if record is None or shards.missing(IDS):
            _fill(shards, computed, stored)
            model = _trained(store, fingerprint)
            table = pa.Table.from_pylist(
                [{"path": "x", "status": "rejected", "reason": "r"}], schema=REJECTED.schema
            )
            files = [
                *model,
                store.write_table(
                    DATASET, ASSET, f"{fingerprint}.rejected.parquet", table, REJECTED
                ),
                store.write_bytes(DATASET, ASSET, f"{fingerprint}.0.png", b"picture" * 500),
            ]
            page = store.publish(store.reports / DATASET / "report.html", b"<p>page</p>" * 500)
            record = OutputRecord(
                asset=ASSET,
                dataset=DATASET,
                fingerprint=fingerprint,
                data_version="v",
                code_version="1",
                settings={},
                inputs={},
                files=files,
                published=[page],
                feature_set=SET,
                run_id="r",
                created="2026-01-01T00:00:00+00:00",
                seconds=0.0,
                peak_memory_bytes=0,
            )
        store.save_record(record)
        drop_checkpoint(store, DATASET, ASSET, fingerprint)


def _fill(shards: FeatureStore, computed: list[str], stored: Callable[[], None]) -> None:
    """Store the missing shards; a shard is acknowledged when the next one begins, or at the end."""
    begun: list[list[str]] = []

    def produce(ids: list[str]) -> np.ndarray:
        if begun:
            stored()
        begun.append(ids)
        computed.extend(ids)
        return rows_of(ids)

    shards.fill(IDS, produce, {})
    if begun:
        stored()


def _trained(store: DatasetStore, name: str) -> list[StoredFile]:
    """Store a model of EPOCHS epochs, each of which adds one; it resumes from its checkpoint."""
    saved = load_checkpoint(store, DATASET, ASSET, name)
    weights, epoch = (saved[0]["w"], int(saved[1]["epoch"])) if saved else (torch.zeros(300), 0)
    while epoch < EPOCHS:
        weights, epoch = weights + 1, epoch + 1
        save_checkpoint(store, DATASET, ASSET, name, {"w": weights}, {"epoch": epoch})
    sidecar = ModelSidecar(
        architecture="sum",
        settings={},
        input_shape=(4, 3),
        fitted_on="v",
        curve=[],
    )
    return save_model(store, DATASET, ASSET, name, {"w": weights}, sidecar)


def digest(store: DatasetStore) -> str:
    """Return a digest of what was committed, read back through the product.

    Raises:
        InputError: something is missing or damaged.
    """
    record = store.need_record(DATASET, ASSET)
    reader = FeatureStore(store, DATASET, SET).reader(IDS)
    rows = reader.rows(0, len(reader))
    reader.close()
    weights, _ = load_model(store, DATASET, ASSET)
    damaged = [str(path) for path in store.damaged_files(record)]
    if damaged:
        raise InputError(f"{damaged} are damaged", "Commit again")
    table = store.main_table(DATASET, ASSET, REJECTED).to_pylist()
    unpacked = sorted(
        path for path in (store.root / "unpacked" / DATASET).glob("[!.]*/**/*") if path.is_file()
    )
    return content_hash(
        {
            "rows": hashlib.sha256(rows.tobytes()).hexdigest(),
            "weights": weights["w"].tolist(),
            "table": table,
            "files": {file.name: file.sha256 for file in [*record.files, *record.published]},
            "unpacked": {str(path.relative_to(store.root)): file_sha256(path) for path in unpacked},
            "spec": store.spec(DATASET).model_dump(mode="json", exclude={"root"}),
        }
    )


def unharmed(folder: Path, archive: Path, names: tuple[str, ...]) -> tuple[int, str]:
    """Return how many of these calls a first commit makes, and the digest of what it commits."""
    with home_in(folder) as store:
        number = count(names, lambda: commit(store, archive, []))
        return number, digest(store)


def finished(store: DatasetStore, archive: Path, whole: str, shards: int = 0) -> str:
    """Commit what a fault left undone, as the next command does.

    Args:
        store: of the home.
        archive: the dataset.
        whole: digest of the content of an unharmed store.
        shards: number of shards that the store had acknowledged.

    Returns:
        what is wrong with the outcome, or "".
    """
    try:
        damaged = [str(damage) for damage in damaged_files(store)]
        prepare_home()
        computed: list[str] = []
        commit(store, archive, computed)
        after = digest(store)
    except InputError as error:
        return f"the rerun: {error}"
    again = sorted(set(IDS[: shards * SHARD_ROWS]) & set(computed))
    left = [str(path) for path in store.root.rglob(".*.tmp")]
    wrong = {
        "damaged": damaged,
        "computed again": again,
        "left": left,
        "another digest": after != whole,
    }
    return ", ".join(f"{what}: {which}" for what, which in wrong.items() if which)

"""Runs the plan of one asset on small arrays, without Dagster and without its upstream assets.

Upstream outputs are stored directly: :func:`store_manifest`, :func:`store_features`,
:func:`store_record`. :func:`run_plan` then does what Dagster would do with the asset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import torch

from assets.core.lesion_rows import LesionRows
from assets.core.plan import Stage, StageResult, run_stage
from assets.core.settings import StageConfig
from assets.core.stage import definition_of
from data_contracts import asset_names as names
from data_contracts.records.dataset import DatasetSpec
from data_contracts.records.facts import AnyFacts, FoldFacts, ManifestFacts
from data_contracts.records.feature_shard import FeatureSet
from data_contracts.records.hashing import content_hash
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.output_record import OutputRecord
from data_contracts.tables.contract import TableContract
from data_contracts.tables.manifest import MANIFEST
from data_contracts.tables.roc import FOLD_SCORES
from resources.compute import Compute
from resources.store.dataset_store import DatasetStore
from resources.store.feature_store import FeatureStore
from resources.store.model_store import save_model

DATASET = "tiny"


def new_store(home: Path, **spec: Any) -> DatasetStore:
    """A store below ``home`` that knows dataset "tiny"."""
    store = DatasetStore(home=str(home))
    store.save_spec(DatasetSpec(name=DATASET, root=home / "images", **spec))
    return store


def image_id(number: int) -> str:
    """The id of an image: a SHA-256, in the order of the numbers."""
    return f"{number:04x}" + hashlib.sha256(str(number).encode()).hexdigest()[4:]


def manifest_row(number: int, split: str, label: str | None, **columns: Any) -> dict[str, Any]:
    """A row of the manifest for a usable image, with some ``columns`` replaced."""
    values: dict[str, Any] = {field.name: None for field in MANIFEST.schema}
    values |= {
        "image_id": image_id(number),
        "path": f"{number:04}.png",
        "status": "ok",
        "split": split,
        "label": label,
        "sha256": image_id(number),
        "pixel_sha256": image_id(number),
        "perceptual_hash": number,
        "width": 64,
        "height": 64,
        "mode": "L",
        "format": "PNG",
    }
    return _filled(values | columns)


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """The row with a neutral value in every column that must not be empty."""
    for field in MANIFEST.schema:
        if values[field.name] is None and not field.nullable:
            values[field.name] = 0 if pa.types.is_integer(field.type) else ""
    return values


def store_record(
    store: DatasetStore,
    asset: str,
    *,
    facts: AnyFacts | None = None,
    tables: Sequence[tuple[TableContract, Sequence[Mapping[str, object]]]] = (),
    **fields: Any,
) -> OutputRecord:
    """Store an output of ``asset`` as if it had been computed."""
    version = content_hash([asset, str(facts), fields])
    files = list(fields.pop("files", []))
    for contract, rows in tables:
        table = pa.Table.from_pylist(list(rows), schema=contract.schema)
        name = f"{version}{contract.suffix}"
        files.append(store.write_table(DATASET, asset, name, table, contract))
    usual: dict[str, Any] = {
        "code_version": "1",
        "settings": {},
        "inputs": {},
        "run_id": "0" * 8,
        "created": "2026-01-01T00:00:00+00:00",
        "seconds": 0.0,
        "peak_memory_bytes": 0,
    }
    record = OutputRecord(
        asset=asset,
        dataset=DATASET,
        fingerprint=version,
        data_version=version,
        facts=facts,
        files=files,
        **{**usual, **fields},
    )
    store.save_record(record)
    return record


def store_manifest(store: DatasetStore, rows: Sequence[Mapping[str, Any]]) -> OutputRecord:
    """Store an image manifest of ``rows``."""
    splits = [row["split"] for row in rows]
    facts = ManifestFacts(
        usable_images=len(rows),
        training_images=splits.count("train"),
        test_images=splits.count("test"),
        unlabelled_images=splits.count("unlabelled"),
        held_images=splits.count("held"),
        images_from_drops=0,
        drops=0,
        unsettled_drops=0,
        classes=len({row["label"] for row in rows}),
        duplicates=0,
        rejected_files=0,
        arrival="a",
    )
    return store_record(store, names.IMAGE_MANIFEST, facts=facts, tables=[(MANIFEST, rows)])


def store_features(
    store: DatasetStore, asset: str, ids: Sequence[str], values: np.ndarray, **feature_set: Any
) -> OutputRecord:
    """Store rows of ``asset``, one for each id."""
    described = {"preprocessing": {}, "code_version": "1"} | feature_set
    kind = FeatureSet(kind=asset, dtype=str(values.dtype), row_shape=values.shape[1:], **described)
    shards = FeatureStore(store, DATASET, kind)
    position = {image: i for i, image in enumerate(ids)}
    shards.fill(sorted(ids), lambda batch: values[[position[i] for i in batch]], {})
    return store_record(store, asset, feature_set=kind, rows=len(ids))


def store_model(
    store: DatasetStore, asset: str, tensors: Mapping[str, torch.Tensor], **described: Any
) -> OutputRecord:
    """Store a model of ``asset`` with these weights; ``described`` are fields of its sidecar."""
    values: dict[str, Any] = {
        "architecture": "toy",
        "settings": {},
        "input_shape": (),
        "fitted_on": "",
        "curve": [],
    }
    sidecar = ModelSidecar(**values | described)
    files = save_model(store, DATASET, asset, "a" * 16, tensors, sidecar)
    return store_record(store, asset, files=files)


def stored_rows(store: DatasetStore, record: OutputRecord, ids: Sequence[str]) -> np.ndarray:
    """The features of ``ids``, which are sorted, in an output."""
    assert record.feature_set is not None
    reader = FeatureStore(store, DATASET, record.feature_set).reader(list(ids))
    rows = reader.rows(0, len(reader))
    reader.close()
    return np.asarray(rows)


def store_fold_scores(
    store: DatasetStore,
    asset: str,
    rows: LesionRows,
    probability: np.ndarray,
    **facts: Any,
) -> OutputRecord:
    """Store out-of-fold probabilities of ``rows`` as those of the evaluation ``asset``."""
    scores = [
        {
            "image_id": image,
            "lesion_id": rows.lesions[i],
            "group_id": rows.groups[i],
            "fold": int(rows.fold[i]),
            "positive": bool(rows.positive[i]),
            "probability": float(probability[i]),
            "inner": [],
        }
        for i, image in enumerate(rows.ids)
    ]
    described = {"rows_version": rows.version, "title": asset, "images": len(scores)} | facts
    return store_record(store, asset, facts=FoldFacts(**described), tables=[(FOLD_SCORES, scores)])


def run_plan(
    asset: dg.AssetsDefinition,
    store: DatasetStore,
    config: StageConfig | None = None,
    dataset: str = DATASET,
) -> StageResult:
    """Run the plan of an asset on the processor and store its output."""
    definition = definition_of(asset)
    settings = config if config is not None else definition.config_type()
    here = Stage(dataset, definition.name, settings, store, Compute(device="cpu"))
    return run_stage(definition, here, "run-of-a-test")

"""Pickles that make a file when they are loaded, in every container that is read."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import joblib
import numpy as np
import pyarrow as pa
import torch

from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.output_record import OutputRecord
from faults.crafted_ground import GOOD, NAME, Ground, parquet_bytes, refused
from faults.crafted_hdf5 import CHUNK, SHAPE, in_place_of_a_shard
from resources.store.atomic_file import file_sha256
from resources.store.model_store import load_checkpoint, load_model
from resources.weights import alexnet_weights

Attack = Callable[[Ground], None]


def as_weights(suffix: str, write: Callable[[object, Path], object]) -> Attack:
    """Use a file as the weights that somebody supplied."""

    def attack(ground: Ground) -> None:
        file = ground.root / f"alexnet{suffix}"
        write({"features.0.weight": ground.payload}, file)
        with refused("cannot be read as weights"):
            alexnet_weights(str(file))

    return attack


def pickled(value: object, file: Path) -> None:
    file.write_bytes(pickle.dumps(value))


def legacy(value: object, file: Path) -> None:
    torch.save(value, file, _use_new_zipfile_serialization=False)


def compressed(value: object, file: Path) -> None:
    joblib.dump(value, file, compress=3)


def as_image(name: str, reason: str) -> Attack:
    def attack(ground: Ground) -> None:
        ground.put(name, pickle.dumps(ground.payload))
        ground.refuse(reason)

    return attack


def array_of_objects(name: str, reason: str) -> Attack:
    """Write NumPy's own formats, which pickle objects."""

    def attack(ground: Ground) -> None:
        out = io.BytesIO()
        objects = np.array([ground.payload], dtype=object)
        if name.endswith(".npz"):
            np.savez(out, images=objects)
        else:
            np.save(out, objects, allow_pickle=True)
        ground.put(name, out.getvalue())
        ground.refuse(reason)

    return attack


def in_hdf5(ground: Ground) -> None:
    def write(file: h5py.File) -> None:
        data = file.create_dataset(
            "features", SHAPE, h5py.vlen_dtype(np.uint8), chunks=CHUNK, compression="gzip"
        )
        data[0, 0, 0] = np.frombuffer(pickle.dumps(ground.payload), np.uint8)

    in_place_of_a_shard(ground, write)


def in_an_arrow_type(ground: Ground) -> None:
    """Write a column of a type that old releases of pyarrow unpickled (CVE-2023-47248)."""
    kind = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(ground.payload),
    }
    schema = pa.schema(
        [pa.field("path", pa.string()), pa.field("label", pa.string(), metadata=kind)]
    )
    paths = [f"{'AB'[number % 2]}/{number}.png" for number in range(GOOD)]
    ground.put(
        "manifest.parquet",
        parquet_bytes(pa.table([paths, [path[0] for path in paths]], schema=schema)),
    )
    assert len(ground.take_in()) == GOOD


def in_pandas_metadata(ground: Ground) -> None:
    """Write cells of pickles, and metadata that calls their column one of Python objects."""
    columns = [
        {
            "name": "label",
            "field_name": "label",
            "pandas_type": "object",
            "numpy_type": "object",
            "metadata": None,
        }
    ]
    said = json.dumps(
        {"index_columns": [], "columns": columns, "column_indexes": [], "pandas_version": "3.0.0"}
    )
    paths = [f"{'AB'[number % 2]}/{number}.png" for number in range(GOOD)]
    cells = pa.array([pickle.dumps((ground.payload, path[0])) for path in paths], pa.binary())
    table = pa.table({"path": paths, "label": cells}).replace_schema_metadata({"pandas": said})
    ground.put("manifest.parquet", parquet_bytes(table))
    with refused("neither text nor numbers"):
        ground.take_in()


def in_place_of_a_model(ground: Ground) -> None:
    """Replace a model, and its sidecar so that the checksum is right."""
    folder = ground.store.folder(NAME, "classifier")
    folder.mkdir(parents=True)
    weights = folder / "x.safetensors"
    weights.write_bytes(pickle.dumps(ground.payload))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    sidecar = ModelSidecar(
        architecture="x",
        settings={},
        input_shape=(1,),
        fitted_on="x",
        curve=[],
    ).model_copy(update={"weights_sha256": digest})
    (folder / "x.model.json").write_text(sidecar.model_dump_json())
    files = [
        {"name": file.name, "sha256": file_sha256(file), "bytes": file.stat().st_size}
        for file in (weights, folder / "x.model.json")
    ]
    ground.store.save_record(record_of("classifier", files=files))
    with refused(""):
        load_model(ground.store, NAME, "classifier")


def in_place_of_a_checkpoint(ground: Ground) -> None:
    folder = ground.store.folder(NAME, "cae_model")
    folder.mkdir(parents=True)
    (folder / "x.checkpoint").write_bytes(pickle.dumps(ground.payload))
    assert load_checkpoint(ground.store, NAME, "cae_model", "x") is None, (
        "it was taken for a checkpoint"
    )


def record_of(asset: str, **fields: object) -> OutputRecord:
    """Return the record of an output with few fields."""
    return OutputRecord.model_validate(
        {
            "asset": asset,
            "dataset": NAME,
            "fingerprint": "0" * 16,
            "data_version": "0",
            "code_version": "1",
            "settings": {},
            "inputs": {},
            "run_id": "0",
            "created": "2000-01-01T00:00:00+00:00",
            "seconds": 0.0,
            "peak_memory_bytes": 0,
            **fields,
        }
    )


CRAFTED: dict[str, Attack] = {
    "pickle: .pt": as_weights(".pt", torch.save),
    "pickle: .pth of the old format": as_weights(".pth", legacy),
    "pickle: bare, named .pth": as_weights(".pth", pickled),
    "pickle: of joblib, named .pth": as_weights(".pth", compressed),
    "pickle: named .safetensors": as_weights(".safetensors", pickled),
    "pickle: named .png": as_image("A/evil.png", "cannot be decoded"),
    "pickle: .npy": array_of_objects("A/evil.npy", "cannot be decoded"),
    "pickle: .npz": array_of_objects("A/evil.npz", "an array holds Python objects"),
    "pickle: in HDF5": in_hdf5,
    "pickle: type of a Parquet column": in_an_arrow_type,
    "pickle: cells of Parquet": in_pandas_metadata,
    "pickle: in place of a model": in_place_of_a_model,
    "pickle: in place of a checkpoint": in_place_of_a_checkpoint,
}

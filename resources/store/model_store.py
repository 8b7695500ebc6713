"""Fitted models: safetensors and a JSON sidecar. Never pickle."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from data_contracts.errors import ContractError
from data_contracts.records.model_sidecar import ModelSidecar
from data_contracts.records.output_record import StoredFile
from data_contracts.records.sealed import seal, unsealed_bytes
from resources.store.dataset_store import MEND, DatasetStore

if TYPE_CHECKING:
    from torch import Tensor


def save_model(
    store: DatasetStore,
    dataset: str,
    asset: str,
    name: str,
    tensors: Mapping[str, "Tensor"],
    sidecar: ModelSidecar,
) -> list[StoredFile]:
    """Store ``<name>.safetensors`` and ``<name>.model.json``."""
    from safetensors.torch import save

    weights = store.write_bytes(dataset, asset, f"{name}.safetensors", save(dict(tensors)))
    described = sidecar.model_copy(update={"weights_sha256": weights.sha256})
    return [
        weights,
        store.write_bytes(
            dataset, asset, f"{name}.model.json", described.model_dump_json(indent=1).encode()
        ),
    ]


def load_model(
    store: DatasetStore, dataset: str, asset: str
) -> tuple[dict[str, "Tensor"], ModelSidecar]:
    """Return the weights and the sidecar of the current model of ``asset``.

    Raises:
        ContractError: a file is missing, or the weights are not those the sidecar was written for.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    record = store.need_record(dataset, asset)
    folder = store.folder(dataset, asset)
    files = {file.name.split(".", 1)[1]: file for file in record.files}
    try:
        weights = files["safetensors"]
        sidecar = ModelSidecar.model_validate_json(
            store.read_bytes(dataset, asset, files["model.json"])
        )
    except (KeyError, ValidationError) as error:
        raise ContractError(
            f"{asset} of {dataset} in {folder} has no model that can be read ({error})", MEND
        ) from error
    if weights.sha256 != sidecar.weights_sha256:
        raise ContractError(f"the weights in {folder} are not those their sidecar names", MEND)
    try:
        return load(store.read_bytes(dataset, asset, weights)), sidecar
    except SafetensorError as error:
        raise ContractError(
            f"{folder / weights.name} is not safetensors ({error})", MEND
        ) from error


def save_checkpoint(
    store: DatasetStore,
    dataset: str,
    asset: str,
    name: str,
    tensors: Mapping[str, "Tensor"],
    state: Mapping[str, Any],
) -> None:
    """Store a training checkpoint as one file, complete or not at all."""
    from safetensors.torch import save

    data = save(dict(tensors), metadata={"state": json.dumps(dict(state), allow_nan=False)})
    store.write_bytes(dataset, asset, f"{name}.checkpoint", data, seal(data))


def load_checkpoint(
    store: DatasetStore, dataset: str, asset: str, name: str
) -> tuple[dict[str, "Tensor"], dict[str, Any]] | None:
    """Return a checkpoint's tensors and state, or None if no intact one exists."""
    from safetensors.torch import load

    try:
        data = unsealed_bytes((store.folder(dataset, asset) / f"{name}.checkpoint").read_bytes())
    except (OSError, ValueError):
        return None
    # `load` of bytes omits the metadata; the header holds them, preceded by its length.
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return load(data), json.loads(header["__metadata__"]["state"])


def drop_checkpoint(store: DatasetStore, dataset: str, asset: str, name: str) -> None:
    """Remove a checkpoint once its model is stored."""
    (store.folder(dataset, asset) / f"{name}.checkpoint").unlink(missing_ok=True)

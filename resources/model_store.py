"""Fitted models: safetensors and a JSON sidecar. Never pickle."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_contracts.errors import ContractError
from data_contracts.model_sidecar import ModelSidecar
from data_contracts.output_record import StoredFile
from resources.dataset_store import DatasetStore

if TYPE_CHECKING:
    from torch import Tensor


def save_model(
    store: DatasetStore, dataset: str, asset: str, name: str, tensors: Mapping[str, "Tensor"], sidecar: ModelSidecar
) -> list[StoredFile]:
    """Store ``<name>.safetensors`` and ``<name>.model.json``."""
    from safetensors.torch import save

    weights = store.write_bytes(dataset, asset, f"{name}.safetensors", save(dict(tensors)))
    described = sidecar.model_copy(update={"weights_sha256": weights.sha256})
    return [weights, store.write_bytes(dataset, asset, f"{name}.model.json", described.model_dump_json(indent=1).encode())]


def load_model(store: DatasetStore, dataset: str, asset: str) -> tuple[dict[str, "Tensor"], ModelSidecar]:
    """Weights and sidecar of the current model of ``asset``.

    Raises:
        ContractError: a file is missing, or the weights are not those the sidecar was written for.
    """
    import hashlib

    from safetensors.torch import load

    record = store.need_record(dataset, asset)
    folder = store.folder(dataset, asset)
    remedy = f"Materialise {asset} of {dataset} again with force"
    try:
        names = {file.name.split(".", 1)[1]: file.name for file in record.files}
        data = (folder / names["safetensors"]).read_bytes()
        sidecar = ModelSidecar.model_validate_json((folder / names["model.json"]).read_bytes())
    except (OSError, KeyError, ValueError) as error:
        raise ContractError(f"the model of {asset} in {folder} cannot be read ({error})", remedy) from error
    if hashlib.sha256(data).hexdigest() != sidecar.weights_sha256:
        raise ContractError(f"the weights in {folder} are not those their sidecar names", remedy)
    return load(data), sidecar


def save_checkpoint(
    store: DatasetStore, dataset: str, asset: str, name: str, tensors: Mapping[str, "Tensor"], state: Mapping[str, Any]
) -> None:
    """Store a training checkpoint as one file, so that it is there whole or not at all."""
    from safetensors.torch import save

    store.write_bytes(
        dataset, asset, f"{name}.checkpoint", save(dict(tensors), metadata={"state": json.dumps(dict(state), allow_nan=False)})
    )


def load_checkpoint(
    store: DatasetStore, dataset: str, asset: str, name: str
) -> tuple[dict[str, "Tensor"], dict[str, Any]] | None:
    """A checkpoint's tensors and state, or None where there is none that can be read."""
    from safetensors import SafetensorError, safe_open

    path = store.folder(dataset, asset) / f"{name}.checkpoint"
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            return tensors, json.loads(file.metadata()["state"])
    except (SafetensorError, KeyError, ValueError, TypeError):
        return None


def drop_checkpoint(store: DatasetStore, dataset: str, asset: str, name: str) -> None:
    """Remove a checkpoint once its model is stored."""
    (store.folder(dataset, asset) / f"{name}.checkpoint").unlink(missing_ok=True)

"""Finished parts of a long study, so that a kill loses at most the part being computed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_contracts.records.sealed import sealed_json, unsealed_json
from resources.store.dataset_store import DatasetStore


@dataclass(frozen=True)
class PartialResults:
    """Results of the finished parts of one output, stored as JSON beside it.

    Attributes:
        store: of the home.
        dataset: partition key.
        asset: asset name.
        fingerprint: of the output; results under other settings or inputs are not reused.
    """

    store: DatasetStore
    dataset: str
    asset: str
    fingerprint: str

    @property
    def _name(self) -> str:
        return f"{self.fingerprint}.partial"

    @property
    def _path(self) -> Path:
        return self.store.folder(self.dataset, self.asset) / self._name

    def load(self) -> dict[str, dict[str, Any]]:
        """Return the results by part; empty if none are stored or they are damaged."""
        try:
            return unsealed_json(self._path.read_bytes())
        except (OSError, ValueError):
            return {}

    def save(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Store the results of all finished parts."""
        self.store.write_bytes(self.dataset, self.asset, self._name, sealed_json(results))

    def drop(self) -> None:
        """Remove the partial results, once the output is stored."""
        self._path.unlink(missing_ok=True)

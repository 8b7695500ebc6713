"""The list of a feature set's shards: an index, and a receipt for each shard that it lacks.

A receipt is written after its shard, so a killed run loses nothing that it had stored. Rewriting
the index after every shard instead would take time quadratic in their number. docs/adr/0003 has
the measurements.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from data_contracts.errors import ContractError
from data_contracts.records.feature_shard import ShardEntry, ShardIndex
from data_contracts.records.sealed import sealed_json, unsealed_json
from resources.store.atomic_file import write_atomically
from resources.store.dataset_store import MEND, table_of

INDEX = ".index"
"""Suffix of an index."""
EARLIER_INDEX = ".parquet"
"""Suffix of the indexes of earlier versions; their shards' names and digests verify them."""
RECEIPT = ".receipt"
"""Suffix of a receipt."""


@dataclass(frozen=True)
class ListedShards:
    """What index and receipts say, as far as they can be read.

    Attributes:
        entries: of each shard, sorted by its name.
        damaged: the index or receipts that cannot be read or are not as they were stored, with
            what is wrong.
    """

    entries: list[ShardEntry]
    damaged: dict[Path, ContractError]


@dataclass(frozen=True)
class ShardList:
    """Index and receipts of one feature set in a folder.

    Attributes:
        folder: of the shards.
        key: of the feature set.
    """

    folder: Path
    key: str

    @property
    def index_path(self) -> Path:
        """The index; the Parquet file that earlier versions wrote, where there is no newer one."""
        path = self.folder / f"{self.key}{INDEX}"
        earlier = path.with_suffix(EARLIER_INDEX)
        return earlier if earlier.exists() and not path.exists() else path

    def receipts(self) -> list[Path]:
        """Return the receipts that are not merged yet, sorted."""
        return sorted(self.folder.glob(f"{self.key}.*{RECEIPT}"))

    def read(self) -> ListedShards:
        """Read the index and the receipts, whose word is the later one."""
        listed: dict[str, ShardEntry] = {}
        damaged: dict[Path, ContractError] = {}
        # Receipts first: one that another process merges meanwhile is then in the index.
        received = self._entries(self.receipts(), damaged)
        for entry in [*self._entries([self.index_path], damaged), *received]:
            listed[entry.shard] = entry
        return ListedShards([listed[shard] for shard in sorted(listed)], damaged)

    def _entries(
        self, paths: Iterable[Path], damaged: dict[Path, ContractError]
    ) -> list[ShardEntry]:
        """Return the entries that some files hold; those that cannot be read go to ``damaged``."""
        entries: list[ShardEntry] = []
        for path in paths:
            try:
                entries += _entries_of(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                damaged[path] = ContractError(f"{path} cannot be read ({error})", MEND)
            except (ValueError, pa.ArrowException):
                damaged[path] = ContractError(
                    f"{path} is damaged: it is not the {path.suffix.removeprefix('.')} that was "
                    "stored",
                    MEND,
                )
        return entries

    def add(self, entry: ShardEntry) -> None:
        """Store the receipt of a shard that has been written."""
        path = self.folder / f"{self.key}.{Path(entry.shard).stem}{RECEIPT}"
        write_atomically(path, sealed_json(entry.model_dump(), indent=None))

    def replace(self, entries: Iterable[ShardEntry]) -> None:
        """Store the index that lists these shards and no others; it takes the receipts' place."""
        merged = self.receipts()
        index = ShardIndex(shards=sorted(entries, key=lambda entry: entry.shard))
        path = self.folder / f"{self.key}{INDEX}"
        write_atomically(path, sealed_json(index.model_dump(), indent=None))
        for done in (path.with_suffix(EARLIER_INDEX), *merged):
            done.unlink(missing_ok=True)


def _entries_of(path: Path) -> list[ShardEntry]:
    """Return the entries that an index or a receipt holds.

    Raises:
        OSError: it cannot be read.
        ValueError: its bytes are not those that were stored.
        pyarrow.ArrowException: an index of an earlier version is no Parquet file.
    """
    data = path.read_bytes()
    if path.suffix == EARLIER_INDEX:
        return ShardIndex.model_validate({"shards": table_of(data).to_pylist()}).shards
    content = unsealed_json(data)
    if path.suffix == RECEIPT:
        return [ShardEntry.model_validate(content)]
    return ShardIndex.model_validate(content).shards

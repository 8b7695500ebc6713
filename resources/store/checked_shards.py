"""Which shards were read back and obeyed their contract, so that a rerun reads only new ones.

It is kept beside the index. Where it is missing or damaged, everything is read again, so nothing
depends on it but time. docs/adr/0017 says what is checked when.
"""

from collections.abc import Collection
from pathlib import Path

from data_contracts.records.feature_shard import (
    RULES_VERSION,
    CheckedShard,
    CheckedShards,
    ShardEntry,
)
from data_contracts.records.sealed import sealed_json, unsealed_json
from resources.store.atomic_file import FileStamp, file_stamp, is_settled, write_atomically
from resources.store.dataset_store import DatasetStore

CHECKED = ".checked"
"""Suffix of the file that lists the checked shards of a feature set."""


class CheckedList:
    """The checked shards of one feature set.

    Args:
        folder: of the shards.
        key: of the feature set.

    Attributes:
        path: of the file that lists them.
        is_damaged: whether that file cannot be read or is not as it was stored.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self._folder, self.path, self.is_damaged = folder, folder / f"{key}{CHECKED}", False
        stored = CheckedShards(rules=RULES_VERSION, shards={})
        try:
            stored = CheckedShards.model_validate(unsealed_json(self.path.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError):
            self.is_damaged = True
        self._shards = dict(stored.shards) if stored.rules == RULES_VERSION else {}
        self._stored = dict(self._shards)

    def is_unchanged(self, entry: ShardEntry) -> bool:
        """Tell whether a shard's file is the one whose bytes were compared with its digest."""
        checked = self._shards.get(entry.shard)
        if checked is None or checked.stamp is None or checked.sha256 != entry.sha256:
            return False
        try:
            return checked.stamp == file_stamp((self._folder / entry.shard).stat())
        except OSError:
            return False

    def obeyed(self, entry: ShardEntry) -> bool:
        """Tell whether rows of these very bytes were read back and obeyed the contract."""
        checked = self._shards.get(entry.shard)
        return checked is not None and checked.sha256 == entry.sha256

    def stamp_of(self, entry: ShardEntry) -> FileStamp | None:
        """Return the stamp of a shard's file, to be taken before its bytes are compared.

        Returns:
            None where there is no file, or a later change might not alter its stamp.
        """
        try:
            status = (self._folder / entry.shard).stat()
        except OSError:
            return None
        return file_stamp(status) if is_settled(status) else None

    def add(self, entry: ShardEntry, stamp: tuple[int, int, int, int, int] | None) -> None:
        """Note that a shard has been read back and obeys the contract."""
        self._shards[entry.shard] = CheckedShard(sha256=entry.sha256, stamp=stamp)

    def save(self, listed: Collection[str]) -> None:
        """Store what is known of the shards that are listed, where it is not stored already."""
        shards = {name: self._shards[name] for name in sorted(self._shards) if name in listed}
        if shards != self._stored:
            content = CheckedShards(rules=RULES_VERSION, shards=shards)
            write_atomically(self.path, sealed_json(content.model_dump(mode="json")))
            self._stored = shards


def forget_checks(store: DatasetStore, dataset: str) -> None:
    """Have the next run of a dataset hash and read every shard again, as if none were checked."""
    for path in store.folder(dataset, "").glob(f"*/*{CHECKED}"):
        path.unlink(missing_ok=True)

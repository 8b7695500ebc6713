"""Drops: the entries of ``drops/<dataset>/``, and when each of them counts.

A drop is a folder laid out like a dataset, an archive of one, or a single image. It counts when a
marker ``_READY`` lies in it (beside a single file: ``<file>._READY``), or when two checks at least
SETTLE_SECONDS apart find the same names, sizes and times. A drop that changes afterwards counts
with its unchanged files until it has settled again.

A ledger in the store remembers what each check found, with keyed hashes in place of names.
"""

import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data_contracts.errors import ContractError, InputError
from data_contracts.records.sealed import sealed_json, unsealed_json
from resources.intake.archives import is_archive
from resources.intake.confined_open import FolderLinks, without_links
from resources.intake.npz_images import is_npz
from resources.intake.site_key import Names
from resources.intake.system_entries import is_left_out, is_system_entry
from resources.intake.user_manifest import MANIFEST_NAMES
from resources.store.atomic_file import write_atomically
from resources.store.dataset_store import DatasetStore

MARKER = "_READY"
"""Name of the file that says that a drop is complete."""

LEDGER = "drops"
"""Kind of output under which the store keeps the ledger."""

SETTLE_SECONDS = 30.0
"""Seconds that a drop without a marker must stay unchanged before it counts."""

PARTIAL_SECONDS = 3600.0
"""Seconds that a file named like an unfinished transfer must stay unchanged before it counts."""

_PARTIAL = re.compile(
    r"\.(part|partial|tmp|temp|filepart|crdownload|download|upload)$|^\..+\.\w{6}$|~$",
    re.IGNORECASE,
)

Stamp = tuple[int, int]
"""Size of a file in bytes, and time of its last change in ns since 1970."""


class _Entry(BaseModel):
    """What the ledger holds of one drop.

    Attributes:
        seen: signature that the last check found.
        seen_at: when it was first found, in seconds since 1970.
        accepted: signature with which the drop last counted, or None.
        accepted_at: when, in seconds since 1970.
        first_load: whether it is what a dataset without a folder of its own began with.
    """

    model_config = ConfigDict(extra="forbid")

    seen: str
    seen_at: float
    accepted: str | None = None
    accepted_at: float | None = None
    first_load: bool = False


class _Ledger(BaseModel):
    """All drops of a dataset, by the keyed hash of their names."""

    model_config = ConfigDict(extra="forbid")

    drops: dict[str, _Entry] = {}


@dataclass(frozen=True)
class Drop:
    """A drop that counts.

    Attributes:
        name: its file name.
        path: where it lies.
        first_load: whether it is what a dataset without a folder of its own began with.
        accepted_at: when it began to count, in seconds since 1970.
        files: paths below it that count ("" for a single file).
    """

    name: str
    path: Path
    first_load: bool
    accepted_at: float
    files: frozenset[str]


@dataclass(frozen=True)
class WaitingDrop:
    """A drop that does not count yet, or whose latest change does not.

    Attributes:
        name: written form of its name.
        files: number of its files.
        reason: why, and how long it takes at least.
        since: when this content was first seen, in seconds since 1970.
    """

    name: str
    files: int
    reason: str
    since: float

    def __str__(self) -> str:
        return f"{self.name}: {self.files} file{'s' if self.files != 1 else ''}, {self.reason}"


@dataclass(frozen=True)
class DropStatus:
    """The drops of a dataset that count at one moment.

    Attributes:
        drops: those that count, by name.
        waiting: how many have not settled.
        signature: keyed hash of all that count; "" where none does.
        waits: those that have not settled, by name.
    """

    drops: tuple[Drop, ...]
    waiting: int
    signature: str
    waits: tuple[WaitingDrop, ...] = field(default=(), compare=False)


def drops_root() -> Path:
    """The folder of all drops: ``MEDFEAT_DROPS``, or ``drops`` in ``MEDFEAT_HOME``."""
    from resources.store.home import medfeat_home

    return Path(os.environ.get("MEDFEAT_DROPS") or medfeat_home() / "drops").expanduser().absolute()


def settle_seconds() -> float:
    """Seconds until an unchanged drop counts: ``MEDFEAT_DROP_SETTLE_SECONDS``, or SETTLE_SECONDS.

    Raises:
        InputError: it is not a number above 0.
    """
    text = os.environ.get("MEDFEAT_DROP_SETTLE_SECONDS") or str(SETTLE_SECONDS)
    seconds = settle_seconds_of(text)
    if seconds is None:
        raise InputError(
            f"MEDFEAT_DROP_SETTLE_SECONDS is {text!r}", "Set it to a number of seconds above 0"
        )
    return seconds


def settle_seconds_of(text: str) -> float | None:
    """Return the number of seconds that a text states, or None where it is no number above 0."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None


def file_stamps(path: Path, store: Path | None = None) -> dict[str, Stamp]:
    """List every file below a folder with its stamp; for a file, only itself under the name "".

    What a system or a storage device adds at any time (thumbnails, say) is not listed.

    Args:
        path: a folder or a file.
        store: folder that links may lead into: those to folders there are followed.
    """
    stamps: dict[str, Stamp] = {}
    if not path.is_dir() or path.is_symlink():
        with suppress(FileNotFoundError):  # it may vanish meanwhile, here and below
            stamps[""] = _stamp(path.lstat())
        return stamps
    folders, links = [""], FolderLinks(without_links(path), store)
    while folders:
        folder = folders.pop()
        with suppress(FileNotFoundError), os.scandir(path / folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if is_system_entry(entry.name):
                    continue
                if entry.is_dir(follow_symlinks=False) or links.follow(entry):
                    folders.append(name)
                elif name != MARKER:
                    with suppress(FileNotFoundError):
                        stamps[name] = _stamp(entry.stat(follow_symlinks=False))
    return stamps


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns


def signature_of(names: Names, stamps: Mapping[str, Stamp]) -> str:
    """Keyed hash of files and their stamps."""
    return names.signature(
        "\n".join(f"{stamp[0]} {stamp[1]} {name}" for name, stamp in sorted(stamps.items()))
    )


def check_drops(
    store: DatasetStore,
    dataset: str,
    names: Names,
    first_load: bool = False,
    now: float | None = None,
    store_of_links: Path | None = None,
) -> DropStatus:
    """List the drops of a dataset, record them in the ledger, and decide which count.

    Args:
        store: where the ledger lies.
        dataset: whose drops.
        names: how names are hashed.
        first_load: whether the dataset has nothing else, so that what is accepted first is its
            first load.
        now: seconds since 1970, for tests.
        store_of_links: folder that links in drops may lead into, or None.

    Raises:
        InputError: the drop folder or a drop cannot be read, the folder is missing although drops
            have counted before, or a file that decides about a drop is being rewritten.
        ContractError: the ledger is damaged.
    """
    now = time.time() if now is None else now
    root = drops_root() / dataset
    if not root.is_dir() and not _path(store, dataset).exists():
        return DropStatus((), 0, "")
    with store.lock(dataset, LEDGER):
        ledger = _read(store, dataset)
        before = ledger.model_dump_json()
        has_accepted = any(entry.accepted for entry in ledger.drops.values())
        if not root.is_dir():
            if has_accepted:
                raise InputError(
                    f"the drop folder {root} is gone, and drops in it have counted before",
                    "Mount the disk it is on, "
                    "or make the folder again to take back all of its drops",
                )
            return DropStatus((), 0, "")
        begins = first_load and not has_accepted
        check = _Check(store, dataset, names, ledger, begins, now, store_of_links)
        for path in entries_of(root):
            check.add(path)
        if ledger.model_dump_json() != before:
            write_atomically(_path(store, dataset), sealed_json(ledger.model_dump(mode="json")))
        # raised once everything is recorded, or a changed drop could never settle
        if check.errors:
            raise check.errors[0]
    accepted = "\n".join(sorted(check.accepted))
    return DropStatus(
        tuple(check.drops),
        len(check.waits),
        names.signature(accepted) if accepted else "",
        tuple(check.waits),
    )


@dataclass
class _Check:
    """One check of all drops of a dataset, drop by drop.

    Attributes:
        begins: whether what is accepted now is the dataset's first load.
        drops: those that count.
        accepted: keys and signatures of those that count.
        waits: those that have not settled.
        errors: why drops cannot be used.
    """

    store: DatasetStore
    dataset: str
    names: Names
    ledger: _Ledger
    begins: bool
    now: float
    store_of_links: Path | None
    drops: list[Drop] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    waits: list[WaitingDrop] = field(default_factory=list)
    errors: list[InputError] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Check one drop, and record it in the ledger."""
        key = self.names.signature(path.name)
        try:
            stamps = file_stamps(path, self.store_of_links)
        except OSError as error:
            self.errors.append(
                InputError(
                    f"a drop of {self.dataset} cannot be read ({error.strerror})",
                    "Give this user permission to read it (chmod -R u+rX), "
                    "or move it out of the drop folder",
                )
            )
            return
        if not stamps:
            return
        signature = signature_of(self.names, stamps)
        entry = self.ledger.drops.get(key)
        if entry is None or entry.seen != signature or entry.seen_at > self.now:
            entry = self.ledger.drops[key] = _seen(entry, signature, self.now)
        if entry.accepted != signature and _has_arrived(path, entry, stamps, self.now):
            listing = _listing_path(self.store, self.dataset, key)
            write_atomically(listing, _hashed(self.names, stamps))
            entry.accepted, entry.accepted_at = signature, self.now
            entry.first_load = entry.first_load or self.begins
        if entry.accepted != signature:
            reason = _why_not_yet(path, entry, stamps, self.now)
            shown = self.names.drop(path.name)
            self.waits.append(WaitingDrop(shown, len(stamps), reason, entry.seen_at))
        if entry.accepted is None:
            return
        files = frozenset(stamps)
        if entry.accepted != signature:
            try:
                files = _unchanged(self.store, self.dataset, key, self.names, stamps)
            except InputError as error:
                self.errors.append(error)
                return
        accepted_at = entry.accepted_at or self.now
        self.drops.append(Drop(path.name, path, entry.first_load, accepted_at, files))
        self.accepted.append(f"{key} {entry.accepted}")


def _seen(entry: _Entry | None, signature: str, now: float) -> _Entry:
    fresh = {"seen": signature, "seen_at": now}
    return _Entry(seen=signature, seen_at=now) if entry is None else entry.model_copy(update=fresh)


def entries_of(root: Path) -> Iterator[Path]:
    """The drops of a dataset, by name. Hidden entries, those of a system and markers are none.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(root))
    except OSError as error:
        raise InputError(
            f"the drop folder {root} cannot be read ({error.strerror})", "Give this user permission"
        ) from None
    for name in names:
        if (
            not is_left_out(name)
            and name not in (MARKER, *MANIFEST_NAMES)
            and not name.endswith(f".{MARKER}")
        ):
            yield root / name


def _marker_of(path: Path) -> Path:
    return path / MARKER if path.is_dir() else path.with_name(f"{path.name}.{MARKER}")


def _has_arrived(path: Path, entry: _Entry, stamps: Mapping[str, Stamp], now: float) -> bool:
    if entry.accepted is None and _marker_of(path).exists():
        return True
    return not _seconds_of_unfinished(path, stamps, now) and _seconds_to_settle(entry, now) <= 0


def _seconds_to_settle(entry: _Entry, now: float) -> float:
    return settle_seconds() - (now - entry.seen_at)


def _seconds_of_unfinished(path: Path, stamps: Mapping[str, Stamp], now: float) -> float:
    """Seconds that a file named like an unfinished transfer still holds a drop back; 0 for none."""
    left = [
        PARTIAL_SECONDS - (now - stamp[1] / 1e9)
        for name, stamp in stamps.items()
        if _PARTIAL.search(name.rpartition("/")[2] or path.name)
    ]
    return max(0.0, *left) if left else 0.0


def _why_not_yet(path: Path, entry: _Entry, stamps: Mapping[str, Stamp], now: float) -> str:
    """Return why a drop does not count yet, in words."""
    state = f"no {MARKER}" if entry.accepted is None else "it changed after it had counted"
    unfinished = _seconds_of_unfinished(path, stamps, now)
    if unfinished:
        minutes = math.ceil(unfinished / 60)
        return f"{state}, a file is named as unfinished (waits up to {minutes} min for it)"
    return f"{state}, settles in {max(1, math.ceil(_seconds_to_settle(entry, now)))} s"


def _unchanged(
    store: DatasetStore, dataset: str, key: str, names: Names, stamps: Mapping[str, Stamp]
) -> frozenset[str]:
    """The files of a changing drop that are as they were accepted.

    Raises:
        InputError: a file that says how the others are to be read is among the changed ones.
    """
    try:
        accepted = unsealed_json(_listing_path(store, dataset, key).read_bytes())
    except (OSError, ValueError):
        accepted = {}
    same = frozenset(
        name for name, stamp in stamps.items() if accepted.get(names.signature(name)) == list(stamp)
    )
    removed = {
        name for name in MANIFEST_NAMES if names.signature(name) in accepted and name not in stamps
    }
    for name in (set(stamps) - same) | removed:
        file = Path(name)
        decides = not name or file.name in MANIFEST_NAMES or is_archive(file) or is_npz(file)
        if decides and names.signature(name) in accepted:
            raise InputError(
                f"a drop of {dataset} is being written anew "
                "(a manifest, an archive or a single file of it changed)",
                f"Run again when it has not changed for {settle_seconds():g} seconds",
            )
    return same


def _hashed(names: Names, stamps: Mapping[str, Stamp]) -> bytes:
    return sealed_json({names.signature(name): stamp for name, stamp in stamps.items()})


def _path(store: DatasetStore, dataset: str) -> Path:
    return store.folder(dataset, LEDGER) / "ledger.json"


def _listing_path(store: DatasetStore, dataset: str, key: str) -> Path:
    return store.folder(dataset, LEDGER) / f"{key}.listing.json"


def _read(store: DatasetStore, dataset: str) -> _Ledger:
    path = _path(store, dataset)
    try:
        return _Ledger.model_validate(unsealed_json(path.read_bytes()))
    except FileNotFoundError:
        return _Ledger()
    except OSError as error:
        raise ContractError(
            f"{path} cannot be read ({error.strerror})", "Look at the disk, and run again"
        ) from error
    except ValueError:
        raise ContractError(
            f"{path} is not a valid ledger of drops",
            "Delete it: every drop then counts again once it has settled",
        ) from None

"""Drops: what arrives below ``drops/<dataset>/``, and when it counts as arrived.

A drop is one entry there: a folder laid out like a dataset, an archive of one, or a single image.
It counts when a marker ``_READY`` lies in it (beside a single file: ``<file>._READY``), or when two
looks at least SETTLE_SECONDS apart found the same names, sizes and times. A drop that changes
afterwards counts as it was until it has settled again.

What was seen is kept in a ledger in the store, with keyed hashes in place of names.
"""

import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from data_contracts.errors import ContractError, InputError
from data_contracts.records.sealed import sealed_json, unsealed_json
from resources.intake.archives import is_archive
from resources.intake.npz_images import is_npz
from resources.intake.site_key import Names
from resources.intake.user_manifest import MANIFEST_NAMES
from resources.store.atomic_file import write_atomically
from resources.store.dataset_store import DatasetStore

MARKER = "_READY"
LEDGER = "drops"
SETTLE_SECONDS = 30.0
PARTIAL_SECONDS = 3600.0
"""A file with the name of an unfinished transfer holds its drop back until it has not changed for
so long."""

_PARTIAL = re.compile(
    r"\.(part|partial|tmp|temp|filepart|crdownload|download|upload)$|^\..+\.\w{6}$|~$",
    re.IGNORECASE,
)

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in ns."""


class _Entry(BaseModel):
    """What the ledger knows of one drop."""

    model_config = ConfigDict(extra="forbid")

    seen: str
    seen_at: float
    accepted: str | None = None
    accepted_at: float | None = None
    first_load: bool = False


class _Ledger(BaseModel):
    model_config = ConfigDict(extra="forbid")

    drops: dict[str, _Entry] = {}


@dataclass(frozen=True)
class Drop:
    """A drop that counts.

    Attributes:
        name: of the entry.
        path: where it lies.
        first_load: whether it is what a dataset without a folder of its own began with.
        accepted_at: seconds since 1970.
        files: names below it that count ("" for a single file).
    """

    name: str
    path: Path
    first_load: bool
    accepted_at: float
    files: frozenset[str]


@dataclass(frozen=True)
class DropStatus:
    """The drops of a dataset that count at one moment.

    Attributes:
        drops: those that count, by name.
        waiting: how many have not settled.
        signature: of all that counts, "" where nothing does.
    """

    drops: tuple[Drop, ...]
    waiting: int
    signature: str


def drops_root() -> Path:
    """``MEDFEAT_DROPS``, or ``drops`` in ``MEDFEAT_HOME``."""
    from resources.store.home import medfeat_home

    return Path(os.environ.get("MEDFEAT_DROPS") or medfeat_home() / "drops").expanduser().absolute()


def settle_seconds() -> float:
    """``MEDFEAT_DROP_SETTLE_SECONDS``, or SETTLE_SECONDS.

    Raises:
        InputError: it is not a number above 0.
    """
    text = os.environ.get("MEDFEAT_DROP_SETTLE_SECONDS") or str(SETTLE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InputError(
            f"MEDFEAT_DROP_SETTLE_SECONDS is {text!r}", "Set it to a number of seconds above 0"
        )
    return seconds


def file_stamps(path: Path) -> dict[str, Stamp]:
    """Every file below ``path`` with its stamp; of a file that one alone, under the name ""."""
    found: dict[str, Stamp] = {}
    if not path.is_dir() or path.is_symlink():
        with suppress(FileNotFoundError):  # went away while we looked, here and below
            found[""] = _stamp(path.lstat())
        return found
    folders = [""]
    while folders:
        folder = folders.pop()
        with suppress(FileNotFoundError), os.scandir(path / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif name != MARKER:
                    with suppress(FileNotFoundError):
                        found[name] = _stamp(entry.stat(follow_symlinks=False))
    return found


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_size, status.st_mtime_ns


def signature_of(names: Names, listing: Mapping[str, Stamp]) -> str:
    """Keyed hash of a listing."""
    return names.signature(
        "\n".join(f"{stamp[0]} {stamp[1]} {name}" for name, stamp in sorted(listing.items()))
    )


def check_drops(
    store: DatasetStore,
    dataset: str,
    names: Names,
    first_load: bool = False,
    now: float | None = None,
) -> DropStatus:
    """Look once, remember what was seen, and say what counts.

    Args:
        store: where the ledger lies.
        dataset: whose drops.
        names: how names are hashed.
        first_load: whether the dataset has nothing else, so that what is accepted first is its
            first load.
        now: seconds since 1970, for tests.

    Raises:
        InputError: the drop folder or a drop cannot be read, the folder is gone although drops have
            counted before, or what decides about a drop is being written anew.
        ContractError: the ledger is damaged.
    """
    now = time.time() if now is None else now
    root = drops_root() / dataset
    if not root.is_dir() and not _path(store, dataset).exists():
        return DropStatus((), 0, "")
    with store.lock(dataset, LEDGER):
        ledger = _read(store, dataset)
        before = ledger.model_dump_json()
        known = any(entry.accepted for entry in ledger.drops.values())
        if not root.is_dir():
            if known:
                raise InputError(
                    f"the drop folder {root} is gone, and drops in it have counted before",
                    "Mount the disk it is on, or make the folder again to take back all of its drops",
                )
            return DropStatus((), 0, "")
        begins = first_load and not known
        drops, accepted, waiting = [], [], 0
        # raised once everything seen is remembered, or a changed drop could never settle
        troubles: list[InputError] = []
        for path in _entries(root):
            key = names.signature(path.name)
            try:
                listing = file_stamps(path)
            except OSError as error:
                troubles.append(
                    InputError(
                        f"a drop of {dataset} cannot be read ({error.strerror})",
                        "Give this user permission to read it (chmod -R u+rX), or move it out of the drop folder",
                    )
                )
                continue
            if not listing:
                continue
            signature = signature_of(names, listing)
            entry = ledger.drops.get(key)
            if entry is None or entry.seen != signature or entry.seen_at > now:
                entry = ledger.drops[key] = _seen(entry, signature, now)
            if entry.accepted != signature and _has_arrived(path, entry, listing, now):
                write_atomically(_listing_path(store, dataset, key), _hashed(names, listing))
                entry.accepted, entry.accepted_at = signature, now
                entry.first_load = entry.first_load or begins
            if entry.accepted is None:
                waiting += 1
                continue
            files = frozenset(listing)
            if entry.accepted != signature:
                waiting += 1
                try:
                    files = _unchanged(store, dataset, key, names, listing)
                except InputError as error:
                    troubles.append(error)
                    continue
            drops.append(Drop(path.name, path, entry.first_load, entry.accepted_at or now, files))
            accepted.append(f"{key} {entry.accepted}")
        if ledger.model_dump_json() != before:
            write_atomically(_path(store, dataset), sealed_json(ledger.model_dump(mode="json")))
        if troubles:
            raise troubles[0]
    return DropStatus(
        tuple(drops), waiting, names.signature("\n".join(sorted(accepted))) if accepted else ""
    )


def _seen(entry: _Entry | None, signature: str, now: float) -> _Entry:
    fresh = {"seen": signature, "seen_at": now}
    return _Entry(seen=signature, seen_at=now) if entry is None else entry.model_copy(update=fresh)


def _entries(root: Path) -> Iterator[Path]:
    """The drops of a dataset, by name. Hidden entries and markers are none."""
    try:
        names = sorted(os.listdir(root))
    except OSError as error:
        raise InputError(
            f"the drop folder {root} cannot be read ({error.strerror})", "Give this user permission"
        ) from None
    for name in names:
        if (
            not name.startswith(".")
            and name not in (MARKER, *MANIFEST_NAMES)
            and not name.endswith(f".{MARKER}")
        ):
            yield root / name


def _has_arrived(path: Path, entry: _Entry, listing: Mapping[str, Stamp], now: float) -> bool:
    marker = path / MARKER if path.is_dir() else path.with_name(f"{path.name}.{MARKER}")
    if entry.accepted is None and marker.exists():
        return True
    unfinished = any(
        _PARTIAL.search(name.rpartition("/")[2] or path.name)
        and now - stamp[1] / 1e9 < PARTIAL_SECONDS
        for name, stamp in listing.items()
    )
    return not unfinished and now - entry.seen_at >= settle_seconds()


def _unchanged(
    store: DatasetStore, dataset: str, key: str, names: Names, listing: Mapping[str, Stamp]
) -> frozenset[str]:
    """The files of a changing drop that are as they were accepted.

    Raises:
        InputError: what says how the rest is to be read is among the changed ones.
    """
    try:
        accepted = unsealed_json(_listing_path(store, dataset, key).read_bytes())
    except (OSError, ValueError):
        accepted = {}
    same = frozenset(
        name
        for name, stamp in listing.items()
        if accepted.get(names.signature(name)) == list(stamp)
    )
    for name in (set(listing) - same) | {
        name for name in MANIFEST_NAMES if names.signature(name) in accepted and name not in listing
    }:
        decides = name in ("", *MANIFEST_NAMES) or is_archive(Path(name)) or is_npz(Path(name))
        if decides and names.signature(name) in accepted:
            raise InputError(
                f"a drop of {dataset} is being written anew (a manifest, an archive or a single file of it changed)",
                f"Run again when it has not changed for {settle_seconds():g} seconds",
            )
    return same


def _hashed(names: Names, listing: Mapping[str, Stamp]) -> bytes:
    return sealed_json({names.signature(name): stamp for name, stamp in listing.items()})


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

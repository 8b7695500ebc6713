"""Power fails: the possible states of a disk are simulated from what a store wrote to it.

The model is what POSIX promises and no more: the bytes of a file last if they were synced, and
otherwise each block of 4 KiB is old, zero or new; a name (a new file, a rename, a removal, a
folder) lasts if its folder was synced after it, and otherwise each change of a name may be lost on
its own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from faults import commits
from faults.harness import Fault, Outcome
from faults.os_layer import CHANGES, quick_folder, watched
from faults.study import home_in
from resources.store.home import prepare_home

BLOCK = 4096
"""Size of a block of the disk, in bytes."""
LOST = 0.5
"""Probability that an unsynced change of a name is lost."""


@dataclass
class Recorder:
    """The calls made below a folder, in order: (what, path, and its bytes or its second path)."""

    root: Path
    log: list[tuple[str, Path, Any]] = field(default_factory=list)

    def before(self, number: int, name: str, arguments: tuple[Any, ...]) -> None:
        self.was_there = (
            name in ("mkdir", "link") and Path(arguments[-1 if name == "link" else 0]).exists()
        )

    def after(self, number: int, name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("write", "posix_fallocate", "fsync"):
            path = Path(os.readlink(f"/proc/self/fd/{arguments[0]}"))
            if not path.is_relative_to(self.root):
                return
            if name != "fsync":
                self.log.append(("data", path, path.read_bytes()))
            else:
                self.log.append(
                    ("folder synced", path, None)
                    if path.is_dir()
                    else ("synced", path, path.read_bytes())
                )
        elif name == "sync":
            for path in (path for path in self.root.rglob("*") if path.is_file()):
                self.log.append(("synced", path, path.read_bytes()))
            for path in (path for path in [self.root, *self.root.rglob("*")] if path.is_dir()):
                self.log.append(("folder synced", path, None))
        elif name == "unlink":
            self.log.append((name, Path(arguments[0]), None))
        elif name in ("replace", "rename"):
            self.log.append(("rename", Path(arguments[0]), Path(arguments[1])))
        elif not self.was_there:
            self.log.append(
                (name, Path(arguments[0]), Path(arguments[1]) if name == "link" else None)
            )


@dataclass
class Inode:
    """The content of a file, under any name."""

    synced: bytes = b""
    now: bytes = b""


def torn(inode: Inode, rng: np.random.Generator) -> bytes:
    """Return the bytes that may remain of a file after its last sync."""
    if inode.synced == inode.now:
        return inode.now
    n_bytes = int(rng.choice([len(inode.synced), len(inode.now)]))
    content = bytearray(n_bytes)
    for start in range(0, n_bytes, BLOCK):
        source = (inode.synced, inode.now, b"")[rng.integers(3)][
            start : min(start + BLOCK, n_bytes)
        ]
        content[start : start + len(source)] = source
    return bytes(content)


Change = tuple[str, Path, Inode | None, Path | None]
"""A change of a name: what, the name, the file that it names, and its earlier name."""


def _name_changes(log: Sequence[tuple[str, Path, Any]]) -> tuple[list[Change], dict[Path, int]]:
    """Return all changes of names, and how many of them each folder's last sync covers."""
    names: dict[Path, Inode] = {}  # as the running system saw them
    changes: list[Change] = []
    synced_up_to: dict[Path, int] = {}
    for what, path, more in log:
        if what in ("data", "synced"):
            if path not in names:
                names[path] = Inode()
                changes.append(("create", path, names[path], None))
            names[path].now = more
            if what == "synced":
                names[path].synced = more
        elif what == "folder synced":
            synced_up_to[path] = len(changes)
        elif what == "rename":
            below = {
                name: inode for name, inode in names.items() if name == path or path in name.parents
            }
            for name in below:
                names[more / name.relative_to(path)] = names.pop(name)
            changes.append(("rename", more, below.get(path), path))
        elif what == "link":
            names[more] = names[path]
            changes.append(("create", more, names[path], None))
        elif what == "unlink":
            changes.append(("unlink", path, names.pop(path, None), None))
        elif what == "mkdir":
            changes.append(("mkdir", path, None, None))
    return changes, synced_up_to


def state(
    log: Sequence[tuple[str, Path, Any]], rng: np.random.Generator
) -> tuple[dict[Path, bytes], set[Path]]:
    """Return files and folders of a disk that lost its power after ``log``."""
    changes, synced_up_to = _name_changes(log)
    files: dict[Path, Inode] = {}
    folders: set[Path] = set()
    for number, (what, path, inode, source) in enumerate(changes):
        if number >= synced_up_to.get(path.parent, 0) and rng.random() < LOST:
            continue
        if what == "mkdir":
            folders.add(path)
        elif what == "unlink":
            files.pop(path, None)
        elif what == "create" and inode is not None:
            files[path] = inode
        elif inode is not None and source is not None:
            files.pop(source, None)
            files[path] = inode
        elif source is not None:  # a folder
            for name in [name for name in files if source in name.parents]:
                files[path / name.relative_to(source)] = files.pop(name)
            for name in [name for name in folders if name == source or source in name.parents]:
                folders.remove(name)
                folders.add(path / name.relative_to(source))
    return {_of_a_dead_process(name): torn(inode, rng) for name, inode in files.items()}, {
        *map(_of_a_dead_process, folders)
    }


def _of_a_dead_process(path: Path) -> Path:
    """Replace the number of this living process in the names of unfinished files."""
    return Path(str(path).replace(f".{os.getpid()}.", f".{2**30}."))


def _reachable(path: Path, folders: set[Path], root: Path) -> bool:
    return all(
        folder == root or folder in folders
        for folder in path.parents
        if folder.is_relative_to(root)
    )


def inject(seeds: Sequence[int], folder: Path) -> Iterator[Outcome]:
    with quick_folder(folder) as quick:
        archive = commits.put_archive(quick)
        root = quick / "site"
        with home_in(root) as store:
            shutil.rmtree(store.root)
            recorder = Recorder(root)
            with watched(CHANGES, recorder.before, recorder.after):
                prepare_home()
                commits.commit(
                    store, archive, [], lambda: recorder.log.append(("acknowledged", root, None))
                )
            whole = commits.digest(store)
            for seed in seeds:
                rng = np.random.default_rng(seed)
                log = recorder.log[: rng.integers(len(recorder.log) + 1)]
                files, folders = state(log, rng)
                shutil.rmtree(root)
                for path in sorted(
                    {root, *(path for path in folders if _reachable(path, folders, root))}
                ):
                    path.mkdir(parents=True, exist_ok=True)
                for path, content in files.items():
                    if path.parent.is_dir():
                        path.write_bytes(content)
                prepare_home()
                shards = sum(what == "acknowledged" for what, _, _ in log)
                wrong = commits.finished(store, archive, whole, shards)
                yield Outcome(seed, not wrong, wrong)


FAULT = Fault(
    number=3,
    name=(
        "power fails: any state of the disk that POSIX allows, unsynced writes and names lost or "
        "torn"
    ),
    goal="nothing damaged, no acknowledged row lost, same digest",
    full=2000,
    sample=200,
    inject=inject,
)

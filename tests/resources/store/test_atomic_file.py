from __future__ import annotations

import errno
import hashlib
import os
import time
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from resources.host import Host, this_host
from resources.store.atomic_file import (
    FOREIGN_SECONDS,
    file_sha256,
    remove_unfinished,
    temporary_name,
    write_atomically,
)


def test_what_is_written_is_what_is_said(tmp_path: Path) -> None:
    stored = write_atomically(tmp_path / "new" / "a.bin", b"hello")
    assert (tmp_path / "new" / "a.bin").read_bytes() == b"hello"
    assert (stored.name, stored.bytes, stored.sha256) == (
        "a.bin",
        5,
        hashlib.sha256(b"hello").hexdigest(),
    )
    assert file_sha256(tmp_path / "new" / "a.bin") == stored.sha256


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a.bin"
    write_atomically(path, b"old")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(InputError, match=r"disk is full: .*a\.bin needs 3 bytes.*Free space"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_short_writes_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:2]))
    stored = write_atomically(tmp_path / "a", b"abcd", b"efg")
    assert (tmp_path / "a").read_bytes() == b"abcdefg"
    assert (stored.bytes, stored.sha256) == (7, file_sha256(tmp_path / "a"))


def test_a_folder_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*Make the folder writable"):
        write_atomically(tmp_path / "f" / "a", b"x")


def test_what_another_host_writes_is_left_for_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = this_host()
    others = [Host("other", here.boot), Host(here.name, f"{here.boot}1"), Host(here.name, "x y")]
    assert len({one.token for one in (here, *others)}) == 4
    new, old = [], []
    for other in others:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr("resources.store.atomic_file.this_host", lambda other=other: other)
            new.append(temporary_name(tmp_path / "a"))
            old.append(temporary_name(tmp_path / "a"))
    # of an earlier version, which wrote no host
    new.append(tmp_path / f".a.{2**30}.01234567.tmp")
    old.append(tmp_path / f".a.{2**30}.89abcdef.tmp")
    for path in (*new, *old):
        path.touch()
    for path in old:
        os.utime(path, (time.time() - FOREIGN_SECONDS - 60,) * 2)
    remove_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(new)

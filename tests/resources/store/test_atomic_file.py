from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from resources.store.atomic_file import file_sha256, write_atomically


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

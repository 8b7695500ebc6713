"""Files that are replaced between a look and the open."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resources.intake import confined_open
from resources.intake.confined_open import LEAVES, NOT_REGULAR, ConfinedOpener, RefusedFileError


@contextmanager
def in_time(*pipes: Path) -> Iterator[None]:
    """Fail what waits for ever, also in a thread that waits for one of these pipes."""

    def late(*_: object) -> None:
        for pipe in pipes:
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(5)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(params=["/proc/self/fd", "/nowhere"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, on a system that says where an open file lies, and on one that does not."""
    if request.param.startswith("/proc") and sys.platform != "linux":
        pytest.skip("there is no /proc")
    monkeypatch.setattr(confined_open, "_OPEN_FILES", Path(request.param))
    (tmp_path / "root" / "A").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    for folder in ("root/A", "outside"):
        (tmp_path / folder / "1.png").write_text(folder)
    return tmp_path / "root"


def read(root: Path, path: str) -> str:
    with in_time(), open(root / path, opener=ConfinedOpener(root)) as stream:
        return stream.read()


def test_what_lies_in_the_folder_is_opened(root: Path) -> None:
    (root / "link").symlink_to("A/1.png")
    (root / "folder").symlink_to("A")
    assert {read(root, path) for path in ("A/1.png", "link", "folder/1.png")} == {"root/A"}


def test_what_lies_elsewhere_is_not(root: Path) -> None:
    (root / "link").symlink_to("../outside/1.png")
    (root / "folder").symlink_to("../outside")
    (root.parent / "root2").mkdir()
    (root.parent / "root2" / "1.png").touch()
    before = len(os.listdir("/dev/fd"))
    for path in (
        "link",
        "folder/1.png",
        "../outside/1.png",
        "../root2/1.png",
        str(root.parent / "outside" / "1.png"),
    ):
        with pytest.raises(RefusedFileError, match=re.escape(LEAVES)):
            read(root, path)
    assert len(os.listdir("/dev/fd")) == before


def test_nor_is_a_folder_that_a_link_took_the_place_of(root: Path) -> None:
    (root / "A").rename(root / "B")
    (root / "A").symlink_to(root.parent / "outside")
    with pytest.raises(RefusedFileError, match=re.escape(LEAVES)):
        read(root / "A", "1.png")


def test_pipes_and_devices_are_neither_read_nor_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "null").symlink_to("/dev/null")
    for path in ("pipe", "null"):
        with pytest.raises(RefusedFileError, match=NOT_REGULAR):
            read(root, path)


def test_what_is_not_there_is_the_systems_error(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(root, "gone")

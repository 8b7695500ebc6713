"""Which processes a host can examine, and what it is called."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources import host as host_module
from resources.host import Host, Place, this_host

HERE = Host("ward/12345678", "boot-1 pid:[1]")


@pytest.fixture
def fresh() -> Iterator[None]:
    """Let the host be looked up anew, and once more afterwards."""
    this_host.cache_clear()
    yield
    this_host.cache_clear()


@pytest.mark.parametrize(
    ("other", "place"),
    [
        (HERE, "here"),
        (Host(HERE.name, "boot-0 pid:[1]"), "earlier boot"),
        (Host(HERE.name, "boot-1 pid:[2]"), "elsewhere"),
        (Host("desk/12345678", "boot-1 pid:[1]"), "elsewhere"),
        (Host("desk/12345678", "boot-0 pid:[1]"), "elsewhere"),
    ],
)
def test_the_place_of_a_process(other: Host, place: Place) -> None:
    assert HERE.place_of(other) == place


@pytest.mark.usefixtures("fresh")
def test_the_machine_id_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in (("MACHINE_ID", "0123456789abcdef\n"), ("BOOT_ID", "boot-1\n")):
        file = tmp_path / name
        file.write_text(content)
        monkeypatch.setattr(host_module, name, file)
    (tmp_path / "pid").symlink_to("pid:[7]")
    monkeypatch.setattr(host_module, "PID_NAMESPACE", tmp_path / "pid")
    found = this_host()
    node, _, digest = found.name.partition("/")
    assert (node, len(digest), found.boot) == (platform.node(), 8, "boot-1 pid:[7]")
    assert digest not in "0123456789abcdef"


@pytest.mark.usefixtures("fresh")
def test_a_system_that_says_nothing_has_its_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MACHINE_ID", "BOOT_ID", "PID_NAMESPACE"):
        monkeypatch.setattr(host_module, name, tmp_path / "none")
    assert this_host() == Host(platform.node(), "")

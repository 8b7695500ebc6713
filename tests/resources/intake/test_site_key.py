"""The site key, and what names are written as with it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from resources.intake.site_key import FINGERPRINT, Names, names_of
from resources.store.home import site_key_path

KEY = "0123456789abcdef" * 4


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key will lie, in a folder that is not there yet."""
    path = tmp_path / "config" / "medfeat" / "site.key"
    monkeypatch.setenv("MEDFEAT_SITE_KEY", str(path))
    return path


def names(dataset: str = "a", show: bool = False, key: str = KEY) -> Names:
    return Names(dataset, show, bytes.fromhex(key))


def test_the_key_is_made_once_for_its_owner_alone_and_outside_the_store(
    key: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    first = names_of(home, "a", False)
    made = key.read_bytes()
    assert re.fullmatch(rb"[0-9a-f]{64}\n", made)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert names_of(home, "a", False) == first
    assert key.read_bytes() == made
    assert os.listdir(key.parent) == ["site.key"]
    assert [path.name for path in home.iterdir()] == [FINGERPRINT]
    assert made.strip() not in (home / FINGERPRINT).read_bytes()


def test_two_sites_have_different_keys(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = names_of(tmp_path / "one", "a", False).group("P1")
    monkeypatch.setenv("MEDFEAT_SITE_KEY", str(tmp_path / "other.key"))
    assert names_of(tmp_path / "two", "a", False).group("P1") != first


def test_several_homes_may_share_a_key(key: Path, tmp_path: Path) -> None:
    groups = {names_of(tmp_path / home, "a", False).group("P1") for home in ("one", "two", "one")}
    assert len(groups) == 1
    assert (tmp_path / "one" / FINGERPRINT).read_bytes() == (
        tmp_path / "two" / FINGERPRINT
    ).read_bytes()


def test_processes_that_begin_together_make_one_key(key: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; import sys; from resources.intake.site_key import names_of; "
        "sys.stdin.read()\n"
    )
    code += "print(names_of(Path(sys.argv[1]), 'a', False).group('P1'))"
    command = [sys.executable, "-c", code, str(tmp_path / "home")]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    groups = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert groups == {names_of(tmp_path / "home", "a", False).group("P1") + "\n"}
    assert os.listdir(key.parent) == ["site.key"]


def test_a_process_that_finds_a_key_made_meanwhile_takes_that_one(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def beaten(source: Path, target: Path) -> None:
        key.write_text(KEY + "\n")
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)
    assert names_of(tmp_path / "home", "a", False) == names()
    assert os.listdir(key.parent) == ["site.key"]


def test_a_lost_key_is_never_replaced_by_a_new_one(key: Path, tmp_path: Path) -> None:
    first = names_of(tmp_path / "home", "a", False)
    key.rename(tmp_path / "backup")
    with pytest.raises(InputError, match=r"site\.key is gone.*Put it back from your backup"):
        names_of(tmp_path / "home", "a", False)
    assert not key.exists()
    (tmp_path / "backup").rename(key)
    assert names_of(tmp_path / "home", "a", False) == first


def test_another_key_is_refused(key: Path, tmp_path: Path) -> None:
    names_of(tmp_path / "home", "a", False)
    mark = (tmp_path / "home" / FINGERPRINT).read_bytes()
    key.write_text(KEY)
    with pytest.raises(
        InputError, match=r"is not the one that .*home was made with.*Put the former key back"
    ):
        names_of(tmp_path / "home", "a", False)
    assert (tmp_path / "home" / FINGERPRINT).read_bytes() == mark


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"zz" * 32, b"ab" * 15, b"\xff\xfe" * 32, b"abc" * 11]
)
def test_a_file_that_is_no_key_is_refused_and_left_alone(
    content: bytes, key: Path, tmp_path: Path
) -> None:
    key.parent.mkdir(parents=True)
    key.write_bytes(content)
    with pytest.raises(InputError, match="does not hold at least 32 hexadecimal digits") as error:
        names_of(tmp_path / "home", "a", False)
    assert "\n" not in str(error.value)
    assert key.read_bytes() == content
    assert not (tmp_path / "home" / FINGERPRINT).exists()


def test_a_key_written_by_hand_is_taken(key: Path, tmp_path: Path) -> None:
    key.parent.mkdir(parents=True)
    key.write_text(f"  {KEY.upper()}\r\n")
    assert names_of(tmp_path / "home", "a", False) == names()


@pytest.mark.parametrize("obstacle", ["folder", "parent", "dangling"])
def test_a_key_that_cannot_be_read_or_made_says_what_to_do(
    obstacle: str, key: Path, tmp_path: Path
) -> None:
    if obstacle == "folder":
        key.mkdir(parents=True)
    elif obstacle == "parent":
        key.parent.parent.mkdir()
        key.parent.write_text("a file")
    else:
        key.parent.mkdir(parents=True)
        key.symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"cannot be read or made \(.+\).*set MEDFEAT_SITE_KEY"):
        names_of(tmp_path / "home", "a", False)


def test_without_the_variable_the_key_lies_in_the_users_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/a/home")
    for value in (None, ""):
        monkeypatch.delenv(
            "MEDFEAT_SITE_KEY", raising=False
        ) if value is None else monkeypatch.setenv("MEDFEAT_SITE_KEY", value)
        assert site_key_path() == Path("/a/home/.config/medfeat/site.key")
    monkeypatch.setenv("MEDFEAT_SITE_KEY", "~/x.key")
    assert site_key_path() == Path("/a/home/x.key")


# ---- pseudonyms


def test_pseudonyms_stay_the_same_from_version_to_version() -> None:
    """What is stored must be found again: these must never change."""
    assert names().group("P1") == "6ffbae534234ad72"
    assert names().path("A/Doe.PNG") == "baa636e5b4e9d0b1.png"


def test_pseudonyms_differ_between_values_kinds_datasets_and_keys() -> None:
    one = names()
    said = [
        *(
            made.group(value)
            for made in (one, names("b"), names(key="ff" * 32))
            for value in ("P1", "P2")
        ),
        *(one.path("P1"), one.drop("P1"), one.signature("P1")),
    ]
    assert len(set(said)) == len(said) == 9
    assert all(re.fullmatch("[0-9a-f]{16}", name) for name in said)
    assert [
        names().group("P1"),
        names().path("P1"),
        names().drop("P1"),
        names().signature("P1"),
    ] == [said[0], *said[-3:]]


@pytest.mark.parametrize(
    ("path", "suffix"),
    [
        ("Doe^John/1.PNG", ".png"),
        ("scan.dcm", ".dcm"),
        ("x.tar.gz", ".gz"),
        ("1.doe", ""),
        ("IMG.19510203", ""),
        ("no suffix", ""),
        (".png", ""),
    ],
)
def test_only_a_common_suffix_survives_in_a_path(path: str, suffix: str) -> None:
    assert re.fullmatch(rf"[0-9a-f]{{16}}{re.escape(suffix)}", names().path(path))


def test_shown_names_are_paths_and_drops_and_never_groups() -> None:
    shown = names(show=True)
    assert shown.path("Doe/1.png") == "Doe/1.png"
    assert shown.drop("monday") == "monday"
    assert shown.group("Doe") == names().group("Doe")
    assert shown.signature("Doe") == names().signature("Doe")


def test_names_that_are_not_utf8_have_pseudonyms_of_their_own() -> None:
    odd = [
        os.fsdecode(name)
        for name in (b"caf\xe9.png", b"caf\xe8.png", b"caf\xc3\xa9.png", b"x.\xe9")
    ]
    made = (
        {names().path(name) for name in odd}
        | {names().group(name) for name in odd}
        | {names().drop(name) for name in odd}
    )
    assert len(made) == 12
    assert all(name.isascii() for name in made)


def test_the_key_is_not_in_the_repr() -> None:
    assert repr(names()) == "Names(dataset='a', show=False)"

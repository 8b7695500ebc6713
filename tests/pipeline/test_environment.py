"""Environment variables: each rule, and names that are like one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data_contracts.errors import InputError
from pipeline.environment import (
    KEEP_RUNS_DAYS,
    NIGHTLY,
    TIME_ZONE,
    VARIABLES,
    check_environment,
    faults,
    set_variables,
    value_of,
)

ROOT = Path(__file__).parents[2]


def fault(name: str, value: str) -> str:
    """The one error of a variable, or ""."""
    found = [str(error) for error in faults({name: value})]
    assert len(found) <= 1
    assert all("\n" not in error for error in found)
    return found[0] if found else ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MEDFEAT_TIME_ZONE", "Europe/Berlin"),
        ("MEDFEAT_TIME_ZONE", "UTC"),
        ("MEDFEAT_NIGHTLY", "30 2 * * 1-5"),
        ("MEDFEAT_NIGHTLY", "@daily"),
        ("MEDFEAT_KEEP_RUNS_DAYS", "0"),
        ("MEDFEAT_KEEP_RUNS_DAYS", "365"),
        ("MEDFEAT_DROP_SETTLE_SECONDS", "0.5"),
        ("MEDFEAT_UI_ANY_NAME", "1"),
        ("MEDFEAT_TIME_ZONE", ""),
        ("MEDFEAT_UNLIKE_ANYTHING", "1"),
        ("PATH", "x"),
    ],
)
def test_what_obeys_is_taken(name: str, value: str) -> None:
    assert fault(name, value) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("MEDFEAT_TIME_ZONE", value)
            for value in ("Mars/Olympus", "3am", "-5", "../zone", "/etc/hosts", "America", "UTC+2")
        ),
        *(
            ("MEDFEAT_NIGHTLY", value)
            for value in ("3am", "0 3 * *", "0 3 * * * *", "99 3 * * *", "0 3 31 2 *", "-5", " ")
        ),
        *(
            ("MEDFEAT_KEEP_RUNS_DAYS", value)
            for value in ("-5", "1e999", "ninety", "9.5", "100000", " 90", "\u0663")
        ),
        *(
            ("MEDFEAT_DROP_SETTLE_SECONDS", value)
            for value in ("0", "-5", "1e999", "nan", "inf", "3am", "30 s")
        ),
        *(("MEDFEAT_UI_ANY_NAME", value) for value in ("yes", "2", "true", "-1")),
    ],
)
def test_what_breaks_a_rule_is_named_with_the_rule_and_an_example(name: str, value: str) -> None:
    variable = next(variable for variable in VARIABLES if variable.name == name)
    error = fault(name, value)
    assert error.startswith(f"{name} is {value!r}: ")
    assert variable.rule in error
    assert f"for example {variable.example}" in error


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_every_example_that_is_no_path_obeys_its_own_rule(variable: object) -> None:
    example = variable.example.strip('"')  # type: ignore[attr-defined]
    if not example.startswith("/"):
        assert fault(variable.name, example) == ""  # type: ignore[attr-defined]


class TestPlaces:
    FOLDERS = ("MEDFEAT_HOME", "DAGSTER_HOME", "MEDFEAT_DROPS", "MEDFEAT_WEIGHTS_DIR")

    @pytest.mark.parametrize("name", [*FOLDERS, "MEDFEAT_REAL_DATA"])
    def test_a_folder_may_be_no_file_nor_lie_in_one(self, name: str, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_bytes(b"")
        assert f"{file} is a file" in fault(name, str(file))
        assert fault(name, str(file / "below")) != ""
        assert fault(name, str(tmp_path)) == ""

    @pytest.mark.parametrize("name", ["MEDFEAT_HOME", "DAGSTER_HOME", "MEDFEAT_DROPS"])
    def test_some_can_be_made_later(self, name: str, tmp_path: Path) -> None:
        assert fault(name, str(tmp_path / "a" / "b")) == ""

    def test_weights_must_be_there(self, tmp_path: Path) -> None:
        assert "there is no such folder" in fault("MEDFEAT_WEIGHTS_DIR", str(tmp_path / "wieghts"))

    def test_a_key_is_no_folder(self, tmp_path: Path) -> None:
        assert "it is a folder" in fault("MEDFEAT_SITE_KEY", str(tmp_path))
        assert fault("MEDFEAT_SITE_KEY", str(tmp_path / "new" / "site.key")) == ""
        (tmp_path / "site.key").write_bytes(b"")
        assert fault("MEDFEAT_SITE_KEY", str(tmp_path / "site.key")) == ""
        assert fault("MEDFEAT_SITE_KEY", str(tmp_path / "site.key" / "x")) != ""

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
    @pytest.mark.parametrize("name", FOLDERS)
    def test_permissions_are_looked_at(self, name: str, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0)
        assert "this user may not" in fault(name, str(closed))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("MEDFEAT_TIMEZONE", "MEDFEAT_TIME_ZONE"),
        ("MEDFEAT_NIGTHLY", "MEDFEAT_NIGHTLY"),
        ("MEDFEAT_DROP", "MEDFEAT_DROPS"),
        ("MEDFEAT_SITEKEY", "MEDFEAT_SITE_KEY"),
        ("MEDFEAT_WEIGHT_DIR", "MEDFEAT_WEIGHTS_DIR"),
        ("MEDFEAT_KEEP_RUN_DAYS", "MEDFEAT_KEEP_RUNS_DAYS"),
        ("medfeat_home", "MEDFEAT_HOME"),
        ("MEDFEATHOME", "MEDFEAT_HOME"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_name_that_was_meant(typed: str, meant: str) -> None:
    error = fault(typed, "x")
    assert error.startswith(f"{typed} is no variable of medfeat")
    assert f"Did you mean {meant}?" in error


def test_a_value_is_taken_from_the_environment_or_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in (NIGHTLY, TIME_ZONE, KEEP_RUNS_DAYS):
        monkeypatch.delenv(variable.name, raising=False)
    assert [value_of(variable) for variable in (NIGHTLY, TIME_ZONE, KEEP_RUNS_DAYS)] == [
        "0 3 * * *",
        "UTC",
        "90",
    ]
    monkeypatch.setenv("MEDFEAT_TIME_ZONE", "Europe/Berlin")
    assert value_of(TIME_ZONE) == "Europe/Berlin"
    assert "MEDFEAT_TIME_ZONE" in set_variables()
    monkeypatch.setenv("MEDFEAT_TIME_ZONE", "Mars/Olympus")
    with pytest.raises(InputError, match="MEDFEAT_TIME_ZONE is 'Mars/Olympus'"):
        value_of(TIME_ZONE)
    with pytest.raises(InputError, match="MEDFEAT_TIME_ZONE"):
        check_environment()


def test_every_variable_that_the_code_reads_is_in_the_registry() -> None:
    folders = ("data_contracts", "methods", "resources", "assets", "pipeline", "docs/systemd")
    named = {
        name
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".env", ".service")
        for name in re.findall(r"\bMEDFEAT_[A-Z_]*[A-Z]\b", path.read_text())
    }
    assert named <= {variable.name for variable in VARIABLES}


@pytest.mark.parametrize("command", [["results", "x"], ["doctor"], ["run", "x"]])
def test_a_command_ends_with_one_line_and_exit_code_2(
    command: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDFEAT_TIME_ZONE", "Mars/Olympus")
    call = [sys.executable, "-c", "from pipeline.cli import main; main()", *command]
    result = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: MEDFEAT_TIME_ZONE is 'Mars/Olympus'")

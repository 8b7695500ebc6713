"""What the start of every command leaves of what killed ones began."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from resources.store.atomic_file import temporary_name
from resources.store.home import STORAGE_MODULE, prepare_home
from tests.conftest import use_home


@pytest.fixture
def gone() -> int:
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_what_a_killed_process_left_beside_the_store_goes_and_nothing_else(
    tmp_path: Path, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_home(monkeypatch, tmp_path)
    spec, key = tmp_path / "home" / "datasets" / "d.json", tmp_path / "site.key"
    living = [temporary_name(path) for path in (spec, key)]
    left = [path.with_name(path.name.replace(f".{os.getpid()}.", f".{gone}.")) for path in living]
    of_others = left[1].with_name(left[1].name.replace("site.key", "other"))
    for path in (*left, *living, of_others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    prepare_home()
    assert [path for path in (*left, *living, of_others) if path.exists()] == [*living, of_others]


@pytest.mark.parametrize("former", ["resources.run_record", "resources.dagster_storage"])
def test_dagsters_settings_of_an_older_home_name_the_present_storage_and_stay_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, former: str
) -> None:
    use_home(monkeypatch, tmp_path)
    settings = prepare_home() / "dagster" / "dagster.yaml"
    own = settings.read_text().replace("max_concurrent_runs: 2", "max_concurrent_runs: 7")
    assert f"module: {STORAGE_MODULE}, class" in own
    settings.write_text(own.replace(STORAGE_MODULE, former))
    prepare_home()
    assert settings.read_text() == own
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("dataset", ["one"])
        assert type(instance.event_log_storage).__name__ == "OpenEventLog"

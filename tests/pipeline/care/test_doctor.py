"""What the doctor finds, each trouble made and then looked at."""

from __future__ import annotations

import errno
import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_contracts.errors import InputError
from data_contracts.records.dataset import DatasetSpec
from pipeline.care import doctor
from pipeline.care.disk_need import bytes_needed
from pipeline.care.store_health import damaged_files
from pipeline.commands.status import dataset_states, status_json, status_text
from pipeline.instance import home_instance
from resources.intake.drops import MARKER
from resources.intake.outcomes import StoredOutcomes
from resources.intake.site_key import names_of
from resources.run_owner import STARTED_HERE
from resources.store import home as home_module
from resources.store.dataset_store import DatasetStore
from resources.store.home import site_key_path

PER_IMAGE = 227 * 227 * 3 + 256 * 36 * 4 + 2 * 4096 * 9 * 2


def found(state: str, words: str) -> bool:
    return any(
        finding.state == state and words in finding.text for finding in doctor.examine(fix=False)
    )


@pytest.fixture
def registered(home: Path, make_images: Any) -> Path:
    root: Path = make_images(classes=2, each=5)
    DatasetStore().save_spec(DatasetSpec(name="mine", root=root))
    return root


def test_a_dataset_whose_folder_is_gone(registered: Path) -> None:
    assert found("ok", f"dataset mine: {registered}")
    shutil.rmtree(registered)
    assert found("problem", "does not exist")


def test_disk_that_will_not_do(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bytes_needed(DatasetStore(), "mine") == 10 * PER_IMAGE
    for free, state in (
        (10**12, "ok"),
        (10 * PER_IMAGE + 1, "warning"),
        (10 * PER_IMAGE - 1, "problem"),
    ):
        monkeypatch.setattr(doctor, "free_bytes", lambda _, free=free: free)
        assert found(state, "free; features still to be computed")


def test_a_store_on_a_network_disk(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not found("problem", "network file system")
    monkeypatch.setattr(home_module, "NETWORK_FILE_SYSTEMS", ("",))
    assert found("problem", "the store lies on a network file system")


def test_a_damaged_database(home: Path) -> None:
    assert found("ok", "databases are intact")
    (home / "dagster" / "history" / "runs.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    told = [finding.text for finding in doctor.examine(fix=True) if finding.state == "problem"]
    assert any("runs.db is damaged" in text for text in told), (
        "the doctor goes on where Dagster cannot"
    )
    with (
        pytest.raises(InputError, match=r"Dagster's databases in .* cannot be used"),
        home_instance() as instance,
    ):
        instance.get_runs()


def test_a_disk_that_is_full_where_dagster_writes(home: Path) -> None:
    with (
        pytest.raises(InputError, match=r"the disk is full: /logs needs a few bytes"),
        home_instance(),
    ):
        raise OSError(errno.ENOSPC, "No space left on device", "/logs")
    with pytest.raises(FileNotFoundError), home_instance():
        raise FileNotFoundError(errno.ENOENT, "not a matter of the disk", "/logs")


def test_runs_whose_process_is_gone_are_released_before_anything_else(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with home_instance() as instance:
        run = instance.add_run(
            dg.DagsterRun(
                job_name="ahn2019",
                status=dg.DagsterRunStatus.STARTED,
                tags={STARTED_HERE: str(2**30)},
            )
        )
        assert run.run_id[:8] in next(doctor.examine(fix=True)).text


def test_an_output_that_is_just_being_written_is_not_damaged(home: Path) -> None:
    store = DatasetStore()
    output = store.folder("mine", "report_ahn2019")
    with store.lock("mine", "report_ahn2019"):
        (output / "current.json").write_bytes(b"half")
        assert list(damaged_files(store)) == []
    assert [damage.path.name for damage in damaged_files(store)] == ["current.json"]


def test_what_decoding_found_is_looked_at_too(registered: Path) -> None:
    store = DatasetStore()
    folder = store.folder("mine", "image_manifest")
    folder.mkdir(parents=True)
    outcomes = StoredOutcomes(folder, "1")
    outcomes.learn("a" * 64, "the file is truncated")
    outcomes.save()
    (path,) = folder.iterdir()
    assert list(damaged_files(store)) == []
    whole = path.read_bytes()
    for position in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        assert [damage.path for damage in damaged_files(store)] == [path]


def test_settings_that_a_full_disk_left_empty_are_written_again(home: Path) -> None:
    settings = home / "dagster" / "dagster.yaml"
    settings.write_text("")
    home_module.prepare_home()
    assert settings.read_text() == home_module.DAGSTER_YAML
    settings.write_text("telemetry: {enabled: true}")
    home_module.prepare_home()
    assert settings.read_text() == "telemetry: {enabled: true}", "they are the user's"


def test_a_site_key_that_others_may_read_and_one_that_is_gone(registered: Path) -> None:
    names_of(registered.parent / "home", "mine", show=False)
    assert found("ok", "keep a backup")
    site_key_path().chmod(0o644)
    assert found("warning", "can be read by other users")
    site_key_path().unlink()
    assert found("problem", "is gone")


def test_no_daemon(home: Path) -> None:
    assert found("warning", "daemon is not running")


def ended(
    dataset: str, status: dg.DagsterRunStatus, job: str = "ahn2019", days_ago: float = 0
) -> str:
    """Record a run of a dataset that ended so, and return its id."""
    began = datetime.now(UTC) - timedelta(days=days_ago)
    tags = {"dagster/partition": dataset}
    with home_instance() as instance:
        run = dg.DagsterRun(job_name=job, status=status, tags=tags)
        return instance.run_storage.add_historical_run(run, began).run_id


FAILED, WELL = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


def test_a_last_run_that_failed_is_a_problem_until_a_later_one_ends_well(
    registered: Path,
) -> None:
    run_id = ended("mine", FAILED, days_ago=1)
    assert found("problem", f"dataset mine: last run {run_id[:8]} (ahn2019) failed")
    later = ended("mine", WELL)
    assert found("ok", f"dataset mine: last run {later[:8]} (ahn2019) ended well")
    assert found("warning", f"run {run_id[:8]} (ahn2019) failed")
    assert found("warning", "a later one ended well")
    assert not found("problem", "failed 20")


def test_failures_are_looked_for_as_many_days_back_as_asked(home: Path) -> None:
    run_id = ended("gone", FAILED, days_ago=8)
    texts = [finding.text for finding in doctor.examine(fix=False, days=7)]
    assert "no run failed in the last 7 days" in texts
    texts = [finding.text for finding in doctor.examine(fix=False, days=9)]
    assert any(run_id[:8] in text for text in texts)


def test_what_waits_and_what_no_run_has_read(registered: Path, home: Path) -> None:
    drop = home / "drops" / "mine" / "monday"
    drop.mkdir(parents=True)
    (drop / "1.png").write_bytes(b"x")
    assert found("ok", "1 file, no _READY, settles in ")
    (drop / MARKER).touch()
    ended("mine", FAILED)
    assert found("problem", "dataset mine: 1 of 1 drops are in no run that ended well")
    ended("mine", WELL)
    assert not found("problem", "in no run that ended well")


def test_a_dataset_that_a_mistyped_drop_folder_made(registered: Path, home: Path) -> None:
    store = DatasetStore()
    for name in ("mime", "ward"):
        (home / "drops" / name).mkdir(parents=True)
        root = home / "drops" / name
        store.save_spec(DatasetSpec(name=name, root=root, unlabelled=True))
    made = "was made by a drop folder whose name is nearly mine"
    assert found("problem", f"dataset mime {made}")
    assert not any("ward was made" in one.text for one in doctor.examine(fix=False))
    ended("mime", WELL)
    assert found("warning", f"dataset mime {made}")


def test_the_table_of_states(registered: Path, home: Path) -> None:
    run_id = ended("mine", FAILED)
    (state,) = dataset_states()
    assert (state.dataset, state.task, state.images) == ("mine", "single-label", None)
    assert state.stale == "never run"
    text = status_text([state])
    assert text.splitlines()[0].split() == [
        *("dataset", "task", "images", "last", "run", "waits", "results")
    ]
    assert re.match(r"mine +single-label +\? +failed \d{4}-.* UTC +- +stale$", text.splitlines()[1])
    (read,) = json.loads(status_json([state]))
    assert (read["dataset"], read["last_run"]["run_id"]) == ("mine", run_id)
    assert status_text([]).startswith("no dataset is registered")

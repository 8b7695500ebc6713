"""Old runs are deleted with all that is kept of them; the latest results stay in the UI."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_contracts.errors import InputError
from pipeline.care import history as dagster_history
from pipeline.care import retention
from pipeline.care.doctor import _history
from pipeline.care.history import FINISHED, delete_old_runs, old_runs
from pipeline.care.retention import KEEP_RUNS_DAYS, history, nightly_history, oldest_kept
from pipeline.definitions import defs
from pipeline.orphans import IN_FLIGHT

WARDS = dg.DynamicPartitionsDefinition(name="dataset")


class Broken(dg.Config):
    broken: bool = False


@dg.asset(partitions_def=WARDS)
def codes(config: Broken) -> dg.MaterializeResult[None]:
    if config.broken:
        raise ValueError("no")
    return dg.MaterializeResult(metadata={"text": "x" * 50_000})


@dg.asset_check(asset=codes)
def whole() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as found:
        found.add_dynamic_partitions("dataset", ["east", "west"])
        yield found


def run(instance: dg.DagsterInstance, ward: str, broken: bool = False) -> str:
    """Materialise one partition; gives the run's id."""
    result = dg.materialize(
        [codes, whole],
        partition_key=ward,
        instance=instance,
        run_config={"ops": {"codes": {"config": {"broken": broken}}}},
        raise_on_error=False,
    )
    assert result.success is not broken
    return result.run_id


def soon() -> datetime:
    """A time after every run of the test."""
    return datetime.now(UTC) + timedelta(minutes=1)


def databases(home: Path) -> set[str]:
    return {path.stem for path in (home / "dagster" / "history" / "runs").glob("*.db")}


def rows(home: Path, query: str) -> list[Any]:
    index = home / "dagster" / "history" / "runs" / "index.db"
    with closing(sqlite3.connect(index)) as connection:
        return connection.execute(query).fetchall()


def free_pages(home: Path) -> int:
    (pages,) = rows(home, "PRAGMA freelist_count")
    return int(pages[0])


def test_superseded_and_failed_runs_go_and_the_latest_of_each_dataset_stays(
    home: Path, instance: dg.DagsterInstance
) -> None:
    superseded, west, east = run(instance, "east"), run(instance, "west"), run(instance, "east")
    failed = run(instance, "west", broken=True)
    assert old_runs(instance, datetime.now(UTC) - timedelta(hours=1)) == []
    outcome = delete_old_runs(instance, soon())
    assert (outcome.runs, outcome.in_use) == (2, [])
    assert outcome.freed_bytes > 100_000
    assert {found.run_id for found in instance.get_runs()} == {west, east}
    assert databases(home) == {"index", west, east}
    assert rows(home, "SELECT DISTINCT run_id FROM event_logs ORDER BY run_id") == sorted(
        [(west,), (east,)]
    )
    assert len(rows(home, "SELECT * FROM asset_check_executions")) == 2
    assert free_pages(home) == 0
    assert instance.get_materialized_partitions(codes.key) == {"east", "west"}
    for ward, expected in (("east", east), ("west", west)):
        wanted = dg.AssetRecordsFilter(asset_key=codes.key, asset_partitions=[ward])
        (record,) = instance.fetch_materializations(wanted, limit=5).records
        assert record.run_id == expected
    assert not instance.has_run(superseded)
    assert not instance.has_run(failed)


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
)
def test_a_run_in_progress_stays(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> None:
    assert not set(FINISHED) & set(IN_FLIGHT)
    going_on = instance.add_run(dg.DagsterRun(job_name="ahn2019", status=status))
    ended = instance.add_run(dg.DagsterRun(job_name="ahn2019", status=dg.DagsterRunStatus.CANCELED))
    delete_old_runs(instance, soon())
    assert instance.has_run(going_on.run_id)
    assert not instance.has_run(ended.run_id)


@pytest.mark.parametrize(
    "stopped_in",
    ["delete_check_results", "delete_run_database", "delete_unowned_databases", "pack"],
)
def test_an_interrupted_deletion_goes_on_the_next_night(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, stopped_in: str
) -> None:
    for _ in range(3):
        latest = run(instance, "east")

    def stop(*words: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dagster_history, stopped_in, stop)
        with pytest.raises(KeyboardInterrupt):
            delete_old_runs(instance, soon())
    assert instance.get_materialized_partitions(codes.key) == {"east"}
    delete_old_runs(instance, soon())
    assert databases(home) == {"index", latest}
    assert rows(home, "SELECT DISTINCT run_id FROM event_logs") == [(latest,)]
    assert free_pages(home) == 0


@pytest.mark.parametrize("stopped_in", ["delete_events", "delete_run"])
def test_a_run_whose_deletion_was_interrupted_is_found_again(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, stopped_in: str
) -> None:
    first, latest = run(instance, "east"), run(instance, "east")
    target = instance.event_log_storage if stopped_in == "delete_events" else instance.run_storage

    def stop(run_id: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, stopped_in, stop)
        with pytest.raises(KeyboardInterrupt):
            delete_old_runs(instance, soon())
    assert instance.has_run(first)
    assert delete_old_runs(instance, soon()).runs == 1
    assert databases(home) == {"index", latest}


def test_a_database_that_is_read_meanwhile_is_packed_another_night(
    home: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_history, "LOCK_SECONDS", 0.1)
    first, latest = run(instance, "east"), run(instance, "east")
    folder = home / "dagster" / "history" / "runs"
    readers = [
        sqlite3.connect(folder / name, isolation_level=None) for name in ("index.db", f"{first}.db")
    ]
    for reader in readers:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM event_logs").fetchone()[0] > 0
    outcome = delete_old_runs(instance, soon())
    assert (outcome.runs, outcome.in_use) == (1, [folder / "index.db"])
    assert databases(home) == {"index", latest}
    for reader in readers:
        reader.close()
    assert delete_old_runs(instance, soon()).in_use == []
    assert free_pages(home) == 0


@pytest.mark.parametrize(("text", "days"), [("", 90), ("7", 7), ("0", None)])
def test_the_age_is_a_number_of_days(
    monkeypatch: pytest.MonkeyPatch, text: str, days: int | None
) -> None:
    monkeypatch.setenv(KEEP_RUNS_DAYS, text)
    before = oldest_kept()
    if days is None:
        assert before is None
    else:
        assert before is not None
        assert abs(datetime.now(UTC) - timedelta(days=days) - before) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["-1", "ninety", "1.5", "1e3", "999999", "\u0663"])
def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(KEEP_RUNS_DAYS, text)
    with pytest.raises(InputError, match=f"{KEEP_RUNS_DAYS} is"):
        oldest_kept()


def test_the_schedule_starts_the_job_only_where_a_run_is_too_old(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEEP_RUNS_DAYS, raising=False)
    first, latest = run(instance, "east"), run(instance, "east")

    def tick() -> Any:
        return nightly_history(dg.build_schedule_context(instance=instance))

    assert isinstance(tick(), dg.SkipReason)
    monkeypatch.setattr(retention, "oldest_kept", soon)
    assert isinstance(tick(), dg.RunRequest)
    job = defs.resolve_job_def(history.name)
    assert job.execute_in_process(instance=instance).success
    assert not instance.has_run(first)
    assert instance.has_run(latest)
    monkeypatch.setattr(retention, "oldest_kept", lambda: None)
    assert isinstance(tick(), dg.SkipReason)
    assert job.execute_in_process(instance=instance).success


def test_the_doctor_says_how_much_there_is_and_what_is_overdue(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEEP_RUNS_DAYS, raising=False)
    run(instance, "east")
    run(instance, "east")
    (finding,) = _history()
    assert finding.state == "ok"
    assert "2 runs" in finding.text
    late = datetime.now(UTC) + timedelta(days=3)
    monkeypatch.setattr("pipeline.care.doctor.oldest_kept", lambda: late)
    (finding,) = _history()
    assert finding.state == "warning"
    assert "1 of them are overdue" in finding.text

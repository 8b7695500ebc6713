"""Forgetting a dataset: all of it goes, Dagster's databases included, and nothing of another
one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from PIL import Image

from assets.core.manifest_rows import manifest_of
from assets.images import image_manifest, prepared_images
from data_contracts.errors import InputError
from pipeline.care import forgetting, history
from pipeline.care.forgetting import forget_dataset, what_is_forgotten
from pipeline.commands.registration import register
from pipeline.launch import refresh_summary, run_job
from resources.intake.drops import drops_root
from resources.intake.forgotten import is_forgotten
from resources.store.dataset_store import DatasetStore
from resources.store.home import prepare_home
from tests.conftest import TINY_STUDY, draw, use_home

SECRET, OTHER = "secret-ward", "secret-ward-2"
"""One name begins with the other: what is deleted must not go by prefixes."""


def images(root: Path, first: int) -> Path:
    for kind in range(2):
        for number in range(first, first + 8):
            path = root / f"class{kind}" / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(kind, number)).save(path)
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a home in which two datasets have been run, one of them wholly, and the
    summary."""
    folder = tmp_path_factory.mktemp("forgetting")
    with pytest.MonkeyPatch.context() as patch:
        settings(patch, folder, folder / "home")
        prepare_home()
        drop = folder / "drops" / SECRET / "monday.zip"
        drop.parent.mkdir(parents=True)
        with zipfile.ZipFile(drop, "w") as archive:
            for path in images(folder / "packed", 50).rglob("*.png"):
                archive.write(path, str(path.relative_to(folder / "packed")))
        drop.with_name("monday.zip._READY").touch()
        for name, first in ((OTHER, 20), (SECRET, 0)):
            list(
                register(
                    {
                        "name": name,
                        "root": images(folder / f"images {name}", first),
                        "show_names": True,
                    }
                )
            )
        with dg.DagsterInstance.get() as instance:
            resources = {"store": DatasetStore()}
            assets = [image_manifest, prepared_images]
            assert dg.materialize(
                assets, partition_key=OTHER, instance=instance, resources=resources
            ).success
        assert run_job("ahn2019", SECRET, TINY_STUDY, "cpu").exit_code == 0
        assert refresh_summary().exit_code == 0
        with dg.DagsterInstance.get() as instance:
            record_ticks_and_a_backfill(instance)
        yield folder


def settings(patch: pytest.MonkeyPatch, folder: Path, home: Path) -> None:
    use_home(patch, folder, home)
    patch.setenv("MEDFEAT_DROPS", str(folder / "drops"))


def record_ticks_and_a_backfill(instance: dg.DagsterInstance) -> None:
    """What the daemon and the UI leave behind when they start runs of both datasets."""
    location = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path="python", module_name="pipeline.definitions"),
        location_name="medfeat",
    )
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), "drops")
    data = SensorInstigatorData(last_run_key=f"{SECRET}:0123")
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data)
    instance.add_instigator_state(state)

    def tick(status: TickStatus, **what: Any) -> None:
        common = (state.instigator_origin_id, "drops", InstigatorType.SENSOR, status, 1.0)
        instance.create_tick(TickData(*common, selector_id=state.selector_id, **what))

    requests = [
        dg.RunRequest(run_key=f"{name}:0123", partition_key=name) for name in (SECRET, OTHER)
    ]
    tick(
        TickStatus.SUCCESS,
        run_ids=["one", "two"],
        run_keys=[request.run_key for request in requests],
        run_requests=requests,
    )
    tick(TickStatus.SKIPPED, skip_reason=f"a drop of {SECRET} cannot be read")
    tick(TickStatus.SKIPPED, skip_reason=f"a drop of {OTHER} cannot be read")
    for key, names in (("both", [SECRET, OTHER]), ("only", [OTHER])):
        instance.add_backfill(
            PartitionBackfill(
                backfill_id=key,
                status=BulkActionStatus.COMPLETED_SUCCESS,
                from_failure=False,
                tags={},
                backfill_timestamp=1.0,
                partition_names=names,
            )
        )


@pytest.fixture
def home(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that home, to be forgotten in."""
    home = Path(shutil.copytree(made / "home", tmp_path / "home"))
    settings(monkeypatch, made, home)
    return home


def image_ids(dataset: str) -> list[str]:
    return [str(row["image_id"]) for row in manifest_of(DatasetStore(), dataset).to_pylist()]


def holding(folder: Path, *words: str) -> set[str]:
    """Files whose bytes or whose name hold one of the words."""
    found = set()
    for path in folder.rglob("*"):
        text = str(path.relative_to(folder)).encode() + (
            path.read_bytes() if path.is_file() else b""
        )
        for other in (f"{OTHER}", f"images {OTHER}"):  # holds the secret name itself
            text = text.replace(other.encode(), b"")
        if any(word.encode() in text for word in words):
            found.add(str(path.relative_to(folder)))
    return found


def rows_of_others(home: Path) -> dict[str, list[Any]]:
    """Rows of Dagster's event log that are of the other dataset's runs, by database."""
    rows = {}
    with dg.DagsterInstance.get() as instance:
        ids = [
            run.run_id
            for run in instance.get_runs(dg.RunsFilter(tags={"dagster/partition": OTHER}))
        ]
    assert len(ids) == 1
    for database in (home / "dagster" / "history" / "runs").glob("*.db"):
        connection = sqlite3.connect(database)
        found = connection.execute(
            "SELECT run_id, event, asset_key FROM event_logs WHERE run_id = ?", ids
        ).fetchall()
        connection.close()
        if found:
            rows[database.name] = found
    return rows


def free_pages(home: Path) -> int:
    """Pages of Dagster's databases in which deleted rows may still stand."""
    total = 0
    for database in (home / "dagster").rglob("*.db"):
        connection = sqlite3.connect(database)
        total += int(connection.execute("PRAGMA freelist_count").fetchone()[0])
        connection.close()
    return total


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes())
        for p in folder.rglob("*")
        if p.is_file()
    }


def test_nothing_of_it_is_left_and_all_of_the_other_is(home: Path, made: Path) -> None:
    secret, other = image_ids(SECRET), image_ids(OTHER)
    assert len(secret) == 32
    places = {"store", "reports", "unpacked", "datasets", "dagster"}
    assert {path.split("/")[0] for path in holding(home, SECRET, secret[0])} == places, (
        "the search finds it where it is"
    )
    databases = {path for path in holding(home, SECRET) if path.endswith(".db")}
    assert {
        "dagster/history/runs.db",
        "dagster/history/runs/index.db",
        "dagster/schedules/schedules.db",
    } <= databases
    user = {**files(made / f"images {SECRET}"), **files(made / "drops")}
    kept = {**files(home / "store" / OTHER), **files(home / "datasets")}
    kept.pop(f"{SECRET}.json")
    events = rows_of_others(home)
    assert len(events) == 2, "its own database and the index"

    lines = what_is_forgotten(SECRET)
    assert any("1 runs" in line for line in lines)
    assert [SECRET in line for line in forget_dataset(SECRET)] == [True]

    assert holding(home, SECRET, *secret) == set()
    assert free_pages(home) == 0, "not every build of SQLite overwrites what it deletes"
    assert {**files(made / f"images {SECRET}"), **files(made / "drops")} == user, (
        "the images are the user's"
    )
    left = {**files(home / "store" / OTHER), **files(home / "datasets")}
    marks = [left.pop(name) for name in list(left) if name.startswith("forgotten/")]
    assert left == kept
    assert [content for _, content in marks] == [b""], "a mark that keeps its drops from it"
    assert image_ids(OTHER) == other
    assert rows_of_others(home) == events
    with dg.DagsterInstance.get() as instance:
        assert instance.get_dynamic_partitions("dataset") == [OTHER]
        assert [run.tags["dagster/partition"] for run in instance.get_runs()] == [OTHER]
        assert instance.get_materialized_partitions(image_manifest.key) == {OTHER}
        last = instance.get_latest_materialization_event(image_manifest.key)
        assert last is not None
        assert last.asset_materialization is not None
        assert last.asset_materialization.partition == OTHER
        assert instance.get_latest_materialization_event(dg.AssetKey("cae_model")) is None
        (state,) = instance.all_instigator_state()
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
        assert len(ticks) == 3, "the history of the sensor stays"
        assert [key for tick in ticks for key in tick.run_keys] == [f"{OTHER}:0123"]
        assert f"a drop of {OTHER} cannot be read" in [tick.skip_reason for tick in ticks]
        assert [backfill.backfill_id for backfill in instance.get_backfills()] == ["only"]


def test_the_dataset_can_be_made_anew_and_its_name_was_free(home: Path) -> None:
    list(forget_dataset(SECRET))
    with pytest.raises(InputError, match=f"there is nothing of a dataset called {SECRET}"):
        what_is_forgotten(SECRET)
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions("dataset", [SECRET])
        spec = DatasetStore().spec(OTHER).model_copy(update={"name": SECRET})
        DatasetStore().save_spec(spec)
        result = dg.materialize(
            [image_manifest],
            partition_key=SECRET,
            instance=instance,
            resources={"store": DatasetStore()},
        )
        assert result.success
        assert instance.get_materialized_partitions(image_manifest.key) == {SECRET, OTHER}


def test_it_says_which_drops_remain_and_no_sensor_takes_them_in(home: Path) -> None:
    folder = drops_root() / SECRET
    (folder / "late").mkdir(parents=True)
    said = "\n".join(what_is_forgotten(SECRET))
    assert f"drops in {folder}: " in said
    assert "late" in said
    store = DatasetStore()
    list(forget_dataset(SECRET))
    assert is_forgotten(store, SECRET)
    list(register({"name": SECRET, "root": images(home / "again", 40)}))
    assert not is_forgotten(store, SECRET)


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.NOT_STARTED])
@pytest.mark.parametrize(
    ("job", "tags"), [("ahn2019", {"dagster/partition": SECRET}), ("summary", {})]
)
def test_it_waits_for_runs_that_go_on(
    home: Path, status: dg.DagsterRunStatus, job: str, tags: dict[str, str]
) -> None:
    with dg.DagsterInstance.get() as instance:
        instance.add_run(dg.DagsterRun(job_name=job, status=status, tags=tags))
    before = files(home / "store")
    with pytest.raises(InputError, match="is going on"):
        list(forget_dataset(SECRET))
    assert files(home / "store") == before
    with dg.DagsterInstance.get() as instance:
        assert len(
            instance.get_runs(dg.RunsFilter(tags={"dagster/partition": SECRET}))
        ) == 1 + bool(tags)
        assert SECRET in instance.get_dynamic_partitions("dataset")


def test_another_datasets_run_is_not_waited_for(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        tags = {"dagster/partition": OTHER}
        going_on = instance.add_run(
            dg.DagsterRun(job_name="ahn2019", status=dg.DagsterRunStatus.STARTED, tags=tags)
        )
    list(forget_dataset(SECRET))
    with dg.DagsterInstance.get() as instance:
        assert instance.has_run(going_on.run_id)


def test_it_waits_for_a_backfill_that_goes_on(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        (both,) = (
            backfill for backfill in instance.get_backfills() if backfill.backfill_id == "both"
        )
        instance.update_backfill(both.with_status(BulkActionStatus.REQUESTED))
    with pytest.raises(InputError, match=f"a backfill of {SECRET} is going on"):
        list(forget_dataset(SECRET))


def test_a_name_that_is_none_deletes_nothing(home: Path) -> None:
    before = files(home / "store")
    for name in ("", "..", "secret", "secret-ward/../secret-ward", "_all"):
        with pytest.raises(InputError):
            list(forget_dataset(name))
    assert files(home / "store") == before


@pytest.mark.parametrize(
    "stopped_in",
    [
        "delete_unowned_databases",
        "restore_latest_materialization",
        "remove_from_ticks",
        "delete_backfills",
        "rmtree",
        "pack",
    ],
)
def test_an_interrupted_deletion_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: str
) -> None:
    secret = image_ids(SECRET)
    target = shutil if stopped_in == "rmtree" else forgetting
    real = getattr(target, stopped_in)

    def stop(*words: Any, **more: Any) -> None:
        if stopped_in == "rmtree" and Path(words[0]).parent.name != "reports":
            real(*words, **more)
            return
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, stopped_in, stop)
        with pytest.raises(KeyboardInterrupt):
            list(forget_dataset(SECRET))
    assert holding(home, SECRET) != set()
    list(forget_dataset(SECRET))
    assert holding(home, SECRET, *secret) == set()


def test_a_database_in_use_keeps_old_pages_so_it_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "LOCK_SECONDS", 0.1)
    last = max((home / "dagster").rglob("*.db"))
    holder = sqlite3.connect(last, isolation_level=None)
    holder.execute("PRAGMA journal_mode=WAL")
    holder.execute("BEGIN")
    holder.execute("SELECT * FROM sqlite_master").fetchall()
    with pytest.raises(InputError, match=rf"{last.name} is in use.*End medfeat ui"):
        list(forget_dataset(SECRET))
    holder.close()
    list(forget_dataset(SECRET))
    assert holding(home, SECRET) == set()
    assert os.listdir(home / "unpacked") == []

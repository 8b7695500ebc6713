"""What starts runs by itself: the sensor of drops, the nightly schedule, and which datasets a
backfill chooses.

One dataset is run once; every test works on a copy of its home. The clock of the drops is ours.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from PIL import Image

from data_contracts.errors import InputError
from data_contracts.records.sealed import sealed_json
from data_contracts.studies.ahn2019 import AHN2019
from data_contracts.studies.lyndon2015 import LYNDON2015
from pipeline.automation import schedules
from pipeline.automation.backfills import choose, with_repeated_settings
from pipeline.automation.requests import code_versions
from pipeline.automation.schedules import nightly, nightly_several_labels
from pipeline.automation.sensors import drops, summary_after_runs
from pipeline.automation.staleness import last_settings, stale_reason
from pipeline.definitions import defs
from pipeline.launch import run_job
from resources.intake.drops import LEDGER, MARKER
from resources.intake.forgotten import lift_mark, mark_forgotten
from resources.run_owner import STARTED_HERE
from resources.store.dataset_store import DatasetStore
from resources.store.home import prepare_home
from tests.conftest import TINY_STUDY, draw, use_home

START = datetime(2026, 11, 20, 9, tzinfo=UTC).timestamp()
DONE = "done"
"""The dataset that was run."""
NIGHT = datetime(2026, 11, 21, 3, tzinfo=UTC)


def put(folder: Path, kind: int, number: int, label: bool = True) -> Path:
    path = folder / (f"class{kind}" if label else "") / f"{number:03d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw(kind, number)).save(path)
    return path


class Site:
    """A home with its drops below it, Dagster's instance, and a clock."""

    def __init__(self, home: Path, instance: dg.DagsterInstance) -> None:
        self.drops = home / "drops"
        self.store = DatasetStore()
        self.instance = instance
        self.now = START

    def tick(self, after: float = 30) -> dg.SensorResult:
        """Let time pass, and let the sensor look."""
        self.now += after
        with dg.build_sensor_context(
            instance=self.instance, resources={"store": self.store}
        ) as context:
            result = drops(context)
        assert isinstance(result, dg.SensorResult)
        return result

    def asked(self, after: float = 30) -> list[str]:
        """Datasets that the sensor wants runs of."""
        return [str(request.partition_key) for request in self.tick(after).run_requests or []]

    def night(
        self, at: datetime = NIGHT, by: dg.ScheduleDefinition = nightly
    ) -> list[dg.RunRequest]:
        """What the schedule asks for."""
        self.now += 30
        resources = {"store": self.store}
        with dg.build_schedule_context(
            self.instance, scheduled_execution_time=at, resources=resources
        ) as context:
            said: Any = list(by(context))  # type: ignore[call-overload]
        requests = [one for one in said if isinstance(one, dg.RunRequest)]
        assert len(said) == max(len(requests), 1), "requests, or one reason for none"
        return requests

    def start_run(self, dataset: str) -> dg.DagsterRun:
        tags = {"dagster/partition": dataset}
        return self.instance.add_run(
            dg.DagsterRun(job_name=AHN2019.name, status=dg.DagsterRunStatus.STARTED, tags=tags)
        )

    def edit_record(self, asset: str, **changes: Any) -> None:
        """Change the record of DONE's current output."""
        record = self.store.need_record(DONE, asset).model_copy(update=changes)
        (self.store.folder(DONE, asset) / "current.json").write_bytes(
            sealed_json(record.model_dump(mode="json"))
        )

    def sync(self) -> None:
        """What Dagster does with a sensor's request for a partition."""
        self.instance.add_dynamic_partitions("dataset", self.store.datasets())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which a dataset that lives from drops alone was run, with settings of its own."""
    folder = tmp_path_factory.mktemp("automation")
    with pytest.MonkeyPatch.context() as patch:
        use_home(patch, folder)
        home = prepare_home()
        first = home / "drops" / DONE / "first"
        for kind in range(2):
            for number in range(8):
                put(first, kind, number)
        (first / MARKER).touch()
        with dg.DagsterInstance.get() as instance:
            clock(patch, site := Site(home, instance))
            assert site.asked() == [DONE]
        assert run_job(AHN2019.name, DONE, TINY_STUDY, "cpu").exit_code == 0
    return folder


def jobs(*datasets: str) -> dict[str, str]:
    return dict.fromkeys(datasets, AHN2019.name)


def clock(patch: pytest.MonkeyPatch, site: Site) -> None:
    patch.setattr("resources.intake.drops.time", SimpleNamespace(time=lambda: site.now))


@pytest.fixture
def ran(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A copy of that home."""
    home = Path(shutil.copytree(made / "home", tmp_path / "home"))
    use_home(monkeypatch, made, home)
    with dg.DagsterInstance.get() as instance:
        site = Site(home, instance)
        site.store.save_spec(
            site.store.spec(DONE).model_copy(update={"root": home / "drops" / DONE})
        )
        clock(monkeypatch, site)
        site.now = START + 1000
        yield site


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A home in which nothing has happened."""
    use_home(monkeypatch, tmp_path)
    home = prepare_home()
    with dg.DagsterInstance.get() as instance:
        clock(monkeypatch, site := Site(home, instance))
        yield site


class TestSensor:
    def test_a_new_folder_is_registered_and_asked_for_once_it_has_settled(
        self, fresh: Site
    ) -> None:
        assert fresh.asked() == [], "there is no drop folder yet"
        put(fresh.drops / "scans" / "monday", 0, 1)
        assert fresh.asked() == []
        put(fresh.drops / "scans" / "monday", 1, 2)
        assert fresh.asked(29) == [], "it has changed"
        waiting = fresh.tick(29)
        assert (
            waiting.run_requests,
            waiting.dynamic_partitions_requests,
            fresh.store.datasets(),
        ) == ([], [], [])

        settled = fresh.tick(1)
        (request,) = settled.run_requests or []
        assert request.partition_key == "scans"
        assert (request.run_key or "").startswith("scans:")
        (added,) = settled.dynamic_partitions_requests or []
        assert (added.partitions_def_name, added.partition_keys) == ("dataset", ["scans"])
        spec = fresh.store.spec("scans")
        assert (spec.root, spec.unlabelled, spec.new_labels, spec.show_names) == (
            fresh.drops / "scans",
            True,
            "hold",
            False,
        )

        fresh.sync()
        again = fresh.tick()
        assert [one.run_key for one in again.run_requests or []] == [request.run_key], (
            "Dagster starts no second run of one key"
        )
        assert not again.dynamic_partitions_requests

    @pytest.mark.parametrize("name", ["Ada Lovelace", "scans\n", "x" * 64, "_all", "été"])
    def test_a_name_that_no_dataset_can_have_is_left_alone_and_not_told(
        self, fresh: Site, name: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        put(fresh.drops / name / "monday", 0, 1)
        put(fresh.drops / ".hidden" / "monday", 0, 1)
        (fresh.drops / "a file").touch()
        fresh.tick()
        result = fresh.tick()
        assert (
            result.run_requests,
            result.dynamic_partitions_requests,
            fresh.store.datasets(),
        ) == ([], [], [])
        said = repr(result) + "".join(capfd.readouterr())
        assert "a name that no dataset can have" in said
        assert name not in said
        assert name not in {path.name for path in (fresh.store.root / "store").rglob("*")}

    def test_what_a_run_has_seen_is_not_asked_for_again_and_what_came_since_is(
        self, ran: Site
    ) -> None:
        result = ran.tick()
        assert result.run_requests == []
        assert "nothing new has arrived" in str(result.skip_reason)
        put(ran.drops / DONE / "second", 0, 50)
        assert ran.asked() == []
        (request,) = ran.tick().run_requests or []
        shutil.rmtree(ran.drops / DONE / "second")
        assert ran.asked() == [], "it is as it was when it was run"
        put(ran.drops / DONE / "third", 0, 51)
        ran.tick()
        (other,) = ran.tick().run_requests or []
        assert other.run_key != request.run_key

    def test_a_tick_says_what_waits_and_why(self, ran: Site) -> None:
        for number in (50, 51):
            put(ran.drops / DONE / "second", 0, number)
        said = str(ran.tick().skip_reason)
        assert re.search(rf"{DONE}/[0-9a-f]{{16}}: 2 files, no _READY, settles in 30 s", said), said
        ran.start_run(DONE)
        said = str(ran.tick().skip_reason)
        assert f"{DONE}: what has arrived waits for the run that goes on" in said

    def test_drops_of_a_forgotten_dataset_are_left_alone_until_it_is_added(
        self, fresh: Site
    ) -> None:
        put(fresh.drops / "ward" / "monday", 0, 1)
        mark_forgotten(fresh.store, "ward")
        assert "ward" not in "".join(str(p) for p in fresh.store.root.glob("datasets/**/*"))
        fresh.tick()
        result = fresh.tick()
        assert result.run_requests == []
        assert "ward" not in str(result.skip_reason)
        assert "forgotten dataset are left alone" in str(result.skip_reason)
        assert fresh.store.datasets() == []
        lift_mark(fresh.store, "ward")
        fresh.tick()
        assert fresh.asked() == ["ward"]

    def test_a_deleted_image_is_something_new(self, ran: Site) -> None:
        (ran.drops / DONE / "first" / "class0" / "003.png").unlink()
        assert ran.asked(0) == []
        assert ran.asked() == [DONE]

    def test_a_busy_dataset_is_asked_for_when_it_is_free_and_settles_meanwhile(
        self, ran: Site
    ) -> None:
        put(ran.drops / DONE / "second", 0, 50)
        run = ran.start_run(DONE)
        assert ran.asked() == []
        assert ran.asked() == []
        ran.instance.report_run_canceled(run)
        assert ran.asked(0) == [DONE]

    def test_one_datasets_run_keeps_no_other_waiting(self, ran: Site) -> None:
        put(ran.drops / "other" / "monday", 0, 1)
        ran.start_run(DONE)
        ran.tick()
        assert ran.asked() == ["other"]

    def test_one_datasets_trouble_stops_no_other(self, ran: Site) -> None:
        for name in ("a", "z"):
            put(ran.drops / name / "monday", 0, 1)
        ran.tick()
        ledger = ran.store.folder("a", LEDGER) / "ledger.json"
        good = ledger.read_text()
        ledger.write_text("{")
        assert ran.asked() == ["z"]
        ran.start_run("z")
        assert "not a valid ledger" in str(ran.tick().skip_reason), (
            "where nothing is asked for, the trouble is said"
        )
        ledger.write_text(good)
        assert ran.asked() == ["a"]

    def test_the_run_has_the_settings_of_the_last_one(self, ran: Site) -> None:
        ran.edit_record(
            "cae_model",
            settings={**ran.store.need_record(DONE, "cae_model").settings, "of_older_code": 1},
        )
        put(ran.drops / DONE / "second", 0, 50)
        ran.tick()
        (request,) = ran.tick().run_requests or []
        ops = request.run_config["ops"]
        assert ops["cae_model"]["config"]["filters"] == TINY_STUDY["filters"]
        assert ops["alexnet_conv5"]["config"]["weights"] == "random"
        assert ops["svm_evaluation_cae"]["config"]["label_budgets"] == []
        assert "of_older_code" not in ops["cae_model"]["config"]
        assert dg.validate_run_config(defs.resolve_job_def(AHN2019.name), request.run_config)

    def test_a_dataset_of_several_labels_gets_the_study_of_several_labels(self, ran: Site) -> None:
        several = ran.store.spec(DONE).model_copy(
            update={"name": "several", "task": "multi-label", "root": ran.drops / "several"}
        )
        ran.store.save_spec(several)
        ran.sync()
        put(ran.drops / "several" / "monday", 0, 1)
        ran.tick()
        (dropped,) = ran.tick().run_requests or []
        (reconciled,) = ran.night(by=nightly_several_labels)
        for request in (dropped, reconciled):
            assert (request.partition_key, request.job_name) == ("several", LYNDON2015.name)
            assert dg.validate_run_config(defs.resolve_job_def(LYNDON2015.name), request.run_config)
        assert ran.night() == []


def new_file(site: Site) -> None:
    (put(site.drops / DONE / "second", 0, 50).parent.parent / MARKER).touch()


def deleted_file(site: Site) -> None:
    (site.drops / DONE / "first" / "class0" / "003.png").unlink()
    site.tick()


def failed_run(site: Site) -> None:
    (site.store.folder(DONE, "predictions") / "current.json").unlink()


def failed_second_run(site: Site) -> None:
    """Everything has a record, but what follows the features is of the run before."""
    site.edit_record("cae_features", data_version="0123456789abcdef")


def newer_code(site: Site) -> None:
    site.edit_record("prepared_images", code_version="0")


class TestNightly:
    def test_what_is_up_to_date_is_left_alone(self, ran: Site) -> None:
        assert ran.night() == []
        assert stale_reason(ran.store, DONE, code_versions(AHN2019.name)) is None

    @pytest.mark.parametrize(
        ("happened", "why"),
        [
            (new_file, "files have arrived, changed or gone"),
            (deleted_file, "files have arrived, changed or gone"),
            (failed_run, "predictions is missing"),
            (failed_second_run, "is older than cae_features"),
            (newer_code, "prepared_images was made by another version of its code"),
        ],
    )
    def test_what_is_stale_is_asked_for_with_the_reason(
        self, ran: Site, happened: Callable[[Site], None], why: str
    ) -> None:
        happened(ran)
        (request,) = ran.night()
        assert request.partition_key == DONE
        assert why in request.tags["medfeat/why"]
        assert request.run_config["ops"]["cae_model"]["config"]["filters"] == TINY_STUDY["filters"]

    def test_a_run_that_failed_is_asked_for_again_each_night_though_nothing_arrived(
        self, ran: Site
    ) -> None:
        failed_run(ran)
        assert ran.asked() == [], "the sensor leaves it to the night"
        keys = [
            ran.night(at)[0].run_key
            for at in (NIGHT, NIGHT, NIGHT.replace(day=22), NIGHT.replace(hour=4))
        ]
        assert keys[0] == keys[1], "a tick that is repeated starts no second run"
        assert len(set(keys)) == 3

    def test_a_dataset_that_was_never_run_is_asked_for_only_where_it_has_drops(
        self, ran: Site
    ) -> None:
        spec = ran.store.spec(DONE).model_copy(
            update={"name": "added", "root": ran.drops / DONE / "first"}
        )
        ran.store.save_spec(spec)
        ran.sync()
        assert ran.night() == [], "it waits for its first run by hand"
        put(ran.drops / "added" / "monday", 0, 70)
        assert ran.night() == [], "it has not settled"
        (request,) = ran.night()
        assert (request.partition_key, request.tags["medfeat/why"]) == ("added", "never run")

    def test_a_study_that_nobody_asked_for_is_not_begun_at_night(self, ran: Site) -> None:
        """Another study has made the manifest, as all do."""
        root = put(ran.store.root / "elsewhere", 0, 1).parent.parent
        ran.store.save_spec(ran.store.spec(DONE).model_copy(update={"name": "other", "root": root}))
        shutil.copytree(
            ran.store.folder(DONE, "image_manifest"), ran.store.folder("other", "image_manifest")
        )
        ran.sync()
        assert stale_reason(ran.store, "other", code_versions(AHN2019.name)) is not None
        assert ran.night() == []
        ran.instance.report_run_canceled(ran.start_run("other"))
        assert [request.partition_key for request in ran.night()] == ["other"], (
            "the run that was asked for did not end well"
        )

    def test_busy_datasets_and_those_that_dagster_does_not_know_are_left_alone(
        self, ran: Site
    ) -> None:
        failed_run(ran)
        ran.store.save_spec(ran.store.spec(DONE).model_copy(update={"name": "unknown"}))
        (ran.drops / "unknown" / "x").mkdir(parents=True)
        put(ran.drops / "unknown" / "x", 0, 1)
        ran.tick()
        run = ran.start_run(DONE)
        assert ran.night() == []
        ran.instance.report_run_canceled(run)
        assert [request.partition_key for request in ran.night()] == [DONE]

    def test_one_datasets_trouble_stops_no_other(self, ran: Site) -> None:
        failed_run(ran)
        ran.store.save_spec(ran.store.spec(DONE).model_copy(update={"name": "a"}))
        (ran.store.root / "datasets" / "b.json").write_text("{")
        for name in ("a", "b"):
            folder = ran.store.folder(name, "image_manifest")
            folder.mkdir(parents=True)
            other = ran.store.need_record(DONE, "cae_model").model_dump(mode="json")
            (folder / "current.json").write_bytes(b"{" if name == "a" else sealed_json(other))
        ran.sync()
        assert [request.partition_key for request in ran.night()] == [DONE]

    def test_cron_and_time_zone_are_the_sites(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def loaded() -> Any:
            assert schedules.__file__ is not None
            found = importlib.util.spec_from_file_location("schedules_again", schedules.__file__)
            assert found is not None
            assert found.loader is not None
            module: ModuleType = importlib.util.module_from_spec(found)
            found.loader.exec_module(module)
            return module.nightly

        for name in ("MEDFEAT_NIGHTLY", "MEDFEAT_TIME_ZONE"):
            monkeypatch.setenv(name, "")
        assert (loaded().cron_schedule, loaded().execution_timezone) == ("0 3 * * *", "UTC")
        monkeypatch.setenv("MEDFEAT_NIGHTLY", "30 1 * * 1-5")
        monkeypatch.setenv("MEDFEAT_TIME_ZONE", "Europe/Berlin")
        assert (loaded().cron_schedule, loaded().execution_timezone) == (
            "30 1 * * 1-5",
            "Europe/Berlin",
        )


class TestBackfill:
    @pytest.fixture
    def two(self, ran: Site) -> Site:
        """The dataset that was run, and one that was never run, whose drop settled on the next
        day."""
        ran.now = START + 24 * 3600
        put(ran.drops / "later" / "monday", 0, 1)
        ran.tick(0)
        assert ran.asked() == ["later"]
        return ran

    def test_only_stale(self, two: Site) -> None:
        assert choose(two.store, jobs("later", DONE), True, None) == (["later"], {})
        newer_code(two)
        assert choose(two.store, jobs("later", DONE), True, None) == (["later", DONE], {})
        assert choose(two.store, jobs(DONE), True, None) == ([DONE], {}), "of those that are named"

    @pytest.mark.parametrize(
        ("day", "chosen"),
        [
            ("2026-11-20", [DONE, "later"]),
            ("2026-11-21", ["later"]),
            ("2026-11-22", []),
            ("2026-11-20T10:00", ["later"]),
            ("2026-11-20T10:30+02:00", [DONE, "later"]),
        ],
    )
    def test_from_drop_counts_the_day_of_acceptance(
        self, two: Site, day: str, chosen: list[str]
    ) -> None:
        assert choose(two.store, jobs(DONE, "later"), False, day) == (chosen, {})

    def test_both_together(self, two: Site) -> None:
        assert choose(two.store, jobs(DONE, "later"), True, "2026-11-20") == (["later"], {})

    @pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "", "20.11.2026"])
    def test_a_date_that_is_none(self, two: Site, day: str) -> None:
        with pytest.raises(InputError, match=r"is not a date\. Write for example --from-drop"):
            choose(two.store, jobs(DONE), False, day)

    def test_a_dataset_that_cannot_be_looked_at_is_told_and_stops_no_other(self, two: Site) -> None:
        (two.store.folder("later", LEDGER) / "ledger.json").write_text("{")
        chosen, problems = choose(two.store, jobs("later", DONE), False, "2026-11-20")
        assert chosen == [DONE]
        assert list(problems) == ["later"]
        assert "not a valid ledger" in problems["later"]

    def test_settings_given_go_over_the_last_ones(self, ran: Site) -> None:
        last = last_settings(ran.store, DONE, code_versions(AHN2019.name))
        assert last["cae_model.filters"] == TINY_STUDY["filters"]
        merged = with_repeated_settings(
            ran.store, DONE, AHN2019.name, {"filters": 6, "cae_features.pool": "mean"}
        )
        assert merged["filters"] == 6
        assert "cae_model.filters" not in merged, "one that is given for all goes to all"
        assert merged["cae_features.pool"] == "mean"
        assert merged["alexnet_conv5.weights"] == "random"


class TestSummary:
    @pytest.mark.parametrize(("tags", "asked"), [({}, True), ({STARTED_HERE: "1"}, False)])
    def test_follows_every_run_but_those_that_make_their_own(
        self, home: Path, tags: dict[str, str], asked: bool
    ) -> None:
        run = dg.DagsterRun(job_name=AHN2019.name, status=dg.DagsterRunStatus.SUCCESS, tags=tags)
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=AHN2019.name
        )
        with (
            dg.DagsterInstance.get() as instance,
            dg.build_run_status_sensor_context(
                "summary_after_runs", event, instance, run
            ) as context,
        ):
            answer: Any = summary_after_runs(context)
        assert isinstance(answer, dg.RunRequest) == asked
        assert not asked or answer.run_key == run.run_id
